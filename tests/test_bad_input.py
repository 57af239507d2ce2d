"""A folder of what goes wrong in real ones: each file has a reason or a document, and the good ones go on."""

import os
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stages.test_curate import kept, prose, rejected
from tinsmith.base.files import read_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.recipe import CurateConfig, IngestConfig
from tinsmith.stages.curate.run import curate
from tinsmith.stages.ingest.run import ingest

EXPECTED = {
    "bomb.docx": "unpacks_too_big",
    "cut.parquet": "damaged",
    "garbage.parquet": "damaged",
    "loop.txt": "unreadable",
    "noise.txt": "unsupported_format",
    "pipe.txt": "not_a_file",
}


def fill(docs: Path) -> None:
    docs.mkdir()
    pq.write_table(pa.table({"text": [prose("harbour"), prose("orchard")]}), docs / "good.parquet")
    whole = (docs / "good.parquet").read_bytes()
    (docs / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (docs / "garbage.parquet").write_bytes(b"PAR1" + os.urandom(4000) + b"PAR1")
    with zipfile.ZipFile(docs / "bomb.docx", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("word/document.xml", b" " * 80_000_000)
    (docs / "latin.txt").write_bytes(prose("railway").encode() + "\nRésumé naïve façade".encode("latin-1"))
    (docs / "broken.txt").write_bytes(prose("library").encode() + b"\n\xff\xfe \xc3( \xe2\x82 end of it")
    (docs / "noise.txt").write_bytes(bytes(range(256)) * 20)
    (docs / "folder").symlink_to(docs)
    (docs / "loop.txt").symlink_to(docs / "loop.txt")
    os.mkfifo(docs / "pipe.txt")


def test_each_file_has_a_reason_or_a_document_and_nothing_is_lost(tmp_path: Path):
    docs = tmp_path / "docs"
    fill(docs)
    for name in ("ingest", "curate"):
        (tmp_path / name).mkdir()
    config = IngestConfig(sources=(str(docs),), workers=2)
    ingest(config, out=tmp_path / "ingest", progress=SilentProgress())
    files = {Path(row["source"]).name: row for row in read_jsonl(tmp_path / "ingest" / "files.jsonl")}
    assert {name: row["reason"] for name, row in files.items() if row["status"] == "dropped"} == EXPECTED
    assert {name for name, row in files.items() if row["status"] == "read"} == {
        "good.parquet",
        "latin.txt",
        "broken.txt",
    }
    curate(
        CurateConfig(),
        inputs={"ingest": tmp_path / "ingest"},
        seed=1,
        out=tmp_path / "curate",
        progress=SilentProgress(),
    )
    out = tmp_path / "curate"
    assert {Path(source).name for source in kept(out)} == {"good.parquet", "latin.txt", "broken.txt"}
    assert pq.read_metadata(out / "documents.parquet").num_rows + len(rejected(out)) == 4
    texts = {Path(source).name: row["text"] for source, row in kept(out).items()}
    assert "Résumé naïve façade" in texts["latin.txt"]
    assert "end of it" in texts["broken.txt"]
