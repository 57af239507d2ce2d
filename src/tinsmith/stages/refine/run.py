"""Run the steps of refine on the training documents, one after the other, and add what a teacher wrote."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterator
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
from tinsmith.corpus.rights import may_leave as may_be_sent
from tinsmith.corpus.steps.decisions import Removed, apply_decisions
from tinsmith.corpus.steps.result import StepInput, StepResult
from tinsmith.corpus.tables import TableWriter, sort_table
from tinsmith.recipe import RefineConfig
from tinsmith.recipe.corpus import StepConfig
from tinsmith.stages.llm_session import open_llm
from tinsmith.stages.outbound import Outbound
from tinsmith.stages.refine import asked
from tinsmith.stages.sent import ANSWERS, none_may_leave, write_sent
from tinsmith.stages.stage import Inputs

_BATCH = 256
TRAIN, HELD_OUT = "train", "held_out"


def refine(
    config: RefineConfig,
    *,
    inputs: Inputs,
    seed: int,
    out: Path,
    progress: Progress,
    may_leave: tuple[str, ...] = (),
) -> dict[str, float]:
    """Write `documents.parquet`: held-out documents unchanged, training documents as the steps leave them.

    Each step sees what earlier ones left. It writes decisions to `decisions/STEP.parquet` and evidence to `STEP/`.
    `funnel.jsonl` counts documents and bytes, `sent.json` what teachers on other machines received, of documents with
    access labels that match `may_leave`. Raises CorpusError if no training document is left, or none may be sent.
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
    left_out: dict[str, int] = {}
    for name, section in config.steps.items():
        progress.say(f"  {name}")
        given = StepInput(read_parquet(str(current)), held_out, out / name, seed, progress)
        if outbound := asked(config).get(name):
            given, permitted = _permit(outbound, given, may_leave, left_out)
            result = _run_with_teacher(name, section, given, outbound, permitted)
        else:
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
    write_sent(out, left_out)
    shutil.rmtree(out / ".work")
    return statistics | {
        "documents_train": kept["documents"],
        "bytes_train": kept["bytes"],
        "documents_written": kept["added_documents"],
        "bytes_written": kept["added_bytes"],
        "documents_dropped": dropped,
    }


def _run(name: str, section: StepConfig, given: StepInput) -> StepResult:
    result: StepResult = import_module(f"tinsmith.corpus.steps.{name}").run(section, given)
    return result


def _run_with_teacher(
    name: str, section: StepConfig, given: StepInput, outbound: Outbound, permitted: Collection[str]
) -> StepResult:
    """Run a step that asks a teacher, whose costs join the step's statistics."""
    with open_llm(
        outbound.model,
        where=outbound.where,
        folder=given.out.parent / ANSWERS / name,
        permitted=permitted,
        most_bytes=outbound.most()[1],
    ) as teacher:
        result = _run(name, section, replace(given, teacher=teacher))
        return result._replace(statistics=result.statistics | teacher.statistics())


def _permit(
    outbound: Outbound, given: StepInput, may_leave: tuple[str, ...], left_out: dict[str, int]
) -> tuple[StepInput, frozenset[str]]:
    """Return what a step may show its teacher, and the ids of these documents if they leave; count the others.

    Raises CorpusError if none may leave.
    """
    if not outbound.host:
        return given, frozenset()
    columns = [name for name in ("doc_id", "access") if name in given.documents.column_names]
    labels = {row["doc_id"]: row.get("access") or "" for row in given.documents.select(*columns).to_pylist()}
    shown = {label for label in set(labels.values()) if may_be_sent(label, may_leave)}
    permitted = frozenset(doc_id for doc_id, label in labels.items() if label in shown)
    if not permitted:
        raise none_may_leave(outbound, labels.values())
    left_out[outbound.where] = len(labels) - len(permitted)
    given.progress.say(
        f"  {outbound.host} may read {len(permitted):,} documents; {left_out[outbound.where]:,} stay here, since "
        "may_leave does not list their label"
    )
    return replace(given, shown_access=tuple(sorted(shown))), permitted


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
