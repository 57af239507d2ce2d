"""A tokenizer as llama.cpp holds it, read from a GGUF file or a tokenizer.json and written to a file.

llama.cpp knows two ways to make tokens of text. Byte-level BPE (`gpt2`) splits text by a named pre-tokenizer and merges
bytes by a list of merges. SentencePiece BPE (`llama`) writes spaces as ▁ and merges characters by the score of the
piece that a merge makes; characters without a piece become bytes. Other steps of a tokenizer.json are unknown to it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from transformers import PreTrainedTokenizerFast

from gguf import GGUFWriter, TokenType
from tinsmith.base.errors import AssetError
from tinsmith.gguf.header import read_metadata
from tinsmith.gguf.pretokenizers import (
    PRE_TOKENIZERS,
    is_supported,
    name_pre_tokenizer,
    splits_alike,
    takes_whole_words,
)

# Roles of special tokens: as transformers, and as a GGUF file calls them.
SPECIAL_TOKENS = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}
_UNSCORED = -1e6  # of a piece that no merge makes
_SPACE = "▁"
_OTHER_TOKENIZER = "choose a base with a byte-level or a SentencePiece BPE vocabulary"


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in the order of their ids with their types, and how text becomes tokens.

    `kind` is llama.cpp's name: gpt2 (byte-level BPE: `pre`, `merges`) or llama (SentencePiece BPE: `scores`).
    `special` has the id of each role of SPECIAL_TOKENS, `turn_end` is the token that ends a turn, if it is not the end
    of text. `left_out` says what llama.cpp does not do of the tokenizer
    that this was read from.
    """

    kind: Literal["gpt2", "llama"]
    tokens: list[str]
    types: list[TokenType]
    special: dict[str, int]
    pre: str = ""
    merges: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    adds_bos: bool = False
    adds_space: bool = False
    chat_template: str | None = None
    turn_end: str | None = None
    left_out: tuple[str, ...] = ()

    def token_of(self, role: str) -> str | None:
        """Return the token of a role of SPECIAL_TOKENS."""
        token_id = self.special.get(role)
        return self.tokens[token_id] if token_id is not None and token_id < len(self.tokens) else None

    def cut(self, rows: int, where: Path) -> Vocabulary:
        """Return the vocabulary without added tokens that have no row of a model, such as those of images in Gemma 3.

        Raises AssetError where another token has none.
        """
        lost = list(zip(self.tokens[rows:], self.types[rows:], strict=True))
        if any(type not in (TokenType.CONTROL, TokenType.USER_DEFINED) for _, type in lost):
            raise AssetError(
                f"its tokenizer has {len(self.tokens):,} tokens, and the model {rows:,} rows for them",
                where=str(where),
                next_step="use the tokenizer that the model was trained with",
            )
        if not lost:
            return self
        names = ", ".join(token for token, _ in lost[:3])
        return replace(
            self,
            tokens=self.tokens[:rows],
            types=self.types[:rows],
            scores=self.scores[:rows],
            left_out=(*self.left_out, f"{len(lost)} added tokens without a row of the model ({names})"),
        )

    def write(self, writer: GGUFWriter, rows: int) -> None:
        """Write everything but the special tokens; `rows` is the number of the model's embeddings."""
        writer.add_add_space_prefix(self.adds_space)
        writer.add_add_bos_token(self.adds_bos)
        writer.add_tokenizer_model(self.kind)
        if self.kind == "gpt2":
            writer.add_tokenizer_pre(self.pre)
            writer.add_token_merges(self.merges)
        else:
            writer.add_tokenizer_pre("default")
            writer.add_token_scores(self.scores + [_UNSCORED] * (rows - len(self.tokens)))
        known = set(self.tokens)
        padding = [_unused(token_id, known) for token_id in range(len(self.tokens), rows)]
        writer.add_token_list(self.tokens + padding)
        writer.add_token_types([*self.types, *[TokenType.UNUSED] * len(padding)])
        if self.chat_template:
            writer.add_chat_template(self.chat_template)


def read_vocabulary(path: Path) -> Vocabulary:
    """Read the tokenizer of a GGUF file. Raises AssetError that names the path."""
    metadata = {
        name.removeprefix("tokenizer.").removeprefix("ggml."): value
        for name, value in read_metadata(path).items()
        if name.startswith("tokenizer.")
    }
    tokens, kind = metadata.get("tokens", []), metadata.get("model")
    if not tokens or len(set(tokens)) != len(tokens):
        raise AssetError(
            "its vocabulary lists a token twice" if tokens else "holds no vocabulary",
            where=str(path),
            next_step="use a GGUF of a text model, or a Hugging Face directory",
        )
    if kind not in ("gpt2", "llama"):
        raise AssetError(
            f"its tokenizer is of the type {kind!r}",
            where=str(path),
            next_step="use a GGUF with a gpt2 or llama vocabulary",
        )
    pre = metadata.get("pre", "default") if kind == "gpt2" else ""
    if kind == "gpt2" and not is_supported(pre):
        raise AssetError(
            f"its pre-tokenizer {pre!r} is not supported (supported: {', '.join(PRE_TOKENIZERS)})",
            where=str(path),
            next_step="use the model's Hugging Face directory instead",
        )
    types = metadata.get("token_type", [TokenType.NORMAL] * len(tokens))
    if len(types) != len(tokens) or not set(types) <= set(TokenType):
        raise AssetError(
            "its tokens have types that are unknown or too few",
            where=str(path),
            next_step="use the model's Hugging Face directory instead",
        )
    if problem := _contradiction(metadata, tokens):
        raise AssetError(problem, where=str(path), next_step="fetch the file again; it is damaged")
    special = {role: metadata[key] for role, key in SPECIAL_TOKENS.items() if metadata.get(key) is not None}
    turn = metadata.get("eot_token_id")
    # llama.cpp begins a text with BOS if the file does not say otherwise, for SentencePiece and some splits.
    begins = kind == "llama" or takes_whole_words(pre)
    return Vocabulary(
        kind,
        tokens,
        [TokenType(type) for type in types],
        special,
        pre,
        metadata.get("merges", []) if kind == "gpt2" else [],
        (metadata.get("scores") or [0.0] * len(tokens)) if kind == "llama" else [],
        adds_bos=bool(metadata.get("add_bos_token", begins)) and "bos_token" in special,
        adds_space=kind == "llama" and bool(metadata.get("add_space_prefix", True)),
        chat_template=metadata.get("chat_template"),
        turn_end=tokens[turn] if turn is not None and turn != special.get("eos_token") else None,
    )


def _contradiction(metadata: dict[str, Any], tokens: list[str]) -> str:
    """Return what in a file's tokenizer does not fit its own tokens, or nothing."""
    known = set(tokens)
    ids = [metadata.get(key) for key in (*SPECIAL_TOKENS.values(), "eot_token_id")]
    if any(number is not None and not 0 <= number < len(tokens) for number in ids):
        return "one of its special tokens has an id beyond its vocabulary"
    for merge in metadata.get("merges") or ():
        first, _, second = merge.partition(" ")
        if not {first, second, first + second} <= known:
            return f"its merge {merge!r} is of tokens that its vocabulary does not have"
    if len(metadata.get("scores") or tokens) != len(tokens):
        return "it has more or fewer scores than tokens"
    return ""


def vocabulary_of(tokenizer: PreTrainedTokenizerFast, where: Path) -> Vocabulary:
    """Describe a tokenizer as llama.cpp would run it. Raises AssetError where it could not."""
    saved = json.loads(tokenizer.backend_tokenizer.to_str())
    model = saved["model"]
    _require_bpe(model, where)
    byte_level = not model.get("byte_fallback")
    steps = tokenizer.backend_tokenizer.pre_tokenizer
    if byte_level and steps is None:
        raise AssetError(
            "its tokenizer neither splits text into bytes nor falls back on them",
            where=str(where),
            next_step=_OTHER_TOKENIZER,
        )
    tokens, types = _tokens(saved, where)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    ids = {role: getattr(tokenizer, f"{role}_id") for role in SPECIAL_TOKENS}
    special = {role: token_id for role, token_id in ids.items() if token_id is not None}
    prefix = tokenizer("")["input_ids"]
    settings: dict[str, Any] = {
        "adds_bos": bool(prefix) and prefix[0] == tokenizer.bos_token_id,
        "chat_template": _one_template(tokenizer, where),
        "turn_end": getattr(tokenizer, "eot_token", None),
    }
    if byte_level:
        whole_words = bool(model.get("ignore_merges"))
        settings["pre"] = name_pre_tokenizer(steps, whole_words=whole_words, where=where)
        settings["merges"] = merges
        settings["left_out"] = _left_out(saved.get("normalizer"), where)
        if not splits_alike(steps, settings["pre"]):
            settings["left_out"] += ("words are parted at capitals of ASCII alone",)
        if whole_words and not takes_whole_words(settings["pre"]):
            settings["left_out"] += ("a piece that is a token is merged from its parts",)
    else:
        settings["adds_space"] = (
            tokenizer.backend_tokenizer.encode("a", add_special_tokens=False).tokens[0].startswith(_SPACE)
        )
        settings["scores"] = _scores(tokens, merges)
        settings["left_out"] = _spaces_left_out(saved.get("pre_tokenizer"))
    return Vocabulary("gpt2" if byte_level else "llama", tokens, types, special, **settings)


def _require_bpe(model: dict[str, Any], where: Path) -> None:
    if model["type"] != "BPE":
        kind = model["type"]
        raise AssetError(f"its tokenizer is a {kind} model", where=str(where), next_step=_OTHER_TOKENIZER)
    for setting in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model.get(setting):
            raise AssetError(
                f"its tokenizer sets {setting}, which llama.cpp does not know",
                where=str(where),
                next_step=_OTHER_TOKENIZER,
            )


def _left_out(normalizer: dict[str, Any] | None, where: Path) -> tuple[str, ...]:
    """Return what llama.cpp leaves out of a byte-level tokenizer's normalisation. Raises AssetError if it matters."""
    found = normalizer or {"type": "Sequence", "normalizers": []}
    steps = found["normalizers"] if found["type"] == "Sequence" else [found]
    other = [step["type"] for step in steps if step["type"] != "NFC"]
    if other:
        raise AssetError(
            f"its tokenizer changes text before splitting it ({', '.join(other)}), which llama.cpp does not",
            where=str(where),
            next_step=_OTHER_TOKENIZER,
        )
    return ("letters and accents that stand apart are not joined (NFC)",) if steps else ()


def _spaces_left_out(steps: dict[str, Any] | None) -> tuple[str, ...]:
    """Return where llama.cpp puts a space before a text although the tokenizer would not."""
    found = steps or {}
    each = found.get("pretokenizers", [found])
    scheme = next((step["prepend_scheme"] for step in each if step.get("type") == "Metaspace"), "never")
    return {
        "never": (),
        "always": ("a text that begins with a space gets another one before it",),
        "first": (
            "a space is put before the text after each special token, not before the first text alone",
        ),
    }[scheme]


def _one_template(tokenizer: PreTrainedTokenizerFast, where: Path) -> str | None:
    """Return the only or the default chat template. Raises AssetError where there are several without a default."""
    template = tokenizer.chat_template
    if not isinstance(template, dict):
        return template
    if not template:
        return None
    if "default" not in template:
        raise AssetError(
            f"has several chat templates and none is called default ({', '.join(sorted(template))})",
            where=str(where),
            next_step="name one of them default in tokenizer_config.json, or remove the others",
        )
    return str(template["default"])


def _tokens(saved: dict[str, Any], where: Path) -> tuple[list[str], list[TokenType]]:
    """Return the tokens by id, with placeholders for ids that no token has. Raises AssetError for one listed twice."""
    model, by_id = saved["model"], dict[int, tuple[str, TokenType]]()
    fallback = bool(model.get("byte_fallback"))
    for token, token_id in model["vocab"].items():
        is_byte = fallback and len(token) == 6 and token.startswith("<0x") and token.endswith(">")
        by_id[token_id] = token, TokenType.BYTE if is_byte else TokenType.NORMAL
    for added in saved["added_tokens"]:
        by_id[added["id"]] = (
            added["content"],
            TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED,
        )
    if fallback and model.get("unk_token") in model["vocab"]:
        by_id[model["vocab"][model["unk_token"]]] = model["unk_token"], TokenType.UNKNOWN
    known: dict[str, int] = {}
    for token_id, (token, _) in by_id.items():
        if known.setdefault(token, token_id) != token_id or not token:
            raise AssetError(
                f"its tokenizer gives {token!r} to the ids {known[token]} and {token_id}, where llama.cpp needs one"
                if token
                else f"its token {token_id} is empty",
                where=str(where),
                next_step="correct tokenizer.json, or choose another base",
            )
    names = set(known)
    ids = range(max(by_id) + 1)
    found = [by_id.get(token_id) or (_unused(token_id, names), TokenType.UNUSED) for token_id in ids]
    return [token for token, _ in found], [type for _, type in found]


def _unused(token_id: int, known: set[str]) -> str:
    name = f"[PAD{token_id}]"
    while name in known:
        name = f"[{name}]"
    return name


def _scores(tokens: list[str], merges: list[str]) -> list[float]:
    """Return scores that make llama.cpp merge in the order of a list of merges: earlier merges score higher."""
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        ranks.setdefault("".join(merge.split(" ", 1)), rank)
    return [
        0.0 if len(token) == 1 else -float(ranks[token]) if token in ranks else _UNSCORED for token in tokens
    ]
