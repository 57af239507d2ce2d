"""Choose the type of each tensor of a GGUF file, and quantise tensors to it.

The mixtures are llama.cpp's:

- q4_k_m, q5_k_m: four or five bits for most matrices. Six bits for attn_v and ffn_down in the first and last eighth of
  the layers and in every third layer between. A joint matrix of queries, keys and values takes one bit more than most.
- q3_k_m: three bits for most. Four for attn_v, ffn_down, attn_output and a joint matrix; five for the first two attn_v
  and for ffn_down in the first sixteenth of the layers.
- In these three the output matrix has six bits. In q6_k every matrix has six.
- Learnt positions and short convolutions stay in 32 bits in every format.

A matrix that still holds what a 4-bit base held stays as it was in formats of four to six bits (four_bit_levels.py).
Where most weights do, as after training a third of the blocks, the others have six bits: for few bytes, what was learnt
is hardly rounded.

K-quants come in blocks of 256 values. Where 256 does not divide a row, llama.cpp takes the nearest type in blocks of 32
that is not smaller. We do the same, tensor by tensor, and report it.
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
# Here Q4_1 holds a matrix of a 4-bit base exactly, in at most half a bit a weight more.
KEEPS_FOUR_BITS = ("q6_k", "q5_k_m", "q4_k_m")
_JOINT_TYPES = {"q5_k_m": Type.Q6_K, "q4_k_m": Type.Q5_K, "q3_k_m": Type.Q4_K}  # for joint QKV matrices
_SUBSTITUTES = {Type.Q3_K: Type.IQ4_NL, Type.Q4_K: Type.Q5_0, Type.Q5_K: Type.Q5_1, Type.Q6_K: Type.Q8_0}


def choose_types(
    shapes: dict[str, tuple[int, ...]], layers: int, format: str, where: Path
) -> tuple[dict[str, Type], list[dict[str, str]]]:
    """Return each tensor's type, and {format, tensor, wanted, used, reason} for each substitute.

    Raises AssetError where no type of the format fits a tensor's row length.
    """
    types: dict[str, Type] = {}
    substituted: list[dict[str, str]] = []
    for name, shape in shapes.items():
        wanted = _wanted(name, shape, layers, format, tied="output.weight" not in shapes)
        used = _SUBSTITUTES.get(wanted, wanted) if shape[-1] % _block(wanted) else wanted
        if shape[-1] % _block(used):
            raise AssetError(
                f"{format} needs rows of a multiple of {_block(used)} values; those of {name} have {shape[-1]}",
                where=str(where),
                next_step=f"remove {format} from package.formats, or choose a wider model",
            )
        if used is not wanted:
            reason = f"rows of {shape[-1]} are not a multiple of {_block(wanted)}"
            row = {"format": format, "tensor": name, "wanted": wanted.name, "used": used.name}
            substituted.append({**row, "reason": reason})
        types[name] = used
    return types, substituted


def quantise(array: np.ndarray, type: Type) -> np.ndarray:
    """Return float32 rows as bytes of a GGUF type. Raises AssetError if a value is out of the type's range."""
    if type is Type.F32:
        return np.ascontiguousarray(array, np.float32)
    if type is Type.F16 and np.abs(array).max(initial=0) > np.finfo(np.float16).max:
        raise AssetError(
            "a weight is out of the range of 16-bit floats", next_step="remove f16 from package.formats"
        )
    return libgguf.quantize_rows(array, type)


def _wanted(name: str, shape: tuple[int, ...], layers: int, format: str, *, tied: bool) -> Type:
    if len(shape) == 1 or name == "position_embd.weight" or name.endswith(".shortconv.conv.weight"):
        return Type.F32
    if format not in _JOINT_TYPES:
        return _BASE_TYPES[format]
    if name == "output.weight" or (tied and name == "token_embd.weight"):
        return Type.Q6_K
    if name.endswith(".attn_qkv.weight"):
        return _JOINT_TYPES[format]
    match = re.match(r"blk\.(\d+)\.(attn_v|ffn_down|attn_output)\.weight$", name)
    if not match:
        return _BASE_TYPES[format]
    layer, matrix = int(match[1]), match[2]
    if format == "q3_k_m":
        five_bit_layers = {"attn_v": 2, "ffn_down": layers // 16, "attn_output": 0}
        return Type.Q5_K if layer < five_bit_layers[matrix] else Type.Q4_K
    six_bits = matrix != "attn_output" and _needs_more_bits(layer, layers)
    return Type.Q6_K if six_bits else _BASE_TYPES[format]


def _needs_more_bits(layer: int, layers: int) -> bool:
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def _block(type: Type) -> int:
    return GGML_QUANT_SIZES[type][0]
