"""How textbook-like a training document is: a ready score, one learnt from exemplars, one learnt from a teacher."""

from __future__ import annotations

from collections.abc import Callable

from tinsmith.corpus.steps.result import StepInput, StepResult
from tinsmith.corpus.steps.score import exemplars, ready, teacher
from tinsmith.corpus.steps.score.agreement import Figure
from tinsmith.corpus.steps.score.decide import Judge, Reasons, decide
from tinsmith.corpus.steps.score.grams import Weights, moving_words
from tinsmith.recipe import ScoreConfig


def run(config: ScoreConfig, given: StepInput) -> StepResult:
    """Score training documents and drop all but the best `config.keep` of them, with the reason low_score.

    Writes scores.parquet, score_examples.jsonl and score_histogram.jsonl, for kind teacher also ratings.jsonl. The
    kind teacher needs `ask`. Raises CorpusError where there is too little to learn from.
    """
    documents, out, seed = given.documents, given.out, given.seed
    out.mkdir(parents=True, exist_ok=True)
    judge: Judge = ready.judge
    reasons: Reasons = ready.reasons
    learnt: dict[str, float] = {}
    if config.kind == "exemplars":
        found = exemplars.learn(config.exemplars.sources, documents, given.held_out, seed)
        judge, reasons = _by_words(found.classifier.judge, found.classifier.weights)
        learnt = found.counts | _told("auc", found.auc)
    elif config.kind == "teacher":
        asked = teacher.learn(config, given)
        judge, reasons = _by_words(asked.regressor.judge, asked.regressor.weights)
        learnt = asked.counts | _told("spearman", asked.spearman) | _told("f1", asked.f1)
    outcome = decide(documents, judge, reasons, keep=config.keep, out=out, progress=given.progress)
    return StepResult(outcome.statistics | learnt, outcome.decisions)


def _by_words(judge: Callable[[str], float], weights: Weights) -> tuple[Judge, Reasons]:
    return (lambda text, language: judge(text)), (lambda text, language: moving_words(text, weights))


def _told(name: str, figure: Figure) -> dict[str, float]:
    return {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
