"""Write the files of the benchmark jobs from public data: `python -m benchmarks.job_files DATA OUT`.

DATA holds the folders `cuad`, `tat-qa` and `fomc`. A quarter of the contracts is for the test, of TAT-QA half the
documents; a hash of the name says which, so that all jobs on contracts keep the same ones apart.

    clauses-{learn,test}.csv            a marked clause of a contract and its category
    contract_fields-{learn,test}.jsonl  a whole contract and the spans that are marked in it
    tatqa-{learn,test}.jsonl            a table and its paragraphs, a question, and the span that answers it
    stance-half-wrong.csv               the learning side of the stances, half of its labels changed to another
"""

from __future__ import annotations

import ast
import csv
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Record = dict[str, Any]

FIELDS = {
    "agreement_date": "Agreement Date",
    "effective_date": "Effective Date",
    "expiration_date": "Expiration Date",
    "parties": "Parties",
    "renewal": "Renewal Term",
    "notice": "Notice Period To Terminate Renewal",
    "governing_law": "Governing Law",
}
NO_CLAUSES = {
    "Document Name",
    "Parties",
    "Agreement Date",
    "Effective Date",
}  # names and dates, in a few words


def fold(text: str) -> str:
    """Return a text with each run of white space as one space."""
    return " ".join(text.split())


def is_test(name: str, parts: int) -> bool:
    """Say whether a document is for the test: one in `parts`, by a hash of its name."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % parts == 0


def contracts(data: Path) -> Iterable[tuple[str, str, dict[str, list[str]]]]:
    """Yield name, text and marked spans by category of each contract of CUAD that is there as text."""
    texts = {path.stem: path for path in (data / "cuad/CUAD_v1/full_contract_txt").glob("*.txt")}
    with (data / "cuad/CUAD_v1/master_clauses.csv").open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            path = texts.get(re.sub(r"\.(pdf|txt)$", "", row["Filename"], flags=re.IGNORECASE))
            if path is None:
                continue
            spans = {
                name: ast.literal_eval(cell) if cell.startswith("[") else [cell] if cell else []
                for name, cell in row.items()
                if name != "Filename" and not name.endswith("Answer")
            }
            yield path.stem, path.read_text(encoding="utf-8", errors="replace"), spans


def clause_rows(data: Path) -> list[Record]:
    """Return each clause that is marked with one category alone."""
    rows = []
    for name, _, spans in contracts(data):
        marked = Counter(fold(span) for found in spans.values() for span in set(found))
        rows += [
            {"contract": name, "text": fold(span), "clause": category}
            for category, found in spans.items()
            if category not in NO_CLAUSES
            for span in dict.fromkeys(found)
            if marked[fold(span)] == 1
        ]
    return rows


def field_rows(data: Path) -> list[Record]:
    """Return each contract with its fields, each span up to the ends of its words, if the text holds it."""
    rows = []
    for name, text, spans in contracts(data):
        folded = fold(text)
        found = {
            field: [whole for span in dict.fromkeys(spans[category]) if (whole := whole_words(span, folded))]
            for field, category in FIELDS.items()
        }
        rows.append({"contract": name, "text": text, **found})
    return rows


def whole_words(span: str, text: str) -> str:
    """Return a span of a folded text up to the ends of its words, which some marks miss; empty if it is not there."""
    found = re.search(rf"(?:\d[\d.,]*)?\w*{re.escape(fold(span))}\w*(?:(?<=\d)[.,]\d+)*", text)
    return found.group() if found else ""


def tatqa_rows(data: Path) -> list[Record]:
    """Return each question of the dev part that is answered by one span of its table or paragraphs."""
    documents = json.loads((data / "tat-qa/dataset_raw/tatqa_dataset_dev.json").read_text(encoding="utf-8"))
    rows = []
    for document in documents:
        paragraphs = sorted(document["paragraphs"], key=lambda paragraph: paragraph["order"])
        passage = "\n\n".join(
            [table_text(document["table"]["table"]), *(part["text"] for part in paragraphs)]
        )
        rows += [
            {
                "document": document["table"]["uid"],
                "passage": passage,
                "question": fold(question["question"]),
                "answer": cell_text(question["answer"][0]),
            }
            for question in document["questions"]
            if question["answer_type"] == "span"
        ]
    return rows


def table_text(table: list[list[str]]) -> str:
    """Write a table with a line for each row; each cell stands behind the head of its column."""
    rows = [[cell_text(cell) for cell in row] for row in table]
    heads = 1
    while heads < len(rows) - 1 and not rows[heads][0]:
        heads += 1
    columns = [" ".join(filter(None, cells)) for cells in zip(*rows[:heads], strict=True)]
    lines = [" | ".join(filter(None, columns))]
    for first, *cells in rows[heads:]:
        named = [f"{head}: {cell}" if head else cell for head, cell in zip(columns[1:], cells) if cell]
        lines.append("; ".join(filter(None, [first, *named])))
    return "\n".join(lines)


def cell_text(cell: str) -> str:
    """Return a cell without the space between a sign and its number."""
    return re.sub(r"([$€£¥(]) +(?=[\d(])", r"\1", fold(cell))


def half_wrong(data: Path) -> list[Record]:
    """Return the learning side of the stances; every second row, in an order by hash, has a wrong label."""
    with (data / "fomc/stance/train.csv").open(encoding="utf-8", newline="") as file:
        rows: list[Record] = list(csv.DictReader(file))
    labels = sorted({row["stance"] for row in rows})
    hashes = [int(hashlib.sha256(f"{number}".encode()).hexdigest(), 16) for number in range(len(rows))]
    for number in sorted(range(len(rows)), key=hashes.__getitem__)[::2]:
        others = [label for label in labels if label != rows[number]["stance"]]
        rows[number]["stance"] = others[hashes[number] % len(others)]
    return rows


def write(out: Path, name: str, rows: list[Record], group: str, parts: int) -> None:
    """Write rows into two files by their group, and say how many."""
    for part in ("learn", "test"):
        chosen = [row for row in rows if is_test(row[group], parts) == (part == "test")]
        if name == "clauses":
            write_csv(out / f"{name}-{part}.csv", chosen)
        else:
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in chosen)
            (out / f"{name}-{part}.jsonl").write_text("".join(lines), encoding="utf-8")
        print(f"{name}-{part}: {len(chosen)} rows of {len({row[group] for row in chosen})} documents")


def write_csv(path: Path, rows: list[Record]) -> None:
    """Write rows with the fields of the first."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_all(data: Path, out: Path) -> None:
    """Write the files of all jobs from the folders in `data`."""
    out.mkdir(parents=True, exist_ok=True)
    write(out, "clauses", clause_rows(data), "contract", 4)
    write(out, "contract_fields", field_rows(data), "contract", 4)
    write(out, "tatqa", tatqa_rows(data), "document", 2)
    write_csv(out / "stance-half-wrong.csv", half_wrong(data))


if __name__ == "__main__":
    write_all(*map(Path, sys.argv[1:3]))
