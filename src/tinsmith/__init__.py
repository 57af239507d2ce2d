"""Tinsmith turns an organisation's own documents into a small language model, and proves what it is worth."""

import os
from typing import Any

# How long threads of OpenMP spin before they sleep, told before PyTorch or llama.cpp load it. Without a bound
# they spin so long that a neighbour on the same cores costs a factor of ten; without spinning, short waits cost
# a tenth in training and two thirds in generating.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

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
    # Lazily, so that `tinsmith --help` need not wait for anything heavy.
    if name not in _HOMES:
        raise AttributeError(name)
    import importlib

    return getattr(importlib.import_module(f"tinsmith.{_HOMES[name]}"), name)
