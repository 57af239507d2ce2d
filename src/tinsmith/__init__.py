"""Tinsmith turns an organisation's own documents into a small language model, and proves what it is worth."""

import os
from typing import Any

# Threads of OpenMP wait by spinning unless told otherwise before PyTorch is loaded. With a neighbour on the
# same cores that costs a factor of ten.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
__all__ = ["Recipe", "build", "load_recipe", "plan", "verify"]

_HOMES = {
    "Recipe": "recipe",
    "load_recipe": "recipe",
    "build": "pipeline",
    "plan": "pipeline",
    "verify": "bundle",
}


def __getattr__(name: str) -> Any:
    # Lazily, so that `tinsmith --help` need not wait for anything heavy.
    if name not in _HOMES:
        raise AttributeError(name)
    import importlib

    return getattr(importlib.import_module(f"tinsmith.{_HOMES[name]}"), name)
