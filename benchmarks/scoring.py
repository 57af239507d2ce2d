"""How well scores tell good documents from poor ones where the truth is known: the ready score, and exemplars."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.evidence import table, write_evidence
from benchmarks.paths import DATA, WORK
from benchmarks.poor import KINDS, UNSEEN
from benchmarks.prose import available, pieces
from benchmarks.ready_weights import FIELDS
from tinsmith.base.progress import SilentProgress
from tinsmith.corpus.engine import read_parquet
from tinsmith.corpus.steps import score
from tinsmith.corpus.steps.result import StepInput
from tinsmith.corpus.steps.score.agreement import Figure, auc, resampled
from tinsmith.corpus.text.repair import document_id
from tinsmith.recipe import ScoreConfig

_EXEMPLARS = 60
_MESSAGES = 600  # of either kind
_HOME = WORK / "scoring"
Row = dict[str, Any]


class Task(NamedTuple):
    """Documents to rank, good and poor, and other good ones to learn from."""

    name: str
    good: list[str]
    poor: list[str]
    exemplars: list[str]


def run(*, quick: bool) -> None:
    """Write `results/scoring`."""
    rows = [row for task in _tasks(quick) for row in _measure(task)]
    name = "scoring-quick" if quick else "scoring"
    write_evidence(name, "Scores where the truth is known", {"rows": rows}, _body(rows))


def _tasks(quick: bool) -> list[Task]:
    draw = random.Random(7)
    unseen = [field for field in available() if field not in FIELDS]
    prose = [piece for field in unseen for piece in pieces(field, fitting=False)]
    draw.shuffle(prose)
    exemplars, prose = prose[:_EXEMPLARS], prose[_EXEMPLARS : _EXEMPLARS + (40 if quick else 200)]
    kinds: dict[str, Callable[[str, random.Random], str]] = KINDS | UNSEEN
    tasks = [
        Task(
            f"prose and {kind}{' (unseen)' if kind in UNSEEN else ''}",
            prose,
            [damage(text, draw) for text in prose],
            exemplars,
        )
        for kind, damage in kinds.items()
    ]
    mixed = [draw.choice(list(kinds.values()))(text, draw) for text in prose]
    return [Task("prose and all of these", prose, mixed, exemplars), *tasks, *_messages(draw)]


def _messages(draw: random.Random) -> list[Task]:
    path = DATA / "sms-spam" / "data" / "sms.tsv"
    if not path.exists():
        return []
    lines = [line.partition("\t") for line in path.read_text("utf-8").splitlines()]
    ham, spam = (
        sorted({text for label, _, text in lines if label == kind and len(text) > 20})
        for kind in ("ham", "spam")
    )
    draw.shuffle(ham)
    draw.shuffle(spam)
    good = ham[_EXEMPLARS : _EXEMPLARS + _MESSAGES]
    return [Task("messages and spam", good, spam[:_MESSAGES], ham[:_EXEMPLARS])]


def _measure(task: Task) -> list[Row]:
    labels = {document_id(text): 0.0 for text in task.poor} | {document_id(text): 1.0 for text in task.good}
    rows = []
    for kind in ("ready", "exemplars"):
        began = time.perf_counter()
        scores = _scores(task, kind)
        seconds = time.perf_counter() - began
        names = sorted(labels)
        truth, said = [labels[name] for name in names], [scores[name] for name in names]
        figure = resampled(auc, truth, said)
        half = np.argsort(-np.array(said), kind="stable")[: len(task.good)]
        rows.append(
            {
                "task": task.name,
                "score": kind,
                "good": len(task.good),
                "poor": len(labels) - len(task.good),
                "auc": figure._asdict(),
                "good_among_the_best": float(np.array(truth)[half].mean()),
                "seconds": seconds,
            }
        )
        print(f"{task.name}, {kind}: {figure.value:.3f}", flush=True)
    return rows


def _scores(task: Task, kind: str) -> dict[str, float]:
    """Score a task's documents as refine does."""
    shutil.rmtree(_HOME, ignore_errors=True)
    documents = _write([*task.good, *task.poor], _HOME / "documents.parquet")
    held_out = _write(["Nothing of the kind was put aside."], _HOME / "held_out.parquet")
    for number, text in enumerate(task.exemplars):
        (_HOME / "exemplars").mkdir(exist_ok=True)
        (_HOME / "exemplars" / f"{number}.txt").write_text(text)
    score.run(
        ScoreConfig.model_validate({"kind": kind, "exemplars": {"sources": [str(_HOME / "exemplars")]}}),
        StepInput(
            read_parquet(str(documents)), read_parquet(str(held_out)), _HOME / "out", 1, SilentProgress()
        ),
    )
    found = pq.read_table(_HOME / "out" / "scores.parquet")
    return dict(zip(found["doc_id"].to_pylist(), found["score"].to_pylist(), strict=True))


def _write(texts: Sequence[str], path: Path) -> Path:
    rows = {
        document_id(text): {"doc_id": document_id(text), "text": text, "source": "", "language": "en"}
        for text in texts
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([rows[name] for name in sorted(rows)]), path)
    return path


def _body(rows: list[Row]) -> list[str]:
    lines = [
        [
            row["task"],
            row["score"],
            row["good"],
            row["poor"],
            "{value:.3f} ({low:.3f} to {high:.3f})".format(**Figure(**row["auc"])._asdict()),
            f"{row['good_among_the_best']:.1%}",
        ]
        for row in rows
    ]
    return [
        "Prose: pieces of 3,000 characters of contracts, regulations and licences, fields of which the ready score "
        "saw nothing when its weights were fitted; poor: the same damaged or emptied, unseen kinds among them. "
        f"Messages and spam: the SMS Spam Collection. Exemplars: {_EXEMPLARS} other good documents, against the "
        "unlabelled mixture. AUC with the 95% interval of resampled documents; good among the best: in as many of "
        "the best as there are good ones.",
        "",
        *table(["task", "score", "good", "poor", "AUC", "good among the best"], lines),
    ]
