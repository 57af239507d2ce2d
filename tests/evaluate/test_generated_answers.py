"""What an answer in words means, and what is stored of it."""

from dataclasses import asdict

import pytest

from tinsmith.base.completion import Answer, Failure
from tinsmith.base.files import write_jsonl
from tinsmith.evaluate.generated_answers import (
    build_prompt,
    choose_questions,
    current_wording,
    generated_row,
    grade_answer,
    is_counted,
    normalise,
    read_answer,
    read_open,
    token_f1,
)
from tinsmith.evaluate.own_questions import OpenItem
from tinsmith.evidence.items import Item, ItemKind

CHOICES = ("the tenant", "the bank", "some parts", "some parts only")


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        ("B", "the bank"),
        (" (b)\n", "the bank"),
        ("**B**", "the bank"),
        ("B. The bank, since it lends.", "the bank"),
        ("The answer is B.", "the bank"),
        ("Answer: (B)", "the bank"),
        ("The bank.", "the bank"),
        ("It is the BANK who pays, I think.", "the bank"),
        ("Some parts only!", "some parts only"),
        ("I would say some parts only.", "some parts only"),
        ("A tenant pays.", "the tenant"),
        ("The bank, not the tenant.", ""),
        ("The answer is A or B.", ""),
        ("Answer: A. No, answer: B.", ""),
        ("E", ""),
        ("I cannot say.", ""),
        ("", ""),
    ],
)
def test_an_answer_means_the_one_choice_that_it_names(raw, meant):
    assert read_answer(CHOICES, raw) == meant


def test_all_are_asked_with_passage_question_and_letters():
    own = Item(
        "t:1", "questions_t", "d", "Rent is due.", "\n\nQuestion: When?\nAnswer:", "now", ("now", "never")
    )
    assert build_prompt(own) == (
        "Rent is due.\n\nQuestion: When?\n\nA. now\nB. never\n\nAnswer with the letter of the right choice alone."
    )
    gap = Item(
        "c", "cloze", "d", "The fee is", "", "5", ("5", "6"), lead=" ", tail=" dollars", kind=ItemKind.CLOZE
    )
    asked = build_prompt(gap)
    assert asked.startswith("The fee is ____ dollars\n\nQuestion: What text belongs in the gap (____)?")
    assert current_wording(asked.replace("What text belongs in", "What stands in")) == asked
    short = OpenItem("t:2", "questions_t.short", "d", "", "Question: Who?\nAnswer:", ("the bank",), "short")
    assert build_prompt(short) == "Question: Who?\n\nAnswer in a few words."
    many = Item("k", "kind", "d", "text", "\n\nKind:", "k0", tuple(f"k{n}" for n in range(30)))
    assert "\n- k29\n\nAnswer with one of these alone." in build_prompt(many)


def test_short_answers_are_compared_without_case_articles_and_marks():
    item = OpenItem(
        "t:2", "q.short", "d", "", "Question: Who?", ("The First Bank of Ohio", "First Bank"), "short"
    )
    exact = generated_row(item, Answer("the FIRST bank.\nSince it lends.", 9, 4, 0.1))
    assert (exact["correct"], exact["f1"], exact["prediction"]) == (True, 1.0, "the FIRST bank.")
    near = generated_row(item, Answer("First National Bank", 9, 4, 0.1))
    assert near["correct"] is False
    assert near["f1"] == pytest.approx(2 * 2 / (3 + 2))
    assert token_f1("nobody", item.answers) == 0.0
    assert normalise("The") == "the"
    assert grade_answer([], item.answers, "first bank", failed=False).correct
    assert grade_answer([], item.answers, "first bank", failed=True) == ("", False, 0.0)


def test_all_of_an_answer_is_stored_or_why_none_came():
    item = Item("t:1", "t", "d", "Rent.", "\n\nQuestion: Who?\nAnswer:", "yes", ("yes", "no"))
    about = {"item": "t:1", "task": "t", "doc_id": "d", "prompt": build_prompt(item)}
    about |= {"choices": ["yes", "no"], "accepted": ["yes"], "f1": None}
    assert generated_row(item, Answer("A", 9, 4, 0.1)) == about | {
        "raw": "A",
        "failure": "",
        "detail": "",
        "input_tokens": 9,
        "output_tokens": 4,
        "prediction": "yes",
        "correct": True,
    }
    assert generated_row(item, Failure("timeout", "after 60 s")) == about | {
        "raw": "",
        "failure": "timeout",
        "detail": "after 60 s",
        "input_tokens": 0,
        "output_tokens": 0,
        "prediction": "",
        "correct": False,
    }
    assert generated_row(item, Answer("C", 9, 4, 0.1))["prediction"] == ""  # there is no third choice


def test_open_questions_come_back_as_they_were_stored(tmp_path):
    items = [
        OpenItem(
            "t:1", "t.extraction", "d", "Rent.", "Question: What?", ("Rent", "rent"), "extraction", (0, 4)
        ),
        OpenItem("t:2", "t.short", "d", "", "Question: Who?", ("bank",), "short"),
    ]
    write_jsonl(tmp_path / "open.jsonl", map(asdict, items))
    assert read_open(tmp_path / "open.jsonl") == items
    assert build_prompt(items[0]).endswith("\n\nAnswer with the words of the passage alone.")


def test_the_next_passage_and_many_choices_are_asked_for():
    after = Item("n", "next_passage", "d", "It ends.", "", "a", ("a", " b"), kind=ItemKind.NEXT_PASSAGE)
    assert build_prompt(after) == (
        "It ends.\n\nQuestion: Which passage comes next?\n\nA. a\nB. b\n\n"
        "Answer with the letter of the right choice alone."
    )
    letters = tuple(f"k{n}" for n in range(26))
    assert "\nZ. k25\n" in build_prompt(Item("k", "kind", "d", "text", "\n\nKind:", "k0", letters))
    assert read_answer((*letters, "k26"), "A") == ""  # more choices than letters have none
    assert read_answer((*letters, "k26"), "k26") == "k26"


def test_refused_and_empty_answers_count_and_what_never_came_does_not():
    item = Item("t:1", "t", "d", "", "Question: Who?\nAnswer:", "yes", ("yes", "no"))
    assert is_counted(generated_row(item, Answer("A", 9, 4, 0.1)))
    counted = {
        reason: is_counted(generated_row(item, Failure(reason, "so")))
        for reason in ("refused", "empty", "timeout", "rubbish", "budget", "time", "stopped")
    }
    assert [reason for reason, counts in counted.items() if counts] == ["refused", "empty"]


def test_questions_are_drawn_by_the_seed_and_keep_their_order():
    items = [Item(f"t:{n:02d}", "t", "d", "", "Who?", "yes", ("yes", "no")) for n in range(40)]
    drawn = choose_questions(items, 10, seed=3)
    assert drawn == choose_questions(items, 10, seed=3) != choose_questions(items, 10, seed=4)
    assert [item.item for item in drawn] == sorted(item.item for item in drawn)
    assert choose_questions(items, 99, seed=3) == items
