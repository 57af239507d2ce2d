"""The bundle takes links where it can, copies where it cannot, and counts what was read and dropped."""

import errno
import os
from pathlib import Path

import pytest

from report.fake_runs import make_bundle
from tinsmith.base.files import read_json
from tinsmith.report.collect import place, summarise_files
from tinsmith.report.schema import Count, DroppedFiles


def test_models_are_links_and_manifests_are_copies(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    runs = tmp_path / "runs"
    weights = "model/model.safetensors"
    assert (bundle / weights).samefile(runs / "package" / weights)
    assert (bundle / "gguf" / "model-f16.gguf").samefile(runs / "package" / "gguf" / "model-f16.gguf")
    manifest = bundle / "manifests" / "train.json"
    assert manifest.read_bytes() == (runs / "train" / "manifest.json").read_bytes()
    assert not manifest.samefile(runs / "train" / "manifest.json")
    assert (bundle / "items" / "parity-f16.jsonl").is_file()
    assert (bundle / "items" / "bits-base.jsonl").is_file()


def test_where_links_fail_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    source, target = tmp_path / "a.bin", tmp_path / "deep" / "b.bin"
    source.write_bytes(b"weights")
    place(source, target, link=True)
    assert target.read_bytes() == b"weights"
    assert not target.samefile(source)


def test_a_file_left_by_a_killed_attempt_is_replaced(tmp_path: Path) -> None:
    source, target = tmp_path / "a.bin", tmp_path / "b.bin"
    source.write_bytes(b"new")
    target.write_bytes(b"old")
    other = tmp_path / "other run.bin"
    os.link(target, other)
    place(source, target, link=True)
    assert target.read_bytes() == b"new"
    # The old file was a link into another run, which must not be written through.
    assert other.read_bytes() == b"old"


def test_files_are_counted_by_reason_with_examples() -> None:
    rows = [
        {
            "source": f"{n}.pdf",
            "bytes": 10,
            "mime": "application/pdf",
            "status": "dropped",
            "reason": "damaged",
            "documents": 0,
        }
        for n in range(5)
    ]
    rows += [{"source": "a.md", "bytes": 7, "mime": "", "status": "read", "reason": "", "documents": 2}]
    summary = summarise_files(rows)
    assert (summary.files, summary.read, summary.dropped, summary.documents) == (6, 1, 5, 2)
    (dropped,) = summary.reasons
    assert dropped == DroppedFiles(reason="damaged", files=5, bytes=50, examples=("0.pdf", "1.pdf", "2.pdf"))
    assert summary.types == (Count(name="application/pdf", count=5), Count(name="unknown", count=1))


def test_documents_and_overlap_are_summarised(bundle: Path) -> None:
    documents = read_json(bundle / "data" / "documents.json")
    assert [(p["part"], p["documents"]) for p in documents["parts"]] == [("train", 24), ("held_out", 6)]
    # Bytes, not characters: the text has an umlaut.
    assert documents["parts"][1]["bytes"] == 6 * 40 * len("Die Lizenz 0 gewährt Rechte. ".encode())
    overlap = read_json(bundle / "evidence.json")["overlap"]
    assert sum(row["documents"] for row in overlap["bins"]) == overlap["documents"] == 6
    assert overlap["highest"] == 1.0
