"""Families of measurements: each module exports one `FAMILY` and imports nothing heavy."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from tinsmith.evidence.family import Family


@functools.cache
def families() -> tuple[Family, ...]:
    """Return all families in the order of their figures; a module without `FAMILY` is a helper of another."""
    modules = (importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__))
    found = [module.FAMILY for module in modules if hasattr(module, "FAMILY")]
    return tuple(sorted(found, key=lambda family: (family.order, family.kind)))
