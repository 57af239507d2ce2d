"""Figures of answers in words: what counts, what is compared, and what a system cost."""

import pytest

from family_figures import make_context, store
from tinsmith.base.completion import Answer, Failure
from tinsmith.base.errors import BundleError
from tinsmith.base.files import write_jsonl
from tinsmith.evaluate.families.generative import FAMILY
from tinsmith.evaluate.generated_answers import generated_row
from tinsmith.evidence.items import Item
from tinsmith.recipe import EndpointConfig, EvaluateConfig

API = EndpointConfig(
    name="api", model="m", kind="openai", price_per_million_input=1.0, price_per_million_output=10.0
)
CONFIG = EvaluateConfig(bootstrap=200, endpoints=(API,))


def rows(outcomes, *, task="questions_t", documents=4):
    made = []
    for n, outcome in enumerate(outcomes):
        item = Item(f"t:{n}", task, f"d{n % documents}", "", f"Question: {n}?\nAnswer:", "yes", ("yes", "no"))
        made.append(generated_row(item, Answer(outcome, 7, 2, 0.1) if isinstance(outcome, str) else outcome))
    return made


def generated(folder, stored, config=CONFIG):
    """Return the table of answers in words; only our model is among the subjects that were scored."""
    store(folder, FAMILY.kind, stored)
    return FAMILY.figures(make_context(folder, ("trained",), config)).generated


def test_unanswered_and_refused_are_wrong_and_what_failed_is_left_out(tmp_path):
    slow, over = Failure("timeout", "slow"), Failure("budget", "over")
    ours = rows(["A"] * 6 + ["B"] * 2)
    theirs = rows(["A", "B", "who knows", Failure("refused", "no"), "A", "A", slow, over])
    found = generated(tmp_path, {"trained": ours, "api": theirs})
    value = {(row.subject, row.name): row for row in found.metrics}
    assert value["trained", "generated_accuracy"].value == 6 / 8
    assert value["api", "generated_accuracy"].value == 3 / 6
    assert value["api", "generated_accuracy"].items == 6
    assert value["api", "generated_unanswered"].value == 2 / 6
    assert value["api", "generated_failed"].value == 2 / 8
    (duel,) = found.comparisons
    assert (duel.a, duel.b, duel.items) == ("trained", "api", 6)
    assert duel.difference == pytest.approx(1.0 - 3 / 6)  # ours on the same six, not on all eight
    assert duel.low <= duel.difference <= duel.high
    assert duel.p_holm == duel.p
    own, system = found.systems
    assert (own.name, own.kind, own.cost, own.partial) == ("Trained", "local", 0.0, False)
    assert (system.name, system.kind) == ("api (m)", "openai")
    assert (system.questions, system.asked, system.answered, system.partial) == (8, 7, 5, True)
    assert (system.input_tokens, system.output_tokens) == (35, 10)
    assert system.cost == pytest.approx((35 * 1.0 + 10 * 10.0) / 1e6)
    assert "not comparable with those of multiple choice" in found.notes[0]
    assert (
        "api (m) is scored on 6 of 8 questions asked in words (left out: budget, timeout)" in found.notes[1]
    )


def test_p_values_are_adjusted_for_the_number_of_these_comparisons(tmp_path):
    config = CONFIG.model_copy(update={"endpoints": (API, EndpointConfig(name="second", model="m"))})
    answers = {
        "trained": rows(["A"] * 8),
        "api": rows(["B"] * 3 + ["A"] * 5),
        "second": rows(["B"] * 2 + ["A"] * 6),
    }
    found = generated(tmp_path, answers, config).comparisons
    assert [row.b for row in found] == ["api", "second"]
    first, second = sorted(found, key=lambda row: row.p)
    assert 0 < first.p < second.p
    assert first.p_holm == pytest.approx(2 * first.p)
    assert second.p_holm == pytest.approx(max(second.p, 2 * first.p))


def test_questions_of_one_document_are_drawn_together(tmp_path):
    right = ["A", "A", "B", "B"] * 4
    apart = generated(tmp_path, {"trained": rows(right, documents=16)}).metrics[0]
    together = generated(tmp_path, {"trained": rows(right, documents=4)}).metrics[0]
    assert apart.value == together.value == 0.5
    assert together.high - together.low > apart.high - apart.low


def test_questions_on_one_document_give_no_figure(tmp_path):
    found = generated(tmp_path, {"trained": rows(["A", "B"], documents=1)})
    assert (found.metrics, found.comparisons) == ((), ())


def test_where_nothing_is_asked_in_words_there_is_no_table(tmp_path):
    assert generated(tmp_path, {"trained": rows(["A", "B"])}, EvaluateConfig(bootstrap=200)) is None


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("raw", "B", "prediction is 'yes', its answer gives 'no'"),
        ("prediction", "no", "prediction is 'no', its answer gives 'yes'"),
        ("correct", False, "correct is False, its answer gives True"),
        ("failure", "timeout", "prediction is 'yes', its answer gives ''"),
        ("prompt", "Say A.", "was not asked as others were, or as it is stored"),
        ("accepted", ["no"], "was not asked as others were, or as it is stored"),
    ],
)
def test_an_item_that_contradicts_itself_is_named(tmp_path, field, value, words):
    own = rows(["A"] * 4)
    questions = [
        {
            "item": f"t:{n}",
            "task": "questions_t",
            "doc_id": f"d{n}",
            "text": "",
            "span": None,
            "choices": ["yes", "no"],
        }
        | {"question": f"Question: {n}?\nAnswer:", "answer": "yes"}
        for n in range(4)
    ]
    write_jsonl(tmp_path / "questions.jsonl", questions)
    store(tmp_path, FAMILY.kind, {"trained": own})
    FAMILY.check(make_context(tmp_path, ("trained",)).items)
    own[2][field] = value
    store(tmp_path, FAMILY.kind, {"trained": own})
    with pytest.raises(BundleError, match=f"generated-trained.jsonl: item t:2: {words}"):
        FAMILY.check(make_context(tmp_path, ("trained",)).items)
