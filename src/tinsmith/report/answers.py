"""Answers in words, arranged for the page: a row per system and a column per figure, apart from the exam's."""

from __future__ import annotations

from typing import Any

_SHOWN = ("generated_accuracy", "generated_f1", "generated_unanswered", "generated_failed")
_HEADINGS = {
    "generated_accuracy": "Right",
    "generated_f1": "Words shared with the answer (F1)",
    "generated_unanswered": "Names no choice",
    "generated_failed": "No answer came",
}


def describe_answers(measured: dict[str, Any]) -> dict[str, Any]:
    """Return {systems, tasks, differences, notes}; empty where nothing was asked in words.

    A task has its name, `columns` (metric and heading) and a row per system with a cell, or None, per column.
    """
    found = measured.get("generated")
    if not found or not found["metrics"]:
        return {}
    tasks = dict.fromkeys(row["task"] for row in found["metrics"])
    return {
        "systems": found["systems"],
        "tasks": [_task(task, found) for task in tasks],
        "differences": found["comparisons"],
        "notes": found["notes"],
    }


def _task(task: str, found: dict[str, Any]) -> dict[str, Any]:
    cells = {
        (row["subject"], row["metric"].partition(":")[0]): row
        for row in found["metrics"]
        if row["task"] == task
    }
    kinds = [kind for kind in _SHOWN if any(key[1] == kind for key in cells)]
    rows = [
        _row(system, [cells.get((system["subject"], kind)) for kind in kinds]) for system in found["systems"]
    ]
    rows.sort(key=lambda row: row["cells"][0]["value"] if row["cells"][0] else -1.0, reverse=True)
    return {
        "task": task,
        "columns": [_HEADINGS[kind] for kind in kinds],
        "rows": [r for r in rows if any(r["cells"])],
    }


def _row(system: dict[str, Any], cells: list[dict[str, Any] | None]) -> dict[str, Any]:
    return {"subject": system["subject"], "name": system["name"], "cells": cells}
