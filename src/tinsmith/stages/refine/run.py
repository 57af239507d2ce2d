"""Run the steps of refine on the training documents, one after the other, and add what a teacher wrote."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tinsmith.base.errors import CorpusError
from tinsmith.base.files import write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.corpus.engine import col, read_parquet
from tinsmith.corpus.steps.decisions import Removed, apply_decisions
from tinsmith.corpus.steps.result import StepInput, StepResult
from tinsmith.corpus.tables import TableWriter, sort_table
from tinsmith.recipe import RefineConfig
from tinsmith.recipe.corpus import StepConfig
from tinsmith.stages.llm_session import open_llm
from tinsmith.stages.stage import Inputs

_BATCH = 256
TRAIN, HELD_OUT = "train", "held_out"


def refine(
    config: RefineConfig, *, inputs: Inputs, seed: int, out: Path, progress: Progress
) -> dict[str, float]:
    """Write `documents.parquet`: held-out documents unchanged, training documents as the steps leave them.

    Each step sees what earlier ones left. It writes decisions to `decisions/STEP.parquet` and evidence to `STEP/`.
    `funnel.jsonl` counts documents and bytes. Raises CorpusError if no training document is left.
    """
    source = inputs["split"] / "documents.parquet"
    held_out = read_parquet(str(source)).where(col("part") == HELD_OUT)
    current, before = _copy_training(source, out / ".work" / "training.parquet")
    funnel = [_entry("training", "", before)]
    statistics: dict[str, float] = {
        "documents_train_before": before.documents,
        "bytes_train_before": before.bytes,
    }
    dropped = 0
    added: list[Path] = []
    for name, section in config.steps.items():
        progress.say(f"  {name}")
        given = StepInput(read_parquet(str(current)), held_out, out / name, seed, progress)
        result = _run(name, section, given)
        statistics |= {f"{name}_{figure}": value for figure, value in result.statistics.items()}
        if result.added:
            added.append(result.added)
            size = _measure(result.added)
            funnel.append(_entry(name, "written", _Size(-size.documents, -size.bytes)))
        if result.decisions:
            current, removed = _apply(name, result.decisions, current, out)
            funnel += [_entry(name, row.reason, _Size(row.documents, row.bytes)) for row in removed]
            funnel += [] if removed else [_entry(name, "", _Size(0, 0))]
            dropped += sum(row.documents for row in removed)
    kept = _write(current, source, added, out / "documents.parquet", progress)
    funnel.append(_entry("kept", "", _Size(kept["documents"], kept["bytes"])))
    write_jsonl(out / "funnel.jsonl", funnel)
    shutil.rmtree(out / ".work")
    return statistics | {
        "documents_train": kept["documents"],
        "bytes_train": kept["bytes"],
        "documents_written": kept["added_documents"],
        "bytes_written": kept["added_bytes"],
        "documents_dropped": dropped,
    }


def _run(name: str, section: StepConfig, given: StepInput) -> StepResult:
    """Run a step, with its teacher if it asks one; the teacher's costs join the step's statistics."""
    run = import_module(f"tinsmith.corpus.steps.{name}").run
    if section.asks is None:
        return run(section, given)  # type: ignore[no-any-return]
    where, answers = f"refine.{name}.teacher", given.out.parent / "answers" / name
    with open_llm(section.asks, where=where, folder=answers) as teacher:
        result: StepResult = run(section, replace(given, teacher=teacher))
        return result._replace(statistics=result.statistics | teacher.statistics())


def _apply(step: str, made: Path, current: Path, out: Path) -> tuple[Path, list[Removed]]:
    """Move a step's decisions to their place and carry them out; return what is left, and what was removed."""
    decisions, left = out / "decisions" / f"{step}.parquet", out / ".work" / f"{step}.parquet"
    decisions.parent.mkdir(exist_ok=True)
    os.replace(made, decisions)
    removed = apply_decisions(current, decisions, left)
    if not pq.read_metadata(left).num_rows:
        counts = ", ".join(f"{row.documents} by {row.reason}" for row in removed)
        raise CorpusError(
            f"no training document is left ({counts})",
            where=f"refine.{step}",
            next_step=f"loosen refine.{step}; {decisions} lists each document",
        )
    return left, removed


class _Size(NamedTuple):
    documents: int
    bytes: int


def _copy_training(source: Path, target: Path) -> tuple[Path, _Size]:
    """Write the training rows of `source`; return the path and the size of their text."""
    documents = size = 0
    with TableWriter(target, pq.read_schema(source)) as writer:
        for batch in _batches(source):
            rows = batch.filter(pc.equal(batch["part"], TRAIN))
            documents, size = documents + rows.num_rows, size + _text_bytes(rows)
            writer.add(rows)
    return target, _Size(documents, size)


def _write(current: Path, source: Path, added: list[Path], target: Path, progress: Progress) -> Counter[str]:
    """Write training, held-out and added documents into one table sorted by doc_id; count documents and bytes."""
    schema = pq.read_schema(source)
    count: Counter[str] = Counter()
    pieces = [
        ("", current, TRAIN),
        ("held_out_", source, HELD_OUT),
        *(("added_", path, TRAIN) for path in added),
    ]
    unsorted = target.with_name(".work") / "unsorted.parquet"
    total = sum(pq.read_metadata(path).num_rows for _, path, _ in pieces)
    with TableWriter(unsorted, schema) as writer, progress.task("write", total, "documents") as advance:
        for prefix, path, part in pieces:
            for batch in _batches(path):
                advance(batch.num_rows)
                rows = _in_part(batch, part, schema)
                count.update({f"{prefix}documents": rows.num_rows, f"{prefix}bytes": _text_bytes(rows)})
                writer.add(rows)
    sort_table(unsorted, target)
    count.update(documents=count["added_documents"], bytes=count["added_bytes"])
    return count


def _in_part(rows: pa.Table, part: str, schema: pa.Schema) -> pa.Table:
    """Select the rows of a part; rows that a step added have no part yet and get this one."""
    if "part" in rows.column_names:
        return rows.filter(pc.equal(rows["part"], part))
    return rows.append_column("part", pa.array([part] * rows.num_rows, pa.string())).select(schema.names)


def _measure(path: Path) -> _Size:
    return _Size(pq.read_metadata(path).num_rows, sum(map(_text_bytes, _batches(path))))


def _batches(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH):
            yield pa.Table.from_batches([batch])


def _text_bytes(rows: pa.Table) -> int:
    return int(pc.sum(pc.binary_length(rows["text"])).as_py() or 0)


def _entry(step: str, reason: str, size: _Size) -> dict[str, str | int]:
    return {"step": step, "reason": reason, **size._asdict()}
