"""Recorded answers: how they are matched, and the published answers of GPT-4 on a published split."""

import csv
import json

import pytest
from sklearn.metrics import f1_score

from helpers import shared_data
from job_items import make_job, make_questions
from tinsmith.base.errors import RecipeError
from tinsmith.evaluate.job_grades import Grader
from tinsmith.evaluate.recorded import job_of, read_recorded
from tinsmith.recipe import RecordedConfig


@pytest.fixture
def grader():
    return Grader(make_job())


def _read(tmp_path, grader, questions, rows):
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_recorded(RecordedConfig(name="other", file=str(path)), grader, questions)


def test_rows_are_matched_by_id_or_by_input_with_white_space_folded(tmp_path, grader):
    questions = make_questions(4)
    rows = [
        {"id": "r000", "answer": "Dovish"},
        {"text": "Sentence 1\n about  rates.", "answer": '{"stance": "hawkish"}'},
        {"input": "Sentence 2 about rates.", "answer": "no idea"},
        {"text": "Sentence 9 about rates.", "answer": "neutral"},
        {"id": "r000", "answer": None},
    ]
    found = _read(tmp_path, grader, questions, rows)
    assert [(row["id"], row["prediction"], row["raw"]) for row in found.rows] == [
        ("r000", "dovish", "Dovish"),
        ("r001", "hawkish", '{"stance": "hawkish"}'),
        ("r002", "", "no idea"),
    ]
    assert found.counts == {
        "rows": 5,
        "matched": 3,
        "without_answer": 1,
        "unmatched_rows": 1,
        "ambiguous": 0,
        "unanswered": 1,
        "unreadable": 1,
        "repeated": 0,
        "contradicting": 0,
    }
    assert [row["correct"] for row in found.rows][2] is False
    assert found.rows[2]["given"] is False


def test_equal_inputs_share_an_answer_and_of_different_answers_the_first_counts(tmp_path, grader):
    questions = make_questions(3)
    questions[1]["input"] = questions[0]["input"]
    rows = [{"text": questions[0]["input"], "answer": label} for label in ("neutral", "hawkish")]
    rows += [{"text": questions[2]["input"], "answer": "dovish"}] * 2
    found = _read(tmp_path, grader, questions, rows)
    assert [row["prediction"] for row in found.rows] == ["neutral", "neutral", "dovish"]
    assert (found.counts["repeated"], found.counts["contradicting"]) == (2, 1)


def test_files_without_answers_or_to_other_inputs_are_refused(tmp_path, grader):
    with pytest.raises(RecipeError, match="no row has an `answer` \\(fields: text, label\\)"):
        _read(tmp_path, grader, make_questions(2), [{"text": "a", "label": "dovish"}])
    with pytest.raises(RecipeError, match="none of its 1 answers is to one of the 2 test rows of stance"):
        _read(tmp_path, grader, make_questions(2), [{"text": "a", "answer": "dovish"}])


def test_a_recipe_with_several_jobs_says_which_was_asked():
    jobs = [make_job("one").config, make_job("two").config]
    assert job_of(RecordedConfig(name="a", file="f", job="two"), jobs, where="w") == "two"
    assert job_of(RecordedConfig(name="a", file="f"), jobs[:1], where="w") == "one"
    with pytest.raises(RecipeError, match="does not say which job was asked"):
        job_of(RecordedConfig(name="a", file="f"), jobs, where="w")
    with pytest.raises(RecipeError, match="no job 'three'"):
        job_of(RecordedConfig(name="a", file="f", job="three"), jobs, where="w")


@pytest.mark.parametrize(("name", "published"), [("gpt-4", 0.672), ("chatgpt", 0.605)])
def test_published_answers_give_the_published_figure(grader, name, published):
    published_split = shared_data("fomc/stance")
    with (published_split / "test.csv").open(encoding="utf-8", newline="") as file:
        test = list(csv.DictReader(file))
    questions = [
        {
            "job": "stance",
            "id": f"t:{n}",
            "group": str(n),
            "input": row["text"],
            "answer": row["stance"],
            "shared": False,
        }
        for n, row in enumerate(test)
    ]
    recorded = RecordedConfig(name=name, file=str(published_split / f"answers-{name}.csv"))
    found = read_recorded(recorded, grader, questions)
    assert found.counts["matched"] == len(test) == 496
    assert found.counts["unmatched_rows"] == found.counts["unreadable"] == found.counts["contradicting"] == 0
    said = [row["prediction"] for row in found.rows]
    assert f1_score([row["stance"] for row in test], said, average="weighted") == pytest.approx(
        published, abs=1e-3
    )


@pytest.fixture
def asked():
    """Return the grader and the test rows of questions about passages: two of them about one passage."""
    job = make_job("facts", kind="answer", labels=(), question="{question}", answer="{answer}")
    records = [
        {"id": "17", "text": "Ann met Bob in Rome.", "question": "Who was met?"},
        {"id": "18", "text": "Ann met Bob in Rome.", "question": "Where?"},
        {"id": "19", "text": "It rains.", "question": "What falls?"},
    ]
    questions = [
        {**make_questions(1)[0], "id": f"test.csv:{n}", "input": record["text"], "record": record}
        | {"answer": {"answer": right, "quote": ""}}
        for n, (record, right) in enumerate(zip(records, ("Bob", "Rome", "rain"), strict=True))
    ]
    return Grader(job), questions, records


def _said(tmp_path, asked, rows):
    grader, questions, records = asked
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_recorded(RecordedConfig(name="other", file=str(path)), grader, questions, records)
    return {row["id"]: row["raw"] for row in found.rows}, found.counts


def test_questions_about_one_passage_have_answers_of_their_own(tmp_path, asked):
    rows = [
        {"text": "Ann met Bob in Rome.", "question": question, "answer": answer}
        for question, answer in (("Where?", "Rome"), ("Who  was met?", "Bob"), ("When?", "in May"))
    ]
    said, counts = _said(tmp_path, asked, rows)
    assert said == {"test.csv:0": "Bob", "test.csv:1": "Rome"}
    assert (counts["unmatched_rows"], counts["ambiguous"], counts["contradicting"]) == (1, 0, 0)


def test_a_row_that_could_answer_several_questions_is_counted_and_left_out(tmp_path, asked):
    rows = [{"text": text, "answer": "Bob"} for text in ("Ann met Bob in Rome.", "It rains.")]
    said, counts = _said(tmp_path, asked, [*rows, {"text": "It rains."}])
    assert said == {"test.csv:2": "Bob"}
    assert (counts["ambiguous"], counts["unmatched_rows"], counts["without_answer"]) == (1, 0, 1)


def test_the_ids_of_a_persons_own_column_match(tmp_path, asked):
    rows = [{"id": 18, "answer": "Rome"}, {"id": "17", "answer": "Bob"}, {"id": "44", "answer": "x"}]
    # The input of another row of the file reads like one of the test, but its id is not in the test.
    rows.append({"id": "45", "text": "It rains.", "question": "What falls?", "answer": "hail"})
    said, counts = _said(tmp_path, asked, rows)
    assert said == {"test.csv:0": "Bob", "test.csv:1": "Rome"}
    assert (counts["matched"], counts["unmatched_rows"]) == (2, 2)


def test_ids_that_somebody_else_numbered_do_not_count(tmp_path, asked):
    _, _, records = asked
    rows = [{**record, "id": str(19 - n), "answer": f"to {n}"} for n, record in enumerate(records)]
    said, counts = _said(tmp_path, asked, rows[1:])
    # 18 is the second row in both; 17 is not the third.
    assert said == {"test.csv:1": "to 1", "test.csv:2": "to 2"}
    assert counts["unmatched_rows"] == 0


def test_rows_with_equal_inputs_and_ids_have_answers_of_their_own(tmp_path, grader):
    questions = make_questions(2)
    questions[1]["input"] = questions[0]["input"]
    rows = [{"id": "r001", "answer": "dovish"}, {"id": "r000", "answer": "hawkish"}]
    found = _read(tmp_path, grader, questions, rows)
    assert [row["prediction"] for row in found.rows] == ["hawkish", "dovish"]
    assert found.counts["contradicting"] == 0


def test_an_id_that_two_test_rows_have_is_ambiguous(tmp_path, asked):
    grader, questions, records = asked
    records[1]["id"] = "17"
    said, counts = _said(
        tmp_path,
        (grader, questions, records),
        [{"id": "17", "answer": "Bob"}, {"id": "19", "answer": "rain"}],
    )
    assert said == {"test.csv:2": "rain"}
    assert counts["ambiguous"] == 1
