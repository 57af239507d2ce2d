"""Compute the figures of metrics.json again from the stored items, and compare."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tinsmith.evaluate.families import families
from tinsmith.evaluate.metrics import compute_metrics
from tinsmith.evidence.family import FigureContext, Items, contradiction, read_metrics
from tinsmith.evidence.schema import Metrics, Record
from tinsmith.recipe import Recipe

_SAME = 1e-9  # of a figure: sums in another order differ by less


def check_figures(metrics: Path, items: Path, recipe: Recipe, *, gguf: Path) -> int:
    """Compare each figure of `metrics` with what the items give; return how many numbers there are.

    Raises BundleError that names the first that differs or is missing, or an item that contradicts itself.
    """
    stored = read_metrics(metrics, families())
    subjects = {subject.subject: subject for subject in stored.subjects}
    source = Items(items, gguf, items / "parity.jsonl", tuple(subjects))
    for family in families():
        family.check(source)
    context = FigureContext(source, subjects, recipe.evaluate, recipe.meter, recipe.seed)
    computed = compute_metrics(context, precision=stored.precision, notes=stored.notes)
    return sum(_compare(metrics, *table) for table in _tables(stored, computed))


_Rows = Mapping[str, Record]


def _tables(stored: Metrics, computed: Metrics) -> Iterator[tuple[str, _Rows, _Rows]]:
    """Yield the tables of both sides: rows by name."""
    for table in ("metrics", "comparisons"):
        yield table, _named(getattr(stored, table)), _named(getattr(computed, table))
    # An earlier version stored no ladder where nothing was scored.
    if stored.ladder.rows or computed.ladder.rows:
        yield "ladder", {"": stored.ladder}, {"": computed.ladder}
    yield "ladder", _named(stored.ladder.rows), _named(computed.ladder.rows)
    yield "bounds", _named(stored.bounds), _named(computed.bounds)
    if stored.generated or computed.generated:
        sides = [[side.generated] if side.generated else [] for side in (stored, computed)]
        for table in ("systems", "metrics", "comparisons"):
            old, new = (_named([row for part in side for row in getattr(part, table)]) for side in sides)
            yield f"generated.{table}", old, new


def _named(rows: Sequence[Record]) -> dict[str, Record]:
    """Name rows by what identifies them."""
    keys = ("subject", "metric", "a", "b", "format", "side", "bound")
    names = [", ".join(str(getattr(row, key)) for key in keys if hasattr(row, key)) for row in rows]
    return dict(zip(names, rows, strict=True))


def _compare(where: Path, table: str, stored: _Rows, computed: _Rows) -> int:
    """Raise BundleError for the first difference; return how many numbers agree."""
    count = 0
    for name, row in stored.items():
        if name not in computed:
            raise contradiction(where, f"{table}: {name} has no items that it could be computed from")
        other = computed[name]
        for field in sorted(row.model_fields_set | other.model_fields_set):
            value, again = getattr(row, field), getattr(other, field)
            if isinstance(value, tuple | Record) or field in ("label", "unit", "file"):
                continue
            if not _same(value, again):
                raise contradiction(where, f"{name}: {field} is {value!r}, the items give {again!r}")
            count += isinstance(value, int | float) and not isinstance(value, bool)
    if left := computed.keys() - stored.keys():
        raise contradiction(where, f"{min(left)} can be computed from the items and is missing")
    return count


def _same(value: object, other: object) -> bool:
    numbers = isinstance(value, int | float) and isinstance(other, int | float)
    if numbers and not isinstance(value, bool):
        return math.isclose(value, other, rel_tol=_SAME, abs_tol=_SAME)  # type: ignore[arg-type]
    return (value or None) == (other or None)  # no slice is stored as "" or not at all
