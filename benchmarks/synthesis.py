"""Which faults of a teacher the checks of synthesis catch: a stand-in that errs on purpose, on real contracts.

The teacher's faults are known, so each verdict can be held against the truth. What a real model errs in, and how
often, this does not say.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.evidence import table, write_evidence
from benchmarks.paths import DATA, WORK
from tinsmith.base.completion import Answer, Failure, Request
from tinsmith.base.files import read_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.corpus.engine import read_parquet
from tinsmith.corpus.steps import synthesis
from tinsmith.corpus.steps.result import StepInput
from tinsmith.corpus.text.repair import document_id, repair
from tinsmith.recipe import SynthesisConfig

_CONTRACTS = DATA / "cuad" / "CUAD_v1" / "full_contract_txt"
_HOME = WORK / "synthesis"
_DOCUMENTS, _HELD_OUT, _ITEMS = 120, 10, 400
# A fault, and the verdict that is meant for it.
FAULTS = {
    "none": "kept",
    "gives no answer": "not answered",
    "writes no JSON": "not whole",
    "leaves the quote empty": "not whole",
    "invents the quote": "not quoted",
    "quotes two words": "not quoted",
    "contradicts itself when asked again": "not answerable",
    "knows the answer without the passage": "not needs_passage",
    "writes the same again": "not new",
    "copies what was put aside": "not apart_from_held_out",
    "errs, and errs alike when asked again": "nothing asks",
}
_ASKED_ALONE = "knows the answer without the passage"  # means nothing for a section of a textbook
_COLUMNS = (
    "doc_id",
    "text",
    "source",
    "sha256",
    "mime",
    "licence",
    "access",
    "language",
    "meta",
    "cluster",
)


class Teacher:
    """Answers by rule, with one fault for each passage, drawn by a seed."""

    def __init__(self, held_out: list[str]) -> None:
        self.faults: dict[str, str] = {}  # by passage
        self.written: dict[str, str] = {}  # what is to be answered, by question or section
        self.of: dict[str, str] = {}  # the fault, by question or section
        self.draw = random.Random(3)
        self.held_out = held_out

    def ask(self, requests: Iterable[Request]) -> Iterator[Answer | Failure]:
        """Answer each request in turn."""
        for request in requests:
            said = self._answer(request.prompt)
            yield Failure("silence", "no answer") if said is None else Answer(said, 0, 0, 0.0)

    def statistics(self) -> dict[str, float]:
        """Return what the answers cost: nothing."""
        return {}

    def _answer(self, prompt: str) -> str | None:
        passage = prompt.partition("Passage:\n\n")[2]
        if "\n\nWrite one question" in passage:
            return self._write(passage.partition("\n\nWrite one question")[0], "question")
        if "\n\nWrite a section" in passage:
            return self._write(passage.partition("\n\nWrite a section")[0], "textbook")
        if "\n\nText:\n\n" in passage:
            text = passage.partition("\n\nText:\n\n")[2].partition("\n\nDoes the passage")[0]
            return "No, it does not." if self.of[text].startswith("contradicts") else "Yes."
        question = prompt.rpartition("Question: ")[2].partition("\n")[0]
        fault = self.of[question]
        if not passage:
            return self.written[question] if fault == _ASKED_ALONE else "UNKNOWN"
        return (
            "Something quite different is meant here"
            if fault.startswith("contradicts")
            else self.written[question]
        )

    def _write(self, passage: str, kind: str) -> str | None:
        known = [name for name in FAULTS if kind == "question" or name != _ASKED_ALONE]
        name = document_id(passage)  # contracts share passages: each has one fault
        fault = self.faults[passage] = random.Random(name).choice(known)
        words = passage.split()
        quote = " ".join(words[5:17])
        heading = f"What does passage {name} say after {' '.join(words[:5])}?"
        body = quote if kind == "question" else f"This passage explains the following. {' '.join(words[:60])}"
        if fault == "gives no answer":
            return None
        if fault == "writes no JSON":
            return f"Here is what you asked for: {body}"
        if fault == "leaves the quote empty":
            quote = " "
        elif fault == "invents the quote":
            quote = "nobody has ever written these words in an agreement of this kind"
        elif fault == "quotes two words":
            quote = " ".join(words[5:7])
        elif fault == "writes the same again":
            heading, body = (
                "What binds the parties to this agreement?",
                "The agreement binds them and all who follow.",
            )
        elif fault == "copies what was put aside":
            aside = self.draw.choice(self.held_out).split()
            start = self.draw.randrange(len(aside) - 40)
            body = " ".join(aside[start : start + 40])
        elif fault.startswith("errs"):
            body = f"The opposite of {quote.lower()}"
        self.written[heading], self.of[heading], self.of[body] = body, fault, fault
        names = ("question", "answer") if kind == "question" else ("title", "text")
        return json.dumps({names[0]: heading, names[1]: body, "quote": quote})


def run(*, quick: bool) -> None:
    """Write `results/synthesis`."""
    paths = sorted(_CONTRACTS.glob("*.txt"))
    if not paths:
        raise SystemExit(f"no contracts below {_CONTRACTS}; TINSMITH_BENCH_DATA names another folder")
    chosen = random.Random(1).sample(paths, _DOCUMENTS + _HELD_OUT)
    texts = [repair(path.read_text("utf-8", "replace")) for path in chosen]
    shutil.rmtree(_HOME, ignore_errors=True)
    _HOME.mkdir(parents=True)
    for name, part in (("documents", texts[_HELD_OUT:]), ("held_out", texts[:_HELD_OUT])):
        pq.write_table(pa.Table.from_pylist([_row(text) for text in part]), _HOME / f"{name}.parquet")
    teacher = Teacher(texts[:_HELD_OUT])
    documents, held_out = (read_parquet(str(_HOME / f"{name}.parquet")) for name in ("documents", "held_out"))
    given = StepInput(documents, held_out, _HOME / "out", 1, SilentProgress(), teacher)
    synthesis.run(SynthesisConfig(items=40 if quick else _ITEMS), given)
    counts = Counter(
        (item["kind"], teacher.faults[item["passage"]], item["verdict"])
        for item in read_jsonl(_HOME / "out" / "items.jsonl")
    )
    rows = [
        {"kind": kind, "fault": fault, "verdict": verdict, "items": count}
        for (kind, fault, verdict), count in sorted(counts.items())
    ]
    steps = json.loads((_HOME / "out" / "steps.json").read_text())["steps"]
    facts = {"rows": rows, "steps": steps}
    write_evidence(
        "synthesis-quick" if quick else "synthesis", "Faults of a teacher caught", facts, _body(facts)
    )


def _row(text: str) -> dict[str, str]:
    name = document_id(text)
    return dict.fromkeys(_COLUMNS, "") | {"doc_id": name, "text": text, "language": "en", "cluster": name}


def _body(facts: dict[str, Any]) -> list[str]:
    lines = []
    for kind in ("question", "textbook"):
        for fault in FAULTS:
            mine = [row for row in facts["rows"] if (row["kind"], row["fault"]) == (kind, fault)]
            kept = sum(row["items"] for row in mine if row["verdict"] == "kept")
            met = "; ".join(f"{row['verdict']} ({row['items']})" for row in mine if row["verdict"] != "kept")
            lines.append([fault, kind, FAULTS[fault], sum(row["items"] for row in mine), kept, met])
    return [
        "A stand-in for a teacher, with one known fault for each passage, drawn by a seed, writes items from passages "
        f"of {_DOCUMENTS} contracts; {_HELD_OUT} others are put aside. The checks do not know the faults.",
        "",
        "Left after each check: "
        + ", ".join(f"{name} {count}" for name, count in facts["steps"].items())
        + ".",
        "",
        *table(
            ["fault", "kind", "meant for it", "items", "kept", "stopped as"],
            [line for line in lines if line[3]],
        ),
        "Of items that are the same again one is kept. A teacher that errs, and errs alike when it is asked again, is "
        "not found out by asking it: only another, or a person, could.",
    ]
