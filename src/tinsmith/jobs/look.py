"""The first look: a linear model over words chooses the passages in which a field is asked for."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

WORD = re.compile(r"\w+")
KEPT_WORDS = 400  # by field, those of the largest weights
MOST_PASSAGES = 6  # asked for one field, at most
FOLDS = 3
MOST_ROWS = 8000  # passages to fit on


class FieldLook(BaseModel):
    """What tells a passage that holds a field: a weight for each word or pair of words that stands in it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    weights: dict[str, float]
    asked: int  # passages of an input in which the field is asked for
    recall: float  # share of values that these passages hold, of inputs that were not fitted on


class Look(BaseModel):
    """A linear model for each field."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    fields: dict[str, FieldLook]

    def scores(self, texts: Sequence[str]) -> dict[str, list[float]]:
        """Return for each field a score of each passage of one input: the higher, the likelier it holds a value."""
        words = [words_of(text, at, len(texts)) for at, text in enumerate(texts)]
        return {
            name: [
                math.fsum(look.weights[word] for word in passage & look.weights.keys()) for passage in words
            ]
            for name, look in self.fields.items()
        }


@dataclass(frozen=True)
class LookedAt:
    """An input's passages, and by field those that hold a value, and those that may and are not learnt from."""

    texts: Sequence[str]
    held: dict[str, frozenset[int]]
    doubtful: dict[str, frozenset[int]]


def words_of(text: str, at: int, passages: int) -> set[str]:
    """Return the words and pairs of neighbours of a passage, and where it stands in its input."""
    words = [word.lower() for word in WORD.findall(text)]
    # No word contains a colon, so places cannot be taken for words.
    places = {f"at:{10 * at // passages}", *(["at:first"] * (at == 0)), *(["at:last"] * (at == passages - 1))}
    return {*words, *(f"{first} {second}" for first, second in pairwise(words)), *places}


def fit_look(inputs: Sequence[LookedAt], fields: Sequence[str], seed: int) -> Look | None:
    """Fit a look on inputs of several passages; None where no input has more than one.

    A field is asked in as few passages as find all values but one in a hundred of what `MOST_PASSAGES` find, on
    inputs that were not fitted on.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    long = [one for one in inputs if len(one.texts) > 1]
    if not long:
        return None
    owner = np.repeat(np.arange(len(long)), [len(one.texts) for one in long])
    passages = [words_of(text, at, len(one.texts)) for one in long for at, text in enumerate(one.texts)]
    vectors = CountVectorizer(analyzer=list, binary=True, min_df=min(3, len(long)), dtype=np.float32)
    matrix = vectors.fit_transform([sorted(words) for words in passages])
    words = vectors.get_feature_names_out()
    looks = {}
    for name in fields:
        held = np.concatenate([[at in one.held[name] for at in range(len(one.texts))] for one in long])
        doubtful = np.concatenate(
            [[at in one.doubtful[name] for at in range(len(one.texts))] for one in long]
        )
        looks[name] = _fit_field(matrix, words, owner, held, doubtful, seed)
    return Look(fields=looks)


def _fit_field(
    matrix: csr_matrix,
    words: np.ndarray,
    owner: np.ndarray,
    held: np.ndarray,
    doubtful: np.ndarray,
    seed: int,
) -> FieldLook:
    """Fit one field: first on folds of the inputs, for how many passages to ask, then on all."""
    ranks = []
    fold = np.random.default_rng(seed).permutation(owner.max() + 1) % FOLDS
    for part in range(FOLDS):
        weights = _weights(matrix, held, ~doubtful & (fold[owner] != part), seed)
        scores = matrix @ weights
        for one in np.unique(owner[held & (fold[owner] == part)]):
            mine = np.flatnonzero(owner == one)
            order = mine[np.argsort(-scores[mine], kind="stable")]
            ranks += np.flatnonzero(held[order]).tolist()
    found = [
        sum(rank < count for rank in ranks) / max(1, len(ranks)) for count in range(1, MOST_PASSAGES + 1)
    ]
    asked = 1 + next(place for place, share in enumerate(found) if share >= found[-1] - 0.01)
    weights = _weights(matrix, held, ~doubtful, seed)
    kept = np.argsort(-np.abs(weights), kind="stable")[:KEPT_WORDS]
    return FieldLook(
        weights={str(words[at]): round(float(weights[at]), 3) for at in kept if abs(weights[at]) >= 0.001},
        asked=asked,
        recall=round(found[asked - 1], 4),
    )


def _weights(matrix: csr_matrix, held: np.ndarray, used: np.ndarray, seed: int) -> np.ndarray:
    """Return the weight of each word by logistic regression; zeros where there is nothing to tell apart."""
    from sklearn.linear_model import LogisticRegression

    rows = np.flatnonzero(used)
    if len(rows) > MOST_ROWS:
        few = np.random.default_rng(seed).permutation(np.flatnonzero(used & ~held))
        rows = np.sort(np.concatenate([np.flatnonzero(used & held), few])[:MOST_ROWS])
    if len(np.unique(held[rows])) < 2:
        return np.zeros(matrix.shape[1])
    model = LogisticRegression(C=0.1, class_weight="balanced", solver="liblinear", random_state=seed)
    return model.fit(matrix[rows], held[rows]).coef_[0]
