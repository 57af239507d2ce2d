"""Bits per byte: how well a model foretells text, whatever its tokenizer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerFast

from tinsmith.base.errors import AssetError
from tinsmith.evaluate.scoring.tree import Tree
from tinsmith.tokens.encoding import context_token, encode

TREATMENT = (
    "Every subject is scored on the same bytes. A text of at most `window` tokens is one window; a longer "
    "one goes on in windows that overlap by half, in which only tokens not yet scored count, so each is "
    "scored once. The first token is scored too, after the subject's begin-of-text token, or after its "
    "end-of-text token where it has none."
)


@dataclass(frozen=True)
class Document:
    """The opening of a held-out document. `overlap` is its share of 13-grams seen in training."""

    doc_id: str
    text: str
    overlap: float

    @property
    def bytes(self) -> int:
        """Count the bytes of the text in UTF-8."""
        return len(self.text.encode("utf-8"))


def choose_documents(
    texts: dict[str, str], overlaps: dict[str, float], *, documents: int, characters: int, seed: int
) -> list[Document]:
    """Draw at most `documents` texts, by ids and seed, and cut each to its first `characters` characters."""
    ids = sorted(doc_id for doc_id, text in texts.items() if text)
    order = np.random.default_rng(seed).permutation(len(ids))[:documents]
    return [Document(ids[i], texts[ids[i]][:characters], overlaps.get(ids[i], 0.0)) for i in order]


def plan_windows(length: int, window: int) -> list[tuple[int, int, int]]:
    """Split positions 0..length-1 (0 is context only) into windows (start, first scored, end).

    Positions 1..length-1 are scored once each, those beyond the first window after `window // 2` others
    or more.
    """
    plan = [(0, 1, min(window, length))]
    while plan[-1][2] < length:
        first = plan[-1][2]
        start = first - window // 2
        plan.append((start, first, min(start + window, length)))
    return plan


def restores(tokenizer: PreTrainedTokenizerFast, text: str) -> bool:
    """Say whether the tokens of a text stand for all its bytes: decoding them gives the text again."""
    return (
        tokenizer.decode(
            encode(tokenizer, text), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        == text
    )


def restorable(
    documents: Sequence[Document], tokenizers: dict[str, PreTrainedTokenizerFast]
) -> list[Document]:
    """Return the documents that every tokenizer restores. Raises AssetError where one restores under half."""
    kept = list(documents)
    for name, tokenizer in tokenizers.items():
        good = [document for document in documents if restores(tokenizer, document.text)]
        if 2 * len(good) < len(documents) or not good:
            raise AssetError(
                f"its tokenizer restores only {len(good)} of {len(documents)} texts, so bytes "
                "would go unscored",
                where=name,
                next_step="leave this subject out, or use its Hugging Face directory",
            )
        kept = [document for document in kept if document in good]
    return kept


class TextScore:
    """One text placed into trees of tokens; adds up its bits once the trees are scored."""

    def __init__(self, document: Document, tokenizer: PreTrainedTokenizerFast, window: int) -> None:
        tokens = [context_token(tokenizer), *encode(tokenizer, document.text)]
        self.document, self.tokens = document, len(tokens) - 1
        self.trees: list[Tree] = []
        self.nodes: list[list[int]] = []
        for start, first, end in plan_windows(len(tokens), window):
            tree = Tree()
            nodes = tree.add(tokens[start:end])[first - start :]
            tree.ask(nodes)
            self.trees.append(tree)
            self.nodes.append(nodes)

    def row(self, values: Sequence[dict[int, float]]) -> dict[str, str | int | float]:
        """Return the stored item from the log-probabilities of `trees`, in their order."""
        nats = math.fsum(
            -found[node] for found, nodes in zip(values, self.nodes, strict=True) for node in nodes
        )
        return {
            "doc_id": self.document.doc_id,
            "bytes": self.document.bytes,
            "tokens": self.tokens,
            "bits": nats / math.log(2),
            "overlap": self.document.overlap,
        }
