"""Families of measurements: each module exports one `FAMILY` and imports nothing heavy."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from tinsmith.evidence.family import Family


@functools.cache
def families() -> tuple[Family, ...]:
    """Return all families in the order of their figures: each module here exports one. Two share no kind or metric."""
    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    found: tuple[Family, ...] = tuple(module.FAMILY for module in modules)
    for names in (
        [family.kind for family in found],
        [spec.name for family in found for spec in family.metrics],
    ):
        assert len(set(names)) == len(names), f"two families share a kind or a metric: {sorted(names)}"
    return tuple(sorted(found, key=lambda family: (family.order, family.kind)))
