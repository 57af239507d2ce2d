"""Frames of training documents for the steps of refine."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tinsmith.corpus.engine import DataFrame, read_parquet
from tinsmith.corpus.text.repair import document_id

COLUMNS = ("sha256", "mime", "licence", "access", "meta", "cluster")


def frame(path: Path, texts: list[str], *, sources: list[str] | None = None) -> DataFrame:
    """Write texts as a table of training documents and open it."""
    rows = [
        {
            "doc_id": document_id(text),
            "text": text,
            "source": sources[number] if sources else f"folder/{number}.txt",
            "language": "en",
            **dict.fromkeys(COLUMNS, ""),
        }
        for number, text in enumerate(texts)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(sorted(rows, key=lambda row: row["doc_id"])), path)
    return read_parquet(str(path))


def decisions(path: Path) -> dict[str, dict]:
    """Return a step's decisions by doc_id."""
    return {row["doc_id"]: row for row in pq.read_table(path).to_pylist()}
