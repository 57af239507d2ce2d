"""Compute the figures of metrics.json again from the stored items, as a sceptic would."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinsmith.base.errors import BundleError
from tinsmith.base.files import read_json, read_jsonl
from tinsmith.evaluate.audits import FIGURES, audit_rows
from tinsmith.evaluate.bootstrap import Bootstrap
from tinsmith.evaluate.bounds import judge_bounds
from tinsmith.evaluate.families.general_table import different_answer, same_answer
from tinsmith.evaluate.families.generative_table import add_generated
from tinsmith.evaluate.families.quantization import build_ladder
from tinsmith.evaluate.families.speed import speed_rows
from tinsmith.evaluate.items import CONTROLS, Item, Measured, item_row, likeliest, read_questions
from tinsmith.evaluate.metrics import tabulate
from tinsmith.recipe import EvaluateConfig, MeterConfig

_NEAR = 1e-9  # of a figure: sums in another order differ by less
_REFUSED = "do not trust this bundle; build it again from its recipe and documents"


def check_figures(
    metrics: Path, items: Path, config: EvaluateConfig, meter: MeterConfig, seed: int, *, gguf: Path
) -> int:
    """Compare each figure and comparison of `metrics` with what the items give; return how many there are.

    Raises BundleError that names the first that differs, or an item whose answer does not follow from its scores.
    """
    stored = read_json(metrics)
    file = items / "questions.jsonl"
    questions = {item.item: item for item in read_questions(file)} if file.exists() else {}
    measured = {row["subject"]: _read_subject(items, row["subject"], questions) for row in stored["subjects"]}
    general = [found.general for found in measured.values() if found.general]
    if wrong := different_answer(general):
        raise _differs(items, f"item {wrong}: the subjects' answers are not held against the same one")
    documents = max((len(found.bits) for found in measured.values()), default=0)
    bootstrap = Bootstrap(documents, resamples=config.bootstrap, confidence=config.confidence, seed=seed)
    asked = dict.fromkeys(
        (row["task"], row["shots"])
        for name, found in measured.items()
        if name not in CONTROLS
        for row in found.exam
    )
    table = tabulate(measured, asked, bootstrap, config)
    table["metrics"] += audit_rows(
        measured, resamples=config.bootstrap, confidence=config.confidence, seed=seed
    )
    speeds = list(_speeds(items, measured, meter))
    table["metrics"] += speeds
    stored = add_generated(stored, table, items, config, seed, questions)
    count = 0
    for kind, keys in (("metrics", ("subject", "metric")), ("comparisons", ("metric", "a", "b"))):
        ours = {tuple(row[key] for key in keys): row for row in table[kind]}
        for row in stored[kind]:
            name = ", ".join(str(row[key]) for key in keys)
            again = ours.pop(tuple(row[key] for key in keys), None)
            if again is None:
                raise _differs(metrics, f"{name} has no items that it could be computed from")
            for field, value in _numbers(row):
                if not _same(value, again.get(field)):
                    raise _differs(
                        metrics, f"{name}: {field} is {value!r}, the items give {again.get(field)!r}"
                    )
                count += 1
        if ours:
            raise _differs(
                metrics, f"{', '.join(next(iter(ours)))} can be computed from the items and is missing"
            )
    places = {"gguf": gguf, "parity": items / "parity.jsonl"}
    ladder = build_ladder(measured, speeds, bootstrap, **places, max_loss=config.max_loss)
    count += _check_ladder(metrics, stored.get("ladder"), ladder)
    # From the stored figures, since each of them was just found to be that of its items.
    if stored.get("bounds", []) != judge_bounds(config.bounds, stored["metrics"]):
        raise _differs(metrics, "bounds: what is kept does not follow from the figures")
    return count


def _check_ladder(metrics: Path, stored: Any, again: dict[str, Any]) -> int:
    """Compare the quantisation ladder, also where a figure was taken away; return how many numbers it has."""
    stored = stored or {"rows": []}
    if [row["format"] for row in stored["rows"]] != [row["format"] for row in again["rows"]]:
        raise _differs(metrics, "ladder: its files are not those that were scored")
    pairs = [("ladder", stored | {"rows": None}, again | {"rows": None})]
    for row, other in zip(stored["rows"], again["rows"], strict=True):
        pairs.append((f"ladder, {row['format']}", row, other))
    for name, row, other in pairs:
        for field in sorted({*row, *other}):
            value, found = row.get(field), other.get(field)
            if value != found and not (isinstance(value, int | float) and _same(value, found)):
                raise _differs(metrics, f"{name}: {field} is {value!r}, the items give {found!r}")
    return sum(len(list(_numbers(row))) for _, row, _ in pairs)


def _read_subject(items: Path, subject: str, questions: dict[str, Item]) -> Measured:
    paths = [items / f"{kind}-{subject}.jsonl" for kind in ("bits", "exam", "general", *FIGURES)]
    bits, rows, general, *audits = (list(read_jsonl(path)) if path.exists() else [] for path in paths)
    for row in rows:
        _check_answer(paths[1], row, questions.get(row["item"]))
    for row in general:
        if not same_answer(row):
            raise _differs(paths[2], f"item {row['item']}: its prediction does not follow from its scores")
    return Measured(bits, rows, {}, general, dict(zip(FIGURES, audits, strict=True)))


def _check_answer(path: Path, row: dict[str, Any], item: Item | None) -> None:
    """Raise BundleError unless the answer is the likeliest choice, and right only if it is the true one."""
    if item is None:
        raise _differs(path, f"item {row['item']} is none of questions.jsonl")
    if item.answer != row["answer"]:
        raise _differs(path, f"item {row['item']}: its answer is not that of questions.jsonl")
    again = item_row(item, row["prediction"], shots=row["shots"])
    if row["scores"]:
        again = item_row(item, likeliest(item, row["scores"]), shots=row["shots"])
    for field in ("prediction", "correct"):
        if again[field] != row[field]:
            raise _differs(
                path, f"item {row['item']}: {field} is {row[field]!r}, its scores give {again[field]!r}"
            )


def _speeds(items: Path, measured: dict[str, Measured], meter: MeterConfig) -> Iterator[dict[str, Any]]:
    for name in measured:
        file = items / f"speed-{name}.json"
        if file.exists():
            yield from speed_rows(name, read_json(file), meter, file=f"items/{file.name}")


def _numbers(row: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for field, value in row.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield field, value


def _same(value: float, other: Any) -> bool:
    return isinstance(other, int | float) and math.isclose(value, other, rel_tol=_NEAR, abs_tol=_NEAR)


def _differs(where: Path, what: str) -> BundleError:
    return BundleError(what, where=str(where), next_step=_REFUSED)
