"""Compute the figures of metrics.json again from the stored items, and compare."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from tinsmith.base.files import read_json
from tinsmith.evaluate.families import families
from tinsmith.evaluate.metrics import compute_metrics
from tinsmith.evidence.family import FigureContext, Items, contradiction, read_metrics, require_subjects
from tinsmith.evidence.schema import Metrics, Record, Role, Subject, role_of
from tinsmith.recipe import Recipe

_SAME = 1e-9  # of a figure: sums in another order differ by less


def check_figures(metrics: Path, items: Path, recipe: Recipe, *, gguf: Path) -> int:
    """Compare each figure of `metrics` with what the items give; return how many numbers there are.

    Raises BundleError that names the first that differs or is missing, or an item that contradicts itself.
    """
    stored = read_metrics(metrics, families())
    require_subjects(stored, metrics)
    subjects = {subject.subject: subject for subject in stored.subjects}
    for subject in stored.subjects:
        _check_role(metrics, subject, items)
    source = Items(items, gguf, items / "parity.jsonl", tuple(subjects))
    for family in families():
        family.check(source)
    context = FigureContext(source, subjects, recipe.evaluate, recipe.meter, recipe.seed)
    computed = compute_metrics(
        context, precision=stored.precision, notes=stored.notes, gaps=stored.gaps or ()
    )
    return sum(_compare(metrics, *table) for table in _tables(stored, computed))


def _check_role(metrics: Path, subject: Subject, items: Path) -> None:
    """Raise BundleError for a wrong role: it decides who is compared. A baseline has no model that was scored."""
    role = role_of(subject.subject)
    about, asked = (items / f"{kind}-{subject.subject}.json" for kind in ("about", "job"))
    is_baseline = not asked.is_file() or read_json(asked)["system"] == "baseline"
    if role is Role.RIVAL and not about.is_file() and is_baseline:
        role = Role.BASELINE
    if subject.role is not role:
        what = f"subjects, {subject.subject}: role is {str(subject.role)!r}, the items give {str(role)!r}"
        raise contradiction(metrics, what)


_Rows = Sequence[Record]


def _tables(stored: Metrics, computed: Metrics) -> Iterator[tuple[str, _Rows, _Rows]]:
    """Yield the rows of each table on both sides."""
    for table in ("metrics", "comparisons"):
        yield table, getattr(stored, table), getattr(computed, table)
    # An earlier version stored no ladder where nothing was scored.
    if stored.ladder.rows or computed.ladder.rows:
        yield "ladder", [stored.ladder], [computed.ladder]
    yield "ladder", stored.ladder.rows, computed.ladder.rows
    yield "bounds", stored.bounds, computed.bounds
    if stored.gaps is not None:
        yield "gaps", stored.gaps, computed.gaps or ()
    jobs, again = stored.jobs or (), computed.jobs or ()
    yield "jobs", jobs, again
    for table in ("confusion", "reliability", "coverage", "mistakes", "recorded"):
        old, new = ([row for job in side for row in getattr(job, table)] for side in (jobs, again))
        yield f"jobs.{table}", old, new
    if stored.generated or computed.generated:
        sides = [[side.generated] if side.generated else [] for side in (stored, computed)]
        for table in ("systems", "metrics", "comparisons"):
            old, new = ([row for part in side for row in getattr(part, table)] for side in sides)
            yield f"generated.{table}", old, new


def _named(table: str, rows: _Rows) -> dict[str, Record]:
    """Name rows by their table and what identifies them; a row that occurs twice has two names."""
    keys = ("subject", "metric", "a", "b", "format", "side", "bound", "kind", "what", "job", "id")
    named: dict[str, Record] = {}
    for row in rows:
        name = ", ".join([table, *(str(getattr(row, key)) for key in keys if hasattr(row, key))])
        while name in named:
            name += " (again)"
        named[name] = row
    return named


def _compare(where: Path, table: str, stored_rows: _Rows, computed_rows: _Rows) -> int:
    """Raise BundleError for the first difference; return how many numbers agree."""
    count = 0
    stored, computed = _named(table, stored_rows), _named(table, computed_rows)
    for name, row in stored.items():
        if name not in computed:
            raise contradiction(where, f"{name} has no items that it could be computed from")
        other = computed[name]
        for field in type(row).model_fields:  # in their order, so that a value is named before its interval
            value, again = getattr(row, field), getattr(other, field)
            if isinstance(value, Record) or field == "file" or not (_is_flat(value) and _is_flat(again)):
                continue
            if not _same(value, again):
                raise contradiction(where, f"{name}: {field} is {value!r}, the items give {again!r}")
            count += isinstance(value, int | float) and not isinstance(value, bool)
    if left := computed.keys() - stored.keys():
        raise contradiction(where, f"{min(left)} can be computed from the items and is missing")
    return count


def _is_flat(value: object) -> bool:
    """Say whether a value is a single one or a tuple of names; a tuple of rows is a table of its own."""
    return not isinstance(value, tuple) or all(isinstance(each, str) for each in value)


def _same(value: object, other: object) -> bool:
    """Compare numbers up to rounding, and all else exactly; no slice is stored as "" or not at all."""
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, int | float) and isinstance(other, int | float):
        return math.isclose(value, other, rel_tol=_SAME, abs_tol=_SAME)
    return value == other or {value, other} == {None, ""}
