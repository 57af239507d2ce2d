"""What curation did to the documents, for who must sign and for who must build: small tables out of large ones."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, NamedTuple

from tinsmith.foundation.files import read_json, read_jsonl, write_json

EXCERPT = 600  # characters of a document that the page quotes


class Table(NamedTuple):
    """A file of a stage that the page shows: its name there, the stage's file, and how many rows are shown."""

    name: str
    stage: str
    file: str
    rows: int = 40


TABLES = (
    Table("rights", "curate", "rights.jsonl"),
    Table("privacy", "curate", "privacy.jsonl"),
    Table("privacy_measured", "curate", "privacy_measured.json"),
    Table("hidden", "curate", "hidden.jsonl"),
    Table("refined", "refine", "funnel.jsonl", 200),
    Table("instructions", "refine", "planted/instructions.jsonl", 10),
    Table("triggers", "refine", "planted/triggers.jsonl", 10),
    Table("quota", "refine", "planted/sources.jsonl", 10),
    Table("selftest", "refine", "planted/selftest.jsonl"),
    Table("overlaps", "refine", "contamination/overlaps.jsonl", 10),
    Table("contamination", "refine", "contamination/counts.json"),
    Table("boilerplate", "refine", "boilerplate/boilerplate.jsonl", 10),
    Table("semantic", "refine", "semantic/pairs.jsonl", 10),
    Table("examples", "refine", "score/score_examples.jsonl"),
    Table("histogram", "refine", "score/score_histogram.jsonl"),
    Table("synthesis", "refine", "synthesis/steps.json"),
    Table("written", "refine", "synthesis/items.jsonl", 6),
)


def collect_curation(runs: dict[str, Path], out: Path) -> None:
    """Write `out/NAME.json` for each table whose stage left its file: its first rows, and how many there are."""
    for table in TABLES:
        path = runs.get(table.stage, Path("/nonexistent")) / table.file
        if path.is_file():
            write_json(out / f"{table.name}.json", _cut(path, table.rows))


def _cut(path: Path, most: int) -> Any:
    if path.suffix == ".json":
        return read_json(path)
    rows = iter(read_jsonl(path))
    shown = [_shortened(row) for row in itertools.islice(rows, most)]
    return {"rows": shown, "of": len(shown) + sum(1 for _ in rows)}


def _shortened(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value[:EXCERPT] + "…" if isinstance(value, str) and len(value) > EXCERPT else value
        for name, value in row.items()
    }


def read_curation(data: Path) -> dict[str, Any]:
    """Return what `collect_curation` wrote, by the tables' names; a table that is not there is empty."""
    found: dict[str, Any] = {}
    for table in TABLES:
        path = data / f"{table.name}.json"
        empty: Any = {} if table.file.endswith(".json") else {"rows": [], "of": 0}
        found[table.name] = read_json(path) if path.is_file() else empty
    return found
