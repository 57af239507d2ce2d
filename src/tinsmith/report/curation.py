"""Cut the files of curate and refine down to the small tables that the report shows."""

from __future__ import annotations

import collections
import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from tinsmith.base.files import read_json, read_jsonl, write_json

EXCERPT = 640  # characters of a document that the page quotes; more than any step's evidence has
# Reasons of curate, which the report may not import. Forgotten documents are not named again.
REFUSED = ("licence_refused", "access_refused")
PRIVATE = ("personal_data", "credential")
COPIES = ("exact_duplicate", "near_duplicate")
_BATCH = 4096


class Table(NamedTuple):
    """A file of a stage that the page shows: its name on the page, how many rows, and which first.

    `by` names a field by which the documents of all rows are summed.
    """

    name: str
    stage: str
    file: str
    rows: int = 40
    order: Callable[[dict[str, Any]], Any] | None = None
    by: str = ""


TABLES = (
    Table(
        "rights", "curate", "rights.jsonl", order=lambda row: row.get("verdict") == "allowed", by="verdict"
    ),
    Table("privacy", "curate", "privacy.jsonl"),
    Table("privacy_measured", "curate", "privacy_measured.json"),
    Table("hidden", "curate", "hidden.jsonl"),
    Table("refined", "refine", "funnel.jsonl", 200),
    Table("instructions", "refine", "planted/instructions.jsonl", 10),
    Table("triggers", "refine", "planted/triggers.jsonl", 10),
    Table("quota", "refine", "planted/sources.jsonl", 10),
    Table("selftest", "refine", "planted/selftest.jsonl"),
    Table("overlaps", "refine", "contamination/overlaps.jsonl", 10, order=lambda row: -row.get("words", 0)),
    Table("contamination", "refine", "contamination/counts.json"),
    Table("boilerplate", "refine", "boilerplate/boilerplate.jsonl", 10),
    Table("semantic", "refine", "semantic/pairs.jsonl", 10),
    Table("examples", "refine", "score/score_examples.jsonl"),
    Table("histogram", "refine", "score/score_histogram.jsonl"),
    Table("synthesis", "refine", "synthesis/steps.json"),
    Table("written", "refine", "synthesis/items.jsonl", 4),
)
# Tables drawn from the rejects: name -> rows shown.
DROPPED = {"refused": 20, "private": 40, "copies": 10}
_STAGES = ("curate", "refine")
_NOWHERE = Path("/nonexistent")


def collect_curation(runs: dict[str, Path], out: Path) -> None:
    """Write `out/NAME.json` for each table whose stage wrote its file: the first rows, and their number.

    `asked.json` has the recipe's sections of both stages, `figures.json` their statistics.
    """
    for table in TABLES:
        path = runs.get(table.stage, _NOWHERE) / table.file
        cut = _cut(path, table) if path.is_file() else None
        if cut is not None:
            write_json(out / f"{table.name}.json", cut)
    rejects = runs.get("curate", _NOWHERE) / "rejects.parquet"
    if rejects.is_file():
        for name, rows in _dropped(rejects).items():
            write_json(out / f"{name}.json", rows)
    manifests = {stage: runs.get(stage, _NOWHERE) / "manifest.json" for stage in _STAGES}
    stages = {stage: read_json(path) for stage, path in manifests.items() if path.is_file()}
    write_json(
        out / "asked.json",
        {stage: each["config"][stage] for stage, each in stages.items() if stage in each["config"]},
    )
    write_json(out / "figures.json", {stage: each["statistics"] for stage, each in stages.items()})


def _cut(path: Path, table: Table) -> Any:
    """Return the first rows of a file and their number, whole=False if it breaks off; None if unreadable."""
    if path.suffix == ".json":
        return _readable(path)
    counts = {"of": 0, "whole": True}
    documents: Counter[str] = Counter()

    def rows() -> Iterator[dict[str, Any]]:
        try:
            for row in read_jsonl(path):
                counts["of"] += 1
                if table.by:
                    documents[str(row.get(table.by))] += row.get("documents") or 0
                yield row
        except ValueError:
            counts["whole"] = False

    found = rows()
    if table.order:
        shown = heapq.nsmallest(table.rows, found, key=table.order)
    else:
        shown = list(itertools.islice(found, table.rows))
        collections.deque(found, maxlen=0)  # count the rest
    if not (shown or counts["whole"]):
        return None
    return {"rows": [_shortened(row) for row in shown], **counts} | (
        {"documents": documents} if table.by else {}
    )


def _readable(path: Path) -> Any:
    try:
        return read_json(path)
    except ValueError:
        return None


def _shortened(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value[:EXCERPT] + "…" if isinstance(value, str) and len(value) > EXCERPT else value
        for name, value in row.items()
    }


def _dropped(rejects: Path) -> dict[str, dict[str, Any]]:
    """Return the documents that curate refused for their rights, dropped for personal data, or as copies."""
    refused: list[dict[str, Any]] = []
    copies: list[dict[str, Any]] = []
    count: Counter[str] = Counter()
    private: Counter[str] = Counter()
    with pq.ParquetFile(rejects) as file:
        for batch in file.iter_batches(_BATCH, columns=["source", "reason", "detail"]):
            for row in batch.to_pylist():
                reason = row["reason"]
                if reason in REFUSED:
                    count["refused"] += 1
                    refused += [_shortened(row)] * (len(refused) < DROPPED["refused"])
                elif reason in COPIES:
                    count["copies"] += 1
                    copies += [_shortened(row)] * (len(copies) < DROPPED["copies"])
                elif reason in PRIVATE:
                    private[row["detail"].partition(":")[0]] += 1
    types = [{"type": name, "dropped": number} for name, number in sorted(private.items())]
    return {
        "refused": {"rows": refused, "of": count["refused"], "whole": True},
        "copies": {"rows": copies, "of": count["copies"], "whole": True},
        "private": {"rows": types, "of": len(types), "whole": True},
    }


def read_curation(data: Path) -> dict[str, Any]:
    """Return what `collect_curation` wrote by name; None for what is missing or unreadable."""
    names = [*(table.name for table in TABLES), *DROPPED, "asked", "figures"]
    paths = {name: data / f"{name}.json" for name in names}
    return {name: _readable(path) if path.is_file() else None for name, path in paths.items()}
