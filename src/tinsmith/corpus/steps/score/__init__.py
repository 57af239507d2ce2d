"""How textbook-like a training document is: a ready score, one learnt from exemplars, one learnt from a teacher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tinsmith.base.progress import Progress
from tinsmith.corpus.engine import DataFrame
from tinsmith.corpus.steps.result import StepResult
from tinsmith.corpus.steps.score import exemplars, ready, teacher
from tinsmith.corpus.steps.score.agreement import Figure
from tinsmith.corpus.steps.score.decide import Judge, Reasons, decide
from tinsmith.corpus.steps.score.grams import Weights, moving_words
from tinsmith.recipe import ScoreConfig


def score_documents(
    config: ScoreConfig,
    *,
    documents: DataFrame,
    held_out: DataFrame,
    out: Path,
    seed: int,
    progress: Progress,
    ask: teacher.Ask | None = None,
) -> StepResult:
    """Score training documents and drop all but the best `config.keep` of them, with the reason low_score.

    Writes scores.parquet, score_examples.jsonl and score_histogram.jsonl, for kind teacher also ratings.jsonl. The
    kind teacher needs `ask`. Raises CorpusError where there is too little to learn from.
    """
    out.mkdir(parents=True, exist_ok=True)
    judge: Judge = ready.judge
    reasons: Reasons = ready.reasons
    learnt: dict[str, float] = {}
    if config.kind == "exemplars":
        found = exemplars.learn(config.exemplars.sources, documents, held_out, seed)
        judge, reasons = _by_words(found.classifier.judge, found.classifier.weights)
        learnt = found.counts | _told("auc", found.auc)
    elif config.kind == "teacher":
        if ask is None:
            raise ValueError("the kind teacher needs someone to ask")
        asked = teacher.learn(
            documents, ask, rubric=config.rubric, sample=config.sample, seed=seed, out=out, progress=progress
        )
        judge, reasons = _by_words(asked.regressor.judge, asked.regressor.weights)
        learnt = asked.counts | _told("spearman", asked.spearman) | _told("f1", asked.f1)
    outcome = decide(documents, judge, reasons, keep=config.keep, out=out, progress=progress)
    return StepResult(outcome.decisions, outcome.statistics | learnt)


def _by_words(judge: Callable[[str], float], weights: Weights) -> tuple[Judge, Reasons]:
    return (lambda text, language: judge(text)), (lambda text, language: moving_words(text, weights))


def _told(name: str, figure: Figure) -> dict[str, float]:
    return {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
