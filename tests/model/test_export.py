"""Exports open in plain transformers and in gguf's own reader, and say in their header what the model is."""

import ctypes
import json
import shutil

import numpy as np
import pytest
import torch
import xllamacpp
from transformers import AutoModelForCausalLM, AutoTokenizer

import gguf
from gguf import GGMLQuantizationType as Type
from tinsmith.base.assets import is_cached, resolve_model
from tinsmith.base.errors import AssetError
from tinsmith.gguf.header import read_metadata
from tinsmith.gguf.metadata import refuse_unwritable_tokenizer
from tinsmith.gguf.types import choose_types, quantise
from tinsmith.model import export
from tinsmith.model.export import save_model, write_gguf
from tinsmith.tokens.tokenizer import load_tokenizer
from tiny_model import CHATML, changed_copy, tiny_model, tiny_tokenizer, write_trained

IDS = torch.tensor([[1, 40, 50, 60, 70, 80, 90]])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return write_trained(tmp_path_factory.mktemp("trained") / "model")


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_saved_model_opens_in_plain_transformers(tmp_path, precision):
    model, tokenizer = tiny_model(), tiny_tokenizer()
    # What a model read from a quantised GGUF carries along.
    model.config.quantization_config = {"quant_method": "gguf"}
    save_model(model, tokenizer, tmp_path, precision)
    assert model.dtype == torch.float32
    opened = AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True)
    assert opened.dtype == export.PRECISIONS[precision]
    with torch.inference_mode():
        ours, theirs = model(IDS).logits.log_softmax(-1), opened.float()(IDS).logits.log_softmax(-1)
    assert float((ours.exp() * (ours - theirs)).sum(-1).mean()) < 0.002
    again = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert again.chat_template == CHATML
    assert again("The licence of 2024")["input_ids"] == tokenizer("The licence of 2024")["input_ids"]
    assert opened.generation_config.eos_token_id == [2]
    config = json.loads((tmp_path / "config.json").read_text())
    assert "quantization_config" not in config
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors", ".jinja"}


def test_a_weight_that_does_not_fit_is_named(tmp_path):
    model = tiny_model()
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = 1e6
    with pytest.raises(AssetError, match=r"layers\.1\.mlp\.up_proj\.weight is not finite in float16"):
        save_model(model, tiny_tokenizer(), tmp_path / "half", "float16")
    save_model(model, tiny_tokenizer(), tmp_path / "whole", "float32")
    with pytest.raises(AssetError, match="beyond the range of 16-bit"):
        write_gguf(tmp_path / "whole", tmp_path / "m.gguf", "f16")
    assert not list(tmp_path.glob("*m.gguf*"))


@pytest.mark.parametrize(
    ("tied", "format", "bound"), [(True, "f16", 1e-3), (False, "f16", 1e-3), (True, "q8_0", 0.03)]
)
def test_transformers_reads_the_gguf_back(tmp_path, tied, format, bound):
    model = tiny_model(tied=tied)
    save_model(model, tiny_tokenizer(), tmp_path / "model", "float32")
    write_gguf(tmp_path / "model", tmp_path / "m.gguf", format)
    opened = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", dtype=torch.float32)
    with torch.inference_mode():
        ours, theirs = model(IDS).logits.log_softmax(-1), opened(IDS).logits.log_softmax(-1)
    assert float((ours.exp() * (ours - theirs)).sum(-1).mean()) < bound


def test_the_header_says_what_the_model_is(trained, tmp_path):
    report = write_gguf(trained, tmp_path / "m.gguf", "q8_0", name="tiny")
    facts = read_metadata(tmp_path / "m.gguf")
    assert report.bytes == (tmp_path / "m.gguf").stat().st_size
    assert facts["general.name"] == "tiny"
    assert facts["general.file_type"] == 7
    assert facts["llama.rope.freq_base"] == 100.0
    assert facts["llama.attention.head_count_kv"] == 2
    assert facts["llama.rope.dimension_count"] == 16
    assert facts["tokenizer.ggml.pre"] == "smollm"
    assert facts["tokenizer.ggml.token_type"][:4] == [3, 3, 3, 1]
    assert facts["tokenizer.ggml.eos_token_id"] == 2
    assert facts["tokenizer.ggml.add_bos_token"] is False
    assert facts["tokenizer.chat_template"] == CHATML
    vocabulary = load_tokenizer(tmp_path / "m.gguf").get_vocab()
    assert tiny_tokenizer().get_vocab().items() <= vocabulary.items()


def test_no_path_of_this_machine_goes_out(trained, tmp_path):
    write_gguf(trained, tmp_path / "m.gguf", "f16")
    loaded = AutoModelForCausalLM.from_pretrained(trained)
    save_model(loaded, tiny_tokenizer(), tmp_path / "saved", "bfloat16")
    for file in [tmp_path / "m.gguf", *(tmp_path / "saved").iterdir()]:
        assert str(trained.parent).encode() not in file.read_bytes()


def test_padded_vocabularies_and_two_stop_tokens(tmp_path):
    model = tiny_model()
    model.resize_token_embeddings(416)
    model.generation_config.eos_token_id = [2, 0]
    save_model(model, tiny_tokenizer(adds_bos=True), tmp_path / "model", "float32")
    write_gguf(tmp_path / "model", tmp_path / "m.gguf", "f16")
    facts = read_metadata(tmp_path / "m.gguf")
    assert facts["tokenizer.ggml.tokens"][-1] == "[PAD415]"
    assert facts["tokenizer.ggml.token_type"][-1] == 5
    assert facts["tokenizer.ggml.eot_token_id"] == 0
    assert facts["tokenizer.ggml.add_bos_token"] is True


def test_the_reference_file_says_the_same_of_the_same_model(tmp_path):
    if not is_cached("smollm2-135m"):
        pytest.skip("smollm2-135m is not fetched")
    reference = resolve_model("smollm2-135m").path
    expected = read_metadata(reference)
    tokenizer = load_tokenizer(reference)
    model = tiny_model()
    # The same vocabulary under a small body: the tokenizer's part of the header must be that of the original.
    model.resize_token_embeddings(len(tokenizer))
    save_model(model, tokenizer, tmp_path / "model", "bfloat16")
    write_gguf(tmp_path / "model", tmp_path / "m.gguf", "q8_0")
    facts = read_metadata(tmp_path / "m.gguf")
    differing = {key for key in expected if key.startswith("tokenizer.") and facts.get(key) != expected[key]}
    assert differing == set()
    assert {key for key in expected if key.startswith("llama.")} <= facts.keys()


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
    assert {**row, "reason": "rows of 576 are no multiple of 256"} in substituted


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


def test_tiny_widths_are_refused_with_the_reason(tmp_path):
    save_model(tiny_model(hidden=48), tiny_tokenizer(), tmp_path / "model", "float32")
    for format in ("q8_0", "q4_k_m"):
        with pytest.raises(AssetError, match=f"{format} needs rows that 32 divides; those of .* hold 48"):
            write_gguf(tmp_path / "model", tmp_path / "m.gguf", format)
    assert write_gguf(tmp_path / "model", tmp_path / "m.gguf", "f16").types == {"F16": 15, "F32": 5}


@pytest.mark.parametrize(
    ("file", "facts", "reason"),
    [
        (
            "config.json",
            {"model_type": "mistral", "architectures": ["MistralForCausalLM"]},
            "architecture is mistral; a GGUF file can be written for llama",
        ),
        ("config.json", {"hidden_act": "gelu"}, "activation is gelu"),
        (
            "config.json",
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 100.0}},
            r"positions are scaled \(linear\)",
        ),
        ("tokenizer.json", {"normalizer": {"type": "Lowercase"}}, "no plain byte-level BPE"),
        (
            "tokenizer.json",
            {
                "pre_tokenizer": {
                    "type": "ByteLevel",
                    "add_prefix_space": False,
                    "trim_offsets": True,
                    "use_regex": False,
                }
            },
            "pre-tokenizer .* has no name in llama.cpp",
        ),
        ("generation_config.json", {"eos_token_id": None}, "names no stop token"),
    ],
)
def test_what_cannot_be_written_is_refused(trained, tmp_path, file, facts, reason):
    changed = changed_copy(trained, tmp_path / "other", file, **facts)
    with pytest.raises(AssetError, match=reason):
        write_gguf(changed, tmp_path / "m.gguf", "f16")
    assert not list(tmp_path.glob("*m.gguf*"))
    if file == "tokenizer.json":
        refuse_unwritable_tokenizer(trained)
        with pytest.raises(AssetError, match=reason):
            refuse_unwritable_tokenizer(changed)


def test_a_write_that_breaks_off_leaves_the_old_file(trained, tmp_path, monkeypatch):
    path = tmp_path / "m.gguf"
    path.write_bytes(b"old")

    def fail(array, kind):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "quantise", fail)
    with pytest.raises(OSError, match="No space"):
        write_gguf(trained, path, "q8_0")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["m.gguf"]


def test_sharded_weights_are_read_whole(trained, tmp_path):
    write_gguf(trained, tmp_path / "one.gguf", "f16")
    tiny_model().save_pretrained(tmp_path / "shards", max_shard_size="100KB")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"):
        shutil.copy(trained / name, tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    write_gguf(tmp_path / "shards", tmp_path / "many.gguf", "f16")
    first, second = (
        {t.name: np.array(t.data) for t in gguf.GGUFReader(tmp_path / name).tensors}
        for name in ("one.gguf", "many.gguf")
    )
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
