"""Tensor types follow llama.cpp's mixtures, and quantised bytes are llama.cpp's own."""

import ctypes

import numpy as np
import pytest
import xllamacpp

import gguf
from gguf import GGMLQuantizationType as Type
from tinsmith.gguf.types import choose_types, quantise


def _llama_shapes(hidden, layers, inner):
    shapes = {"token_embd.weight": (49152, hidden), "output_norm.weight": (hidden,)}
    for layer in range(layers):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up"):
            shapes[f"blk.{layer}.{name}.weight"] = (64, hidden)
        shapes[f"blk.{layer}.ffn_down.weight"] = (64, inner)
    return shapes


def test_the_mixture_of_q4_k_m(tmp_path):
    types, substituted = choose_types(_llama_shapes(2048, 30, 1536), 30, "q4_k_m", tmp_path)
    richer = [0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 26, 27, 28, 29]
    for name in ("attn_v", "ffn_down"):
        assert [layer for layer in range(30) if types[f"blk.{layer}.{name}.weight"] is Type.Q6_K] == richer
    assert types["token_embd.weight"] is Type.Q6_K
    assert types["blk.0.attn_q.weight"] is Type.Q4_K
    assert types["output_norm.weight"] is Type.F32
    assert substituted == []


def test_the_mixtures_beside_q4_k_m(tmp_path):
    shapes = _llama_shapes(2048, 32, 1536)
    for format, most, richer in (("q5_k_m", Type.Q5_K, Type.Q6_K), ("q6_k", Type.Q6_K, Type.Q6_K)):
        types, _ = choose_types(shapes, 32, format, tmp_path)
        assert types["blk.5.attn_output.weight"] is types["blk.5.attn_v.weight"] is most
        assert types["blk.0.attn_v.weight"] is types["blk.31.ffn_down.weight"] is richer
        assert types["token_embd.weight"] is Type.Q6_K
    types, _ = choose_types(shapes, 32, "q3_k_m", tmp_path)
    named = {"attn_q": 0, "ffn_up": 0, "attn_output": 0, "attn_v": 2, "ffn_down": 2}
    for name, first in named.items():
        most = Type.Q3_K if name in ("attn_q", "ffn_up") else Type.Q4_K
        found = [types[f"blk.{layer}.{name}.weight"] for layer in range(32)]
        assert found == [Type.Q5_K] * first + [most] * (32 - first)
    assert types["token_embd.weight"] is Type.Q6_K
    types, substituted = choose_types(_llama_shapes(576, 30, 1536), 30, "q3_k_m", tmp_path)
    assert types["blk.3.attn_q.weight"] is Type.IQ4_NL
    assert {"Q3_K", "Q4_K", "Q5_K", "Q6_K"} == {row["wanted"] for row in substituted}


def test_joint_matrices_and_learnt_positions_take_types_of_their_own(tmp_path):
    shapes = {
        "blk.0.attn_qkv.weight": (768, 256),
        "position_embd.weight": (64, 256),
        "token_embd.weight": (9, 256),
    }
    joints = {"q3_k_m": Type.Q4_K, "q4_k_m": Type.Q5_K, "q5_k_m": Type.Q6_K, "q6_k": Type.Q6_K}
    for format, joint in (joints | {"q8_0": Type.Q8_0, "f16": Type.F16}).items():
        types, substituted = choose_types(shapes, 1, format, tmp_path)
        assert types["blk.0.attn_qkv.weight"] is joint
        assert types["position_embd.weight"] is Type.F32
        assert substituted == []


def test_rows_that_256_does_not_divide_take_the_documented_substitutes(tmp_path):
    types, substituted = choose_types(_llama_shapes(576, 30, 1536), 30, "q4_k_m", tmp_path)
    assert types["token_embd.weight"] is Type.Q8_0
    assert types["blk.0.attn_v.weight"] is Type.Q8_0
    assert types["blk.3.attn_v.weight"] is Type.Q5_0
    assert types["blk.3.ffn_down.weight"] is Type.Q4_K
    assert len(substituted) == 1 + 30 * 6
    row = {"format": "q4_k_m", "tensor": "blk.3.attn_v.weight", "wanted": "Q4_K", "used": "Q5_0"}
    assert {**row, "reason": "rows of 576 are not a multiple of 256"} in substituted


@pytest.mark.parametrize(
    "kind", [Type.Q8_0, Type.Q5_0, Type.Q5_1, Type.IQ4_NL, Type.Q3_K, Type.Q4_K, Type.Q5_K, Type.Q6_K]
)
def test_quantised_bytes_are_those_of_llama_cpp(kind):
    rows = np.random.default_rng(1).normal(size=(8, 512)).astype(np.float32)
    ours = quantise(rows, kind)
    theirs = np.empty_like(ours)
    function = ctypes.CDLL(xllamacpp.xllamacpp.__file__).ggml_quantize_chunk
    function.restype = ctypes.c_size_t
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    function.argtypes = [ctypes.c_int, pointer, pointer, count, count, count, pointer]
    assert function(int(kind), rows.ctypes.data, theirs.ctypes.data, 0, 8, 512, None) == ours.nbytes
    assert np.array_equal(ours, theirs)
    assert np.abs(gguf.dequantize(ours, kind) - rows).mean() < (0.15 if kind is Type.Q3_K else 0.1)
