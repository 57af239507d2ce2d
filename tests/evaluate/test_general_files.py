"""Rows of general tests: read in every form they come in, and refused by file and line where they are damaged."""

import csv
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from general_rows import ROWS, files_of_all_kinds, write
from tinsmith.base.errors import RecipeError
from tinsmith.evaluate.general_files import draw, general_stamps, read_general
from tinsmith.recipe import GeneralConfig


def one(tmp_path, kind, rows, name="rows.jsonl"):
    return read_general((GeneralConfig(name="t", kind=kind, path=write(tmp_path / name, rows)),))["t"]


def test_rows_in_every_form_give_the_same_items(tmp_path):
    rows = [ROWS["mmlu"](number) for number in range(3)]
    (tmp_path / "many").mkdir()
    expected = one(tmp_path / "many", "mmlu", rows)
    assert expected[1].question.splitlines()[:2] == ["What is a moth?", "A. the path 0"]
    assert (expected[1].choices, expected[1].answer) == (("A", "B", "C", "D"), 1)
    flat = [
        {"question": row["question"], "answer": row["answer"]}
        | {f"choice{place}": text for place, text in enumerate(row["choices"])}
        for row in rows
    ]
    with open(tmp_path / "many" / "rows.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, flat[0])
        writer.writeheader()
        writer.writerows(flat)
    (tmp_path / "many" / "rows.json").write_text(json.dumps(rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "many" / "rows.parquet")
    found = read_general((GeneralConfig(name="t", kind="mmlu", path=str(tmp_path / "many")),))["t"]
    assert [(item.question, item.choices, item.answer) for item in found] == 4 * [
        (item.question, item.choices, item.answer) for item in expected
    ]


def test_the_answers_of_a_legalbench_file_are_its_choices(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_text('index\tanswer\ttext\tquestion\n0\tYes\t"A ""b"" c"\tIs it?\n1\tNo\tD\t\n')
    found = read_general((GeneralConfig(name="t", kind="legalbench", path=str(path)),))["t"]
    assert [(item.question, item.choices, item.answer) for item in found] == [
        ('A "b" c\nQuestion: Is it?', ("No", "Yes"), 1),
        ("D", ("No", "Yes"), 0),
    ]
    path.write_text("answer\ttext\nYes\tA\nYes\tB\n")
    with pytest.raises(RecipeError, match="has 1 different answers"):
        read_general((GeneralConfig(name="t", kind="legalbench", path=str(path)),))
    path.write_text("answer\ttext\nYes\tA\nNo\tB\n\tC\n")
    with pytest.raises(RecipeError, match=r"train.tsv, line 4"):
        read_general((GeneralConfig(name="t", kind="legalbench", path=str(path)),))


def test_rows_written_as_instructions_are_taken_apart(tmp_path):
    asked = (
        "Please choose the correct answer to the question: Why?\n\nAnswer1: It is. Answer2: It is not.\n\n"
        "Answer format: answer1/answer2"
    )
    (first, _) = one(tmp_path, "arc", [{"instruction": asked, "answer": "answer2"}] * 2)
    assert (first.question, first.choices, first.answer) == ("Why?", ("It is.", "It is not."), 1)
    asked = "Please answer the following question with true or false, question: is it so?\n\nAnswer format: true/false"
    (first, _) = one(tmp_path, "boolq", [{"instruction": asked, "answer": "true"}] * 2)
    assert (first.question, first.choices, first.answer) == ("is it so", ("no", "yes"), 1)


@pytest.mark.parametrize(
    ("kind", "damaged", "said"),
    [
        ("arc", "{not json", "is not JSON"),
        ("arc", {"question": "Why?"}, "no field 'choices'"),
        ("arc", ROWS["arc"](0) | {"answerKey": "E"}, "'E' is not in list"),
        ("boolq", ROWS["boolq"](0) | {"label": 3}, "not in"),
        ("mmlu", ROWS["mmlu"](0) | {"answer": 4}, "answer 5 of 4"),
        ("mmlu", ROWS["mmlu"](0) | {"choices": ["a"]}, "1 choices"),
        ("blimp", ROWS["blimp"](0) | {"sentence_bad": ""}, "must be text"),
        ("blimp", "[]", "is not a blimp row"),
    ],
)
def test_a_damaged_row_is_named_by_file_and_line(tmp_path, kind, damaged, said):
    with pytest.raises(RecipeError, match=said) as caught:
        one(tmp_path, kind, [ROWS[kind](0), damaged, ROWS[kind](1)])
    assert caught.value.where == f"{tmp_path / 'rows.jsonl'}, line 2"
    assert caught.value.next_step


def test_missing_files_few_rows_and_one_name_twice_are_refused(tmp_path):
    nowhere = GeneralConfig(name="t", kind="arc", path=str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(RecipeError, match="not there"):
        read_general((nowhere,))
    with pytest.raises(RecipeError, match="no interval"):
        one(tmp_path, "arc", [ROWS["arc"](0)])
    there = GeneralConfig(name="t", kind="arc", path=write(tmp_path / "r.jsonl", map(ROWS["arc"], range(3))))
    with pytest.raises(RecipeError, match="two tests"):
        read_general((there, there))


def test_without_lm_eval_it_is_said_before_anything_is_built(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RecipeError, match="not installed") as caught:
        general_stamps(files_of_all_kinds(tmp_path))
    assert "tinsmith[general]" in caught.value.next_step
    assert general_stamps(()) == []


def test_a_draw_is_the_same_for_a_seed_and_spread_over_the_rows(tmp_path):
    items = one(tmp_path, "blimp", map(ROWS["blimp"], range(60)))
    drawn = draw(items, 20, seed=3)
    assert drawn == draw(items, 20, seed=3) != draw(items, 20, seed=4)
    assert [item for item in items if item in drawn] == drawn
    assert {item in items[20:] for item in drawn} == {True, False}
