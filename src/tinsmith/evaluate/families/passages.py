"""Openings of training and of held-out documents, and how a model foretells them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from tinsmith.base.progress import Advance
from tinsmith.evaluate.families.memorization import CONTINUATION, HELD_OUT, PREFIX, TRAIN
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.tokens.encoding import context_token, encode
from tinsmith.tokens.tasks import unit_hash

_CHARACTERS = 2000  # in which so many tokens lie, or the document is left out
_TOGETHER = 32  # passages read between two signs of progress
_LEAST_LIKELY = 0.2  # of the tokens, for Min-K%


@dataclass(frozen=True)
class Passage:
    """The opening of a document: as much text as prefix and continuation take in tokens of our model.

    `copies` counts the training documents that hold the text of its continuation.
    """

    doc_id: str
    part: str
    text: str
    copies: int


def choose_passages(
    training: Mapping[str, str],
    held_out: Mapping[str, str],
    tokenizer: PreTrainedTokenizerFast,
    *,
    limit: int,
    seed: int,
) -> list[Passage]:
    """Draw up to `limit` openings of each part that are long enough; members first."""
    chosen: list[Passage] = []
    for part, texts in ((TRAIN, training), (HELD_OUT, held_out)):
        names = sorted(texts, key=lambda name: unit_hash(seed, "leakage", name))
        own: list[Passage] = []
        for name in names:
            if len(own) == limit:
                break
            tokens = encode(tokenizer, texts[name][:_CHARACTERS])[: PREFIX + CONTINUATION]
            if len(tokens) == PREFIX + CONTINUATION:
                text = tokenizer.decode(tokens, clean_up_tokenization_spaces=False)
                end = tokenizer.decode(tokens[PREFIX:], clean_up_tokenization_spaces=False)
                # A document is held out whole, so copies are looked for in training text alone.
                copies = sum(end in other for other in training.values())
                own.append(Passage(name, part, text, copies))
        chosen += own
    return chosen


def read_passages(
    scorer: Scorer, tokenizer: PreTrainedTokenizerFast, passages: Sequence[Passage], advance: Advance
) -> list[dict[str, Any]]:
    """Return a row for each passage: how likely it is, and whether its second half is said word for word."""
    rows = []
    for start in range(0, len(passages), _TOGETHER):
        own = passages[start : start + _TOGETHER]
        found = scorer.read([read_passage(passage, tokenizer) for passage in own])
        rows += [leakage_row(passage, *values) for passage, values in zip(own, found, strict=True)]
        advance(len(own))
    return rows


def read_passage(passage: Passage, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Return a passage in a subject's own tokens, after its first one."""
    return [context_token(tokenizer), *encode(tokenizer, passage.text)]


def leakage_row(passage: Passage, log_probs: Sequence[float], likeliest: Sequence[bool]) -> dict[str, Any]:
    """Return the stored item of a passage from the log-probability of each token after the first, in nats.

    `likeliest` says of each whether no other token was likelier.
    """
    assert len(log_probs) == len(likeliest) > CONTINUATION
    lowest = sorted(log_probs)[: max(1, int(_LEAST_LIKELY * len(log_probs)))]
    return {
        "doc_id": passage.doc_id,
        "part": passage.part,
        "copies": passage.copies,
        "bytes": len(passage.text.encode()),
        "nats": -float(np.sum(log_probs)),
        "loss": -float(np.mean(log_probs)),
        "zlib": -float(np.sum(log_probs)) / len(zlib.compress(passage.text.encode())),
        "min_k": -float(np.mean(lowest)),
        "extracted": all(likeliest[-CONTINUATION:]),
    }
