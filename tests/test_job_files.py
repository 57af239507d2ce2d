"""The files of the benchmark jobs, made from a small copy of what the public data looks like."""

import csv
import importlib.util
import json
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location(
    "benchmark_job_files", Path(__file__).resolve().parents[1] / "benchmarks" / "job_files.py"
)
job_files = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(job_files)

CATEGORIES = [*job_files.FIELDS.values(), "Cap On Liability", "Document Name"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    texts = data / "cuad/CUAD_v1/full_contract_txt"
    texts.mkdir(parents=True)
    rows = []
    for number in range(12):
        (texts / f"c{number}.txt").write_text(
            f"Between Acme{number} Inc. and\nBolt.\nTexan law. No liability. 1 May 2015"
        )
        spans = dict.fromkeys(CATEGORIES, "[]") | {
            "Parties": f"['Acme{number} Inc. and Bolt', 'Zed']",
            "Governing Law": "['Texan law.']",
            "Cap On Liability": "['No liability.']",
            "Effective Date": "['1 May 20']",
            "Document Name": "['Between']",
        }
        rows.append({"Filename": f"c{number}.pdf"} | spans | {f"{name}-Answer": "x" for name in CATEGORIES})
    with (data / "cuad/CUAD_v1/master_clauses.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows([*rows, rows[0] | {"Filename": "not-there.pdf"}])
    table = {
        "uid": "",
        "table": [["", "Years", ""], ["", "2019", "2018"], ["Sales", "$  5", "4"], ["Other", "", "1"]],
    }
    question = {"question": "Sales  in 2019?", "answer": ["$ 5"], "answer_type": "span"}
    documents = [
        {
            "table": table | {"uid": f"d{number}"},
            "paragraphs": [{"order": 2, "text": "Second."}, {"order": 1, "text": "First."}],
            "questions": [question, question | {"answer": 3, "answer_type": "count"}],
        }
        for number in range(6)
    ]
    (data / "tat-qa/dataset_raw").mkdir(parents=True)
    (data / "tat-qa/dataset_raw/tatqa_dataset_dev.json").write_text(json.dumps(documents))
    (data / "fomc/stance").mkdir(parents=True)
    stances = [f"Text {number}.,{('dovish', 'hawkish', 'neutral')[number % 3]},2020" for number in range(21)]
    (data / "fomc/stance/train.csv").write_text("\n".join(["text,stance,year", *stances]))
    out = tmp_path_factory.mktemp("out")
    job_files.write_all(data, out)
    return out


def rows_of(path: Path) -> list[dict]:
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_half_of_the_stances_are_wrong_and_still_stances(made):
    rows = rows_of(made / "stance-half-wrong.csv")
    labels = ("dovish", "hawkish", "neutral")
    assert [row["text"] for row in rows] == [f"Text {number}." for number in range(21)]
    assert sum(row["stance"] != labels[number % 3] for number, row in enumerate(rows)) == 11
    assert {row["stance"] for row in rows} <= set(labels)


@pytest.mark.parametrize(
    ("name", "group"), [("clauses", "contract"), ("contract_fields", "contract"), ("tatqa", "document")]
)
def test_no_document_is_on_both_sides(made, name, group):
    learn, test = (
        {row[group] for path in made.glob(f"{name}-{part}.*") for row in rows_of(path)}
        for part in ("learn", "test")
    )
    assert learn
    assert test
    assert not learn & test


def test_a_contract_keeps_the_spans_that_it_holds_up_to_whole_words(made):
    rows = [row for part in ("learn", "test") for row in rows_of(made / f"contract_fields-{part}.jsonl")]
    assert len(rows) == 12
    one = next(row for row in rows if row["contract"] == "c3")
    assert one["parties"] == ["Acme3 Inc. and Bolt"]
    assert one["effective_date"] == ["1 May 2015"]
    assert one["governing_law"] == ["Texan law."]
    assert one["renewal"] == []


def test_clauses_are_those_of_one_category(made):
    rows = [row for part in ("learn", "test") for row in rows_of(made / f"clauses-{part}.csv")]
    assert {(row["text"], row["clause"]) for row in rows} == {
        ("Texan law.", "Governing Law"),
        ("No liability.", "Cap On Liability"),
    }


def test_a_table_is_written_with_the_head_of_each_cell(made):
    (row, *_) = rows_of(made / "tatqa-learn.jsonl")
    lines = [
        "Years 2019 | 2018",
        "Sales; Years 2019: $5; 2018: 4",
        "Other; 2018: 1",
        "",
        "First.",
        "",
        "Second.",
    ]
    assert row["passage"].split("\n") == lines
    assert (row["question"], row["answer"]) == ("Sales in 2019?", "$5")
