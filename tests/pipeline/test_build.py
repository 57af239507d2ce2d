"""What a build refuses at once, and what a later attempt reuses of one that was stopped."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tinsmith.base.errors import RecipeError, RunError
from tinsmith.base.files import sha256_file, write_atomic, write_json
from tinsmith.base.progress import PlainProgress, SilentProgress
from tinsmith.pipeline.build import _prepare, _run_stage, _verify_inputs, build
from tinsmith.pipeline.manifests import KEY, MANIFEST, METER
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


def test_only_files_that_their_stage_made_are_published(tmp_path: Path) -> None:
    (report,) = [stage for stage in STAGES if stage.publishes]
    stage = replace(report, inputs=("train",))
    log = tmp_path / "train" / "log.jsonl"
    write_atomic(log, "{}")
    write_json(tmp_path / "train" / MANIFEST, {"outputs": {"log.jsonl": {"sha256": sha256_file(log)}}})
    _verify_inputs(tmp_path, stage)
    write_atomic(log, "[]")
    with pytest.raises(RunError, match=r"train/log\.jsonl: was changed after its stage made it"):
        _verify_inputs(tmp_path, stage)
    # And the stage that publishes asks for that itself, before it runs.
    recipe = Recipe(name="x", ingest=IngestConfig(sources=(".",)))
    with pytest.raises(RunError, match=r"train/log\.jsonl: was changed after its stage made it"):
        _run_stage(stage, recipe, tmp_path, "key", SilentProgress(), None)
    assert not (tmp_path / "bundle").exists()


def test_a_damaged_output_is_made_again_and_the_file_is_named(tmp_path: Path) -> None:
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
