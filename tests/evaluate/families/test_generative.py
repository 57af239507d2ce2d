"""What an answer in words means, and the figures made of such answers."""

import pytest

from tinsmith.base.completion import Answer, Failure
from tinsmith.evaluate.families.generative import (
    build_prompt,
    generated_row,
    judge,
    normalise,
    read_answer,
    token_f1,
)
from tinsmith.evaluate.families.generative_table import partial_notes, system_row, tabulate_generated
from tinsmith.evaluate.items import CLOZE, Item
from tinsmith.evaluate.own_questions import OpenItem
from tinsmith.recipe import EvaluateConfig

CHOICES = ("the tenant", "the bank", "some parts", "some parts only")
CONFIG = EvaluateConfig(bootstrap=200)


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
    gap = Item("c", CLOZE, "d", "The fee is", "", "5", ("5", "6"), lead=" ", tail=" dollars")
    assert build_prompt(gap).startswith("The fee is ____ dollars\n\nQuestion: What stands in the gap (____)?")
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
    assert judge(near | {"raw": "first bank"})["correct"]


def rows(outcomes, *, task="questions_t", documents=4):
    made = []
    for n, outcome in enumerate(outcomes):
        item = Item(f"t:{n}", task, f"d{n % documents}", "", f"Question: {n}?\nAnswer:", "yes", ("yes", "no"))
        made.append(generated_row(item, Answer(outcome, 7, 2, 0.1) if isinstance(outcome, str) else outcome))
    return made


def test_unanswered_and_refused_are_wrong_and_what_failed_is_left_out():
    slow, over = Failure("timeout", "slow"), Failure("budget", "over")
    ours = rows(["A"] * 6 + ["B"] * 2)
    theirs = rows(["A", "B", "who knows", Failure("refused", "no"), "A", "A", slow, over])
    found = tabulate_generated({"trained": ours, "api": theirs}, CONFIG, 3)
    value = {(row["subject"], row["metric"].partition(":")[0]): row for row in found["metrics"]}
    assert value["trained", "generated_accuracy"]["value"] == 6 / 8
    assert value["api", "generated_accuracy"]["value"] == 3 / 6
    assert value["api", "generated_accuracy"]["items"] == 6
    assert value["api", "generated_unanswered"]["value"] == 2 / 6
    assert value["api", "generated_failed"]["value"] == 2 / 8
    (duel,) = found["comparisons"]
    assert (duel["a"], duel["b"], duel["items"]) == ("trained", "api", 6)
    assert duel["difference"] == pytest.approx(1.0 - 3 / 6)  # ours on the same six, not on all eight
    assert duel["low"] <= duel["difference"] <= duel["high"]
    assert duel["p_holm"] == duel["p"]
    system = system_row("api", "API", "openai", theirs, CONFIG)
    assert (system["questions"], system["asked"], system["answered"], system["partial"]) == (8, 7, 5, True)
    (note,) = partial_notes([system], {"api": theirs})
    assert "counts with 6 of 8 questions in words (budget, timeout)" in note


def test_questions_of_one_document_are_drawn_together():
    right = ["A", "A", "B", "B"] * 4
    apart = tabulate_generated({"trained": rows(right, documents=16)}, CONFIG, 3)["metrics"][0]
    together = tabulate_generated({"trained": rows(right, documents=4)}, CONFIG, 3)["metrics"][0]
    assert apart["value"] == together["value"] == 0.5
    assert together["high"] - together["low"] > apart["high"] - apart["low"]


def test_questions_on_one_document_give_no_figure():
    found = tabulate_generated({"trained": rows(["A", "B"], documents=1)}, CONFIG, 3)
    assert found == {"metrics": [], "comparisons": []}
