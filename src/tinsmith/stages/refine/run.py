"""Compare and judge training documents by each other: what was planted, repeats, is poor; and write new ones."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tinsmith.base.completion import Answer, Request
from tinsmith.base.errors import CorpusError
from tinsmith.base.files import write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.corpus.engine import DataFrame, col, read_parquet
from tinsmith.corpus.steps.decisions import Removed, apply_decisions
from tinsmith.corpus.steps.result import StepResult
from tinsmith.corpus.tables import TableWriter, sort_table
from tinsmith.recipe import RefineConfig, Section
from tinsmith.stages.teachers import Asking, open_teacher

_BATCH = 256
_RATING_TOKENS = 200  # of an answer that rates a document
TRAIN, HELD_OUT = "train", "held_out"


class Step(NamedTuple):
    """A step of refine: its name, which is that of its section, and whether a recipe asks for it."""

    name: str
    asked: Callable[[RefineConfig], bool]


# In this order: what was put in goes before anything is counted, and what is costly comes last.
STEPS = (
    Step("planted", lambda config: config.planted != type(config.planted)()),
    Step("contamination", lambda config: config.contamination.action != "off"),
    Step("boilerplate", lambda config: config.boilerplate.min_documents > 0),
    Step("semantic", lambda config: config.semantic.max_similarity < 1),
    Step("score", lambda config: config.score.kind != "off"),
)


def refine(
    config: RefineConfig, *, split: Path, seed: int, out: Path, progress: Progress
) -> dict[str, float]:
    """Write `documents.parquet`: the held-out documents as they were, the training ones that the steps left.

    Each step asked for sees what the one before it left, and leaves its decisions in `decisions/STEP.parquet`
    and its evidence in `STEP/`. `funnel.jsonl` counts documents and bytes as curate's does. Raises
    CorpusError where no training document is left, and what the steps raise.
    """
    source = split / "documents.parquet"
    held_out = read_parquet(str(source)).where(col("part") == HELD_OUT)
    current, began = _training(source, out / ".work" / "training.parquet")
    funnel = [_entry("training", "", *began)]
    statistics: dict[str, float] = {"documents_train_before": began[0], "bytes_train_before": began[1]}
    for step in (step for step in STEPS if step.asked(config)):
        progress.say(f"  {step.name}")
        outcome = _take(step, config, current, held_out, out, seed, progress)
        left, decisions = out / ".work" / f"{step.name}.parquet", out / "decisions" / f"{step.name}.parquet"
        decisions.parent.mkdir(exist_ok=True)
        os.replace(outcome.decisions, decisions)
        removed = apply_decisions(current, decisions, left)
        funnel += [_entry(step.name, row.reason, row.documents, row.bytes) for row in removed]
        funnel += [] if removed else [_entry(step.name, "", 0, 0)]
        statistics |= {f"{step.name}_{name}": value for name, value in outcome.statistics.items()}
        _check_left(left, step, removed)
        current = left
    written = _synthesise(config, current, held_out, out, seed, progress, statistics)
    kept = _write(current, source, written, out / "documents.parquet", progress)
    funnel += [_entry("synthesis", "written", -kept.synthetic, -kept.synthetic_bytes)] if written else []
    funnel.append(_entry("kept", "", kept.documents, kept.bytes))
    write_jsonl(out / "funnel.jsonl", funnel)
    shutil.rmtree(out / ".work")
    return statistics | {
        "documents_train": kept.documents,
        "bytes_train": kept.bytes,
        "documents_written": kept.synthetic,
        "bytes_written": kept.synthetic_bytes,
        "documents_dropped": sum(int(row["documents"]) for row in funnel[1:-1] if row["step"] != "synthesis"),
    }


def _take(
    step: Step,
    config: RefineConfig,
    current: Path,
    held_out: DataFrame,
    out: Path,
    seed: int,
    progress: Progress,
) -> StepResult:
    section: Section = getattr(config, step.name)
    with contextlib.ExitStack() as stack:
        more: dict[str, Any] = {}
        if step.name == "score" and config.score.kind == "teacher":
            asking = stack.enter_context(
                open_teacher(
                    config.score.teacher, where="refine.score.teacher", folder=out / "answers" / "score"
                )
            )
            more["ask"] = _rater(asking)
        outcome = _function(step.name)(
            section,
            documents=read_parquet(str(current)),
            held_out=held_out,
            out=out / step.name,
            seed=seed,
            progress=progress,
            **more,
        )
        return StepResult(outcome.decisions, outcome.statistics | (asking.statistics() if more else {}))


def _rater(asking: Asking) -> Callable[[Iterable[str], str], Iterator[str | None]]:
    """Return what asks for ratings: prompts and what is told before each; None where no answer came."""

    def ask(prompts: Iterable[str], told: str) -> Iterator[str | None]:
        for outcome in asking.ask(Request(prompt, told, _RATING_TOKENS) for prompt in prompts):
            yield outcome.text if isinstance(outcome, Answer) else None

    return ask


def _synthesise(
    config: RefineConfig,
    current: Path,
    held_out: DataFrame,
    out: Path,
    seed: int,
    progress: Progress,
    statistics: dict[str, float],
) -> Path | None:
    """Have new documents written; return their table, or None where the recipe asks for none."""
    if not config.synthesis.items:
        return None
    from tinsmith.corpus.steps.synthesis import synthesise

    progress.say("  synthesis")
    teacher, where = config.synthesis.teacher, "refine.synthesis.teacher"
    with open_teacher(teacher, where=where, folder=out / "answers" / "synthesis") as asking:
        schema = pq.read_schema(current)
        names = [name for name in schema.names if name != "part"]
        written = synthesise(
            config.synthesis,
            ask=asking.ask,
            documents=read_parquet(str(current)),
            held_out=held_out,
            schema=pa.schema([schema.field(name) for name in names]),
            out=out / "synthesis",
            seed=seed,
            progress=progress,
            spent=asking.statistics,
        )
        figures = written.statistics | asking.statistics()
    statistics |= {f"synthesis_{name}": value for name, value in figures.items()}
    return written.documents


def _function(name: str) -> Callable[..., StepResult]:
    if name == "planted":
        from tinsmith.corpus.steps.planted import find_planted

        return find_planted
    if name == "contamination":
        from tinsmith.corpus.steps.contamination import find_contamination

        return find_contamination
    if name == "boilerplate":
        from tinsmith.corpus.steps.boilerplate import find_boilerplate

        return find_boilerplate
    if name == "semantic":
        from tinsmith.corpus.steps.semantic import find_semantic_duplicates

        return find_semantic_duplicates
    from tinsmith.corpus.steps.score import score_documents

    return score_documents


class _Written(NamedTuple):
    documents: int
    bytes: int
    synthetic: int
    synthetic_bytes: int


def _training(source: Path, target: Path) -> tuple[Path, tuple[int, int]]:
    """Write the training rows of `source`; return the path, and how many documents and bytes they are."""
    count: Counter[str] = Counter()
    with TableWriter(target, pq.read_schema(source)) as writer:
        for batch in _batches(source):
            rows = batch.filter(pc.equal(batch["part"], TRAIN))
            count.update(documents=rows.num_rows, bytes=_size(rows))
            writer.add(rows)
    return target, (count["documents"], count["bytes"])


def _write(current: Path, source: Path, written: Path | None, target: Path, progress: Progress) -> _Written:
    """Write training, held-out and synthetic documents into one table, sorted by doc_id."""
    schema = pq.read_schema(source)
    count: Counter[str] = Counter()
    pieces = [("training", current, TRAIN), ("held_out", source, HELD_OUT)]
    pieces += [("synthetic", written, TRAIN)] if written else []
    whole = target.with_name(".work") / "whole.parquet"
    total = sum(pq.read_metadata(path).num_rows for _, path, _ in pieces)
    with TableWriter(whole, schema) as writer, progress.task("write", total, "documents") as advance:
        for name, path, part in pieces:
            for batch in _batches(path):
                advance(batch.num_rows)
                rows = _in_part(batch, part, schema)
                count.update({name: rows.num_rows, f"{name}_bytes": _size(rows)})
                writer.add(rows)
    sort_table(whole, target)
    return _Written(
        count["training"] + count["synthetic"],
        count["training_bytes"] + count["synthetic_bytes"],
        count["synthetic"],
        count["synthetic_bytes"],
    )


def _in_part(rows: pa.Table, part: str, schema: pa.Schema) -> pa.Table:
    if "part" in rows.column_names:
        return rows.filter(pc.equal(rows["part"], part))
    return rows.append_column("part", pa.array([part] * rows.num_rows, pa.string())).select(schema.names)


def _batches(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH):
            yield pa.Table.from_batches([batch])


def _size(rows: pa.Table) -> int:
    return int(pc.sum(pc.binary_length(rows["text"])).as_py() or 0)


def _entry(step: str, reason: str, documents: int, size: int) -> dict[str, str | int]:
    return {"step": step, "reason": reason, "documents": documents, "bytes": size}


def _check_left(left: Path, step: Step, removed: list[Removed]) -> None:
    if pq.read_metadata(left).num_rows:
        return
    told = ", ".join(f"{row.documents} by {row.reason}" for row in removed)
    raise CorpusError(
        f"no training document is left ({told})",
        where=f"refine.{step.name}",
        next_step=f"loosen refine.{step.name}: {left.parent.parent}/decisions/{step.name}.parquet names each",
    )
