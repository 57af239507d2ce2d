"""Learn a score from examples of good documents against a sample of the corpus.

As in DataComp-LM (Li et al. 2024): a fast linear classifier of good against ordinary text, here on hashed words and
pairs of words.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tinsmith.base.errors import CorpusError
from tinsmith.corpus.engine import DataFrame
from tinsmith.corpus.steps.sample import SampleDocument, choose, fold_of, order_key, read_texts
from tinsmith.corpus.steps.score.agreement import Figure, auc, resampled
from tinsmith.corpus.steps.score.excerpt import windows
from tinsmith.corpus.steps.score.grams import Weights, linear_value, matrix
from tinsmith.corpus.text.kernels import fold_words, hash_ngrams
from tinsmith.corpus.text.repair import document_id, repair
from tinsmith.corpus.text.words import Hashes

SAMPLE = 2_000  # documents of either side
MIN_EXEMPLARS = 10
_FOLDS = 5
_NGRAM = 13
_NEAR = 0.5  # share of 13-grams from which two texts count as the same
_STRENGTH = 10.0  # inverse of the penalty


class Classifier(NamedTuple):
    """Weights of words, and the line that turns a value into a logit."""

    weights: Weights
    slope: float
    offset: float

    def score(self, text: str) -> float:
        """Return the probability that a document is good, if good and ordinary ones were equally frequent."""
        return sigmoid(self.slope * linear_value(text, self.weights) + self.offset)


class Learnt(NamedTuple):
    """A classifier, its cross-validated AUC, and counts of what it was learnt from."""

    classifier: Classifier
    auc: Figure
    counts: dict[str, float]


def sigmoid(value: float) -> float:
    """Return 1 / (1 + exp(-value)) without overflow."""
    return 1.0 / (1.0 + math.exp(-value)) if value >= 0 else math.exp(value) / (1.0 + math.exp(value))


def read_exemplars(sources: Sequence[str]) -> tuple[list[SampleDocument], Counter[str]]:
    """Return the distinct documents of the files in order of doc_id, and counts of unreadable files by reason."""
    from tinsmith.corpus.readers.pool import FileLimits, read_files
    from tinsmith.corpus.readers.sources import find_files

    try:
        paths = [file.path for file in find_files(sources).files]
    except CorpusError as error:
        raise CorpusError(
            error.what,
            where=f"refine.score.exemplars.sources ({', '.join(sources)})",
            next_step="name a folder, file or glob of good documents",
        ) from error
    found: dict[str, str] = {}
    refused: Counter[str] = Counter()
    for result, _ in read_files(paths, FileLimits()):
        refused.update([result.reason] if result.reason else [])
        for document in result.documents:
            text = repair(document["text"])
            found[document_id(text)] = text
    return [SampleDocument(name, found[name]) for name in sorted(found)], refused


def learn(sources: Sequence[str], documents: DataFrame, held_out: DataFrame, seed: int) -> Learnt:
    """Learn from exemplars against a seeded sample of the training documents.

    Exemplars that a held-out document repeats are left out, and so are training documents that repeat an exemplar.
    Raises CorpusError if fewer than MIN_EXEMPLARS exemplars or documents are left.
    """
    read, refused = read_exemplars(sources)
    clean = _apart(read, held_out)
    good = sorted(clean, key=lambda document: order_key(seed, document.doc_id))[:SAMPLE]
    _check(len(good), read, clean, refused)
    index = ExemplarIndex([document.text for document in good])
    ordinary, repeated = [], 0
    for document in read_texts(documents, choose(documents, SAMPLE, seed)):
        if index.repeats(document.text):
            repeated += 1
        else:
            ordinary.append(SampleDocument(document.doc_id, "\n\n".join(windows(document.text))))
    if len(ordinary) < MIN_EXEMPLARS:
        raise CorpusError(
            f"only {len(ordinary)} training documents are not exemplars, at least {MIN_EXEMPLARS} are needed",
            where="refine.score.exemplars",
            next_step='name fewer exemplars, or set refine.score.kind = "ready"',
        )
    classifier, figure = _fit(good, ordinary)
    counts: dict[str, float] = {
        "exemplars": len(good),
        "exemplar_files_unreadable": refused.total(),
        "exemplars_near_held_out": len(read) - len(clean),
        "ordinary": len(ordinary),
        "ordinary_near_exemplars": repeated,
    }
    return Learnt(classifier, figure, counts)


class ExemplarIndex:
    """Exemplars by their 13-grams of words; a shorter text is a single gram."""

    def __init__(self, texts: Sequence[str]) -> None:
        grams = [_grams(text) for text in texts]
        self.sizes = np.array([max(1, len(each)) for each in grams])
        flat = np.concatenate([np.zeros(0, dtype=np.uint64), *grams])
        owners = np.repeat(np.arange(len(grams)), [len(each) for each in grams])
        order = np.argsort(flat, kind="stable")
        self.grams, self.owners = flat[order], owners[order]
        self.marked = np.zeros(len(flat), dtype=bool)

    def repeats(self, text: str) -> bool:
        """Return whether one exemplar contains half of a text's grams, or the text half of an exemplar's."""
        grams = _grams(text)
        shared = np.bincount(self.owners[self._matches(grams)], minlength=len(self.sizes))
        return bool((shared >= _NEAR * max(1, len(grams))).any() or (shared >= _NEAR * self.sizes).any())

    def mark(self, text: str) -> NDArray[np.int64]:
        """Mark the grams that exemplars share with a text; return the exemplars that contain half of it."""
        grams = _grams(text)
        matches = self._matches(grams)
        self.marked[matches] = True
        shared = np.bincount(self.owners[matches], minlength=len(self.sizes))
        return np.flatnonzero(shared >= _NEAR * max(1, len(grams)))

    def covered(self) -> NDArray[np.int64]:
        """Return the exemplars of which half the grams are marked."""
        shared = np.bincount(self.owners[self.marked], minlength=len(self.sizes))
        return np.flatnonzero(shared >= _NEAR * self.sizes)

    def _matches(self, grams: Hashes) -> NDArray[np.int64]:
        starts = np.searchsorted(self.grams, grams, side="left")
        counts = np.searchsorted(self.grams, grams, side="right") - starts
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(starts, counts) + within


def _grams(text: str) -> Hashes:
    words = fold_words(text).hashes
    return np.unique(hash_ngrams(words, max(1, min(_NGRAM, len(words)))))


def _apart(read: list[SampleDocument], held_out: DataFrame) -> list[SampleDocument]:
    """Return the exemplars that no held-out document repeats."""
    index = ExemplarIndex([document.text for document in read])
    near: set[int] = set()
    for batch in held_out.select("text").to_arrow_iter():
        for text in batch["text"]:
            near.update(index.mark(text.as_py() or "").tolist())
    near.update(index.covered().tolist())
    return [document for number, document in enumerate(read) if number not in near]


def _check(
    count: int, read: list[SampleDocument], clean: list[SampleDocument], refused: Counter[str]
) -> None:
    if count >= MIN_EXEMPLARS:
        return
    why = [f"{len(read) - len(clean)} repeat held-out documents"] if len(clean) < len(read) else []
    why += [f"{number} files are {reason}" for reason, number in sorted(refused.items())]
    raise CorpusError(
        f"only {count} exemplars can be used, at least {MIN_EXEMPLARS} are needed{': ' if why else ''}{', '.join(why)}",
        where="refine.score.exemplars.sources",
        next_step='name more good documents, or set refine.score.kind = "ready"',
    )


def _fit(good: list[SampleDocument], ordinary: list[SampleDocument]) -> tuple[Classifier, Figure]:
    """Fit the weights on all documents; calibration and AUC come from left-out folds."""
    every = [*good, *ordinary]
    pieces = [windows(document.text) for document in every]
    owners = np.repeat(np.arange(len(every)), [len(part) for part in pieces])
    rows = matrix(piece for part in pieces for piece in part)
    labels = np.array([1.0] * len(good) + [0.0] * len(ordinary))
    folds = np.array([fold_of(document.doc_id, _FOLDS) for document in every])
    values = np.zeros(len(every))
    for fold in range(_FOLDS):
        inside, outside = folds[owners] != fold, folds[owners] == fold
        if not outside.any() or len(np.unique(labels[owners[inside]])) < 2:
            continue
        weights, bias = _regress(rows[inside], labels[owners[inside]], owners[inside])
        sums = np.bincount(owners[outside], rows[outside] @ weights + bias, minlength=len(every))
        values += sums / np.bincount(owners, minlength=len(every))
    weights, bias = _regress(rows, labels[owners], owners)
    slope, offset = _calibrate(values, labels)
    return Classifier(weights, slope, slope * bias + offset), resampled(auc, labels.tolist(), values.tolist())


def _regress(rows: sparse.csr_matrix, labels: Weights, owners: NDArray[np.int64]) -> tuple[Weights, float]:
    """Return weights and bias of a logistic regression that weighs both sides, and all documents, equally."""
    from sklearn.linear_model import LogisticRegression

    each = 1.0 / np.bincount(owners)[owners]
    for side in (0.0, 1.0):
        each[labels == side] *= len(np.unique(owners)) / (2.0 * each[labels == side].sum())
    model = LogisticRegression(C=_STRENGTH, max_iter=300, tol=1e-4)
    used = np.unique(rows.indices)  # fitting words that no text has would take time
    model.fit(rows[:, used], labels, sample_weight=each)
    weights = np.zeros(rows.shape[1])
    weights[used] = model.coef_[0]
    return weights, float(model.intercept_[0])


def _calibrate(values: Weights, labels: Weights) -> tuple[float, float]:
    """Return the line that turns left-out values into logits, with equal weight for both sides (Platt 1999)."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1.0, class_weight="balanced").fit(values[:, None], labels)
    return max(float(model.coef_[0, 0]), 1e-6), float(model.intercept_[0])
