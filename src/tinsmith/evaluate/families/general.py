"""General ability before and after training: what did training make the model forget?

lm-eval asks its own prompts on a person's own files, of our model and of its base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from tinsmith.base.files import sha256_json
from tinsmith.base.progress import Advance
from tinsmith.evaluate.probe import Preparation, Probe
from tinsmith.evidence.bootstrap import ratio
from tinsmith.evidence.family import (
    Family,
    FamilyCost,
    FigureContext,
    Figures,
    Items,
    MetricSpec,
    Results,
    Section,
    contradiction,
)
from tinsmith.evidence.format import count, points
from tinsmith.evidence.outcome import BETTER, UNCLEAR, WORSE, Duel
from tinsmith.evidence.schema import BASE, OURS, Comparison, Finding, MetricRow
from tinsmith.recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from tinsmith.evaluate.general_files import Asked, GeneralRow
    from tinsmith.evaluate.scoring.scorer import Scorer

_TOKENS_PER_ITEM = 250  # the question, once for each of about four choices


def prepare(preparation: Preparation) -> Probe | None:
    """Draw the rows of each test; None where the recipe names none."""
    from tinsmith.evaluate.general_files import choose_general  # pyarrow takes a while to import

    tests = preparation.config.general
    if not tests:
        return None
    asked = choose_general(tests, preparation.seed)
    stored = {name: [kind, *map(asdict, rows)] for name, (kind, rows) in asked.items()}
    size = sum(len(rows) for _, rows in asked.values())
    return Probe(FAMILY.kind, (sha256_json(stored),), size, partial(_ask, asked=asked))


def _ask(
    scorer: Scorer, tokenizer: PreTrainedTokenizerFast, advance: Advance, *, asked: Asked
) -> list[GeneralRow]:
    from tinsmith.evaluate.lm_eval_runner import ask  # lm-eval takes seconds to import

    rows = ask(scorer, tokenizer, asked)
    advance(len(rows))
    return rows


def check(items: Items) -> None:
    """Raise BundleError where a prediction does not follow from its scores, or subjects were asked differently."""
    stored: dict[str, list[GeneralRow]] = items.rows(FAMILY.kind)
    for subject, rows in stored.items():
        for row in rows:
            prediction = row["scores"].index(max(row["scores"]))
            if row["prediction"] != prediction or row["correct"] != (prediction == row["answer"]):
                what = f"item {row['item']}: its prediction does not follow from its scores"
                raise contradiction(items.path(FAMILY.kind, subject), what)
    if wrong := _different_answer(list(stored.values())):
        raise contradiction(
            items.folder, f"item {wrong}: subjects are not compared with the same right answer"
        )


def _different_answer(subjects: Sequence[Sequence[GeneralRow]]) -> str:
    """Name the first item whose right answer differs between subjects, or that not all were asked; '' if none."""
    first, *others = ({row["item"]: row["answer"] for row in rows} for rows in subjects or [[]])
    wrong = (
        name for other in others for name in first.keys() | other.keys() if first.get(name) != other.get(name)
    )
    return min(wrong, default="")


def figures(context: FigureContext) -> Figures:
    """Return the share of correct answers of each subject, and ours minus that of the base, item by item."""
    stored: dict[str, list[GeneralRow]] = context.items.rows(FAMILY.kind)
    metrics: list[MetricRow] = []
    comparisons: list[Comparison] = []
    for task in dict.fromkeys(row["task"] for rows in stored.values() for row in rows):
        own = {subject: [row for row in rows if row["task"] == task] for subject, rows in stored.items()}
        size = len(next(iter(own.values())))
        bootstrap = context.bootstrap(size)
        shares = {
            subject: ratio([row["correct"] for row in rows], [1.0] * size) for subject, rows in own.items()
        }
        for subject, share in shares.items():
            estimate = bootstrap.estimate(share)
            metrics.append(FAMILY.row("general_accuracy", (task,), subject, estimate, size, task=task))
        if OURS in shares and BASE in shares:
            pair = (OURS, BASE)
            comparisons.append(
                FAMILY.compare("forgetting", (task,), shares, pair, bootstrap, items=size, task=task)
            )
    return Figures(metrics, comparisons)


def findings(results: Results) -> list[Finding]:
    """Say for each test whether training made the model forget."""
    names = {spec.name for spec in FAMILY.metrics}
    duels = [duel for duel in results.duels if duel.name in names and duel.ours == results.ours]
    return [Finding(verdict="", text=_sentence(duel), outcome=duel.outcome) for duel in duels]


def _sentence(duel: Duel) -> str:
    test = " ".join(duel.qualifiers).replace("_", " ")
    outcome = {BETTER: "it gained", WORSE: "it forgot"}.get(duel.outcome, "no change is shown")
    interval = f"{points(duel.low)} to {points(duel.high)}"
    text = f"{test}: {outcome} ({points(duel.difference)}, {interval}, {count(duel.items)} questions)"
    if duel.by_chance:
        return f"{text}; among so many comparisons it may be chance."
    if duel.outcome == UNCLEAR and duel.detectable:
        text += f"; a change of {points(duel.detectable).lstrip('+')} would be detected four times in five"
    return text + "."


def _cost(recipe: Recipe, bytes_per_token: float) -> FamilyCost:
    return FamilyCost(sum(test.limit for test in recipe.evaluate.general) * _TOKENS_PER_ITEM)


FAMILY = Family(
    kind="general",
    order=30,
    metrics=(
        MetricSpec("general_accuracy", "share", "General accuracy", higher_is_better=True),
        MetricSpec("forgetting", "share", "Forgetting", higher_is_better=True, of_pairs=True),
    ),
    figures=figures,
    prepare=prepare,
    check=check,
    cost=_cost,
    section=Section("general", "General ability", 40),
    findings=findings,
    not_measured="What the model forgot of general text and skills was not measured.",
    needs="forgetting",
)
