"""Have a teacher rate a sample by a rubric, and learn its ratings.

As in FineWeb-Edu (Penedo et al. 2024): ratings from 0 to 5 for a sample, and a linear regression for all documents.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from tinsmith.base.completion import Answer, Request
from tinsmith.base.errors import CorpusError
from tinsmith.base.files import read_whole_rows, sha256_json, write_jsonl
from tinsmith.corpus.steps.result import StepInput
from tinsmith.corpus.steps.sample import choose, fold_of, read_texts
from tinsmith.corpus.steps.score.agreement import Figure, f1, resampled, spearman
from tinsmith.corpus.steps.score.grams import Weights, document_row, linear_value
from tinsmith.corpus.steps.teachers import MIDDLE, OPENING
from tinsmith.recipe import ScoreConfig

RUBRIC = """\
Give 0 points to text that teaches nothing: navigation, advertising, broken or meaningless characters, bare numbers.
Give one point for each of these that holds:
1. It is connected prose about a subject, and not only lists, headings or forms.
2. It states correct and lasting facts of its field.
3. It explains: it defines its terms, gives reasons, conditions or examples.
4. It is well ordered, complete and understandable without other text.
5. It could appear in a textbook of its field unchanged."""
_FORM = """
You rate documents by how much a learner of their field can learn from them. Use this rubric, from 0 to 5:

{rubric}

Answer with one line and nothing else, in this form:
Score: N"""
_RATING_TOKENS = 200  # of an answer
_FOLDS = 5
_GOOD = 3.0
_MIN_RATINGS = 20
_RUBBISH = 0.5  # share of answers without a rating at which learning fails
_SHOWN = 3
_NAMED = re.compile(
    r"(?:score|rating|points?|grade|total)\W{0,12}?(?:is|of|:|=)?\W{0,6}?(-?\d+(?:[.,]\d+)?)", re.I
)
_OUT_OF = re.compile(r"(\d+(?:[.,]\d+)?)\s*(?:/|out of|of)\s*5\b", re.I)
_POINTS = re.compile(r"(\d+(?:[.,]\d+)?)\s*points?\b", re.I)
_ALONE = re.compile(r"\W*?(-?\d+(?:[.,]\d+)?)\W*")
_STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


class Regressor(NamedTuple):
    """Weights of words that predict a rating from 0 to 5."""

    weights: Weights
    bias: float

    def score(self, text: str) -> float:
        """Return the predicted rating divided by 5, between 0 and 1."""
        return min(1.0, max(0.0, (linear_value(text, self.weights) + self.bias) / 5.0))


class Learnt(NamedTuple):
    """A regressor, its agreement with ratings of left-out folds, and counts of the answers."""

    regressor: Regressor
    spearman: Figure
    f1: Figure
    counts: dict[str, float]


def parse_rating(answer: str) -> float | None:
    """Return the rating from 0 to 5 that an answer gives, or None.

    The last rating counts, since a model that thinks aloud ends with its conclusion.
    """
    for pattern in (_NAMED, _OUT_OF, _POINTS):
        if found := pattern.findall(answer):
            return _on_scale(found[-1])
    alone = _ALONE.fullmatch(answer)
    return _on_scale(alone[1]) if alone else None


def _on_scale(number: str) -> float | None:
    value = float(number.replace(",", "."))
    return value if 0 <= value <= 5 else None


def instructions(rubric: str) -> str:
    """Return the system prompt for all documents."""
    return _FORM.format(rubric=rubric.strip() or RUBRIC).strip()


def prompt(text: str) -> str:
    """Return the part of a document that the teacher sees: its opening, and a piece of its middle if it is long."""
    if len(text) <= OPENING + MIDDLE:
        return text
    middle = max(OPENING, len(text) // 2)
    return f"{text[:OPENING]}\n[...]\n{text[middle : middle + MIDDLE]}"


def learn(config: ScoreConfig, given: StepInput) -> Learnt:
    """Have a seeded sample rated, and learn the ratings. Raises CorpusError if the answers do not suffice.

    `ratings.jsonl` gets each answer as it comes, so that a run continues after a kill.
    """
    documents = given.documents
    chosen = choose(given.shown, config.sample, given.seed)
    rated = _rate(given, chosen, instructions(config.rubric))
    counts = _count(rated, chosen)
    _check(rated, counts)
    usable = [name for name in chosen if name in rated and rated[name]["rating"] is not None]
    ratings = np.array([float(rated[name]["rating"]) for name in usable])
    rows = sparse.vstack([document_row(document.text) for document in read_texts(documents, usable)]).tocsr()
    folds = np.array([fold_of(name, _FOLDS) for name in usable])
    guesses = np.full(len(usable), ratings.mean())
    for fold in range(_FOLDS):
        inside, outside = folds != fold, folds == fold
        if outside.any() and inside.sum() > 1:
            learnt = regress(rows[inside], ratings[inside])
            guesses[outside] = rows[outside] @ learnt.weights + learnt.bias
    return Learnt(
        regress(rows, ratings),
        resampled(spearman, ratings.tolist(), guesses.tolist()),
        resampled(lambda truth, scores: f1(truth, scores, _GOOD), ratings.tolist(), guesses.tolist()),
        counts,
    )


def regress(rows: sparse.csr_matrix, ratings: Weights) -> Regressor:
    """Fit a ridge regression in its dual form; the penalty has the least leave-one-out error."""
    mean = float(ratings.mean())
    alike = (rows @ rows.T).toarray()
    values, vectors = np.linalg.eigh(alike)
    turned = vectors.T @ (ratings - mean)
    best, answer = np.inf, np.zeros(len(ratings))
    for strength in _STRENGTHS:
        inverse = 1.0 / (np.maximum(values, 0.0) + strength)
        dual = vectors @ (inverse * turned)
        error = float(
            ((dual / ((vectors**2) @ inverse)) ** 2).mean()
        )  # leave-one-out residuals in closed form
        if error < best - 1e-12:
            best, answer = error, dual
    return Regressor(np.asarray(rows.T @ answer).ravel(), mean)


def _rate(given: StepInput, chosen: Sequence[str], system: str) -> dict[str, dict[str, Any]]:
    """Return the rows of ratings by doc_id; request only those that are not in the file yet."""
    if given.teacher is None:
        raise ValueError("a score learnt from ratings needs a teacher")
    path = given.out / "ratings.jsonl"
    key = sha256_json([system, OPENING, MIDDLE])[:16]
    known = {row["doc_id"]: row for row in read_whole_rows(path) if row["key"] == key}
    rated = {name: known[name] for name in chosen if name in known}
    write_jsonl(path, rated.values())  # without the incomplete line that a kill may have left
    missing = [name for name in chosen if name not in rated]
    requested: list[str] = []

    def requests() -> Iterator[Request]:
        for document in read_texts(given.shown, missing):
            requested.append(document.doc_id)
            yield Request(prompt(document.text), system, _RATING_TOKENS, documents=(document.doc_id,))

    with (
        given.progress.task("rate", len(missing), "documents") as advance,
        path.open("a", encoding="utf-8") as file,
    ):
        for number, outcome in enumerate(given.teacher.ask(requests()) if missing else ()):
            advance(1)
            if isinstance(outcome, Answer):
                row = {
                    "doc_id": requested[number],
                    "rating": parse_rating(outcome.text),
                    "answer": outcome.text[:300],
                    "key": key,
                }
                rated[requested[number]] = row
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
    write_jsonl(path, (rated[name] for name in chosen if name in rated))
    return rated


def _count(rated: dict[str, dict[str, Any]], chosen: Sequence[str]) -> dict[str, float]:
    usable = sum(row["rating"] is not None for row in rated.values())
    return {
        "ratings_asked": len(chosen),
        "ratings": usable,
        "ratings_rubbish": len(rated) - usable,
        "ratings_missing": len(chosen) - len(rated),
    }


def _check(rated: dict[str, dict[str, Any]], counts: dict[str, float]) -> None:
    """Raise CorpusError, with examples, if the answers do not suffice to learn from."""
    rubbish = [row["answer"] for row in rated.values() if row["rating"] is None]
    found = {row["rating"] for row in rated.values() if row["rating"] is not None}
    what = ""
    if rubbish and len(rubbish) >= _RUBBISH * len(rated):
        shown = "; ".join(repr(answer[:80]) for answer in rubbish[:_SHOWN])
        what = f"{len(rubbish)} of {len(rated)} answers contain no rating from 0 to 5, such as {shown}"
    elif counts["ratings"] < _MIN_RATINGS:
        rates = f"{counts['ratings']:.0f} of {counts['ratings_asked']:.0f}"
        what = f"{rates} documents were rated, {_MIN_RATINGS} are needed"
    elif len(found) < 2:
        shown = "; ".join(repr(row["answer"][:80]) for row in list(rated.values())[:_SHOWN])
        what = f"every document was rated {found.pop():g}, such as {shown}: nothing can be learnt from that"
    if what:
        raise CorpusError(
            what,
            where="refine.score.teacher",
            next_step="use a stronger teacher, raise its max_cost or max_minutes, "
            'or set refine.score.kind = "ready" or "exemplars"',
        )
