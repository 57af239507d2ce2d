"""Bits per byte: how well a model predicts held-out text, whatever its tokenizer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from tinsmith.base.errors import AssetError
from tinsmith.evaluate.probe import HeldOutText
from tinsmith.evaluate.scoring.tree import Tree
from tinsmith.evidence.bootstrap import Statistic, only, overlap_slices, ratio
from tinsmith.evidence.family import (
    Family,
    FamilyCost,
    FigureContext,
    Figures,
    Items,
    MetricSpec,
    contradiction,
)
from tinsmith.evidence.schema import Comparison, MetricRow
from tinsmith.recipe import Recipe
from tinsmith.tokens.encoding import context_token, encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TREATMENT = (
    "Every subject is scored on the same bytes. A text of at most `window` tokens is one window; a longer "
    "one goes on in windows that overlap by half, in which only tokens not yet scored count, so each is "
    "scored once. The first token is scored too, after the subject's begin-of-text token, or after its "
    "end-of-text token where it has none."
)


class BitsRow(TypedDict):
    """The bits that a document's bytes take; a baseline has no tokens."""

    doc_id: str
    bytes: int
    tokens: int | None
    bits: float
    overlap: float


def choose_documents(
    texts: dict[str, str], overlaps: dict[str, float], *, documents: int, characters: int, seed: int
) -> list[HeldOutText]:
    """Draw at most `documents` texts, by ids and seed, and cut each to its first `characters` characters."""
    drawn = draw_documents(texts, documents, seed=seed)
    return [
        HeldOutText(doc_id, texts[doc_id][:characters], overlaps.get(doc_id, 0.0))
        for doc_id in drawn
        if texts[doc_id]
    ]


def draw_documents(ids: Iterable[str], documents: int, *, seed: int) -> list[str]:
    """Draw at most `documents` of all held-out documents; `verify` draws them again."""
    names = sorted(ids)
    return [names[i] for i in np.random.default_rng(seed).permutation(len(names))[:documents]]


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
    documents: Sequence[HeldOutText], tokenizers: dict[str, PreTrainedTokenizerFast]
) -> list[HeldOutText]:
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

    def __init__(self, document: HeldOutText, tokenizer: PreTrainedTokenizerFast, window: int) -> None:
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

    def row(self, values: Sequence[dict[int, float]]) -> BitsRow:
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


def check(items: Items) -> None:
    """Raise BundleError unless all subjects scored the same bytes of the same documents, each once, in one order.

    Where the texts are stored, they must be those documents, and as long.
    """
    stored: dict[str, list[BitsRow]] = items.rows(FAMILY.kind)
    first: list[tuple[str, int, float]] = []
    for subject, rows in stored.items():
        own = [(row["doc_id"], row["bytes"], row["overlap"]) for row in rows]
        first = first or own
        if own != first or len({row["doc_id"] for row in rows}) < len(rows):
            what = "does not score the same bytes of the same documents as the other subjects, each once"
            raise contradiction(items.path(FAMILY.kind, subject), what)
    sizes = {doc_id: len(text.encode("utf-8")) for doc_id, text in items.texts.items()}
    if sizes and sizes != {doc_id: size for doc_id, size, _ in first}:
        raise contradiction(items.folder / "texts.jsonl", "holds other texts than those that were scored")


def figures(context: FigureContext) -> Figures:
    """Return bits per byte of each subject on all documents, and on the halves with low and high overlap."""
    rows: dict[str, list[BitsRow]] = context.items.rows("bits")
    if not rows:
        return Figures()
    first = next(iter(rows.values()))
    bootstrap = context.bootstrap(len(first))
    slices = {"": list(range(len(first))), **overlap_slices([row["overlap"] for row in first])}
    whole = {subject: statistic(own) for subject, own in rows.items()}
    metrics: list[MetricRow] = []
    comparisons: list[Comparison] = []
    for part, members in slices.items():
        chosen = {subject: only(members, len(first), one) for subject, one in whole.items()}
        size = len(members)
        metrics += [
            FAMILY.row("bits_per_byte", (part,), subject, bootstrap.estimate(one), size, slice=part)
            for subject, one in chosen.items()
        ]
        comparisons += [
            FAMILY.compare("bits_per_byte", (part,), chosen, pair, bootstrap, items=size, slice=part)
            for pair in context.pairs(list(chosen))
        ]
    return Figures(metrics, comparisons)


def statistic(rows: Sequence[BitsRow]) -> Statistic:
    """Return bits per byte as a statistic over documents."""
    return ratio([row["bits"] for row in rows], [row["bytes"] for row in rows])


def _cost(recipe: Recipe, bytes_per_token: float) -> FamilyCost:
    config = recipe.evaluate
    return FamilyCost(config.documents * config.characters / bytes_per_token, models="all")


FAMILY = Family(
    kind="bits",
    order=10,
    metrics=(MetricSpec("bits_per_byte", "bits/byte", "Bits per byte", higher_is_better=False),),
    figures=figures,
    check=check,
    cost=_cost,
    not_measured="The stage evaluate left no measurements, so no claim about quality can be made.",
)
