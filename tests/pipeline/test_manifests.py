"""The manifest of a stage: later stages depend on its digest, which leaves measurements out."""

from pathlib import Path
from typing import Any

import pytest

from tinsmith.base.errors import RunError
from tinsmith.base.files import write_atomic
from tinsmith.meter.energy import Reading
from tinsmith.pipeline.manifests import KEY, MANIFEST, changed_output, make_manifest, read_manifest
from tinsmith.recipe import IngestConfig, Recipe
from tinsmith.stages import STAGES

READING = Reading(1.0, 2.0, 3.0, "load model", 4.0, 5.0, 6)


def manifest(directory: Path, **files: str) -> dict[str, Any]:
    """Return the manifest of ingest, which wrote these files."""
    for name, text in files.items():
        write_atomic(directory / name.replace("_", "."), text)
    recipe = Recipe(name="x", ingest=IngestConfig(sources=(".",)))
    return make_manifest(STAGES[0], recipe, directory, "key", directory, {}, READING, 1)


def test_the_digest_leaves_out_what_differs_between_equal_runs(tmp_path: Path) -> None:
    before = manifest(tmp_path, documents_parquet="a", files_jsonl="1 s")
    slower = manifest(tmp_path, documents_parquet="a", files_jsonl="2 s")
    assert slower["digest"] == before["digest"]
    assert slower["outputs"]["files.jsonl"] != before["outputs"]["files.jsonl"]
    assert manifest(tmp_path, documents_parquet="b", files_jsonl="1 s")["digest"] != before["digest"]


def test_outputs_are_files_that_are_there_as_they_were_written(tmp_path: Path) -> None:
    write_atomic(tmp_path / KEY, "{}")
    made = manifest(tmp_path, documents_parquet="a")
    assert made["outputs"].keys() == {"documents.parquet"}
    assert changed_output(tmp_path, made) is None
    for content in ("longer", "b"):
        write_atomic(tmp_path / "documents.parquet", content)
        assert changed_output(tmp_path, made) == "documents.parquet"
    (tmp_path / "documents.parquet").unlink()
    assert changed_output(tmp_path, made) == "documents.parquet"


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    write_atomic(tmp_path / MANIFEST, "{")
    with pytest.raises(RunError, match=r"(?s)manifest\.json: is damaged.*build again"):
        read_manifest(tmp_path)
