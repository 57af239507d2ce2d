"""How much of what files hold is read, and how rightly: fixtures with known strings, contracts typeset here."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.evidence import table, write_evidence
from benchmarks.paths import DATA, WORK
from benchmarks.peers import OURS
from benchmarks.processes import run_worker
from benchmarks.workers.job import Job
from tinsmith.corpus.readers.ocr import missing_packages

_FIXTURES = DATA / "ingest-fixtures"
_READERS = {"tinsmith": OURS, "kreuzberg": OURS, "markitdown": "markitdown", "pdfium": OURS}
_SCANS = 5  # contracts, of which each page is recognised
_LENGTH = 12_000  # characters of a contract
_SKIPPED = 300  # the first contracts, left for looking at while a reader is made
_RESAMPLES = 2000


def run(*, quick: bool, pip: list[str]) -> None:
    """Write `results/extraction`."""
    peers.install(["markitdown"], pip)
    rows = [json.loads(line) for line in (_FIXTURES / "manifest.jsonl").read_text().splitlines()]
    rows = rows[:: 10 if quick else 1]
    fixtures = {name: _score(name, rows) for name in ("tinsmith", "kreuzberg", "markitdown")}
    contracts = _contracts(2 if quick else 20)
    pages = {columns: _typeset(contracts, columns) for columns in (1, 2)}
    errors = {
        name: {columns: _errors(name, contracts, paths) for columns, paths in pages.items()}
        for name in _READERS
    }
    scans = {} if missing_packages() else _scans(contracts[: 1 if quick else _SCANS], pages)
    facts = {
        "fixtures": fixtures,
        "files": len(rows),
        "contracts": len(contracts),
        "errors": errors,
        "scans": scans,
    }
    write_evidence("extraction-quick" if quick else "extraction", "Text out of files", facts, _body(facts))


def _read(reader: str, paths: Sequence[Path]) -> dict[str, Any]:
    listed = WORK / "reading.json"
    listed.write_text(json.dumps([str(path) for path in paths]))
    return run_worker(
        _READERS.get(reader, OURS), "reading", Job("", "", str(listed), 0, 0, 0, more={"reader": reader})
    )


def _score(reader: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Count, of files whose strings are known, those with all of them, and of all files those that give nothing."""
    result = _read(reader, [_FIXTURES / row["path"] for row in rows])
    found: dict[str, list[int]] = {"PDF": [0, 0], "others": [0, 0]}
    silent, missed = 0, []
    for row in rows:
        path = str(_FIXTURES / row["path"])
        text = _fold(result["texts"].get(path, ""))
        silent += not text and path not in result["failed"]
        if row["expect"] != "text" or row.get("doubtful") or not row.get("must_contain"):
            continue
        kind = "PDF" if row["format"] == "pdf" else "others"
        whole = all(_fold(string) in text for string in row["must_contain"])
        found[kind][0] += whole
        found[kind][1] += 1
        missed += [] if whole else [row["path"]]
    return {"found": found, "silent": silent, "failed": len(result["failed"]), "missed": missed}


def _fold(text: str) -> str:
    text = re.sub(r"[-\u00ad\u2010]\s*\n\s*", "", text).replace("\u00ad", "")
    return re.sub(r"\s+", " ", text).strip().lower()


def _contracts(count: int) -> list[str]:
    """Return openings of contracts, in letters that a PDF's own fonts have, paragraphs parted by blank lines."""
    paths = sorted((DATA / "cuad/CUAD_v1/full_contract_txt").rglob("*.txt"))[_SKIPPED : _SKIPPED + count]
    texts = []
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="replace").encode("ascii", "ignore").decode()
        parts = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text[:_LENGTH]))
        texts.append("\n\n".join(part for part in parts if part))
    if not texts:
        raise SystemExit(f"no contracts below {DATA}; TINSMITH_BENCH_DATA names another folder")
    return texts


def _typeset(contracts: Sequence[str], columns: int) -> list[Path]:
    folder = WORK / f"typeset-{columns}"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "text": text,
            "head": f"Master Agreement No. {number + 101} - Confidential",
            "columns": columns,
            "path": str(folder / f"{number}.pdf"),
        }
        for number, text in enumerate(contracts)
    ]
    _peer("typeset", rows)
    return [Path(str(row["path"])) for row in rows]


def _peer(task: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    path = WORK / "typeset.json"
    path.write_text(json.dumps(rows))
    return run_worker("markitdown", "typeset", Job("", "", str(path), 0, 0, 0, more={"task": task}))


def _scans(contracts: Sequence[str], pages: dict[int, list[Path]]) -> dict[int, list[float]]:
    """Return the character error rates of what is recognised on pictures of the first contracts' pages."""
    rates = {}
    for columns, paths in pages.items():
        folder = WORK / f"scanned-{columns}"
        folder.mkdir(parents=True, exist_ok=True)
        sources = paths[: len(contracts)]
        scans = [folder / path.name for path in sources]
        _peer("scan", [{"source": str(a), "path": str(b)} for a, b in zip(sources, scans, strict=True)])
        rates[columns] = _errors("recognising", contracts, scans)
    return rates


def _errors(reader: str, contracts: Sequence[str], paths: Sequence[Path]) -> list[float]:
    """Return the character error rate of each contract; one that is not read is all wrong."""
    texts = _read(reader, paths)["texts"]
    rows = [
        {"true": text, "read": texts.get(str(path), "")} for text, path in zip(contracts, paths, strict=True)
    ]
    rates: list[float] = _peer("distance", rows)["rates"]
    return rates


def _mean(values: Sequence[float]) -> str:
    draw = random.Random(3)
    means = sorted(sum(draw.choices(values, k=len(values))) / len(values) for _ in range(_RESAMPLES))
    low, high = means[int(0.025 * _RESAMPLES)], means[int(0.975 * _RESAMPLES) - 1]
    return f"{sum(values) / len(values):.2%} ({low:.2%} to {high:.2%})"


def _body(facts: dict[str, Any]) -> list[str]:
    fixtures = [
        [
            name,
            *(f"{whole} of {total}" for whole, total in each["found"].values()),
            each["silent"],
            each["failed"],
        ]
        for name, each in facts["fixtures"].items()
    ]
    errors = [[name, *(_mean(rates) for rates in each.values())] for name, each in facts["errors"].items()]
    return [
        f"{facts['files']} public files of many formats. *PDF* and *others*: of those with known strings, the files "
        "in which all of them are found. Of all files, those that give no text: *nothing said* are empty without a "
        "word, *errors* give a reason (scanned, encrypted, an image, empty, a format that the reader does not know). "
        "kreuzberg runs without OCR, so pictures and scans count as well.",
        "",
        *table(["", "PDF", "others", "nothing said", "errors"], fixtures),
        f"{facts['contracts']} contracts of CUAD, from the {_SKIPPED + 1}st on, their first {_LENGTH:,} characters, "
        "typeset here with a running head, page numbers, justified lines, words cut and compounds broken at their "
        "ends. Character error rate of the whole text, white space and Markdown's signs (those of tables too) aside; "
        "running heads that are read count as errors.",
        "",
        *table(["", "one column", "two columns"], errors),
        *_recognised(facts["scans"]),
    ]


def _recognised(scans: dict[int, list[float]]) -> list[str]:
    if not scans:
        return ["Scans were not read: the extra `tinsmith[ocr]` is not installed."]
    return [
        f"The first {len(scans[1])} of them as pictures of 200 dots an inch, without text, recognised by "
        f"`tinsmith[ocr]`: {_mean(scans[1])} in one column, {_mean(scans[2])} in two.",
    ]
