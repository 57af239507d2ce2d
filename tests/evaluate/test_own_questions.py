"""A person's own questions: read as they are written, refused by line where they cannot be asked."""

import json

import pytest

from tinsmith.base.errors import RecipeError
from tinsmith.evaluate.own_questions import read_open_questions, read_own_questions, repeated_questions

FIRST = {"question": "Who pays?", "choices": ["the bank", "the tenant"], "answer": "the tenant"}
SECOND = {
    "question": "When?",
    "choices": ["monthly", "never"],
    "answer": "monthly",
    "passage": "Rent is due monthly.",
}


def write(path, *rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return str(path)


def test_questions_are_read_with_their_passage_and_document(tmp_path):
    name = write(tmp_path / "Rent & Fees.jsonl", FIRST, "", {**SECOND, "doc": "lease-7", "id": "due"})
    ((task, items),) = read_own_questions([name]).items()
    assert task == "questions_rent_fees"
    assert [item.item for item in items] == [f"{task}:1", f"{task}:due"]
    assert [item.doc_id for item in items] == [f"{task}:1", "lease-7"]
    assert items[0].text + items[0].question == "Question: Who pays?\nAnswer:"
    assert items[1].text + items[1].question == "Rent is due monthly.\n\nQuestion: When?\nAnswer:"
    assert items[1].continuation("never") == " never\n"


def test_only_a_line_feed_ends_a_line_and_a_mark_at_the_head_is_no_part_of_it(tmp_path):
    path = tmp_path / "own.jsonl"
    rows = (FIRST, {**SECOND, "passage": "Rent is due\u2028monthly\u0085."})
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8-sig")
    (items,) = read_own_questions([str(path)]).values()
    assert items[1].text.startswith("Rent is due\u2028monthly\u0085.")


SHORT = {"question": "Who lends?", "answer": ["the bank", "First Bank"]}
DUE = {"question": "When is it due?", "passage": " Rent is due monthly.", "answer": "monthly"}
WHAT = {"question": "What is due?", "passage": " Rent is due monthly.", "answer": "Rent", "span": [1, 5]}


def test_questions_without_choices_are_short_answers_or_extraction(tmp_path):
    name = write(
        tmp_path / "own.jsonl", FIRST, SHORT, DUE, WHAT, SECOND, {**SHORT, "question": "?", "answer": "No"}
    )
    found = read_open_questions([name])
    assert {task: len(items) for task, items in found.items()} == {
        "questions_own.short": 2,
        "questions_own.extraction": 2,
    }
    assert found["questions_own.short"][0].answers == ("the bank", "First Bank")
    due, what = found["questions_own.extraction"]
    assert (due.kind, due.span, what.span) == ("extraction", None, (1, 5))
    assert due.text + due.question == " Rent is due monthly.\n\nQuestion: When is it due?\nAnswer:"
    assert [item.answer for item in read_own_questions([name])["questions_own"]] == ["the tenant", "monthly"]


def test_each_question_has_a_document_of_its_own_unless_it_names_one(tmp_path):
    rows = [
        SHORT | {"id": "who"},
        SHORT | {"question": " Who owes? ", "answer": " No one ", "doc": "lease-7"},
    ]
    (who, owes) = read_open_questions([write(tmp_path / "§.jsonl", *rows)])["questions_file.short"]
    assert (who.item, who.doc_id, who.kind, who.text) == (
        "questions_file:who",
        "questions_file:who",
        "short",
        "",
    )
    assert (owes.item, owes.doc_id, owes.answers) == ("questions_file:2", "lease-7", ("No one",))
    assert owes.question == "Question: Who owes?\nAnswer:"


def test_a_file_without_choices_makes_no_exam(tmp_path):
    name = write(tmp_path / "own.jsonl", DUE, WHAT)
    assert read_own_questions([name]) == {}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([SHORT], "1 question(s) with 1 different answer(s) cannot tell models apart"),
        ([FIRST, SECOND, SHORT], "1 question(s) with 1 different answer(s) cannot tell models apart"),
        ([DUE, {**WHAT, "answer": "rent", "span": None}], "line 2: the answer 'rent' is not in its passage"),
        ([DUE, {**WHAT, "span": [0, 4]}], "line 2: 'span' [0, 4] is not where the answer stands"),
        ([DUE, {**WHAT, "span": [1, 5, 6]}], "write [1, 5]"),
        ([DUE, {**WHAT, "span": [True, 5]}], "is not where the answer stands"),
        ([SHORT, {**SHORT, "question": "?", "span": [0, 1]}], "line 2: 'span' [0, 1]"),
        ([FIRST, {**SECOND, "span": [0, 1]}], "line 2: has 'span' beside 'choices'"),
        ([SHORT, {"question": "Who?", "answer": []}], "line 2: 'answer' is []"),
        ([SHORT, {"question": "Who?", "answer": ["a", 1]}], "line 2: 'answer' is ['a', 1]"),
        ([SHORT, {"question": "Who?", "answer": "..."}], "line 2: 'answer' is '...'"),
        ([SHORT, {"question": "", "answer": "a"}], "line 2: 'question' is ''"),
        ([FIRST], "1 question(s) with 1 different answer(s) cannot tell models apart"),
        ([FIRST, {**FIRST, "question": "And who else pays?"}], "2 question(s) with 1 different answer(s)"),
        ([FIRST, FIRST], "1 question(s) with 1 different answer(s)"),
        ([{**FIRST, "id": "a"}, {**SECOND, "id": "a"}], "line 2: the id 'a' was given before"),
        ([FIRST, {**SECOND, "answer": "yearly"}], "line 2: the answer 'yearly' is not one of the choices"),
        ([FIRST, {**SECOND, "answer": ""}], "line 2: 'answer' is ''"),
        ([FIRST, {**SECOND, "choices": ["monthly", "monthly "]}], "line 2: has 1 different of 2 choices"),
        ([FIRST, {**SECOND, "choices": "monthly"}], "line 2: 'choices' is not a list of texts"),
        ([FIRST, {**SECOND, "hint": "look"}], "line 2: has 'hint', which nothing reads"),
        ([FIRST, '{"question": '], "line 2: is not JSON"),
        ([FIRST, "[1]"], "line 2: is not a JSON object"),
    ],
)
def test_what_cannot_be_asked_is_named_by_its_line(tmp_path, rows, words):
    with pytest.raises(RecipeError) as refused:
        read_own_questions([write(tmp_path / "own.jsonl", *rows)])
    assert words in str(refused.value)


def test_a_line_that_asks_again_is_left_out_and_told(tmp_path):
    other = {**SECOND, "answer": next(each for each in SECOND["choices"] if each != SECOND["answer"])}
    name = write(tmp_path / "own.jsonl", FIRST, SECOND, FIRST, other, DUE, WHAT, {**WHAT, "id": "again"})
    [items] = read_own_questions([name]).values()
    assert [item.answer for item in items] == [FIRST["answer"], SECOND["answer"]]
    [open_items] = read_open_questions([name]).values()
    assert len(open_items) == 2
    assert repeated_questions([name]) == [
        "own.jsonl, line 3 is left out: it asks what line 1 asks.",
        "own.jsonl, line 4 is left out: it asks what line 2 asks, with another answer.",
        "own.jsonl, line 7 is left out: it asks what line 6 asks.",
    ]


def test_a_file_that_is_not_there_and_two_of_one_name_are_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"none\.jsonl: cannot be read"):
        read_own_questions([str(tmp_path / "none.jsonl")])
    (tmp_path / "b").mkdir()
    one, two = (
        write(tmp_path / "own.jsonl", FIRST, SECOND),
        write(tmp_path / "b" / "own.jsonl", FIRST, SECOND),
    )
    with pytest.raises(RecipeError, match="two files make the task questions_own"):
        read_own_questions([one, two])
