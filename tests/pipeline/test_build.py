"""What a build refuses at once, and what a later attempt reuses of one that was stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tinsmith.base.errors import RecipeError, RunError
from tinsmith.base.files import sha256_file, write_atomic, write_json
from tinsmith.base.progress import SilentProgress
from tinsmith.pipeline.build import _prepare, _verify_inputs, build
from tinsmith.pipeline.manifests import KEY, MANIFEST, METER
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
