"""Baselines of a classification: each learns from the examples, is tuned on validation, and answers the test.

A new baseline is one row of `JOB_BASELINES`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, hstack, vstack
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import ComplementNB, MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MultiLabelBinarizer, StandardScaler

from tinsmith.base.files import JsonObject
from tinsmith.evidence.items import JobAnswer

ENCODER = "encoder"  # the name of a fine-tuned encoder, which learns in PyTorch (job_encoder.py)
STRENGTHS = (1.0, 4.0, 16.0)  # C of logistic regression on TF-IDF, to begin with
HIDDEN_STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.1)  # on standardised hidden states
SMOOTHING = (0.01, 0.03, 0.1, 0.3, 1.0)  # alpha of naive Bayes
TUNING = "beyond the edge"  # baselines that were tuned otherwise learn again
_STEP, _MOST_STEPS = 4.0, 4  # beyond an edge of these, where the best stands there
_MANY_TEXTS = (
    2000  # of so many, a word or a pair that one alone has tells nothing of another, and costs as much
)
LARGEST = 100_000  # features of words, and of characters
_LEAST = 1e-12  # of a probability, whose logarithm is stored


@dataclass(frozen=True)
class Guess:
    """A baseline's answer to a row: its labels, and ln p of each where it tells one."""

    answer: JobAnswer
    log_p: dict[str, float] | None = None


@dataclass(frozen=True)
class JobData:
    """The rows of a job: learnt from, tuned on, and asked. `states` gives a frozen model's hidden states of rows."""

    labels: tuple[str, ...]
    several: bool
    learn: Sequence[JsonObject]
    validation: Sequence[JsonObject]
    test: Sequence[JsonObject]
    states: dict[str, np.ndarray] = field(default_factory=dict)  # by part: learn, validation, test

    def texts(self, part: str) -> list[str]:
        """Return the inputs of a part."""
        return [row["input"] for row in getattr(self, part)]

    def targets(self, part: str) -> Any:
        """Return the answers of a part: the number of the label, or a row of zeros and ones for several labels."""
        answers = [row["answer"] for row in getattr(self, part)]
        if self.several:
            return MultiLabelBinarizer(classes=list(self.labels)).fit_transform(answers)
        return np.array([self.labels.index(answer) for answer in answers])


@dataclass(frozen=True)
class JobBaseline:
    """A baseline: its name in files and tables, its title, and its guess at each test row."""

    name: str
    title: str
    guess: Callable[[JobData], list[Guess]]
    reads_states: bool = False


def majority(data: JobData) -> list[Guess]:
    """Answer every row with the commonest answer of the examples."""
    answers = [tuple(a) if isinstance(a := row["answer"], list) else a for row in data.learn]
    counts = Counter(answers)
    commonest = min(counts, key=lambda answer: (-counts[answer], str(answer)))
    return [Guess(list(commonest) if isinstance(commonest, tuple) else commonest) for _ in data.test]


def tfidf(data: JobData) -> list[Guess]:
    """Answer by logistic regression on TF-IDF: of words and pairs, with characters or without, as validation says."""
    least = 2 if len(data.learn) >= _MANY_TEXTS else 1
    words = _features(data, [_words(TfidfVectorizer, sublinear_tf=True, min_df=least)])
    both = _features(data, [_words(TfidfVectorizer, sublinear_tf=True, min_df=least), _characters()])
    kind = partial(_logistic, data)
    return _best(data, [Grid(words, kind, STRENGTHS), Grid(both, kind, STRENGTHS)])


def naive_bayes(data: JobData) -> list[Guess]:
    """Answer by multinomial or complement naive Bayes on counts of words and pairs, as validation says."""
    features = _features(data, [_words(CountVectorizer)])

    def make(kind: Any, alpha: float) -> Any:
        return OneVsRestClassifier(kind(alpha=alpha)) if data.several else kind(alpha=alpha)

    kinds = (MultinomialNB, ComplementNB)
    return _best(data, [Grid(features, partial(make, kind), SMOOTHING) for kind in kinds])


def hidden_states(data: JobData) -> list[Guess]:
    """Answer by logistic regression on the hidden states of the frozen base, standardised."""

    def make(strength: float) -> Any:
        return make_pipeline(StandardScaler(), _logistic(data, strength))

    return _best(data, [Grid(data.states, make, HIDDEN_STRENGTHS)])


def _words(vectorizer: Any, **more: Any) -> Any:
    return vectorizer(ngram_range=(1, 2), max_features=LARGEST, token_pattern=r"(?u)\b\w+\b", **more)


def _characters() -> Any:
    return TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), min_df=2, max_features=LARGEST, sublinear_tf=True
    )


def _features(data: JobData, vectorizers: Sequence[Any]) -> dict[str, csr_matrix]:
    """Return the features of each part, by the words of what is learnt from alone."""
    for vectorizer in vectorizers:
        vectorizer.fit(data.texts("learn"))
    return {
        part: hstack([vectorizer.transform(data.texts(part)) for vectorizer in vectorizers], format="csr")
        for part in ("learn", "validation", "test")
    }


def _logistic(data: JobData, strength: float) -> Any:
    model = LogisticRegression(C=strength, max_iter=300, tol=1e-3)
    return OneVsRestClassifier(model) if data.several else model


@dataclass(frozen=True)
class Grid:
    """A kind of model on some features, by part, and the values of its one setting that are tried first."""

    features: dict[str, Any]
    make: Callable[[float], Any]
    values: tuple[float, ...]


def _best(data: JobData, grids: Sequence[Grid]) -> list[Guess]:
    """Tune each grid on validation rows; answer with the model that is right most often there.

    Where the best value of a grid stands at its edge, the search goes on beyond it while that helps.
    """
    learnt, true = data.targets("learn"), data.targets("validation")

    def tried(grid: Grid, value: float) -> tuple[float, float]:
        model = grid.make(value)
        model.fit(grid.features["learn"], learnt)
        return _rank(data, model, grid.features["validation"], true)

    best: tuple[tuple[float, float], Grid, float] | None = None
    for grid in grids if len(true) else ():
        found = {value: tried(grid, value) for value in grid.values}
        for _ in range(_MOST_STEPS):
            value = max(found, key=found.__getitem__)
            beyond = {max(found): value * _STEP, min(found): value / _STEP}.get(value)
            if beyond is None:
                break
            found[beyond] = tried(grid, beyond)
        value = max(found, key=found.__getitem__)
        if best is None or found[value] > best[0]:
            best = found[value], grid, value
    _, grid, value = best or ((), grids[0], grids[0].values[0])
    model, features = grid.make(value), grid.features
    if len(true):
        # What is tuned may learn from all examples, so that the baseline is as strong as it can be.
        model.fit(_stack(features["learn"], features["validation"]), np.concatenate([learnt, true]))
    else:
        model.fit(features["learn"], learnt)
    return _guesses(data, model, model.predict_proba(features["test"]))


def _stack(above: Any, below: Any) -> Any:
    return (
        np.concatenate([above, below])
        if isinstance(above, np.ndarray)
        else vstack([above, below], format="csr")
    )


def _rank(data: JobData, model: Any, features: Any, true: Any) -> tuple[float, float]:
    """Return how good a model is on validation rows: share right (or micro F1), then log-likelihood."""
    likely = model.predict_proba(features)
    if data.several:
        return float(f1_score(true, likely >= 0.5, average="micro", zero_division=0)), 0.0
    right = float((model.classes_[likely.argmax(axis=1)] == true).mean())
    spread = np.full((len(true), len(data.labels)), _LEAST)
    spread[:, model.classes_] = np.maximum(likely, _LEAST)
    spread /= spread.sum(axis=1, keepdims=True)
    return right, -float(log_loss(true, spread, labels=range(len(data.labels))))


def _guesses(data: JobData, model: Any, likely: np.ndarray) -> list[Guess]:
    if data.several:
        return [
            Guess([label for label, p in zip(data.labels, row, strict=True) if p >= 0.5]) for row in likely
        ]
    found = []
    for row in likely:
        log_p = dict.fromkeys(data.labels, float(np.log(_LEAST)))
        log_p |= {
            data.labels[label]: float(np.log(max(p, _LEAST)))
            for label, p in zip(model.classes_, row, strict=True)
        }
        found.append(Guess(max(log_p, key=log_p.__getitem__), log_p))
    return found


JOB_BASELINES = (
    JobBaseline("majority", "commonest answer", majority),
    JobBaseline("tfidf", "TF-IDF with logistic regression", tfidf),
    JobBaseline("naive_bayes", "naive Bayes on words", naive_bayes),
    JobBaseline(
        "hidden_states",
        "hidden states of the base with logistic regression",
        hidden_states,
        reads_states=True,
    ),
)
