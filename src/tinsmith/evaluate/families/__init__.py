"""Families of measurements: each module exports one `FAMILY` and imports nothing heavy."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path

from tinsmith.base.files import read_json
from tinsmith.evidence.family import Family, MetricSpec, complete
from tinsmith.evidence.schema import Metrics, role_of


@functools.cache
def families() -> tuple[Family, ...]:
    """Return all families in the order of their figures; a module without `FAMILY` is a helper of another."""
    modules = (importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__))
    found = [module.FAMILY for module in modules if hasattr(module, "FAMILY")]
    return tuple(sorted(found, key=lambda family: (family.order, family.kind)))


@functools.cache
def metric_specs() -> Mapping[str, MetricSpec]:
    """Return the specification of every metric by its name."""
    return {spec.name: spec for family in families() for spec in family.metrics}


def read_metrics(path: Path) -> Metrics:
    """Read `metrics.json`, also one of an earlier version: missing roles, labels and directions are added."""
    stored = read_json(path)
    specs = metric_specs()
    for table in (stored, stored.get("generated") or {}):
        for kind in ("metrics", "comparisons"):
            table[kind] = [complete(row, specs) for row in table.get(kind, [])]
    stored["bounds"] = [complete(row, specs) for row in stored.get("bounds", [])]
    stored["subjects"] = [{"role": role_of(row["subject"]), **row} for row in stored.get("subjects", [])]
    notes = stored.get("notes") or []
    stored["notes"] = notes if isinstance(notes, list) else [notes]
    return Metrics.model_validate(stored)
