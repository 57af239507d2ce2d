"""The mean of weights over the second half of a run, whose minimum is flatter than where the run ends.

After Izmailov et al. 2018 (arXiv:1803.05407), at a falling rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tinsmith.base.files import atomic_path

TERMS = 8  # at equal distances over the second half of a run


class WeightAverage:
    """A mean of up to `TERMS` states of weights, kept on disk so that a killed run goes on with it."""

    def __init__(self, weights: Mapping[str, Tensor], path: Path) -> None:
        """Take the weights in training, by name, and the file that their mean is kept in."""
        self._weights, self._path = weights, path
        self._mean: dict[str, Tensor] | None = None
        self._terms = self._reached = 0
        if path.exists():
            with safe_open(path, "pt") as file:
                facts = file.metadata()
            self._terms, self._reached = int(facts["terms"]), int(facts["reached"])

    @torch.no_grad()
    def add(self, done: float) -> None:
        """Add the weights where a term is due, given the share of the run that is done, 0 to 1.

        A resumed run comes by some terms once more, with the same weights; they count once.
        """
        due = int(max(0.0, 2 * done - 1) * TERMS)
        if due <= self._reached:
            return
        self._terms, self._reached = self._terms + 1, due
        now = {name: weight.detach().float() for name, weight in self._weights.items()}
        if self._terms == 1:
            self._mean = {name: weight.clone() for name, weight in now.items()}
        else:
            self._mean = self._read()
            for name, weight in now.items():
                self._mean[name].lerp_(weight.to(self._mean[name].device), 1 / self._terms)
        facts = {"terms": str(self._terms), "reached": str(self._reached)}
        with atomic_path(self._path) as partial:
            save_file({name: tensor.contiguous() for name, tensor in self._mean.items()}, partial, facts)

    @torch.no_grad()
    def put(self) -> bool:
        """Put the mean into the weights; return whether there is one of several terms."""
        if self._terms < 2:
            return False
        for name, tensor in self._read().items():
            self._weights[name].copy_(tensor)
        return True

    def _read(self) -> dict[str, Tensor]:
        return self._mean if self._mean is not None else load_file(self._path)
