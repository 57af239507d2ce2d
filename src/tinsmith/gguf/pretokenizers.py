"""How byte-level tokenizers split text before merging, under the names that llama.cpp gives these splits.

One table serves both directions: a saved tokenizer gets its name from it, and a name gives the tokenizer's steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Regex, pre_tokenizers
from tokenizers.pre_tokenizers import PreTokenizer

from tinsmith.base.errors import AssetError

_DIGITS, _BYTES, _BYTES_ONLY = "Digits", "ByteLevel", "ByteLevel without regex"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# The steps of each; a step that is none of the three names above is the expression of a Split.
_STEPS: dict[str, tuple[str, ...]] = {
    "gpt-2": (_BYTES,),
    "smollm": (_DIGITS, _BYTES),
    "llama-bpe": (_WORDS + r"\p{N}{1,3}" + _REST, _BYTES_ONLY),
    "qwen2": (_WORDS + r"\p{N}" + _REST, _BYTES_ONLY),
}
PRE_TOKENIZERS = tuple(_STEPS)


def build_pre_tokenizer(name: str, *, add_prefix_space: bool = False) -> PreTokenizer:
    """Build the pre-tokenizer that llama.cpp calls `name`. Raises KeyError for one that is not in `PRE_TOKENIZERS`."""
    return pre_tokenizers.Sequence([_build_step(step, add_prefix_space) for step in _STEPS[name]])


def name_pre_tokenizer(steps: list[dict[str, Any]], where: Path) -> str:
    """Return llama.cpp's name for the pre-tokenizer of a tokenizer.json. Raises AssetError where it has none."""
    described = tuple(map(_describe_step, steps))
    names = [name for name, known in _STEPS.items() if known == described]
    if not names:
        raise AssetError(
            f"llama.cpp has no known name for the pre-tokenizer {list(described)}",
            where=str(where),
            next_step=f"choose a base whose pre-tokenizer is one of {', '.join(PRE_TOKENIZERS)}",
        )
    return names[0]


def _build_step(step: str, add_prefix_space: bool) -> PreTokenizer:
    if step == _DIGITS:
        return pre_tokenizers.Digits(individual_digits=True)
    if step in (_BYTES, _BYTES_ONLY):
        return pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=step == _BYTES)
    return pre_tokenizers.Split(Regex(step), "isolated")


def _describe_step(step: dict[str, Any]) -> str:
    """Describe a step of a tokenizer.json in the terms of `_STEPS`; an unknown setting gives an unknown name."""
    kind = str(step.get("type"))
    if kind == "Split" and step["behavior"] == "Isolated" and not step["invert"]:
        return str(step["pattern"].get("Regex"))
    if kind == "Digits" and not step["individual_digits"]:
        return "Digits in groups"
    if kind == "ByteLevel" and not step["use_regex"]:
        return _BYTES_ONLY
    return kind
