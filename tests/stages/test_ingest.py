"""The stage: its tables, its figures, its errors."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from tinsmith.base import assets
from tinsmith.base.erasure import ErasureList
from tinsmith.base.errors import CorpusError, RecipeError
from tinsmith.base.files import read_jsonl
from tinsmith.base.progress import PlainProgress, SilentProgress
from tinsmith.corpus.readers import pool
from tinsmith.recipe import IngestConfig
from tinsmith.report.collect import summarise_files
from tinsmith.stages.ingest.run import ingest
from tinsmith.stages.sources import present_files

COLUMNS = ["doc_id", "text", "source", "sha256", "mime", "licence", "language", "meta"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working directory with a folder `docs` of good and bad files."""
    monkeypatch.chdir(tmp_path)
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "b.md").write_text("---\nlicense: MIT\nlanguage: en\n---\nWith front matter.")
    (docs / "a.jsonl").write_text('{"text": "One", "licence": "CC0-1.0"}\n{"text": "Two", "n": 1}\n')
    (docs / "empty.txt").write_bytes(b"")
    (docs / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    (docs / "wide.txt").write_bytes("Zwölf Käufer".encode("utf-16"))
    return docs


def run(out: Path, **options: Any) -> dict[str, float]:
    """Run the stage into a directory."""
    out.mkdir(exist_ok=True)
    return ingest(IngestConfig(**{"sources": ("docs",), **options}), out=out, progress=SilentProgress())


def test_tables_and_figures(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    figures = run(out, licence="proprietary")
    table = pyarrow.parquet.read_table(out / "documents.parquet")
    assert table.column_names == COLUMNS
    rows = table.to_pylist()
    assert [(row["source"], row["text"], row["licence"]) for row in rows] == [
        ("docs/a.jsonl", "One", "CC0-1.0"),
        ("docs/a.jsonl", "Two", "proprietary"),
        ("docs/b.md", "With front matter.", "MIT"),
        ("docs/wide.txt", "Zwölf Käufer", "proprietary"),
    ]
    assert rows[0]["doc_id"] == hashlib.sha256(b"One").hexdigest()[:32]
    assert rows[2]["sha256"] == hashlib.sha256((folder / "b.md").read_bytes()).hexdigest()
    assert [json.loads(row["meta"]) for row in rows[1:3]] == [{"n": 1}, {"license": "MIT", "language": "en"}]
    assert {row["language"] for row in rows} == {""}
    files = {row["source"]: row for row in read_jsonl(out / "files.jsonl")}
    assert list(files) == sorted(files)
    assert [(name, row["status"], row["reason"]) for name, row in files.items() if row["reason"]] == [
        ("docs/empty.txt", "dropped", "empty"),
        ("docs/photo.png", "dropped", "image"),
    ]
    assert (files["docs/a.jsonl"]["documents"], files["docs/a.jsonl"]["characters"]) == (2, 6)
    assert figures == {
        "files": 5,
        "dropped_files": 2,
        "dropped_parts": 0,
        "excluded_files": 0,
        "documents": 4,
        "characters": 36,
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
        "dropped_empty": 1,
        "dropped_image": 1,
    }


def test_same_bytes_with_any_number_of_workers(folder: Path, tmp_path: Path) -> None:
    for number in range(60):
        (folder / f"n{number:02d}.txt").write_text(f"Document {number}. " * (1 + number % 7) * 50)
    run(tmp_path / "one", workers=1)
    run(tmp_path / "three", workers=3)
    one, three = ((tmp_path / name / "documents.parquet").read_bytes() for name in ("one", "three"))
    assert one == three


def test_limits_of_the_recipe_are_kept(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "sleeper.py"
    script.write_text(
        "import time\n"
        "from tinsmith.corpus.read import read_file\n"
        "from tinsmith.corpus.readers.worker import serve\n"
        "def read(path, **options):\n"
        "    time.sleep(60 if path.name == 'b.md' else 0)\n"
        "    return read_file(path, **options)\n"
        "serve(read)\n"
    )
    monkeypatch.setattr(pool, "COMMAND", (pool.COMMAND[0], "-P", str(script)))
    (folder / "big.txt").write_text("x" * 2000)
    out = tmp_path / "out"
    run(out, seconds_per_file=1.0, max_megabytes_per_file=0.001, exclude=("*.jsonl",))
    reasons = {row["source"]: row["reason"] for row in read_jsonl(out / "files.jsonl")}
    assert reasons == {
        "docs/b.md": "timeout",
        "docs/big.txt": "too_big",
        "docs/empty.txt": "empty",
        "docs/photo.png": "image",
        "docs/wide.txt": "",
    }


def test_text_field(folder: Path, tmp_path: Path) -> None:
    (folder / "a.jsonl").write_text('{"body": "From the body", "text": "not this"}\n')
    run(tmp_path / "out", text_field="body", exclude=("*.md", "*.txt"))
    table = pyarrow.parquet.read_table(tmp_path / "out" / "documents.parquet")
    assert table["text"].to_pylist() == ["From the body"]


def test_a_text_field_that_no_record_has_is_refused_with_the_fields_there(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"'boddy' \(docs/a.jsonl has fields: text, licence, n\)"):
        run(tmp_path / "out", text_field="boddy")
    (folder / "b.jsonl").write_text('{"boddy": "One"}\n')
    assert run(tmp_path / "out", text_field="boddy")["dropped_no_text_field"] == 1


def test_parts_without_text_are_listed_below_their_file_and_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.jsonl").write_text('{"text": "One"}\n{"text": \n{"n": 1}\n')
    out = tmp_path / "out"
    out.mkdir()
    config = IngestConfig(sources=("docs",), exclude=("*.txt", "*.md", "*.png", "drfts/*"))
    figures = ingest(config, out=out, progress=PlainProgress())
    file, *parts = read_jsonl(out / "files.jsonl")
    assert (file["part"], file["status"], file["documents"]) == ("", "read", 1)
    assert [(row["source"], row["part"], row["status"], row["reason"]) for row in parts] == [
        ("docs/a.jsonl", "line 2", "dropped", "damaged_record"),
        ("docs/a.jsonl", "line 3", "dropped", "no_text_field"),
    ]
    assert (figures["files"], figures["dropped_files"], figures["dropped_parts"]) == (1, 0, 2)
    told = capsys.readouterr().err
    assert "1 damaged_record, 1 no_text_field; files.jsonl" in told
    assert "ingest.exclude: drfts/* matches no file" in told
    summary = summarise_files(read_jsonl(out / "files.jsonl"))
    assert (summary.files, summary.dropped, summary.parts) == (1, 0, 2)
    assert [(row.reason, row.files, row.parts, row.examples) for row in summary.reasons] == [
        ("damaged_record", 0, 1, ("docs/a.jsonl: line 2",)),
        ("no_text_field", 0, 1, ("docs/a.jsonl: line 3",)),
    ]


def test_corpus_licence_stands_before_the_recipe(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "resolve_corpus", lambda name: folder if name == "demo" else None)
    monkeypatch.setattr(assets, "corpus_licence", lambda name: "CC-BY-4.0")
    run(tmp_path / "out", sources=("demo",), licence="proprietary")
    table = pyarrow.parquet.read_table(tmp_path / "out" / "documents.parquet")
    assert table["source"].to_pylist()[-1] == "demo:wide.txt"
    assert table["licence"].to_pylist() == ["CC0-1.0", "CC-BY-4.0", "MIT", "CC-BY-4.0"]


def test_no_document_at_all_says_why(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(CorpusError) as caught:
        run(out, sources=("docs/empty.txt", "docs/*.png"))
    assert "docs/empty.txt, docs/*.png: no document could be read from any of 2 files" in str(caught.value)
    assert "1 image (a picture" in str(caught.value)
    assert len(list(read_jsonl(out / "files.jsonl"))) == 2


def test_missing_path_and_excluding_all(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="nowhere: no such file"):
        run(tmp_path / "out", sources=("docs", "nowhere"))
    with pytest.raises(CorpusError, match=r"all 5 files .* excluded by \*"):
        run(tmp_path / "out", exclude=("*",))
    assert not (tmp_path / "out" / "documents.parquet").exists()


def test_name_that_is_no_unicode(folder: Path, tmp_path: Path) -> None:
    bad = bytes(folder) + b"/caf\xe9.txt"
    try:
        Path(bad.decode("utf-8", "surrogateescape")).write_text("A text with an odd name")
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    run(tmp_path / "out")
    sources = pyarrow.parquet.read_table(tmp_path / "out" / "documents.parquet")["source"].to_pylist()
    assert "docs/caf\\xe9.txt" in sources


def test_planning_lists_files_without_fetching_a_corpus(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "is_cached", lambda name: False)
    config = IngestConfig(sources=("docs", "licence-agreements"), exclude=("*.png",))
    assert [path.name for path in present_files(config)] == [
        "a.jsonl",
        "b.md",
        "empty.txt",
        "wide.txt",
    ]


def test_what_is_forgotten_is_not_written_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out)
    rows = {row["text"]: row for row in pyarrow.parquet.read_table(out / "documents.parquet").to_pylist()}
    (folder / "copy.txt").write_text("Two")
    forgotten = ErasureList(
        documents=frozenset({rows["Two"]["doc_id"]}),
        files=frozenset({rows["Zwölf Käufer"]["sha256"]}),
        sources=frozenset({"docs/b.md"}),
    )
    figures = ingest(IngestConfig(sources=("docs",)), out=out, progress=SilentProgress(), forgotten=forgotten)
    assert pyarrow.parquet.read_table(out / "documents.parquet")["text"].to_pylist() == ["One"]
    files = {row["source"]: row for row in read_jsonl(out / "files.jsonl")}
    told = {name: (row["status"], row["reason"], row["detail"]) for name, row in files.items()}
    assert told["docs/a.jsonl"] == ("read", "", "forgotten: 1 of 2 documents")
    for name in ("docs/b.md", "docs/copy.txt", "docs/wide.txt"):
        assert told[name] == ("dropped", "forgotten", "forgotten: 1 of 1 documents")
    assert figures["dropped_forgotten"] == 3
    assert figures["characters"] == 3
