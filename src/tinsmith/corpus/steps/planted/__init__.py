"""Find text planted to steer a model: instructions to it, triggers, and one source that outweighs the rest."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from tinsmith.base.files import write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.corpus.engine import DataFrame, DataType, Series, batch_function, col
from tinsmith.corpus.steps.planted.instructions import find_instructions
from tinsmith.corpus.steps.planted.quota import find_excess
from tinsmith.corpus.steps.planted.selftest import run_selftest
from tinsmith.corpus.steps.planted.triggers import find_triggers
from tinsmith.corpus.steps.result import DECISIONS, StepInput, StepResult, write_decisions
from tinsmith.corpus.tables import text_bytes
from tinsmith.recipe import PlantedConfig

_BATCH = 64
_FOUND = {"score": DataType.float64(), "rules": DataType.string(), "text": DataType.string()}


def run(config: PlantedConfig, given: StepInput) -> StepResult:
    """Run the checks that the recipe enables, in the order of its fields; the first reason to drop a document counts.

    Writes `instructions.jsonl`, `triggers.jsonl`, `sources.jsonl` and `selftest.jsonl`, each if its check is enabled.
    Raises CorpusError for a quota that the sources cannot meet.
    """
    documents, out, seed, progress = given.documents, given.out, given.seed, given.progress
    out.mkdir(parents=True, exist_ok=True)
    total = text_bytes(documents)
    dropped: dict[str, tuple[str, str]] = {}  # doc_id -> reason, detail
    statistics: dict[str, float] = {}
    if config.instructions != "off":
        rows = _instructions(documents, out, progress)
        statistics["instructions"] = len(rows)
        if config.instructions == "drop":
            dropped |= {row["doc_id"]: ("instructions_to_a_model", row["rules"]) for row in rows}
    if config.triggers != "off":
        triggered = _triggers(given, total, config.min_trigger_documents)
        statistics["trigger_documents"] = len(triggered)
        if config.triggers == "drop":
            dropped = {name: ("trigger", phrase) for name, phrase in triggered.items()} | dropped
    if config.max_source_share < 1:
        excess, sources = find_excess(documents, config, seed)
        write_jsonl(out / "sources.jsonl", (each._asdict() for each in sources))
        statistics["over_quota"] = len(excess)
        dropped = {name: ("over_quota", source) for name, source in excess.items()} | dropped
    if config.selftest:
        tests = run_selftest(given, total, config.min_trigger_documents, work=out / ".selftest")
        write_jsonl(out / "selftest.jsonl", tests)
        planted = sum(row["planted"] for row in tests)
        statistics["selftest_caught_share"] = sum(row["caught"] for row in tests) / max(1, planted)
        statistics["selftest_clean_hit"] = sum(row["clean_hit"] for row in tests)
    for work in (out / ".triggers", out / ".selftest"):
        shutil.rmtree(work, ignore_errors=True)
    return StepResult(statistics, write_decisions(out / "planted.parquet", _decisions(dropped)))


def _decisions(dropped: dict[str, tuple[str, str]]) -> Iterable[pa.Table]:
    rows = [
        {"doc_id": name, "reason": reason, "detail": detail} for name, (reason, detail) in dropped.items()
    ]
    yield pa.Table.from_pylist([row | {"text": None} for row in rows], DECISIONS)


def _instructions(documents: DataFrame, out: Path, progress: Progress) -> list[dict[str, Any]]:
    @batch_function(return_dtype=DataType.struct(_FOUND), batch_size=_BATCH)
    def find(texts: Series) -> list[dict[str, Any] | None]:
        found = (find_instructions(text) for text in texts.to_pylist())
        return [
            each and {"score": each.score, "rules": ", ".join(each.rules), "text": each.text}
            for each in found
        ]

    frame = documents.select("doc_id", "source", find(col("text")).alias("found"))
    frame = frame.where(col("found").not_null())
    frame = frame.select("doc_id", "source", *(col("found")[name].alias(name) for name in _FOUND))
    rows: list[dict[str, Any]] = []
    with progress.task("instructions", None, "documents") as advance:
        for batch in frame.to_arrow_iter():
            rows += batch.to_pylist()
            advance(batch.num_rows)
    rows.sort(key=lambda row: (-row["score"], row["doc_id"]))
    write_jsonl(out / "instructions.jsonl", rows)
    return rows


def _triggers(given: StepInput, total: int, min_documents: int) -> dict[str, str]:
    work = given.out / ".triggers"
    triggers, triggered = find_triggers(
        given.documents, total, min_documents=min_documents, work=work, progress=given.progress
    )
    names = ("phrase", "documents", "turning", "follows")
    rows = ({name: getattr(trigger, name) for name in names} for trigger in triggers)
    write_jsonl(given.out / "triggers.jsonl", rows)
    return triggered
