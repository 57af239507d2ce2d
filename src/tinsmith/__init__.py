"""Tinsmith turns an organisation's own documents into a small language model, and proves what it is worth."""

import os
from typing import Any

from tinsmith.base.cores import bound_cores, usable_cores

# How long OpenMP threads spin before they sleep; read when PyTorch or llama.cpp loads OpenMP. Without a bound they spin
# so long that another process on the same cores is ten times slower; without spinning, training loses a tenth and
# generation two thirds of its speed.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
# OpenMP knows cores and not quotas, and all its threads stop once a container's quota is used up.
if usable_cores() < bound_cores():
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))

__version__ = "0.1.0"
__all__ = ["Recipe", "build", "load_recipe", "plan", "verify"]

_HOMES = {
    "Recipe": "recipe",
    "load_recipe": "recipe.toml",
    "build": "pipeline.build",
    "plan": "pipeline.plan",
    "verify": "bundle",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that `tinsmith --help` imports nothing heavy.
    if name not in _HOMES:
        raise AttributeError(name)
    import importlib

    return getattr(importlib.import_module(f"tinsmith.{_HOMES[name]}"), name)
