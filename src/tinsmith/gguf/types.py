"""Which type each tensor of a GGUF file takes, and its bytes in that type.

The mixtures are llama.cpp's. q4_k_m and q5_k_m: four or five bits for most matrices; six for attn_v and ffn_down
in the first eighth and the last eighth of the layers and in every third between; one more than most for a joint
matrix of queries, keys and values. q3_k_m: three bits, but four for attn_v, ffn_down, attn_output and a joint matrix,
and five for the first two attn_v and the ffn_down of the first sixteenth. The output matrix has six bits in all
three; q6_k has six everywhere. Learnt positions stay in 32 bits in every format. K-quants come in blocks of 256
values. Where a row is no multiple of that, llama.cpp takes the nearest type in blocks of 32 that is not smaller, and
so do we, tensor by tensor, and say so.
"""

from __future__ import annotations

import re
from pathlib import Path

import libgguf
import numpy as np

from gguf import GGML_QUANT_SIZES, LlamaFileType
from gguf import GGMLQuantizationType as Type
from tinsmith.base.errors import AssetError

FILE_TYPES = {
    "f16": LlamaFileType.MOSTLY_F16,
    "q8_0": LlamaFileType.MOSTLY_Q8_0,
    "q6_k": LlamaFileType.MOSTLY_Q6_K,
    "q5_k_m": LlamaFileType.MOSTLY_Q5_K_M,
    "q4_k_m": LlamaFileType.MOSTLY_Q4_K_M,
    "q3_k_m": LlamaFileType.MOSTLY_Q3_K_M,
}
_BASE_TYPES = {
    "f16": Type.F16,
    "q8_0": Type.Q8_0,
    "q6_k": Type.Q6_K,
    "q5_k_m": Type.Q5_K,
    "q4_k_m": Type.Q4_K,
    "q3_k_m": Type.Q3_K,
}
_JOINT_TYPES = {"q5_k_m": Type.Q6_K, "q4_k_m": Type.Q5_K, "q3_k_m": Type.Q4_K}  # of the mixtures
_SUBSTITUTES = {Type.Q3_K: Type.IQ4_NL, Type.Q4_K: Type.Q5_0, Type.Q5_K: Type.Q5_1, Type.Q6_K: Type.Q8_0}


def choose_types(
    shapes: dict[str, tuple[int, ...]], layers: int, format: str, where: Path
) -> tuple[dict[str, Type], list[dict[str, str]]]:
    """Return each tensor's type, and rows {format, tensor, wanted, used, reason} for the substitutes.

    Raises AssetError where a row is too narrow for any quantised type.
    """
    types: dict[str, Type] = {}
    substituted: list[dict[str, str]] = []
    for name, shape in shapes.items():
        wanted = _wanted(name, shape, layers, format, tied="output.weight" not in shapes)
        used = _SUBSTITUTES.get(wanted, wanted) if shape[-1] % _block(wanted) else wanted
        if shape[-1] % _block(used):
            raise AssetError(
                f"{format} needs rows that {_block(used)} divides; those of {name} hold {shape[-1]} values",
                where=str(where),
                next_step=f"leave {format} out of package.formats, or take a wider model",
            )
        if used is not wanted:
            reason = f"rows of {shape[-1]} are no multiple of {_block(wanted)}"
            row = {"format": format, "tensor": name, "wanted": wanted.name, "used": used.name}
            substituted.append({**row, "reason": reason})
        types[name] = used
    return types, substituted


def quantise(array: np.ndarray, kind: Type) -> np.ndarray:
    """Return float32 rows in a GGUF type. Raises AssetError where a value leaves the type's range."""
    if kind is Type.F32:
        return np.ascontiguousarray(array, np.float32)
    if kind is Type.F16 and np.abs(array).max(initial=0) > np.finfo(np.float16).max:
        raise AssetError(
            "a weight is beyond the range of 16-bit floats", next_step="leave f16 out of package.formats"
        )
    return libgguf.quantize_rows(array, kind)


def _wanted(name: str, shape: tuple[int, ...], layers: int, format: str, *, tied: bool) -> Type:
    if len(shape) == 1 or name == "position_embd.weight":
        return Type.F32
    if format not in _JOINT_TYPES:
        return _BASE_TYPES[format]
    if name == "output.weight" or (tied and name == "token_embd.weight"):
        return Type.Q6_K
    if name.endswith(".attn_qkv.weight"):
        return _JOINT_TYPES[format]
    part = re.match(r"blk\.(\d+)\.(attn_v|ffn_down|attn_output)\.weight$", name)
    if not part:
        return _BASE_TYPES[format]
    layer, matrix = int(part[1]), part[2]
    if format == "q3_k_m":
        first = {"attn_v": 2, "ffn_down": layers // 16, "attn_output": 0}
        return Type.Q5_K if layer < first[matrix] else Type.Q4_K
    richer = matrix != "attn_output" and _needs_more_bits(layer, layers)
    return Type.Q6_K if richer else _BASE_TYPES[format]


def _needs_more_bits(layer: int, layers: int) -> bool:
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def _block(kind: Type) -> int:
    return GGML_QUANT_SIZES[kind][0]
