"""A linear model over the words of an input, which a job may ask beside its language model.

It reads the whole input, where the language model reads what its context holds. A person can read what it learnt:
numbers for each word.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from tinsmith.base.errors import BundleError
from tinsmith.base.files import write_atomic

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

FILE = "words.json"  # beside job.json
WORD = re.compile(r"\w+")
PART = "~"  # begins a term that is a part of a word; no word holds it
PART_LENGTHS = (3, 4, 5)  # characters of such parts, the space before and after a word included
MOST_TERMS = 30_000  # words and pairs of words, and as many parts of words: the most frequent
MOST_WEIGHTS = 1_000_000  # of all terms and labels, about 8 bytes each in the file
LEAST_EXAMPLES = (
    2  # that hold a term: what one example alone holds tells nothing of others, and may be private
)
MOST_EXAMPLES = 30_000  # that it learns from
STRENGTH = 16.0  # C of logistic regression; its tone is set by its weight beside the language model
_ABSENT = -20.0  # bias of a label that no example has
_DIGITS = 4  # of what is stored

Floats = NDArray[np.float64]


class WordModel(BaseModel):
    """Logistic regression on TF-IDF of words, pairs of neighbours, and parts of words."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    labels: tuple[str, ...]
    bias: tuple[float, ...]  # by label
    terms: dict[str, tuple[float, ...]]  # of a term: its inverse document frequency, and a weight by label

    @model_validator(mode="after")
    def _is_a_table(self) -> WordModel:
        width = 1 + len(self.labels)
        if len(self.bias) != len(self.labels) or any(len(row) != width for row in self.terms.values()):
            raise ValueError("bias and terms need a number for each label")
        return self

    @cached_property
    def _numbers(self) -> tuple[dict[str, int], Floats, Floats]:
        """Return the row of each term, and of all terms idf (F,) and weights (F, L)."""
        table = np.array(list(self.terms.values())).reshape(len(self.terms), 1 + len(self.labels))
        return {term: row for row, term in enumerate(self.terms)}, table[:, 0], table[:, 1:]

    def log_p(self, text: str) -> dict[str, float]:
        """Return ln p of each label of an input."""
        rows, idf, weights = self._numbers
        scores = np.array(self.bias)
        for terms in (terms_of(text), parts_of(text)):
            if counts := Counter(rows[term] for term in terms if term in rows):
                found = list(counts)
                values = (1 + np.log(list(counts.values()))) * idf[found]
                scores = scores + (values / np.linalg.norm(values)) @ weights[found]
        scores = scores - scores.max()
        told = scores - math.log(np.exp(scores).sum())
        return dict(zip(self.labels, told.tolist(), strict=True))

    def write(self, directory: Path) -> None:
        """Write `words.json` into a directory."""
        write_atomic(directory / FILE, self.model_dump_json() + "\n")


def read_words(directory: Path) -> WordModel:
    """Read `words.json` of a directory. Raises BundleError for one that is missing or damaged."""
    path = directory / FILE
    try:
        return WordModel.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        what = "is missing" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise BundleError(
            f"{what}, though the job's answers depend on it",
            where=str(path),
            next_step="restore the bundle from a copy, or build it again",
        ) from error


def terms_of(text: str) -> list[str]:
    """Return the words of a text in lower case, and each pair of neighbours."""
    words = [word.lower() for word in WORD.findall(text)]
    return words + [f"{first} {second}" for first, second in pairwise(words)]


def parts_of(text: str) -> list[str]:
    """Return the parts of the words of a text in lower case: what tells in every spelling, and without spaces."""
    padded = (f" {word.lower()} " for word in WORD.findall(text))
    return [
        PART + word[start : start + length]
        for word in padded
        for length in PART_LENGTHS
        for start in range(len(word) - length + 1)
    ]


def fit_words(
    labels: tuple[str, ...],
    learn: tuple[Sequence[str], Sequence[str]],
    validation: tuple[Sequence[str], Sequence[str]],
    seed: int,
) -> tuple[WordModel, Floats] | None:
    """Fit a model to texts and their labels.

    Returns the model, learnt from both parts, and ln p of the labels (N, L) of validation texts, by the model learnt
    from the first part alone. Returns None where there is nothing to tell apart.
    """
    from scipy.sparse import hstack, vstack

    rows = np.random.default_rng(seed).permutation(len(learn[0]))[:MOST_EXAMPLES]
    texts, truth = [learn[0][row] for row in rows], _numbered(labels, [learn[1][row] for row in rows])
    if len(np.unique(truth)) < 2:
        return None
    vectors = [_vectors(analyzer, len(labels)) for analyzer in (terms_of, parts_of)]
    try:
        matrix = hstack([one.fit_transform(texts) for one in vectors], format="csr")
    except ValueError:  # no word stands in two texts
        return None
    right, told = _numbered(labels, validation[1]), np.empty((0, len(labels)))
    if len(right):
        asked = hstack([one.transform(validation[0]) for one in vectors], format="csr")
        told = _log_p(_fit(matrix, truth, len(labels)), asked)
        matrix, truth = vstack([matrix, asked], format="csr"), np.concatenate([truth, right])
    weights, bias = _fit(matrix, truth, len(labels))
    idf = np.concatenate([one.idf_ for one in vectors])
    terms = [term for one in vectors for term in one.get_feature_names_out().tolist()]
    table = np.column_stack([idf, weights]).round(_DIGITS).tolist()
    rows_of = dict(zip(terms, map(tuple, table), strict=True))
    return WordModel(labels=labels, bias=tuple(bias.round(_DIGITS).tolist()), terms=rows_of), told


def _vectors(analyzer: Callable[[str], list[str]], labels: int) -> TfidfVectorizer:
    from sklearn.feature_extraction.text import TfidfVectorizer

    most = min(MOST_TERMS, MOST_WEIGHTS // (2 * labels))
    return TfidfVectorizer(analyzer=analyzer, min_df=LEAST_EXAMPLES, max_features=most, sublinear_tf=True)


def _numbered(labels: tuple[str, ...], answers: Sequence[str]) -> NDArray[np.int64]:
    return np.array([labels.index(answer) for answer in answers], dtype=np.int64)


def _fit(matrix: csr_matrix, truth: NDArray[np.int64], labels: int) -> tuple[Floats, Floats]:
    """Return the weights (F, L) and biases (L,) of a logistic regression."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=STRENGTH, max_iter=300, tol=1e-3).fit(matrix, truth)
    weights, bias = np.zeros((matrix.shape[1], labels)), np.full(labels, _ABSENT)
    if len(model.classes_) == 2:  # one column tells them apart
        bias[model.classes_], weights[:, model.classes_[1]] = [0.0, model.intercept_[0]], model.coef_[0]
    else:
        bias[model.classes_], weights[:, model.classes_] = model.intercept_, model.coef_.T
    return weights, bias


def _log_p(fitted: tuple[Floats, Floats], matrix: csr_matrix) -> Floats:
    weights, bias = fitted
    scores = matrix @ weights + bias
    scores -= scores.max(axis=1, keepdims=True)
    told: Floats = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return told
