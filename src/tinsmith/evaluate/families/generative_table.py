"""From answers in words to figures: shares right, unanswered and failed, differences; and all of it again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinsmith.base.errors import BundleError
from tinsmith.base.files import read_jsonl
from tinsmith.evaluate.bootstrap import Bootstrap, Statistic, difference_row, holm, ratio
from tinsmith.evaluate.families.generative import (
    NOT_ASKED,
    Question,
    build_prompt,
    counts,
    judge,
    read_open,
)
from tinsmith.evaluate.items import Item
from tinsmith.evaluate.metrics import pairs
from tinsmith.recipe import EvaluateConfig

Rows = list[dict[str, Any]]
PROTOCOL = (
    "Answers in words: each system gets the same text, and the answer is the letter or the one choice that it names. "
    "These shares are not comparable with those of the exam, where the likeliest choice is the answer."
)
_KEY = "generated"


def tabulate_generated(rows: dict[str, Rows], config: EvaluateConfig, seed: int) -> dict[str, Rows]:
    """Return `metrics` and `comparisons` of answers in words, apart from those of likelihood.

    A comparison holds only questions that both answered, or would not answer; p-values are adjusted by Holm over
    these comparisons.
    """
    metrics: Rows = []
    comparisons: Rows = []
    for task in dict.fromkeys(row["task"] for own in rows.values() for row in own):
        chosen = {name: [row for row in own if row["task"] == task] for name, own in rows.items()}
        table = _Task(task, {name: own for name, own in chosen.items() if own}, config, seed)
        metrics += table.metrics()
        comparisons += table.comparisons()
    for row, adjusted in zip(comparisons, holm([row["p"] for row in comparisons]), strict=True):
        row["p_holm"] = adjusted
    return {"metrics": metrics, "comparisons": comparisons}


class _Task:
    """The answers of all systems to one task, and resamples of its documents."""

    def __init__(self, task: str, rows: dict[str, Rows], config: EvaluateConfig, seed: int) -> None:
        self.task, self.rows = task, rows
        documents = dict.fromkeys(row["doc_id"] for own in rows.values() for row in own)
        self.place = {doc_id: number for number, doc_id in enumerate(documents)}
        self.bootstrap = None
        if len(documents) > 1:
            self.bootstrap = Bootstrap(
                len(documents), resamples=config.bootstrap, confidence=config.confidence, seed=seed
            )

    def metrics(self) -> Rows:
        found: Rows = []
        for name, own in self.rows.items():
            counted = [row for row in own if counts(row)]
            found += self._metric("generated_accuracy", name, counted, lambda row: float(row["correct"]))
            if counted and not counted[0]["choices"]:
                found += self._metric("generated_f1", name, counted, lambda row: float(row["f1"]))
            found += self._metric(
                "generated_unanswered", name, counted, lambda row: float(not row["prediction"])
            )
            found += self._metric("generated_failed", name, own, lambda row: float(not counts(row)))
        return found

    def _metric(self, kind: str, name: str, own: Rows, value: Callable[[dict[str, Any]], float]) -> Rows:
        if self.bootstrap is None or len({row["doc_id"] for row in own}) < 2:
            return []
        estimate = self.bootstrap.estimate(self._mean(own, value))
        row = {"subject": name, "metric": f"{kind}:{self.task}", **estimate.row(), "items": len(own)}
        return [row | {"file": f"items/generated-{name}.jsonl", "unit": "share", "task": self.task}]

    def comparisons(self) -> Rows:
        found: Rows = []
        for a, b in pairs(list(self.rows)):
            answered = {row["item"] for row in self.rows[b] if counts(row)}
            shared = {row["item"] for row in self.rows[a] if counts(row)} & answered
            left, right = ([row for row in self.rows[name] if row["item"] in shared] for name in (a, b))
            if self.bootstrap is None or len({row["doc_id"] for row in left}) < 2:
                continue
            statistics = [self._mean(own, lambda row: float(row["correct"])) for own in (left, right)]
            estimate = self.bootstrap.difference(*statistics)
            metric, confidence = f"generated_accuracy:{self.task}", self.bootstrap.confidence
            found.append(
                difference_row(metric, a, b, estimate, len(shared), confidence=confidence, task=self.task)
            )
        return found

    def _mean(self, own: Rows, value: Callable[[dict[str, Any]], float]) -> Statistic:
        """Return the mean over questions as a statistic over documents: those of one are drawn together."""
        total, asked = [0.0] * len(self.place), [0.0] * len(self.place)
        for row in own:
            total[self.place[row["doc_id"]]] += value(row)
            asked[self.place[row["doc_id"]]] += 1
        return ratio(total, asked)


def system_row(name: str, shown: str, kind: str, rows: Rows, config: EvaluateConfig) -> dict[str, Any]:
    """Return the row of a system: how many questions there were, were asked, answered, and what that cost."""
    prices = next((each for each in config.endpoints if each.name == name), None)
    read, written = (sum(row[field] for row in rows) for field in ("input_tokens", "output_tokens"))
    cost = (
        (read * prices.price_per_million_input + written * prices.price_per_million_output) / 1e6
        if prices
        else 0.0
    )
    return {
        "subject": name,
        "name": shown,
        "kind": kind,
        "questions": len(rows),
        "asked": sum(row["failure"] not in NOT_ASKED for row in rows),
        "answered": sum(not row["failure"] for row in rows),
        "partial": not all(counts(row) for row in rows),
        "input_tokens": read,
        "output_tokens": written,
        "cost": cost,
    }


def partial_notes(systems: Rows, rows: dict[str, Rows]) -> list[str]:
    """Name each system that did not answer all, with how many of how many, and why."""
    notes = []
    for system in systems:
        if system["partial"]:
            own = [row for row in rows[system["subject"]] if not counts(row)]
            reasons = ", ".join(sorted({row["failure"] for row in own}))
            kept = system["questions"] - len(own)
            notes.append(
                f"Partial: {system['name']} counts with {kept} of {system['questions']} questions in words "
                f"({reasons}); it is compared on these alone."
            )
    return notes


def add_generated(
    stored: dict[str, Any],
    table: dict[str, Any],
    items: Path,
    config: EvaluateConfig,
    seed: int,
    questions: dict[str, Item],
) -> dict[str, Any]:
    """Add to `table` the figures of answers in words, computed again, and return `stored` with its own beside the rest.

    Raises BundleError for a row whose prompt or meaning does not follow, or a system whose counts differ.
    """
    if not (part := stored.get(_KEY)):
        return stored
    file = items / "open.jsonl"
    known: dict[str, Question] = {**questions}
    known |= {item.item: item for item in (read_open(file) if file.exists() else [])}
    rows, seen = {}, dict[str, tuple[Any, ...]]()
    for system in part["systems"]:
        name = system["subject"]
        path = items / f"generated-{name}.jsonl"
        rows[name] = list(read_jsonl(path)) if path.exists() else []
        for row in rows[name]:
            _check_row(path, row, known.get(row["item"]), seen)
        again = system_row(name, system["name"], system["kind"], rows[name], config)
        if again != system:
            field = next(key for key in again if again[key] != system.get(key))
            raise _differs(path, f"{name}: {field} is {system.get(field)!r}, the items give {again[field]!r}")
    found = tabulate_generated(rows, config, seed)
    for kind, own in found.items():
        table[kind] += own
    return stored | {kind: [*stored[kind], *part[kind]] for kind in found}


def _check_row(
    path: Path, row: dict[str, Any], item: Question | None, seen: dict[str, tuple[Any, ...]]
) -> None:
    asked = (row["prompt"], row["choices"], row["accepted"], row["task"], row["doc_id"])
    if item is not None:
        choices = list(item.choices) if isinstance(item, Item) else []
        accepted = [item.answer] if isinstance(item, Item) else list(item.answers)
        seen.setdefault(row["item"], (build_prompt(item), choices, accepted, item.task, item.doc_id))
    if seen.setdefault(row["item"], asked) != asked:
        raise _differs(path, f"item {row['item']}: was not asked as others were, or as it is stored")
    for field, value in judge(row).items():
        if row[field] != value:
            raise _differs(path, f"item {row['item']}: {field} is {row[field]!r}, its answer gives {value!r}")


def _differs(where: Path, what: str) -> BundleError:
    return BundleError(
        what,
        where=str(where),
        next_step="do not trust this bundle; build it again from its recipe and documents",
    )
