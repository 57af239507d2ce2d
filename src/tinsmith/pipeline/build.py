"""Run the stages that are not cached: resume, meter, and swap results in so that a kill breaks nothing."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from tinsmith.base.errors import RunError
from tinsmith.base.files import read_json, sha256_file, write_atomic, write_json
from tinsmith.base.launch import WorkerGroup
from tinsmith.base.progress import Progress, SilentProgress
from tinsmith.meter.energy import EnergyMeter, Reading
from tinsmith.pipeline.manifests import KEY, MANIFEST, METER, make_manifest, manifest_of
from tinsmith.pipeline.plan import (
    check_recipe,
    find_cached,
    partial_key,
    run_directory,
    stage_key,
    stages_until,
)
from tinsmith.recipe import Recipe
from tinsmith.stages import STAGES, Stage

_SEEN_SECONDS = 60.0  # how late a network file system may show a new directory


def build(
    recipe: Recipe, *, progress: Progress, until: str | None = None, workers: WorkerGroup | None = None
) -> Path:
    """Run every stage that is not cached; return the run directory. Raises TinsmithError.

    With several `workers`, all but the main process wait in `follow`, and join for distributed stages.
    """
    root = run_directory(recipe)
    check_recipe(recipe)
    stages = stages_until(recipe, until)
    prefetched = False
    with _disk_errors(root), locked(root):
        for position, stage in enumerate(stages):
            _recover(root, stage)
            key = stage_key(stage, recipe, root)
            cached, changed = find_cached(stage, root, key)
            if cached:
                progress.say(f"{stage.name}: cached")
                continue
            if changed:
                progress.say(f"{stage.name}: {changed}, so the stage runs again")
            if not prefetched:
                for later in stages[position:]:
                    later.prefetch(recipe)
                prefetched = True
            _run_stage(stage, recipe, root, key, progress, workers)
    return root


def follow(workers: WorkerGroup) -> None:
    """Join each stage that the main process calls for, until it says that there are no more. Raises TinsmithError."""
    for order in workers.orders():
        recipe, root = Recipe.model_validate(order["recipe"]), Path(order["root"])
        stage = next(stage for stage in STAGES if stage.name == order["stage"])
        partial = root / f"{stage.directory}.partial"
        _await_key(partial, order["key"], _SEEN_SECONDS)
        with EnergyMeter() as meter:
            stage.function()(
                **stage.arguments(recipe, root), out=partial, progress=SilentProgress(), workers=workers
            )
        used = {"machine": meter.reading.to_dict(), "process": meter.share.to_dict()}
        workers.reply(json.dumps({"host": socket.gethostname(), **used}))


def _with_others(reading: Reading, replies: list[str]) -> Reading:
    """Add what the other processes used; a machine's idle power and counters count once."""
    hosts = {socket.gethostname()}
    for reply in map(json.loads, replies):
        used = reply["process" if reply["host"] in hosts else "machine"]
        reading = reading.beside(Reading.from_dict(used))
        hosts.add(reply["host"])
    return replace(reading, method=f"{reading.method}; {len(hosts)} machines") if len(hosts) > 1 else reading


def _await_key(partial: Path, key: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    while partial_key(partial) != key:
        if time.monotonic() > until:
            raise RunError(
                f"{socket.gethostname()} cannot see what the main process wrote",
                where=str(partial),
                next_step="set `runs` in the recipe to a directory that all machines share, by its absolute path",
            )
        time.sleep(0.2)


def _run_stage(
    stage: Stage, recipe: Recipe, root: Path, key: str, progress: Progress, workers: WorkerGroup | None
) -> None:
    partial = root / f"{stage.directory}.partial"
    resumed = _prepare(partial, stage, key)
    if stage.publishes:
        _verify_inputs(root, stage.reads(recipe))
    progress.say(f"{stage.name}: {'resumes' if resumed else 'runs'}")
    arguments = stage.arguments(recipe, root)
    if workers and stage.distributed:
        order = {"stage": stage.name, "recipe": recipe.model_dump(mode="json"), "key": key}
        workers.call(order | {"root": str(root.absolute())})
        arguments["workers"] = workers
    with _metered(partial / METER) as spent:
        statistics = stage.function()(**arguments, out=partial, progress=progress)
    reading, attempts = spent()
    if "workers" in arguments:
        reading = _with_others(reading, arguments["workers"].replies())
    manifest = make_manifest(stage, recipe, root, key, partial, statistics, reading, attempts)
    write_json(partial / MANIFEST, manifest)
    _swap(root, stage)
    progress.say(
        f"{stage.name}: done in {reading.seconds:,.0f} s"
        + (f" over {attempts} attempts" if attempts > 1 else "")
    )


def _prepare(partial: Path, stage: Stage, key: str) -> bool:
    """Prepare the partial directory; return whether the stage resumes what a killed attempt left."""
    same = partial.exists() and partial_key(partial) == key
    if partial.exists() and not (same and stage.resumable):
        kept = _kept(partial, stage)
        # The energy of a killed attempt counts even if its results are discarded.
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
    """List the files that an attempt with another recipe left and this one may reuse."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        if read_json(partial / KEY)["version"] == stage.version:
            found = (file for pattern in stage.reusable for file in partial.glob(pattern))
            return [file.relative_to(partial) for file in found]
    return []


def _verify_inputs(root: Path, inputs: Iterable[str]) -> None:
    """Verify the hashes of all inputs, since the bundle vouches for them. Raises RunError."""
    for name in inputs:
        for file, row in manifest_of(root, name)["outputs"].items():
            if sha256_file(root / name / file) != row["sha256"]:
                raise RunError(
                    "was changed after its stage made it",
                    where=str(root / name / file),
                    next_step=f"remove {root / name} and build again",
                )


@contextlib.contextmanager
def _metered(path: Path) -> Iterator[Callable[[], tuple[Reading, int]]]:
    """Meter an attempt and add what killed attempts used, which is saved every few seconds."""
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


def _swap(root: Path, stage: Stage) -> None:
    """Rename a complete partial directory into place; `_recover` finishes it after a kill."""
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
    """Hold the lock of a run directory. Raises RunError if a build holds it."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise RunError(
                f"another build (process {holder}) is running here",
                where=str(root),
                next_step="wait for it or stop it, then try again",
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
                next_step="free space and run the same command: finished stages are kept",
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS) and str(error.filename or "").startswith(str(root)):
            raise RunError(
                f"cannot be written ({error.strerror})",
                where=str(root),
                next_step="set `runs` in the recipe to a directory that you can write to",
            ) from error
        raise
