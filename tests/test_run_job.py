"""`tinsmith run`: every row of a file is answered once, in order, over kills, and what cannot be asked is named."""

import csv
import errno
import json
import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tinsmith import run_job as module
from tinsmith.base.errors import BundleError, RecipeError, RunError
from tinsmith.base.files import read_jsonl, write_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.cli import app
from tinsmith.gguf.writer import write_gguf
from tinsmith.jobs.asks import asks_of, prompt_of
from tinsmith.jobs.spec import Calibration, Job
from tinsmith.recipe import JobConfig
from tinsmith.run_job import Options, run_job
from tinsmith.serve.job_model import JobModel
from tiny_model import write_trained

LABELS = ("fee", "duty", "term")
CONFIG = JobConfig(name="sort", kind="classify", input="{title}: {text}", answer="{sort}", context=96)
ROWS = [{"title": f"Section {n % 7}", "text": f"The fee is {n % 7 * 3}.", "page": n} for n in range(20)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """Return a bundle with the job `sort` of a tiny random model."""
    root = tmp_path_factory.mktemp("bundle")
    job = root / "jobs" / "sort"
    write_gguf(write_trained(job / "model"), job / "gguf" / "model-f16.gguf", "f16")
    Job(config=CONFIG, labels=LABELS, calibration=Calibration(temperature=5.0)).write(job)
    rows = [{"confidence": n / 40, "correct": n > 15} for n in range(40)]
    write_jsonl(job / "validation.jsonl", rows)
    return root


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """Collect the inputs that the model is asked, four rows at a time."""
    found: list[str] = []
    whole = JobModel.answer

    def watch(self, rows):
        found.extend(row["input"] for row in rows)
        return whole(self, rows)

    monkeypatch.setattr(JobModel, "answer", watch)
    monkeypatch.setattr(module, "BATCH", 4)
    return found


def answer(bundle: Path, source: Path, output: Path, **options):
    return run_job(bundle, source, output, Options(**options), SilentProgress())


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open(encoding="utf-8", newline="")))


def write_csv(path: Path, rows=ROWS) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_every_row_is_answered_in_order_and_equal_ones_once(bundle, tmp_path, asked):
    source, output = write_csv(tmp_path / "in.csv"), tmp_path / "out.csv"
    ran = answer(bundle, source, output, probabilities=True)
    rows = table(output)
    assert [row["page"] for row in rows] == [str(row["page"]) for row in ROWS]
    assert (ran.rows, ran.repeated, ran.rejects) == (20, 13, {})
    assert len(asked) == len(set(asked)) == 7
    for row in rows:
        shares = {label: float(row[f"sort_p_{label}"]) for label in LABELS}
        assert row["sort"] == max(shares, key=shares.get)
        assert float(row["sort_confidence"]) == max(shares.values())
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert row["sort_ask_a_person"] == "false"
    assert rows[0]["sort_p_fee"] == rows[7]["sort_p_fee"] != rows[1]["sort_p_fee"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]


@pytest.mark.parametrize("cut", [b"", b'{"source": "in.csv", "row": 9, "fie'])
def test_a_run_that_was_stopped_goes_on(bundle, tmp_path, asked, monkeypatch, cut):
    rows = [row | {"text": f"The fee is {row['page']}."} for row in ROWS]
    source = write_csv(tmp_path / "in.csv", rows)
    answer(bundle, source, tmp_path / "whole.csv")
    asked.clear()
    answered = JobModel.answer

    def stop(self, given):
        if len(asked) >= 8:
            raise KeyboardInterrupt
        return answered(self, given)

    monkeypatch.setattr(JobModel, "answer", stop)
    with pytest.raises(KeyboardInterrupt):
        answer(bundle, source, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
    with (tmp_path / ".out.csv.partial.jsonl").open("ab") as file:
        file.write(cut)
    monkeypatch.setattr(JobModel, "answer", answered)
    answer(bundle, source, tmp_path / "out.csv")
    assert len(asked) == len(set(asked)) == 20
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not (tmp_path / ".out.csv.partial.jsonl").exists()


def test_answers_of_another_input_are_not_taken(bundle, tmp_path, asked, monkeypatch):
    source = write_csv(tmp_path / "in.csv")
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(module, "write_table", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(RunError, match="the disk is full; the rows that were answered are kept"):
        answer(bundle, source, tmp_path / "out.csv")
    monkeypatch.undo()
    assert len(asked) == 7
    write_csv(source, [row | {"text": "Another."} for row in ROWS])
    answer(bundle, source, tmp_path / "out.csv")
    assert {row["text"] for row in table(tmp_path / "out.csv")} == {"Another."}


def test_what_cannot_be_asked_is_named_and_keeps_its_place(bundle, tmp_path, asked):
    (tmp_path / "in.csv").write_text("title,text\nOne,first\n,\nTwo,second,third\nThree,last\n")
    ran = answer(bundle, tmp_path / "in.csv", tmp_path / "out.csv")
    assert ran.rejects == {"empty_input": 1, "uneven_row": 1}
    rejects = list(read_jsonl(ran.rejects_file))
    assert [(row["row"], row["reason"]) for row in rejects] == [(3, "empty_input"), (4, "uneven_row")]
    rows = table(tmp_path / "out.csv")
    assert [row["title"] for row in rows] == ["One", "", "Three"]
    assert (rows[1]["sort"], rows[1]["sort_ask_a_person"]) == ("", "true")
    assert rows[1]["sort_withheld"] == "no text in title, text"
    assert asked == ["One: first", "Three: last"]


def test_other_formats_and_a_folder(bundle, tmp_path, asked):
    write_jsonl(tmp_path / "in.jsonl", [row | {"sort": "known", "tags": ["a", 1]} for row in ROWS[:3]])
    answer(bundle, tmp_path / "in.jsonl", tmp_path / "out.parquet")
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [(row["page"], row["sort"], row["tags"]) for row in rows] == [
        (n, "known", '["a", 1]') for n in range(3)
    ]
    assert all(row["sort_answer"] in LABELS and row["sort_answer_ask_a_person"] is False for row in rows)
    answer(bundle, tmp_path / "out.parquet", tmp_path / "again.jsonl")
    assert [row["page"] for row in read_jsonl(tmp_path / "again.jsonl")] == [0, 1, 2]
    (tmp_path / "papers").mkdir()
    for name in ("b", "a"):
        (tmp_path / "papers" / f"{name}.txt").write_text(f"The fee of {name} is due.")
    (tmp_path / "papers" / "c.txt").write_text("")
    ran = answer(bundle, tmp_path / "papers", tmp_path / "papers.jsonl")
    assert [row["source"] for row in read_jsonl(tmp_path / "papers.jsonl")] == ["a.txt", "b.txt"]
    assert asked[-2:] == [": The fee of a is due.", ": The fee of b is due."]
    assert sum(ran.rejects.values()) == 1


def test_less_sure_answers_go_to_a_person(bundle, tmp_path):
    source = write_csv(tmp_path / "in.csv")
    ran = answer(bundle, source, tmp_path / "out.csv", ask_a_person=0.9)
    rows = table(tmp_path / "out.csv")
    # Of the validation part's 40 answers those below 16 / 40 are wrong: 0.9 of the 26 surest are right.
    for row in rows:
        assert (row["sort_ask_a_person"] == "true") == (float(row["sort_confidence"]) < 14 / 40)
    assert ran.for_a_person == sum(row["sort_ask_a_person"] == "true" for row in rows)


def test_the_threshold_of_written_answers_is_chosen_by_what_was_said(tmp_path):
    config = JobConfig(name="fee", kind="answer", answer="{fee}")
    job = Job(config=config, calibration=Calibration(temperature=2.0))
    # The right answer of the wrong rows is unlikely, but what was said instead is likely.
    rows = [{"log_probability": -9.0, "said": -0.1, "correct": False}] * 5
    rows += [{"log_probability": -0.01, "said": -0.01, "correct": True}] * 5
    rows += [{"log_probability": -2.0, "correct": False}] * 90  # not asked
    write_jsonl(tmp_path / "validation.jsonl", rows)
    found = module.with_share(job, tmp_path, 0.9).calibration
    assert math.exp(-0.1 / 2) < found.least_confidence <= math.exp(-0.01 / 2)
    write_jsonl(tmp_path / "validation.jsonl", [{"log_probability": -2.0, "correct": True}])
    with pytest.raises(RunError, match="how surely the validation part was answered"):
        module.with_share(job, tmp_path, 0.9)
    text = Job(config=JobConfig(name="note", kind="write", answer="{note}"))
    with pytest.raises(RunError, match="does not apply to texts"):
        module.with_share(text, tmp_path, 0.9)


def test_what_cannot_be_run_is_refused_at_once(bundle, tmp_path):
    source = write_csv(tmp_path / "in.csv")
    with pytest.raises(
        RunError, match=r"is of no kind that can be written\n  -> end it in .csv, .jsonl, .parquet"
    ):
        answer(bundle, source, tmp_path / "out.xlsx")
    with pytest.raises(RunError, match="would replace the input"):
        answer(bundle, source, source)
    with pytest.raises(RunError, match="does not exist"):
        answer(bundle, tmp_path / "absent.csv", tmp_path / "out.csv")
    with pytest.raises(BundleError, match="has no job 'tags'\n  -> choose a job: sort"):
        answer(bundle, source, tmp_path / "out.csv", job="tags")
    (tmp_path / "other.csv").write_text("body\nThe fee is due.\n")
    with pytest.raises(RecipeError, match=r"the input uses \{title\}, which no record of"):
        answer(bundle, tmp_path / "other.csv", tmp_path / "out.csv")
    with pytest.raises(RunError, match="is not a share of answers"):
        answer(bundle, source, tmp_path / "out.csv", ask_a_person=90)


def test_the_prompt_of_a_row_is_that_of_its_training(bundle, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        JobModel,
        "label_scores",
        lambda self, prompts: seen.extend(prompts) or [dict.fromkeys(LABELS, -1.0986)] * len(prompts),
    )
    answer(bundle, write_csv(tmp_path / "in.csv", ROWS[:3]), tmp_path / "out.csv")
    model = JobModel(bundle / "jobs" / "sort")
    for row, ids in zip(ROWS, seen):
        example = {"input": f"{row['title']}: {row['text']}", "answer": "fee", "record": row}
        assert (
            prompt_of(model.job, model.tokenizer, asks_of(model.job, example, model.tokenizer)[0]).ids == ids
        )


def test_the_command_answers_a_file(bundle, tmp_path):
    source = write_csv(tmp_path / "in.csv")
    arguments = ["run", str(bundle), str(source), "-o", str(tmp_path / "out.jsonl"), "--job", "sort"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "20 rows, 13 of them like an earlier one" in result.stdout
    assert {json.loads(line)["sort"] for line in (tmp_path / "out.jsonl").open()} <= set(LABELS)
