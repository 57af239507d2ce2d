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


class WeightMean:
    """A mean of weights in memory, of as many terms as were added."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.terms = 0

    def resume(self, tensors: dict[str, Tensor], terms: int) -> None:
        """Go on from a mean of so many terms."""
        self.tensors, self.terms = tensors, terms

    @torch.no_grad()
    def add(self, weights: Mapping[str, Tensor]) -> None:
        """Add a term, by name."""
        self.terms += 1
        for name, weight in weights.items():
            now = weight.detach().to("cpu", torch.float32)
            if self.terms == 1:
                self.tensors[name] = now.clone().contiguous()
            else:
                self.tensors[name].lerp_(now, 1 / self.terms)

    @torch.no_grad()
    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Put the mean into weights of the same names."""
        for name, tensor in self.tensors.items():
            weights[name].copy_(tensor)


class WeightAverage:
    """A mean of up to `TERMS` states of weights, kept on disk so that a killed run goes on with it."""

    def __init__(self, weights: Mapping[str, Tensor], path: Path) -> None:
        """Take the weights in training, by name, and the file that their mean is kept in."""
        self._weights, self._path = weights, path
        self._mean = WeightMean()
        self._terms = self._reached = 0
        if path.exists():
            with safe_open(path, "pt") as file:
                facts = file.metadata()
            self._terms, self._reached = int(facts["terms"]), int(facts["reached"])

    def forget(self) -> None:
        """Drop the mean, and start over."""
        self._mean, self._terms, self._reached = WeightMean(), 0, 0
        self._path.unlink(missing_ok=True)

    def add(self, done: float) -> None:
        """Add the weights where a term is due, given the share of the run that is done, 0 to 1.

        A resumed run comes by some terms once more, with the same weights; they count once.
        """
        due = int(max(0.0, 2 * done - 1) * TERMS)
        if due <= self._reached:
            return
        if self._terms and not self._mean.terms:
            self._mean.resume(load_file(self._path), self._terms)
        self._terms, self._reached = self._terms + 1, due
        self._mean.add(self._weights)
        facts = {"terms": str(self._terms), "reached": str(self._reached)}
        with atomic_path(self._path) as partial:
            save_file(self._mean.tensors, partial, facts)

    def put(self) -> bool:
        """Put the mean into the weights; return whether there is one of several terms."""
        if self._terms < 2:
            return False
        if not self._mean.terms:
            self._mean.resume(load_file(self._path), self._terms)
        self._mean.put(self._weights)
        return True
