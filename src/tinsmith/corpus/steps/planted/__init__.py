"""Text put in to steer a model: instructions to it, triggers, one source that outweighs the rest."""

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
_SPOKEN = {"score": DataType.float64(), "rules": DataType.string(), "text": DataType.string()}


def run(config: PlantedConfig, given: StepInput) -> StepResult:
    """Look for what the recipe asks, in the order of its fields; of several reasons the first counts.

    Writes `instructions.jsonl`, `triggers.jsonl`, `sources.jsonl` and `selftest.jsonl`, each where it was asked for.
    Raises CorpusError for a quota that the sources cannot keep.
    """
    documents, out, seed, progress = given.documents, given.out, given.seed, given.progress
    out.mkdir(parents=True, exist_ok=True)
    total, gone = text_bytes(documents), dict[str, tuple[str, str]]()
    statistics: dict[str, float] = {}
    if config.instructions != "off":
        rows = _instructions(documents, out, progress)
        statistics["instructions"] = len(rows)
        if config.instructions == "drop":
            gone |= {row["doc_id"]: ("instructions_to_a_model", row["rules"]) for row in rows}
    if config.triggers != "off":
        borne = _triggers(documents, total, config, out, progress)
        statistics["trigger_documents"] = len(borne)
        if config.triggers == "drop":
            gone = {name: ("trigger", phrase) for name, phrase in borne.items()} | gone
    if config.max_source_share < 1:
        excess, sources = find_excess(documents, config, seed)
        write_jsonl(out / "sources.jsonl", (each._asdict() for each in sources))
        statistics["over_quota"] = len(excess)
        gone = {name: ("over_quota", source) for name, source in excess.items()} | gone
    if config.selftest:
        tests = run_selftest(
            documents,
            total,
            min_documents=config.min_trigger_documents,
            seed=seed,
            work=out / ".selftest",
            progress=progress,
        )
        write_jsonl(out / "selftest.jsonl", tests)
        planted = sum(row["planted"] for row in tests)
        statistics["selftest_caught_share"] = sum(row["caught"] for row in tests) / max(1, planted)
        statistics["selftest_clean_hit"] = sum(row["clean_hit"] for row in tests)
    for work in (out / ".triggers", out / ".selftest"):
        shutil.rmtree(work, ignore_errors=True)
    return StepResult(statistics, write_decisions(out / "planted.parquet", _decisions(gone)))


def _decisions(gone: dict[str, tuple[str, str]]) -> Iterable[pa.Table]:
    rows = [{"doc_id": name, "reason": reason, "detail": detail} for name, (reason, detail) in gone.items()]
    yield pa.Table.from_pylist([row | {"text": None} for row in rows], DECISIONS)


def _instructions(documents: DataFrame, out: Path, progress: Progress) -> list[dict[str, Any]]:
    @batch_function(return_dtype=DataType.struct(_SPOKEN), batch_size=_BATCH)
    def look(texts: Series) -> list[dict[str, Any] | None]:
        found = (find_instructions(text) for text in texts.to_pylist())
        return [
            each and {"score": each.score, "rules": ", ".join(each.rules), "text": each.text}
            for each in found
        ]

    frame = documents.select("doc_id", "source", look(col("text")).alias("found"))
    frame = frame.where(col("found").not_null())
    frame = frame.select("doc_id", "source", *(col("found")[name].alias(name) for name in _SPOKEN))
    rows: list[dict[str, Any]] = []
    with progress.task("instructions", None, "documents") as advance:
        for batch in frame.to_arrow_iter():
            rows += batch.to_pylist()
            advance(batch.num_rows)
    rows.sort(key=lambda row: (-row["score"], row["doc_id"]))
    write_jsonl(out / "instructions.jsonl", rows)
    return rows


def _triggers(
    documents: DataFrame, total: int, config: PlantedConfig, out: Path, progress: Progress
) -> dict[str, str]:
    found, borne = find_triggers(
        documents,
        total,
        min_documents=config.min_trigger_documents,
        work=out / ".triggers",
        progress=progress,
    )
    names = ("phrase", "documents", "turning", "follows")
    write_jsonl(out / "triggers.jsonl", ({name: getattr(each, name) for name in names} for each in found))
    return borne
