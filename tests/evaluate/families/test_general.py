"""General ability: shares of correct answers, what training forgot, and answers that contradict themselves."""

import random

import pytest
import torch

from family_figures import compute, make_context, make_preparation, store
from general_rows import NEEDS_LM_EVAL, files_of_all_kinds, write
from small_models import byte_tokenizer, plain_log_probs, tiny_model
from tinsmith.base.errors import BundleError
from tinsmith.evaluate.families.general import FAMILY
from tinsmith.evaluate.general_files import choose_general
from tinsmith.evaluate.lm_eval_runner import ask
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.recipe import GeneralConfig

ROW = {"item": "a", "task": "t", "answer": 1, "prediction": 1, "correct": True, "scores": [-2.0, -1.0]}


@NEEDS_LM_EVAL
def test_a_model_damaged_on_purpose_has_forgotten(tmp_path):
    model, tokenizer = tiny_model(seed=1), byte_tokenizer()
    draw_letters = random.Random(5)
    letters = ["".join(draw_letters.sample("abcdfgijkl", 6)) for _ in range(40)]
    rows = [{"sentence_good": f"{word[:3]}.", "sentence_bad": f"{word[3:]}."} for word in letters]
    path = write(tmp_path / "p.jsonl", _known_to(model, tokenizer, rows))
    test = GeneralConfig(name="pairs", kind="blimp", path=path)
    asked = choose_general((test,), 3)
    found = {"base": ask(Scorer(model, name="base"), tokenizer, asked)}
    with torch.no_grad():
        torch.manual_seed(2)
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 3 * weight.std())
    found["trained"] = ask(Scorer(model, name="trained"), tokenizer, asked)
    figures = compute(FAMILY, tmp_path, found)
    shares = {row.subject: row.value for row in figures.metrics}
    (row,) = figures.comparisons
    assert shares["base"] == 1.0
    assert (row.metric, row.items, row.task) == ("forgetting:pairs", 40, "pairs")
    assert row.higher_is_better
    assert row.difference == pytest.approx(shares["trained"] - shares["base"])
    assert row.high < 0
    assert row.p < 0.01
    (same,) = compute(FAMILY, tmp_path, {"trained": found["base"], "base": found["base"]}).comparisons
    assert same.low == same.difference == same.high == 0


def _known_to(model, tokenizer, rows):
    """Put the likelier sentence of each pair first, so that the model gets all of them right."""

    def nats(text):
        return sum(plain_log_probs(model, [tokenizer.bos_token_id, *tokenizer.encode(f" {text}")]))

    return [
        {"sentence_good": best, "sentence_bad": worst}
        for row in rows
        for worst, best in [sorted(row.values(), key=nats)]
    ]


def _check(folder, **stored):
    store(folder, FAMILY.kind, stored)
    FAMILY.check(make_context(folder, tuple(stored)).items)


@pytest.mark.parametrize(
    "forged", [{"scores": [-1.0, -2.0]}, {"answer": 0}, {"prediction": 0}, {"correct": False}]
)
def test_an_answer_that_contradicts_itself_is_named(tmp_path, forged):
    _check(tmp_path, trained=[ROW], base=[ROW])
    said = r"general-base\.jsonl: item a: its prediction does not follow from its scores"
    with pytest.raises(BundleError, match=said):
        _check(tmp_path, trained=[ROW], base=[ROW | forged])


def test_of_equal_scores_the_first_is_chosen(tmp_path):
    _check(tmp_path, trained=[ROW | {"scores": [-1.0, -1.0], "prediction": 0, "correct": False}])


def test_subjects_that_were_asked_differently_are_not_compared(tmp_path):
    _check(tmp_path)
    said = "subjects are not compared with the same right answer"
    with pytest.raises(BundleError, match=f"item a: {said}"):
        _check(tmp_path, trained=[ROW], base=[ROW | {"answer": 0, "correct": False}])
    with pytest.raises(BundleError, match=f"item b: {said}"):
        _check(tmp_path, trained=[ROW], base=[ROW, ROW | {"item": "b"}])


def test_a_row_that_changes_changes_what_is_asked(tmp_path):
    tests = files_of_all_kinds(tmp_path)
    first = FAMILY.prepare(make_preparation(general=tests))
    assert first.size == 6 * len(tests)
    assert FAMILY.prepare(make_preparation(general=tests)).about == first.about
    assert FAMILY.prepare(make_preparation(general=tests[:-1])).about != first.about
    rows = (tmp_path / "arc.jsonl").read_text()
    (tmp_path / "arc.jsonl").write_text(rows.replace("the thief", "a thief"))
    assert FAMILY.prepare(make_preparation(general=tests)).about != first.about
    assert FAMILY.prepare(make_preparation()) is None
