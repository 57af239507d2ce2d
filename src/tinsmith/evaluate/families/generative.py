"""Answers in words: shares correct, unanswered and failed of every system that writes its answers.

A system behind an API tells no likelihoods, so it is asked in words, and our model with it. These figures stand in a
table of their own, since they are not comparable with those of likelihood.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tinsmith.evaluate.generated_answers import (
    NOT_ASKED,
    GeneratedRow,
    Question,
    build_prompt,
    current_wording,
    grade_answer,
    is_counted,
    options,
    read_open,
)
from tinsmith.evidence.bootstrap import Bootstrap, Statistic, holm, mean_over
from tinsmith.evidence.family import (
    Family,
    FamilyCost,
    FigureContext,
    Figures,
    Items,
    MetricSpec,
    Section,
    contradiction,
)
from tinsmith.evidence.schema import Comparison, Generated, MetricRow, System
from tinsmith.recipe import EndpointConfig, EvaluateConfig, Recipe

PROTOCOL = (
    "Answers in words: each system gets the same text, and the answer is the letter or the one choice that it names. "
    "These shares are not comparable with those of multiple choice, where the most likely choice is the answer."
)
_TOKENS_PER_QUESTION, _GENERATED = 400, 3 * 64  # generating reads all weights for each token

Rows = Mapping[str, list[GeneratedRow]]


def system_name(endpoint: EndpointConfig) -> str:
    """Return what the report calls a system behind an API."""
    return endpoint.name if endpoint.name == endpoint.model else f"{endpoint.name} ({endpoint.model})"


def figures(context: FigureContext) -> Figures:
    """Return systems, figures and differences; p-values are adjusted by Holm over these comparisons alone."""
    config = context.config
    if not config.asked_in_words:
        return Figures()
    endpoints = {endpoint.name: endpoint for endpoint in config.endpoints}
    stored: Rows = context.items.rows(FAMILY.kind, [*context.items.subjects, *endpoints])
    systems = [_system(name, rows, context, endpoints.get(name)) for name, rows in stored.items()]
    metrics: list[MetricRow] = []
    comparisons: list[Comparison] = []
    for task in dict.fromkeys(row["task"] for rows in stored.values() for row in rows):
        own = {name: [row for row in rows if row["task"] == task] for name, rows in stored.items()}
        table = _Task(task, {name: rows for name, rows in own.items() if rows}, context)
        metrics += table.metrics()
        comparisons += table.comparisons()
    adjusted = holm([row.p or 0.0 for row in comparisons])
    comparisons = [row.model_copy(update={"p_holm": p}) for row, p in zip(comparisons, adjusted, strict=True)]
    notes = (
        PROTOCOL,
        *(_partial_note(system, stored[system.subject]) for system in systems if system.partial),
    )
    return Figures(
        generated=Generated(
            systems=tuple(systems), metrics=tuple(metrics), comparisons=tuple(comparisons), notes=notes
        )
    )


class _Task:
    """The answers of all systems to one task, and resamples of its documents."""

    def __init__(self, task: str, rows: Rows, context: FigureContext) -> None:
        self.task, self.rows, self.context = task, rows, context
        documents = dict.fromkeys(row["doc_id"] for own in rows.values() for row in own)
        self.places = {doc_id: place for place, doc_id in enumerate(documents)}
        self.bootstrap: Bootstrap | None = context.bootstrap(len(documents)) if len(documents) > 1 else None

    def metrics(self) -> list[MetricRow]:
        """Return the shares of each system."""
        found: list[MetricRow] = []
        for name, rows in self.rows.items():
            counted = [row for row in rows if is_counted(row)]
            found += self._metric("generated_accuracy", name, counted, lambda row: float(row["correct"]))
            if counted and not counted[0]["choices"]:
                found += self._metric("generated_f1", name, counted, lambda row: float(row["f1"] or 0.0))
            found += self._metric(
                "generated_unanswered", name, counted, lambda row: float(not row["prediction"])
            )
            found += self._metric("generated_failed", name, rows, lambda row: float(not is_counted(row)))
        return found

    def _metric(
        self, metric: str, system: str, rows: list[GeneratedRow], value: Callable[[GeneratedRow], float]
    ) -> list[MetricRow]:
        if self.bootstrap is None or len({row["doc_id"] for row in rows}) < 2:
            return []
        estimate = self.bootstrap.estimate(self._mean(rows, value))
        return [FAMILY.row(metric, (self.task,), system, estimate, len(rows), task=self.task)]

    def comparisons(self) -> list[Comparison]:
        """Return differences over the questions that both systems answered, or would not answer."""
        found: list[Comparison] = []
        for a, b in self.context.pairs(list(self.rows)):
            counted = [{row["item"] for row in self.rows[name] if is_counted(row)} for name in (a, b)]
            shared = counted[0] & counted[1]
            both = {name: [row for row in self.rows[name] if row["item"] in shared] for name in (a, b)}
            if self.bootstrap is None or len({row["doc_id"] for row in both[a]}) < 2:
                continue
            shares = {
                name: self._mean(rows, lambda row: float(row["correct"])) for name, rows in both.items()
            }
            found.append(
                FAMILY.compare(
                    "generated_accuracy",
                    (self.task,),
                    shares,
                    (a, b),
                    self.bootstrap,
                    items=len(shared),
                    task=self.task,
                )
            )
        return found

    def _mean(self, rows: list[GeneratedRow], value: Callable[[GeneratedRow], float]) -> Statistic:
        return mean_over(self.places, [row["doc_id"] for row in rows], [value(row) for row in rows])


def _system(
    name: str, rows: list[GeneratedRow], context: FigureContext, endpoint: EndpointConfig | None
) -> System:
    """Return how many questions a system got, was asked and answered, and what that cost."""
    read, written = (sum(row[field] for row in rows) for field in ("input_tokens", "output_tokens"))
    cost = 0.0
    if endpoint:
        cost = read * endpoint.price_per_million_input + written * endpoint.price_per_million_output
    return System(
        subject=name,
        name=system_name(endpoint) if endpoint else context.subjects[name].name,
        kind=endpoint.kind if endpoint else "local",
        questions=len(rows),
        asked=sum(row["failure"] not in NOT_ASKED for row in rows),
        answered=sum(not row["failure"] for row in rows),
        partial=not all(is_counted(row) for row in rows),
        input_tokens=read,
        output_tokens=written,
        cost=cost / 1e6,
    )


def _partial_note(system: System, rows: list[GeneratedRow]) -> str:
    """Say how many questions a system counts with that did not answer all, and why."""
    left_out = [row for row in rows if not is_counted(row)]
    reasons = ", ".join(sorted({row["failure"] for row in left_out}))
    return (
        f"Partial: {system.name} is scored on {system.questions - len(left_out)} of {system.questions} questions asked "
        f"in words (left out: {reasons}) and compared on those alone."
    )


def check(items: Items) -> None:
    """Raise BundleError where a prompt differs from what others were asked, or a grade from what its answer gives."""
    file = items.folder / "open.jsonl"
    known: dict[str, Question] = {**items.questions}
    known |= {item.item: item for item in (read_open(file) if file.is_file() else [])}
    asked: dict[str, tuple[Any, ...]] = {}
    for item in known.values():
        asked[item.item] = (build_prompt(item), *options(item), item.task, item.doc_id)
    for path in sorted(items.folder.glob(f"{FAMILY.kind}-*.jsonl")):
        subject = path.stem.removeprefix(f"{FAMILY.kind}-")
        for row in items.rows(FAMILY.kind, [subject]).get(subject, []):
            own = (
                current_wording(row["prompt"]),
                row["choices"],
                row["accepted"],
                row["task"],
                row["doc_id"],
            )
            if asked.setdefault(row["item"], own) != own:
                raise contradiction(
                    path, f"item {row['item']}: was not asked as others were, or as it is stored"
                )
            grade = grade_answer(row["choices"], row["accepted"], row["raw"], failed=bool(row["failure"]))
            for field, value in grade._asdict().items():
                if row[field] != value:
                    what = f"item {row['item']}: {field} is {row[field]!r}, its answer gives {value!r}"
                    raise contradiction(path, what)


def _cost(recipe: Recipe, bytes_per_token: float) -> FamilyCost:
    config: EvaluateConfig = recipe.evaluate
    tasks = len(recipe.tasks) + 2 * bool(config.built_items) + len(config.questions)
    tokens = tasks * config.asked_in_words * (_TOKENS_PER_QUESTION + _GENERATED)
    waiting = 60 * sum(endpoint.max_minutes for endpoint in config.endpoints)
    return FamilyCost(tokens, models="local", seconds=waiting)


FAMILY = Family(
    kind="generated",
    order=110,
    metrics=(
        MetricSpec("generated_accuracy", "share", "Correct", higher_is_better=True),
        MetricSpec("generated_f1", "share", "Words shared with the answer (F1)", higher_is_better=True),
        MetricSpec("generated_unanswered", "share", "Names no choice", higher_is_better=False),
        MetricSpec("generated_failed", "share", "No answer came", higher_is_better=False),
    ),
    figures=figures,
    check=check,
    cost=_cost,
    section=Section("generated", "Answers in words", 30),
)
