"""How a run goes through the table of stages: keys, resume, metering, swaps that a kill cannot break."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import operator
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.base import assets
from tinsmith.base.erasure import read_forgotten
from tinsmith.base.errors import RecipeError, RunError
from tinsmith.base.files import read_json, sha256_file, sha256_json, write_atomic, write_json
from tinsmith.base.launch import WorkerGroup
from tinsmith.base.progress import Progress, SilentProgress
from tinsmith.meter.energy import EnergyMeter, Reading
from tinsmith.pipeline.manifests import (
    KEY,
    MANIFEST,
    METER,
    make_manifest,
    manifest_of,
    outputs_present,
    read_manifest,
)
from tinsmith.recipe import Recipe
from tinsmith.stages import STAGES, Stage
from tinsmith.stages.stage import WHOLE_RECIPE

_SEEN_SECONDS = 60.0  # a network file system may show a new directory that late


@dataclass(frozen=True)
class Step:
    """What a build would do with one stage, and why."""

    stage: Stage
    cached: bool
    why: str


def run_directory(recipe: Recipe) -> Path:
    """Return where a recipe's stages live."""
    return Path(recipe.runs).expanduser() / recipe.name


def plan(recipe: Recipe, until: str | None = None) -> list[Step]:
    """Say stage by stage what is cached and what would run, and why. Changes nothing."""
    for stage in STAGES:
        stage.check(recipe)
    root, steps, stale = run_directory(recipe), [], False
    for stage in _stages_until(until):
        manifest = read_manifest(root / stage.directory)
        if stale:
            steps.append(Step(stage, False, "an earlier stage runs"))
            continue
        key = stage_key(stage, recipe, root)
        cached = (
            manifest is not None
            and manifest["key"] == key
            and outputs_present(root / stage.directory, manifest)
        )
        steps.append(Step(stage, cached, _why(stage, recipe, root, manifest, key, cached)))
        stale = not cached
    return steps


def build(
    recipe: Recipe, *, progress: Progress, until: str | None = None, workers: WorkerGroup | None = None
) -> Path:
    """Run what is not yet done, under the meter; return the run directory. Raises TinsmithError.

    Of several `workers`, the others wait in `follow` and are called for the stages that all work on together.
    """
    root = run_directory(recipe)
    for stage in STAGES:
        stage.check(recipe)
    stages = _stages_until(until)
    prefetched = False
    with _disk_errors(root), locked(root):
        for position, stage in enumerate(stages):
            _recover(root, stage)
            key = stage_key(stage, recipe, root)
            manifest = read_manifest(root / stage.directory)
            if manifest and manifest["key"] == key and outputs_present(root / stage.directory, manifest):
                progress.say(f"{stage.name}: cached")
                continue
            if not prefetched:
                for later in stages[position:]:
                    later.prefetch(recipe)
                prefetched = True
            _run_stage(stage, recipe, root, key, progress, workers)
    return root


def follow(workers: WorkerGroup) -> None:
    """Work on each stage that the main process calls for, until it lets its followers go. Raises TinsmithError."""
    for order in workers.orders():
        recipe, root = Recipe.model_validate(order["recipe"]), Path(order["root"])
        stage = next(stage for stage in STAGES if stage.name == order["stage"])
        partial = root / f"{stage.directory}.partial"
        _await_key(partial, order["key"], _SEEN_SECONDS)
        stage.function()(
            **_arguments(stage, recipe, root), out=partial, progress=SilentProgress(), workers=workers
        )


def _await_key(partial: Path, key: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    while _partial_key(partial) != key:
        if time.monotonic() > until:
            raise RunError(
                f"{socket.gethostname()} does not see what the first process wrote",
                where=str(partial),
                next_step="set `runs` in the recipe to a directory that all machines share, by its absolute path",
            )
        time.sleep(0.2)


def stage_key(stage: Stage, recipe: Recipe, root: Path) -> str:
    """Hash all that a stage's outputs depend on: version, configuration, assets, inputs."""
    parts = {
        "stage": stage.name,
        "version": stage.version,
        "config": stage.configuration(recipe),
        "seed": recipe.seed if stage.seeded else None,
        "models": {name: assets.identify(name) for name in stage.models(recipe)},
        "sources": stage.files(recipe),
        "inputs": {name: manifest_of(root, name)["digest"] for name in stage.inputs},
    }
    forgotten = read_forgotten(root).fingerprint if stage.honours_erasure else ""
    if forgotten:
        parts["forgotten"] = forgotten
    if stage.publishes:
        # Manifests hold seconds and joules, which differ between equal outputs.
        parts["manifests"] = {name: sha256_file(root / name / MANIFEST) for name in stage.inputs}
    return sha256_json(parts)


def _stages_until(until: str | None) -> tuple[Stage, ...]:
    names = [stage.name for stage in STAGES]
    if until is None:
        return STAGES
    if until not in names:
        raise RecipeError(
            f"{until!r} is no stage", where="--until", next_step=f"use one of {', '.join(names)}"
        )
    return STAGES[: names.index(until) + 1]


def _why(
    stage: Stage, recipe: Recipe, root: Path, manifest: dict[str, Any] | None, key: str, cached: bool
) -> str:
    if cached:
        return "nothing changed"
    partial = root / f"{stage.directory}.partial"
    if partial.exists():
        return (
            "goes on where it was stopped"
            if stage.resumable and _partial_key(partial) == key
            else "was stopped"
        )
    if manifest is None:
        return "not yet run"
    if manifest["key"] == key:
        return "a file of it is missing or has another size"
    changed = _changed_fields(manifest["config"], stage.configuration(recipe))
    if changed:
        return f"changed: {', '.join(changed)}"
    if stage.seeded and manifest["seed"] != recipe.seed:
        return "changed: seed"
    moved = [n for n in stage.inputs if manifest["inputs"].get(n) != manifest_of(root, n)["digest"]]
    if moved:
        return f"changed input: {', '.join(moved)}"
    return f"changed files, model or stage version{', or what is forgotten' * stage.honours_erasure}"


def _changed_fields(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    found = []
    for section, value in now.items():
        old = before.get(section)
        if isinstance(value, dict) and isinstance(old, dict):
            fields = [*value, *(field for field in old if field not in value)]
            found += [f"{section}.{field}" for field in fields if old.get(field) != value.get(field)]
        elif old != value:
            found.append(section)
    return found


def _run_stage(
    stage: Stage, recipe: Recipe, root: Path, key: str, progress: Progress, workers: WorkerGroup | None
) -> None:
    partial = root / f"{stage.directory}.partial"
    resumed = _prepare(partial, stage, key)
    if stage.publishes:
        _check_producers(root, stage)
    progress.say(f"{stage.name}: {'goes on' if resumed else 'runs'}")
    arguments = _arguments(stage, recipe, root)
    if workers and stage.distributed:
        order = {"stage": stage.name, "recipe": recipe.model_dump(mode="json"), "key": key}
        workers.call(order | {"root": str(root.absolute())})
        arguments["workers"] = workers
    with _metered(partial / METER) as spent:
        statistics = stage.function()(**arguments, out=partial, progress=progress)
    reading, attempts = spent()
    manifest = make_manifest(stage, recipe, root, key, partial, statistics, reading, attempts)
    write_json(partial / MANIFEST, manifest)
    _swap(root, stage)
    progress.say(
        f"{stage.name}: done in {reading.seconds:,.0f} s"
        + (f" over {attempts} attempts" if attempts > 1 else "")
    )


def _prepare(partial: Path, stage: Stage, key: str) -> bool:
    """Make the partial directory ready; return whether the stage goes on with what a killed attempt left."""
    same = partial.exists() and _partial_key(partial) == key
    if partial.exists() and not (same and stage.resumable):
        kept = _kept(partial, stage)
        # What a killed attempt used is counted, even where what it made is thrown away.
        if (same or kept) and (partial / METER).exists():
            kept.append(Path(METER))
        saved = {file: (partial / file).read_bytes() for file in kept}
        shutil.rmtree(partial)
        for file, content in saved.items():
            write_atomic(partial / file, content)
    resumed = same and stage.resumable
    partial.mkdir(parents=True, exist_ok=True)
    for left in list(partial.rglob(".*.partial")):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)
    write_json(partial / KEY, {"key": key, "version": stage.version})
    return resumed


def _kept(partial: Path, stage: Stage) -> list[Path]:
    """List the files that an attempt of another recipe left and this one may take up."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        if read_json(partial / KEY)["version"] == stage.version:
            found = (file for pattern in stage.reusable for file in partial.glob(pattern))
            return [file.relative_to(partial) for file in found]
    return []


def _check_producers(root: Path, stage: Stage) -> None:
    """Refuse to bundle files that changed after their stage made them, since the bundle vouches for them."""
    for name in stage.inputs:
        for file, row in manifest_of(root, name)["outputs"].items():
            if sha256_file(root / name / file) != row["sha256"]:
                raise RunError(
                    "was changed after its stage made it",
                    where=str(root / name / file),
                    next_step=f"remove {root / name} and build again",
                )


def _arguments(stage: Stage, recipe: Recipe, root: Path) -> dict[str, Any]:
    arguments: dict[str, Any] = {"config": getattr(recipe, stage.name)}
    if stage.sections == WHOLE_RECIPE:
        return arguments | {"recipe": recipe, "runs": {name: root / name for name in stage.inputs}}
    # A field of another section goes by its own name.
    arguments |= {
        section.rpartition(".")[2]: operator.attrgetter(section)(recipe) for section in stage.sections
    }
    arguments |= {name: root / name for name in stage.inputs}
    arguments |= {"forgotten": read_forgotten(root)} if stage.honours_erasure else {}
    return arguments | ({"seed": recipe.seed} if stage.seeded else {})


@contextlib.contextmanager
def _metered(path: Path) -> Iterator[Callable[[], tuple[Reading, int]]]:
    """Meter an attempt; what killed attempts used was saved every few seconds and is added."""
    before = read_json(path) if path.exists() else None
    earlier = Reading.from_dict(before["reading"]) if before else None
    attempts = 1 + (before["attempts"] if before else 0)
    total: list[Reading] = []

    def save(reading: Reading) -> None:
        whole = earlier + reading if earlier else reading
        write_json(path, {"reading": whole.to_dict(), "attempts": attempts})

    with EnergyMeter(on_sample=save, sample_seconds=5.0) as meter:
        yield lambda: (total[0], attempts)
        reading = meter.reading
        total.append(earlier + reading if earlier else reading)


def _partial_key(partial: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError, KeyError):
        return str(read_json(partial / KEY)["key"])
    return None


def _swap(root: Path, stage: Stage) -> None:
    """Put a complete partial directory in place; a kill in between is mended by _recover."""
    final, partial = root / stage.directory, root / f"{stage.directory}.partial"
    old = root / f"{stage.directory}.old"
    for leftover in (KEY, METER):
        (partial / leftover).unlink(missing_ok=True)
    if final.exists():
        os.rename(final, old)
    os.rename(partial, final)
    shutil.rmtree(old, ignore_errors=True)


def _recover(root: Path, stage: Stage) -> None:
    """Finish a swap that a kill interrupted."""
    final, partial = root / stage.directory, root / f"{stage.directory}.partial"
    old = root / f"{stage.directory}.old"
    if (partial / MANIFEST).exists():
        _swap(root, stage)
    elif old.exists() and not final.exists():
        os.rename(old, final)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keep others from a run's directory meanwhile. Raises RunError where a build has it."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise RunError(
                f"another build (process {holder}) works here",
                where=str(root),
                next_step="wait for it, or stop it, then try again",
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextlib.contextmanager
def _disk_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                "the disk is full",
                where=str(root),
                next_step="free space and run the same command: what is done is kept",
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS) and str(error.filename or "").startswith(str(root)):
            raise RunError(
                f"cannot be written ({error.strerror})",
                where=str(root),
                next_step="set `runs` in the recipe to a directory that you may write",
            ) from error
        raise
