"""Questions as they are stored, also by earlier versions, and the choice that scores give."""

from dataclasses import replace

import pytest

from tinsmith.base.files import write_jsonl
from tinsmith.evidence.items import Item, ItemKind, choice_row, read_questions


def _item(kind=ItemKind.TASK):
    return Item("q", "t", "d", "Text.", "", "a", ("a", "a much longer one"), lead=" ", tail="", kind=kind)


@pytest.mark.parametrize(
    ("kind", "top"),
    [
        (ItemKind.TASK, "a"),
        (ItemKind.CLOZE, "a"),
        (ItemKind.OWN, "a"),
        # Per byte -2.0 against -0.5: passages differ in length.
        (ItemKind.NEXT_PASSAGE, "a much longer one"),
    ],
)
def test_the_most_likely_choice_wins_and_of_passages_the_most_likely_per_byte(kind, top):
    assert _item(kind).top_choice({"a": -4.0, "a much longer one": -9.0}) == top


def test_of_equals_the_last_by_name_wins_whatever_their_order():
    item = Item("q", "t", "d", "", "", "x", ("x", "y"))
    assert item.top_choice({"x": -1.0, "y": -1.0}) == item.top_choice({"y": -1.0, "x": -1.0}) == "y"


def test_only_answers_of_tasks_are_classes():
    assert [kind for kind in ItemKind if _item(kind).has_classes] == [ItemKind.TASK]


def test_a_row_says_where_the_answer_stands_and_whether_it_was_found():
    row = choice_row(_item(), "a", shots=2, scores={"a": -1.0})
    assert row == {
        "item": "q",
        "task": "t",
        "doc_id": "d",
        "span": [0, 5],
        "shots": 2,
        "answer": "a",
        "prediction": "a",
        "correct": True,
        "scores": {"a": -1.0},
    }
    bare = choice_row(replace(_item(), span=(2, 3)), "b")
    assert (bare["correct"], bare["shots"], bare["span"], bare["scores"]) == (False, 0, [2, 3], {})


def test_a_choice_is_read_between_its_lead_and_its_tail():
    assert Item("q", "t", "d", "", "", "a", ("a", "b")).continuation("a") == " a\n"
    # Bytes, not characters, and those of lead and tail too: -8 over 4 against -7 over 3.
    item = Item("q", "t", "d", "", "", "é", ("é", "e"), lead=" ", tail="\n", kind=ItemKind.NEXT_PASSAGE)
    assert item.top_choice({"é": -8.0, "e": -7.0}) == "é"


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("next_passage", ItemKind.NEXT_PASSAGE),
        ("cloze", ItemKind.CLOZE),
        ("questions_rent", ItemKind.OWN),
        ("category", ItemKind.TASK),
    ],
)
def test_questions_without_a_kind_get_it_from_the_name_of_their_task(tmp_path, task, kind):
    row = {"item": "q", "task": task, "doc_id": "d", "text": "", "question": "", "answer": "a"}
    row |= {"choices": ["a", "b"], "span": [3, 4]}
    write_jsonl(tmp_path / "questions.jsonl", [row, row | {"kind": "own", "span": None}])
    first, second = read_questions(tmp_path / "questions.jsonl")
    assert (first.kind, first.span, first.choices) == (kind, (3, 4), ("a", "b"))
    assert (second.kind, second.span) == (ItemKind.OWN, None)
