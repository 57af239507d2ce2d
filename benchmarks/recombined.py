"""Text of any size: real paragraphs of several domains, recombined into documents by a seed."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from benchmarks.paths import DATA, WORK
from tinsmith.corpus.tables import TableWriter
from tinsmith.corpus.text.repair import document_id

_FOLDERS = (
    "sec-filings/text",
    "cfpb-regs/text",
    "cuad/CUAD_v1/full_contract_txt",
    "scotus-opinions/opinions",
    "us-code",
    "fomc",
)
_PARAGRAPHS = (4, 40)  # of a document
_NEAR = 0.05  # of the documents are copies with one paragraph changed
_LONGEST = 6000  # characters of a paragraph
_SCHEMA = pa.schema(
    [
        (name, pa.string())
        for name in ("doc_id", "text", "source", "sha256", "mime", "licence", "language", "meta")
    ]
)


def paragraphs() -> list[str]:
    """Return every paragraph of more than 40 characters, each once."""
    found: dict[str, None] = {}
    for folder in _FOLDERS:
        for path in sorted((DATA / folder).rglob("*.txt")):
            text = path.read_text(encoding="utf-8", errors="replace")
            found |= dict.fromkeys(p.strip()[:_LONGEST] for p in text.split("\n\n") if len(p.strip()) > 40)
    if not found:
        raise SystemExit(f"no real documents below {DATA}; TINSMITH_BENCH_DATA names another folder")
    return list(found)


def documents(size: int, seed: int = 1) -> Iterator[str]:
    """Yield documents of about `size` bytes in all."""
    source, draw, made = paragraphs(), random.Random(seed), 0
    last: list[str] = []
    while made < size:
        if last and draw.random() < _NEAR:
            parts = list(last)
            parts[draw.randrange(len(parts))] = draw.choice(source)
        else:
            parts = [draw.choice(source) for _ in range(draw.randint(*_PARAGRAPHS))]
        last = parts
        text = "\n\n".join(parts)
        made += len(text.encode())
        yield text


def write(size: int) -> Path:
    """Write the documents as the stage ingest leaves them, and as JSON Lines in two parts; return the folder."""
    folder = WORK / f"recombined-{size // 1_000_000}"
    if not (folder / "done").exists():
        (folder / "jsonl").mkdir(parents=True, exist_ok=True)
        parts = [(folder / "jsonl" / f"{n}.jsonl").open("w", encoding="utf-8") for n in range(2)]
        for number, text in enumerate(write_table(size, folder)):
            parts[number % 2].write(json.dumps({"text": text, "id": str(number)}) + "\n")
        for part in parts:
            part.close()
        (folder / "done").touch()
    return folder


def write_table(size: int, folder: Path) -> Iterator[str]:
    """Write the documents into `documents.parquet` as the stage ingest leaves them; yield each text."""
    with TableWriter(folder / "documents.parquet", _SCHEMA) as writer:
        for number, text in enumerate(documents(size)):
            row = {
                **dict.fromkeys(("licence", "language"), ""),
                "doc_id": document_id(text),
                "text": text,
                "source": f"{number}.txt",
                "sha256": hashlib.sha256(text.encode()).hexdigest(),
                "mime": "text/plain",
                "meta": "{}",
            }
            writer.add_row(row)
            yield text
