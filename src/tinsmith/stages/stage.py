"""What a stage says of itself: enough to plan it, to know whether it is cached, and to run it."""

from __future__ import annotations

import functools
import importlib
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tinsmith.base.erasure import read_forgotten
from tinsmith.meter.planner import Cost, Scale
from tinsmith.recipe import Recipe
from tinsmith.recipe.renamed import use_old_keys
from tinsmith.stages.outbound import Outbound

Inputs = Mapping[str, Path]  # the directories of earlier stages, by name


_FOR_JOBS = ("examples", "learn")
_FOR_BOTH = ("package", "evaluate", "report")


def applies(name: str, recipe: Recipe) -> bool:
    """Say whether a recipe needs the stage: without documents, or without jobs, some stages have nothing to do."""
    if name in _FOR_BOTH:
        return True
    return bool(recipe.jobs) if name in _FOR_JOBS else bool(recipe.ingest.sources)


def of_recipe(path: str) -> Any:
    """Declare a field of a stage's settings that is a single field of another section, by dotted name."""
    return field(metadata={"path": path})


def _none(recipe: Recipe) -> tuple[str, ...]:
    return ()


def _nothing(recipe: Recipe) -> None:
    return None


def _always(recipe: Recipe, name: str) -> bool:
    return True


def _nobody(recipe: Recipe) -> tuple[Outbound, ...]:
    return ()


@dataclass(frozen=True)
class Stage:
    """One stage of a build. Its function is `NAME` in `tinsmith.stages.NAME.run`, imported when it runs.

    The function is called with keywords: `config`, its section, `out` and `progress`; `inputs`,
    `settings` and `seed` if the stage has them; `forgotten` if it honours the erasure list; `workers` if it is
    distributed and there are several. It returns statistics, numbers by name. The cache key covers all it receives.
    """

    name: str
    version: int
    purpose: str
    estimate: Callable[[Recipe, Scale], Cost]
    inputs: tuple[str, ...] = ()
    # Which of the inputs a recipe makes it read, beside that their stages must apply.
    uses: Callable[[Recipe, str], bool] = _always
    # A dataclass of what the stage reads beside its own section: other sections, or fields declared with `of_recipe`.
    # `Recipe` itself stands for everything.
    settings: type[Any] | None = None
    models: Callable[[Recipe], tuple[str, ...]] = _none
    corpora: Callable[[Recipe], tuple[str, ...]] = _none
    # Stamps of the user's own files that the stage opens: they change when a file does.
    files: Callable[[Recipe], list[str] | None] = _nothing
    # Raise TinsmithError for what can be refused before any document is read; `prefetch` may use the network.
    check: Callable[[Recipe], None] = _nothing
    prefetch: Callable[[Recipe], None] = _nothing
    # The language models that the stage asks. Its function then receives `may_leave`, access labels.
    asks: Callable[[Recipe], tuple[Outbound, ...]] = _nobody
    # Outputs (patterns) that carry a fingerprint of all they depend on, so an attempt with another recipe reuses them.
    reusable: tuple[str, ...] = ()
    # Outputs (patterns) whose bytes differ between equal runs: seconds, a server's rounding. Left out of the digest.
    nondeterministic: tuple[str, ...] = ()
    seeded: bool = True
    resumable: bool = False
    distributed: bool = False
    honours_erasure: bool = False
    # The output vouches for the inputs: their files are verified first, and their manifests are part of the key.
    publishes: bool = False
    directory: str = ""
    section: str = ""  # of the recipe, which its function receives as `config`; the stage's name unless given

    def __post_init__(self) -> None:
        object.__setattr__(self, "directory", self.directory or self.name)
        object.__setattr__(self, "section", self.section or self.name)

    def reads(self, recipe: Recipe) -> tuple[str, ...]:
        """Return the earlier stages that it reads for this recipe."""
        return tuple(name for name in self.inputs if applies(name, recipe) and self.uses(recipe, name))

    def is_nondeterministic(self, output: str) -> bool:
        """Say whether the bytes of an output, by its path in the stage's directory, differ between equal runs."""
        return any(fnmatch(output, pattern) for pattern in self.nondeterministic)

    def configuration(self, recipe: Recipe) -> dict[str, Any]:
        """Return the parts of a recipe that the stage depends on, by dotted name."""
        everything = use_old_keys(recipe.model_dump(mode="json"))
        if self.settings is Recipe:
            return {section: value for section, value in everything.items() if section != "runs"}
        # What may leave changes nothing where nothing would.
        leaving = ["may_leave"] if any(outbound.host for outbound in self.asks(recipe)) else []
        return {
            path: functools.reduce(operator.getitem, path.split("."), everything)
            for path in (self.section, *self._paths().values(), *leaving)
        }

    def arguments(self, recipe: Recipe, root: Path) -> dict[str, Any]:
        """Return the keywords of the function that depend on recipe and run directory alone."""
        arguments: dict[str, Any] = {"config": getattr(recipe, self.section)}
        if self.inputs:
            arguments["inputs"] = {name: root / name for name in self.reads(recipe)}
        if self.honours_erasure:
            arguments["forgotten"] = read_forgotten(root)
        if self.asks is not _nobody:
            arguments["may_leave"] = recipe.may_leave
        if self.settings is Recipe:
            return arguments | {"settings": recipe}
        if self.settings:
            values = {name: operator.attrgetter(path)(recipe) for name, path in self._paths().items()}
            arguments["settings"] = self.settings(**values)
        return arguments | ({"seed": recipe.seed} if self.seeded else {})

    def _paths(self) -> dict[str, str]:
        """Return the place in the recipe of each field of the settings."""
        return (
            {f.name: f.metadata.get("path", f.name) for f in fields(self.settings)} if self.settings else {}
        )

    def function(self) -> Callable[..., dict[str, float]]:
        """Import the stage's function."""
        module = importlib.import_module(f"tinsmith.stages.{self.name}.run")
        function: Callable[..., dict[str, float]] = getattr(module, self.name)
        return function
