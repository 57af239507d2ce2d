"""Ten times the documents go through curate, split and refine under the same memory limit."""

import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from stages.test_curate import ENGLISH
from tinsmith.corpus.tables import TableWriter
from tinsmith.corpus.text.repair import document_id

WORKER = Path(__file__).with_name("curate_and_refine.py")
NAMES = ("doc_id", "text", "source", "sha256", "mime", "licence", "language", "meta")
# What the libraries, the compiled loops and the parts in flight take, whatever there is to read.
LIMIT = 2_000_000_000


def write(folder: Path, size: int) -> Path:
    """Write about `size` bytes of documents of 10 kB as the stage ingest leaves them."""
    draw = random.Random(1)
    words = ENGLISH.split() * 100
    words += ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(2, 9))) for _ in range(4_000)]
    schema = pa.schema([(name, pa.string()) for name in NAMES])
    written = 0
    with TableWriter(folder / "documents.parquet", schema) as writer:
        while written < size:
            text = "\n\n".join(" ".join(draw.choices(words, k=80)) + "." for _ in range(20))
            row = dict.fromkeys(NAMES, "") | {"doc_id": document_id(text), "text": text, "meta": "{}"}
            row |= {"source": f"{written}.txt", "sha256": hashlib.sha256(text.encode()).hexdigest()}
            writer.add_row(row)
            written += len(text)
    return folder


def peak(tmp_path: Path, size: int) -> int:
    folder = tmp_path / str(size)
    command = [
        sys.executable,
        str(WORKER),
        "native",
        str(write(folder / "ingest", size)),
        str(folder / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["documents"] > 0.7 * size / 12_000
    return facts["peak_rss_bytes"]


@pytest.mark.slow
def test_ten_times_the_documents_fit_into_the_same_memory(
    tmp_path: Path, at_length: Callable[[int, int], int]
):
    size = at_length(2_000_000, 60_000_000)
    assert peak(tmp_path, size) < LIMIT
    assert peak(tmp_path, 10 * size) < LIMIT
