"""What a build refuses at once, and what a later attempt reuses of one that was stopped."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tinsmith.base.errors import RecipeError, RunError
from tinsmith.base.files import read_json, sha256_file, write_atomic, write_json
from tinsmith.base.launch import WorkerGroup
from tinsmith.base.progress import PlainProgress, SilentProgress
from tinsmith.meter.energy import Reading
from tinsmith.pipeline import build as module
from tinsmith.pipeline.build import _metered, _prepare, _run_stage, _verify_inputs, build, follow
from tinsmith.pipeline.manifests import KEY, MANIFEST, METER, manifest_of
from tinsmith.pipeline.plan import plan
from tinsmith.recipe import IngestConfig, Recipe
from tinsmith.recipe.toml import parse_recipe
from tinsmith.stages import STAGES, Stage


def test_a_misspelt_shape_is_reported_before_any_document_is_read(tmp_path: Path) -> None:
    recipe = parse_recipe(
        {
            "name": "x",
            "runs": str(tmp_path / "runs"),
            "ingest": {"sources": ["nowhere"]},
            "model": {"scratch": "phi-3"},
        },
        where="test",
    )
    with pytest.raises(RecipeError, match=r"(?s)model\.scratch: .*'phi-3'; did you mean phi-2\?"):
        build(recipe, progress=SilentProgress())
    assert not (tmp_path / "runs").exists()


def test_an_attempt_with_another_recipe_reuses_outputs_with_a_fingerprint(tmp_path: Path) -> None:
    (row,) = [each for each in STAGES if each.name == "evaluate"]
    partial = tmp_path / "evaluate.partial"
    scored = {"items/bits-trained.jsonl", "items/about-trained.json", METER}

    def left() -> set[str]:
        found = {path.relative_to(partial).as_posix() for path in partial.rglob("*") if path.is_file()}
        return found - {KEY}

    def fill(stage: Stage) -> None:
        _prepare(partial, stage, "one")
        for name in (*scored, "items/speed-trained.json", "half.txt"):
            write_atomic(partial / name, "{}")

    fill(row)
    assert not _prepare(partial, row, "another")
    assert left() == scored
    assert not _prepare(partial, replace(row, version=row.version + 1), "a third")
    assert left() == set()
    fill(replace(row, reusable=()))
    _prepare(partial, replace(row, reusable=()), "another")
    assert left() == set()


def test_only_files_that_their_stage_made_are_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (report,) = [stage for stage in STAGES if stage.publishes]
    stage = replace(report, inputs=("train",))
    log = tmp_path / "train" / "log.jsonl"
    write_atomic(log, "{}")
    write_json(tmp_path / "train" / MANIFEST, {"outputs": {"log.jsonl": {"sha256": sha256_file(log)}}})
    _verify_inputs(tmp_path, stage.inputs)
    write_atomic(log, "[]")
    with pytest.raises(RunError, match=r"train/log\.jsonl: was changed after its stage made it"):
        _verify_inputs(tmp_path, stage.inputs)
    # A recorded hash does not count here: a failing disk leaves the record as it was.
    log.write_text("{}")
    with monkeypatch.context() as disk:
        disk.setattr(module, "sha256_file", lambda path: "what is read")
        with pytest.raises(RunError, match="was changed after its stage made it"):
            _verify_inputs(tmp_path, stage.inputs)
    log.write_text("[]")
    # And the stage that publishes asks for that itself, before it runs.
    recipe = Recipe(name="x", ingest=IngestConfig(sources=(".",)))
    with pytest.raises(RunError, match=r"train/log\.jsonl: was changed after its stage made it"):
        _run_stage(stage, recipe, tmp_path, "key", SilentProgress(), None)
    assert not (tmp_path / "bundle").exists()


def test_a_damaged_output_is_made_again_and_the_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(out: Path, **given: object) -> dict[str, float]:
        write_atomic(out / "documents.parquet", "x" * 1000)
        return {}

    monkeypatch.setattr(Stage, "function", lambda stage: write)
    (tmp_path / "a.txt").write_text("Some text.")
    data = {"name": "x", "runs": str(tmp_path / "runs"), "ingest": {"sources": [str(tmp_path / "a.txt")]}}
    recipe = parse_recipe(data, where="test")
    said = build_and_listen(recipe)
    assert said[0] == "ingest: runs"
    assert build_and_listen(recipe) == ["ingest: cached"]
    documents = tmp_path / "runs" / "x" / "ingest" / "documents.parquet"
    content = documents.read_bytes()
    status = documents.stat()
    with documents.open("r+b") as file:
        file.seek(100)
        file.write(bytes(200))
    os.utime(documents, ns=(status.st_atime_ns, status.st_mtime_ns))
    why = "documents.parquet is missing or was changed"
    assert [(step.cached, step.why) for step in plan(recipe, until="ingest")] == [(False, why)]
    said = build_and_listen(recipe)
    assert said[:2] == [f"ingest: {why}, so the stage runs again", "ingest: runs"]
    assert documents.read_bytes() == content


def build_and_listen(recipe: Recipe) -> list[str]:
    """Build the stage ingest; return what was said."""
    stream = io.StringIO()
    build(recipe, progress=PlainProgress(stream), until="ingest")
    return stream.getvalue().splitlines()


METHOD = "load model: toy"


class Meter:
    """A stand-in for the meter that always reads the same; a share has a tenth of the energy."""

    reading = Reading(1.0, 2.0, 3.0, METHOD, 4.0, 5.0, 6)
    share = Reading(0.1, 0.2, 0.3, METHOD, 4.0, 5.0, 6)

    def __init__(self, *, on_sample: Callable[[Reading], None] | None = None, **options: object) -> None:
        self._on_sample = on_sample

    def __enter__(self) -> Meter:
        if self._on_sample:
            self._on_sample(self.reading)
        return self

    def __exit__(self, *exc: object) -> None:
        pass


def test_the_energy_of_killed_attempts_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EnergyMeter", Meter)
    killed = Reading(10.0, 20.0, 30.0, METHOD, 40.0, 50.0, 60)
    write_json(tmp_path / METER, {"reading": killed.to_dict(), "attempts": 2})
    with _metered(tmp_path / METER) as spent:
        pass
    added = Reading(11.0, 22.0, 33.0, METHOD, 44.0, 55.0, 60)
    assert spent() == (added, 3)
    # What the next attempt would find, had this one been killed too.
    assert read_json(tmp_path / METER) == {"reading": added.to_dict(), "attempts": 3}
    with _metered(tmp_path / "none") as spent:
        pass
    assert spent() == (Meter.reading, 1)


class Store(dict[str, str]):
    """A stand-in for torchrun's key-value store, within one process."""

    set = dict.__setitem__

    def check(self, names: list[str]) -> bool:
        return all(name in self for name in names)

    def get(self, name: str) -> bytes:  # type: ignore[override]
        return self[name].encode()


@pytest.mark.parametrize(("hosts", "joules"), [(1, 2.0 + 0.2), (2, 2.0 + 2.0)])
def test_what_the_other_processes_of_a_stage_used_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hosts: int, joules: float
) -> None:
    monkeypatch.setattr(module, "EnergyMeter", Meter)
    monkeypatch.setattr(Stage, "function", lambda stage: lambda **given: {"steps": 1.0})
    main = threading.get_ident()
    host = {True: "first", False: "first" if hosts == 1 else "second"}
    monkeypatch.setattr(module.socket, "gethostname", lambda: host[threading.get_ident() == main])
    model = {"scratch": "llama@1m", "tokenizer": "bpe@300"}
    data = {"name": "x", "runs": str(tmp_path), "ingest": {"sources": ["nowhere"]}, "model": model}
    recipe, root = parse_recipe(data, where="test"), tmp_path / "x"
    (train,) = [stage for stage in STAGES if stage.distributed]
    for name in train.inputs:
        write_json(root / name / MANIFEST, {"digest": "d", "outputs": {}})
    store = Store()
    leader, follower = (WorkerGroup(rank, 2, rank, store) for rank in (0, 1))
    thread = threading.Thread(target=follow, args=(follower,))
    thread.start()
    try:
        _run_stage(train, recipe, root, "key", SilentProgress(), leader)
    finally:
        leader.call(None)
        thread.join()
    manifest = manifest_of(root, "train")
    assert manifest["energy"]["joules"] == pytest.approx(joules)
    assert manifest["energy"]["method"] == METHOD + ("; 2 machines" if hosts == 2 else "")
    assert (manifest["seconds"], manifest["cpu_seconds"], manifest["peak_rss_bytes"]) == (4.0, 10.0, 12)
