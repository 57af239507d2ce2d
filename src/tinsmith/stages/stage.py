"""What a stage says of itself: enough to plan it, to know whether it is cached, and to run it."""

from __future__ import annotations

import functools
import importlib
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tinsmith.meter.planner import Cost, Scale
from tinsmith.recipe import Recipe

WHOLE_RECIPE = ("*",)


def _none(recipe: Recipe) -> tuple[str, ...]:
    return ()


def _nothing(recipe: Recipe) -> None:
    return None


@dataclass(frozen=True)
class Stage:
    """One stage of a build. Its function is `NAME` in `tinsmith.stages.NAME.run`, imported when it runs.

    What a stage reads is what its cache key depends on: the section of its own name, `sections`, `inputs`,
    `models`, `files`, the seed if `seeded`, and the erasure list if `honours_erasure`.
    """

    name: str
    version: int
    purpose: str
    estimate: Callable[[Recipe, Scale], Cost]
    inputs: tuple[str, ...] = ()
    # Other sections of the recipe, or single fields of them by dotted name.
    sections: tuple[str, ...] = ()
    models: Callable[[Recipe], tuple[str, ...]] = _none
    corpora: Callable[[Recipe], tuple[str, ...]] = _none
    # Stamps of the user's own files that the stage opens: they change when a file does.
    files: Callable[[Recipe], list[str] | None] = _nothing
    # Raise TinsmithError for what can be refused before any document is read; `prefetch` may use the network.
    check: Callable[[Recipe], None] = _nothing
    prefetch: Callable[[Recipe], None] = _nothing
    # Outputs (patterns) that carry a fingerprint of all they depend on, so an attempt with another recipe reuses them.
    reusable: tuple[str, ...] = ()
    # Outputs whose bytes differ between equal runs: seconds, a server's rounding. Left out of the digest.
    nondeterministic: tuple[str, ...] = ()
    seeded: bool = True
    resumable: bool = False
    distributed: bool = False
    honours_erasure: bool = False
    # The function gets the directories of its inputs as one mapping, `runs`, and not a keyword for each.
    runs_together: bool = False
    # The output vouches for the inputs: their files are verified first, and their manifests are part of the key.
    publishes: bool = False
    directory: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "directory", self.directory or self.name)

    def configuration(self, recipe: Recipe) -> dict[str, Any]:
        """Return the parts of a recipe that the stage depends on, by dotted name."""
        everything = recipe.model_dump(mode="json")
        if self.sections == WHOLE_RECIPE:
            return {section: value for section, value in everything.items() if section != "runs"}
        return {
            section: functools.reduce(operator.getitem, section.split("."), everything)
            for section in (self.name, *self.sections)
        }

    def function(self) -> Callable[..., dict[str, float]]:
        """Import the stage's function."""
        module = importlib.import_module(f"tinsmith.stages.{self.name}.run")
        function: Callable[..., dict[str, float]] = getattr(module, self.name)
        return function
