"""What can differ between two models, by kind, and what their metadata, tokenizers and templates say of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gguf import TokenType
from tinsmith.gguf.vocabulary import Vocabulary
from tinsmith.parity.conversations import TEXTS, conversations
from tinsmith.parity.opened import OpenedModel

TOKENIZER = "tokenizer"
VOCABULARY_ORDER = "vocabulary order"
BEGIN_OF_TEXT = "begin of text"
TEMPLATE = "chat template"
STOP_TOKENS = "stop tokens"
ROPE_BASE = "RoPE base"
ROPE_SCALING = "RoPE scaling"
SETTINGS = "settings"
OUTPUT_LAYER = "output layer"
SWAPPED = "tensors swapped"
ADAPTER = "adapter"
QUANTISATION = "quantisation"
WEIGHTS = "weights"
ANSWERS = "answers"

# Settings that llama.cpp computes without: a length, and what the shapes of the tensors say.
_NOT_COMPUTED = ("context_length", "vocab_size", "rope.scaling.original_context_length")
_NEAR = 1e-5  # relative, of real numbers: files hold them in 32 bits


@dataclass(frozen=True)
class Finding:
    """One difference: its kind, and what differs in words."""

    kind: str
    text: str


def architecture(model: OpenedModel) -> str:
    """Return llama.cpp's name of a model's architecture."""
    return next(iter(model.metadata), "?").partition(".")[0]


def settings_findings(a: OpenedModel, b: OpenedModel) -> Iterator[Finding]:
    """Compare the settings of the architecture, positions among them."""
    names = [architecture(model) for model in (a, b)]
    if names[0] != names[1]:
        said = f"{names[0]} in {a.called} and {names[1]} in {b.called}"
        yield Finding(SETTINGS, f"the architecture is {said}")
        return
    ours, theirs = (
        {key.partition(".")[2]: value for key, value in model.metadata.items()} for model in (a, b)
    )
    for key in sorted({*ours, *theirs} - set(_NOT_COMPUTED)):
        left, right = (_or_default(key, values) for values in (ours, theirs))
        if not _alike(left, right):
            yield Finding(_kind_of(key), f"{key} is {left} in {a.called} and {right} in {b.called}")
    frequencies = ["rope_freqs.weight" in model.types for model in (a, b)]
    if frequencies[0] != frequencies[1]:
        where = a.called if frequencies[0] else b.called
        yield Finding(ROPE_SCALING, f"only {where} slows the rotary frequencies (rope_freqs.weight)")


def _kind_of(key: str) -> str:
    if key == "rope.freq_base":
        return ROPE_BASE
    return ROPE_SCALING if key.startswith("rope.scaling.") else SETTINGS


def _or_default(key: str, values: dict[str, Any]) -> Any:
    """Return a setting, or what llama.cpp takes where a file does not name it."""
    if key == "attention.sliding_window":  # one that spans the context is none
        window = values.get(key) or 0
        return 0 if window >= values.get("context_length", window + 1) else window
    if key in values:
        return values[key]
    heads = values.get("attention.head_count", 1)
    size = values.get("embedding_length", 0) // heads if isinstance(heads, int) and heads else 0
    defaults = {
        "rope.freq_base": 10000.0,
        "rope.scaling.type": "none",
        "rope.scaling.factor": 1.0,
        "rope.scaling.attn_factor": 1.0,
        "rope.scaling.yarn_beta_fast": 32.0,
        "rope.scaling.yarn_beta_slow": 1.0,
        "attention.head_count_kv": heads,
        "attention.key_length": size,
        "attention.value_length": size,
        "rope.dimension_count": values.get("attention.key_length", size),
        "logit_scale": 1.0,
    }
    return defaults.get(key)


def _alike(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, int | float):
        return abs(left - right) <= _NEAR * abs(left)
    # A setting that only one side names, and llama.cpp has no default for, is one that it does not read.
    return left is None or right is None or bool(left == right)


def tokenizer_findings(a: OpenedModel, b: OpenedModel) -> Iterator[Finding]:
    """Compare vocabularies, and the token ids of awkward texts with and without their markup."""
    order = list(_order_findings(a, b))
    yield from order
    if begin := _begin_finding(a, b):
        yield begin
    if order:
        return
    # A directory is read as published only beside another one: a file, and what runs it, has llama.cpp's tokens.
    published = type(a) is type(b)

    def read(model: OpenedModel, text: str, markup: bool) -> list[int]:
        return (model.token_ids if published else model.read_by_llama_cpp)(text, markup=markup)

    differing = 0
    for text in TEXTS:
        for markup in (True, False):
            ours, theirs = (_without_bos(model, read(model, text, markup)) for model in (a, b))
            if ours != theirs:
                differing += 1
                example = (text, ours, theirs)
    if differing:
        text, ours, theirs = example
        at = next((i for i, (x, y) in enumerate(zip(ours, theirs)) if x != y), min(len(ours), len(theirs)))
        why = _reason(a, b)
        yield Finding(
            TOKENIZER,
            f"token ids differ in {differing} of {2 * len(TEXTS)} texts{why}, such as {text[:30]!r}: "
            f"from token {at} on {ours[at : at + 5]} in {a.called} and {theirs[at : at + 5]} in {b.called}",
        )


def _order_findings(a: OpenedModel, b: OpenedModel) -> Iterator[Finding]:
    ours, theirs = (_comparable(v) for v in (a.vocabulary, b.vocabulary))
    if ours == theirs:
        return
    if sorted(ours) == sorted(theirs):
        moved = [token for token, other in zip(ours, theirs) if token != other]
        first = ours.index(moved[0])
        yield Finding(
            VOCABULARY_ORDER,
            f"{len(moved)} tokens have other ids, such as {moved[0]!r}: "
            f"{first} in {a.called} and {theirs.index(moved[0])} in {b.called}",
        )
        return
    only = [sorted(set(left) - set(right))[:3] for left, right in ((ours, theirs), (theirs, ours))]
    yield Finding(
        TOKENIZER,
        f"{a.called} has {len(ours):,} tokens and {b.called} {len(theirs):,}; "
        f"only in {a.called}: {only[0]}, only in {b.called}: {only[1]}",
    )


def _comparable(vocabulary: Vocabulary) -> list[str]:
    """Return the tokens in use; llama.cpp's converter writes spaces in added tokens as such, tokenizer.json as ▁."""
    typed = zip(vocabulary.tokens, vocabulary.types, strict=True)
    return [
        token.replace("▁", " ") if type == TokenType.USER_DEFINED else token
        for token, type in typed
        if type != TokenType.UNUSED
    ]


def _begin_finding(a: OpenedModel, b: OpenedModel) -> Finding | None:
    """Return how often each model puts its begin of text before a text, where they differ."""
    counts = []
    for model in (a, b):
        bos, ids = model.vocabulary.special.get("bos_token"), model.token_ids("a", markup=True)
        counts.append(next((i for i, token in enumerate(ids) if token != bos), len(ids)))
    if counts[0] == counts[1]:
        return None
    times = ["never", "once", "twice"]
    said = [times[count] if count < len(times) else f"{count} times" for count in counts]
    return Finding(
        BEGIN_OF_TEXT,
        f"a text begins with its begin of text {said[0]} in {a.called} and {said[1]} in {b.called}",
    )


def _without_bos(model: OpenedModel, ids: list[int]) -> list[int]:
    bos = model.vocabulary.special.get("bos_token")
    first = next((i for i, token in enumerate(ids) if token != bos), len(ids))
    return ids[first:]


def _reason(a: OpenedModel, b: OpenedModel) -> str:
    """Say which part of the vocabularies makes token ids differ, as far as it shows."""
    ours, theirs = a.vocabulary, b.vocabulary
    if ours.kind != theirs.kind:
        return f" ({a.called} merges as {ours.kind}, {b.called} as {theirs.kind})"
    if ours.pre != theirs.pre:
        return f" ({a.called} splits text as {ours.pre}, {b.called} as {theirs.pre})"
    if ours.merges != theirs.merges:
        return " (their merges differ)"
    if ours.adds_space != theirs.adds_space:
        return " (only one of them puts a space before a text)"
    kinds = [(token, x, y) for token, x, y in zip(ours.tokens, ours.types, theirs.types) if x != y]
    return (
        f" (the token {kinds[0][0]!r} is {kinds[0][1].name} in one, {kinds[0][2].name} in the other)"
        if kinds
        else ""
    )


def template_findings(a: OpenedModel, b: OpenedModel) -> Iterator[Finding]:
    """Compare chat templates by what they write for twenty conversations."""
    templates = [bool(model.vocabulary.chat_template) for model in (a, b)]
    if templates[0] != templates[1]:
        yield Finding(TEMPLATE, f"only {a.called if templates[0] else b.called} has a chat template")
        return
    rendered = [(a.render(messages), b.render(messages)) for messages in conversations()]
    differing = [(ours, theirs) for ours, theirs in rendered if ours != theirs]
    if not differing:
        return
    ours, theirs = differing[0]
    if ours is None or theirs is None:
        yield Finding(
            TEMPLATE, f"{len(differing)} of {len(rendered)} conversations are refused by one of them"
        )
        return
    bos = a.vocabulary.token_of("bos_token")
    counts = [_leading(text, bos) for text in (ours, theirs)]
    if bos and counts[0] != counts[1]:
        yield Finding(
            BEGIN_OF_TEXT,
            f"the chat template writes {bos!r} {counts[0]} times before a conversation in {a.called}, "
            f"{counts[1]} times in {b.called}",
        )
        if ours[counts[0] * len(bos) :] == theirs[counts[1] * len(bos) :]:
            return
    at = next((i for i, (x, y) in enumerate(zip(ours, theirs)) if x != y), min(len(ours), len(theirs)))
    yield Finding(
        TEMPLATE,
        f"{len(differing)} of {len(rendered)} conversations are written differently: at character {at} "
        f"{ours[at : at + 40]!r} in {a.called} and {theirs[at : at + 40]!r} in {b.called}",
    )


def _leading(text: str, bos: str | None) -> int:
    count = 0
    while bos and text.startswith(bos * (count + 1)):
        count += 1
    return count


def stop_findings(a: OpenedModel, b: OpenedModel) -> Iterator[Finding]:
    """Compare the tokens on which generation ends."""
    for one, other in ((a, b), (b, a)):
        missed = [stop for stop in one.stops if not other.stops_on(stop)]
        if missed:
            names = [one.vocabulary.tokens[stop] for stop in missed]
            yield Finding(
                STOP_TOKENS, f"generation ends on {names} in {one.called} and not in {other.called}"
            )
