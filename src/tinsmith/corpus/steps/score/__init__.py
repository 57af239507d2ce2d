"""Score how textbook-like documents are: by a ready score, or one learnt from exemplars or from a teacher."""

from __future__ import annotations

from collections.abc import Callable

from tinsmith.corpus.steps.result import StepInput, StepResult
from tinsmith.corpus.steps.score import exemplars, ready, teacher
from tinsmith.corpus.steps.score.agreement import Figure
from tinsmith.corpus.steps.score.grams import Weights, moving_words
from tinsmith.corpus.steps.score.ranking import Reasons, Scorer, keep_best
from tinsmith.recipe import ScoreConfig


def run(config: ScoreConfig, given: StepInput) -> StepResult:
    """Score training documents and keep the best share `config.keep`; the others get the reason low_score.

    Writes scores.parquet, score_examples.jsonl and score_histogram.jsonl, and ratings.jsonl of a teacher. Raises
    CorpusError if there is too little to learn from.
    """
    documents, out, seed = given.documents, given.out, given.seed
    out.mkdir(parents=True, exist_ok=True)
    scorer: Scorer = ready.score
    reasons: Reasons = ready.reasons
    learnt: dict[str, float] = {}
    if config.kind == "exemplars":
        from_exemplars = exemplars.learn(config.exemplars.sources, documents, given.held_out, seed)
        scorer, reasons = _linear(from_exemplars.classifier.score, from_exemplars.classifier.weights)
        learnt = from_exemplars.counts | _figures("auc", from_exemplars.auc)
    elif config.kind == "teacher":
        rated = teacher.learn(config, given)
        scorer, reasons = _linear(rated.regressor.score, rated.regressor.weights)
        learnt = rated.counts | _figures("spearman", rated.spearman) | _figures("f1", rated.f1)
    result = keep_best(documents, scorer, reasons, keep=config.keep, out=out, progress=given.progress)
    return result._replace(statistics=result.statistics | learnt)


def _linear(score: Callable[[str], float], weights: Weights) -> tuple[Scorer, Reasons]:
    return (lambda text, language: score(text)), (lambda text, language: moving_words(text, weights))


def _figures(name: str, figure: Figure) -> dict[str, float]:
    return {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
