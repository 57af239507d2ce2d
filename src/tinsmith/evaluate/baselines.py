"""Baselines: simple methods without a language model, measured on the same items as the models.

A compressor and an n-gram model predict text; the commonest answer and a linear model answer a task's questions; form
alone (length, shared words, the document unread) answers questions made from documents, and shows what these give away.
A new baseline is one row of `BASELINES`.
"""

from __future__ import annotations

import bz2
import collections
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tinsmith.base.errors import CorpusError
from tinsmith.base.files import write_jsonl
from tinsmith.evaluate.probe import HeldOutText
from tinsmith.evidence.items import Item, choice_row
from tinsmith.evidence.schema import Role, Subject

ORDER = 8  # bytes in the longest n-gram: they fit in one 64-bit integer
NGRAM_BYTES = 16_000_000
PRIMING_BYTES = 700_000  # with a document of up to 200 kB it fits into one block of bzip2
PRIMING_SAMPLES = 400
_NEAR = 400  # characters before the answer whose words are compared
_WORD = re.compile(r"\w+")


def majority(labels: Sequence[str], count: int) -> list[str]:
    """Answer every item with the commonest label of the training documents."""
    _two_classes(labels)
    counts = collections.Counter(labels)
    return [min(counts, key=lambda label: (-counts[label], label))] * count


def tfidf(texts: Sequence[str], labels: Sequence[str], questions: Sequence[str]) -> list[str]:
    """Answer by logistic regression on TF-IDF of words and word pairs in training documents' openings."""
    _two_classes(labels)
    vectors = TfidfVectorizer(
        sublinear_tf=True, ngram_range=(1, 2), max_features=100_000, token_pattern=r"(?u)\b\w+\b"
    )
    model = LogisticRegression(C=10.0, max_iter=300)
    try:
        model.fit(vectors.fit_transform(texts), list(labels))
    except ValueError as error:
        raise CorpusError(
            f"TF-IDF finds nothing to learn from ({error})",
            where="evaluate",
            next_step="check the task's documents",
        ) from error
    return [str(label) for label in model.predict(vectors.transform(questions))]


def _two_classes(labels: Sequence[str]) -> None:
    if len(set(labels)) < 2:
        raise CorpusError(
            f"the training documents give only {len(set(labels))} different answer(s) to the task; two are needed",
            where="tasks",
            next_step="check the answer template, or add documents of other kinds",
        )


def compressor_bits(training: Sequence[str], documents: Sequence[str], *, seed: int) -> list[float]:
    """Return the bits that each document adds to bzip2's output after priming with training text.

    The priming is a draw of equal openings of training documents that, with the document, fills one block.
    """
    ids = np.random.default_rng(seed).permutation(len(training))[:PRIMING_SAMPLES]
    share = max(1, PRIMING_BYTES // max(1, len(ids)))
    priming = b"\n\n".join(training[i].encode("utf-8")[:share] for i in ids)
    alone = len(bz2.compress(priming))
    return [8.0 * (len(bz2.compress(priming + b"\n\n" + text.encode("utf-8"))) - alone) for text in documents]


@dataclass(frozen=True)
class _Level:
    """Sorted n-grams of one length with counts, and sums over grams that share all but the last byte."""

    grams: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    totals: np.ndarray
    kinds: np.ndarray
    discount: float


class NgramModel:
    """Interpolated Kneser-Ney over bytes (Kneser and Ney, 1995; Chen and Goodman, 1999), order 8."""

    def __init__(self, texts: Sequence[str], *, order: int = ORDER) -> None:
        assert 1 <= order <= 8
        self.order = order
        grams = np.concatenate([_grams(text, order) for text in texts] or [np.empty(0, np.uint64)])
        values, counts = np.unique(grams, return_counts=True)
        self.levels: list[_Level] = []
        for length in range(order, 0, -1):
            self.levels.append(_level(values, counts))
            # Below the top a gram counts once for each different byte before it.
            values, counts = np.unique(values & np.uint64(256 ** (length - 1) - 1), return_counts=True)
        self.levels.reverse()

    def probabilities(self, text: str) -> np.ndarray:
        """Return the probability of each byte of a text after those before it."""
        queries = _grams(text, self.order)
        found = np.full(len(queries), 1 / 256)
        for length, level in enumerate(self.levels, 1):
            mask = np.uint64(2 ** (8 * length) - 1)
            found = _interpolate(level, queries & mask, found)
        return found

    def bits(self, text: str) -> float:
        """Return the bits of a text's bytes."""
        return float(-np.log2(self.probabilities(text)).sum())


def draw_training(training: Sequence[str], *, seed: int) -> list[str]:
    """Draw training texts, the last one cut, up to what an n-gram model is made of."""
    chosen: list[str] = []
    budget = NGRAM_BYTES
    for i in np.random.default_rng(seed).permutation(len(training)):
        chosen.append(training[i][: max(0, budget)])
        budget -= len(training[i].encode("utf-8"))
        if budget <= 0:
            break
    return chosen


def _grams(text: str, order: int) -> np.ndarray:
    """Return one integer per byte: the byte and the order - 1 before it; zeros stand before the text."""
    data = np.frombuffer(text.encode("utf-8"), dtype=np.uint8).astype(np.uint64)
    padded = np.concatenate([np.zeros(order - 1, np.uint64), data])
    grams = np.zeros(len(data), np.uint64)
    for place in range(order):
        grams = (grams << np.uint64(8)) | padded[place : place + len(data)]
    return grams


def _level(grams: np.ndarray, counts: np.ndarray) -> _Level:
    contexts, starts = np.unique(grams >> np.uint64(8), return_index=True)
    totals = np.add.reduceat(counts, starts) if len(starts) else counts
    kinds = np.diff(np.append(starts, len(grams)))
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    discount = once / (once + 2 * twice) if once and twice else 0.5
    return _Level(grams, counts, contexts, totals, kinds, min(max(discount, 0.1), 0.95))


def _interpolate(level: _Level, queries: np.ndarray, lower: np.ndarray) -> np.ndarray:
    count = _look_up(level.grams, level.counts, queries)
    contexts = queries >> np.uint64(8)
    total = _look_up(level.contexts, level.totals, contexts)
    kinds = _look_up(level.contexts, level.kinds, contexts)
    safe = np.maximum(total, 1)
    mixed = np.maximum(count - level.discount, 0) / safe + level.discount * kinds / safe * lower
    return np.where(total > 0, mixed, lower)


def _look_up(keys: np.ndarray, values: np.ndarray, queries: np.ndarray) -> np.ndarray:
    if not len(keys):
        return np.zeros(len(queries))
    places = np.minimum(np.searchsorted(keys, queries), len(keys) - 1)
    return np.where(keys[places] == queries, values[places], 0).astype(float)


def by_length(items: Sequence[Item]) -> list[str]:
    """Answer with the longest choice, or always with the shortest where that is right more often."""
    return _better(items, lambda item, choice: len(choice))


def by_overlap(items: Sequence[Item]) -> list[str]:
    """Answer with the choice that shares most of its words with the text before it, or always least."""

    return _better(items, lambda item, choice: shared_words(item.text, choice))


def shared_words(text: str, choice: str) -> float:
    """Return the share of a choice's words that stand in the text's end."""
    known, words = set(_words(text[-_NEAR:])), _words(choice)
    return sum(word in known for word in words) / max(1, len(words))


def unread(items: Sequence[Item], model: NgramModel) -> list[str]:
    """Answer with the choice that a byte n-gram model of the training text finds most likely, the document unread."""
    answers = []
    for item in items:
        scores = {choice: -model.bits(item.continuation(choice)) for choice in item.choices}
        answers.append(item.top_choice(scores))
    return answers


def _better(items: Sequence[Item], rank: Callable[[Item, str], float]) -> list[str]:
    """Return the answers of the direction that is right more often: the baseline should be as strong as possible."""
    most, least = [], []
    for item in items:
        ranked = sorted((rank(item, choice), choice) for choice in item.choices)
        most.append(ranked[-1][1])
        least.append(ranked[0][1])

    def right(answers: list[str]) -> int:
        return sum(answer == item.answer for answer, item in zip(answers, items, strict=True))

    return max(most, least, key=right)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


@dataclass(frozen=True)
class BaselineWork:
    """What baselines answer, and what they learn from: training texts, and a task's questions on them."""

    texts: Sequence[HeldOutText]
    questions: Mapping[str, Sequence[Item]]
    training: Sequence[str]
    examples: Sequence[Item]
    seed: int

    @cached_property
    def ngram(self) -> NgramModel:
        """Return the n-gram model of the training text, made once."""
        return NgramModel(draw_training(self.training, seed=self.seed))

    def labelled(self, task: str) -> tuple[list[str], list[str]]:
        """Return the openings of the training documents and their answers to a task."""
        own = [item for item in self.examples if item.task == task]
        return [item.text for item in own], [item.answer for item in own]


@dataclass(frozen=True)
class Baseline:
    """A baseline: its name in files and tables, its title, and what it can do.

    `bits` returns the bits of each text. `answer` returns an answer to each question of one task: to tasks whose
    answers are classes where `classes` is true, else to all others.
    """

    name: str
    title: str
    bits: Callable[[BaselineWork], list[float]] | None = None
    answer: Callable[[BaselineWork, Sequence[Item]], list[str]] | None = None
    classes: bool = False

    @property
    def subject(self) -> Subject:
        """Return its row among the subjects."""
        return Subject(subject=self.name, name=self.title, role=Role.BASELINE)


def _compressor(work: BaselineWork) -> list[float]:
    return compressor_bits(work.training, [text.text for text in work.texts], seed=work.seed)


def _ngram(work: BaselineWork) -> list[float]:
    return [work.ngram.bits(text.text) for text in work.texts]


def _majority(work: BaselineWork, items: Sequence[Item]) -> list[str]:
    return majority(work.labelled(items[0].task)[1], len(items))


def _tfidf(work: BaselineWork, items: Sequence[Item]) -> list[str]:
    return tfidf(*work.labelled(items[0].task), [item.text for item in items])


BASELINES = (
    Baseline("compressor", "bzip2 primed with the training text", bits=_compressor),
    Baseline("ngram", "byte 8-gram model of the training text", bits=_ngram),
    Baseline("majority", "commonest answer", answer=_majority, classes=True),
    Baseline("tfidf", "TF-IDF with logistic regression", answer=_tfidf, classes=True),
    Baseline("length", "longest or shortest choice", answer=lambda work, items: by_length(items)),
    Baseline("overlap", "words shared with the text before", answer=lambda work, items: by_overlap(items)),
    Baseline(
        "unread",
        "byte 8-gram model, document unread",
        answer=lambda work, items: unread(items, work.ngram),
    ),
)


def measure_baselines(work: BaselineWork, items: Path) -> list[Subject]:
    """Store what each baseline gives in `items`; return those that had something to do, in the order of `BASELINES`."""
    found = []
    for baseline in BASELINES:
        if baseline.bits:
            rows = [
                {"doc_id": text.doc_id, "bytes": text.bytes, "bits": bits, "overlap": text.overlap}
                for text, bits in zip(work.texts, baseline.bits(work), strict=True)
            ]
            write_jsonl(items / f"bits-{baseline.name}.jsonl", rows)
            found.append(baseline.subject)
        if baseline.answer:
            answers = [
                choice_row(item, answer)
                for asked in work.questions.values()
                if asked and asked[0].has_classes == baseline.classes
                for item, answer in zip(asked, baseline.answer(work, asked), strict=True)
            ]
            if answers:
                write_jsonl(items / f"exam-{baseline.name}.jsonl", answers)
                found.append(baseline.subject)
    return found
