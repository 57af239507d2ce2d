import pytest

from family_figures import by_metric, compute
from small_models import byte_tokenizer, plain_log_probs, tiny_model
from tinsmith.base.errors import CorpusError
from tinsmith.evaluate.families.multiple_choice import (
    FAMILY,
    ItemScore,
    choose_items,
    choose_shots,
    read_items,
    shots_prefix,
)
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.evaluate.scoring.tree import Tree
from tinsmith.evidence.bootstrap import Bootstrap, mean_by_document
from tinsmith.evidence.items import Item
from tinsmith.tokens.encoding import context_token, encode
from tinsmith.tokens.tasks import answer_text

CHOICES = ("Copyleft", "Copyleft Limited", "Permissive")


def _item(name="a", answer="Copyleft", text="The licence of the thing. " * 3):
    return Item(f"kind:{name}", "kind", name, text, "\n\nKind:", answer, CHOICES)


def _row(**changes):
    row = {"item": "kind:a", "task": "kind", "doc_id": "a", "text": "t", "question": "q", "answer": "x"}
    return {**row, "choices": ["x", "y"], **changes}


def _brute_force(model, tokenizer, before, item, text):
    prompt = before + encode(tokenizer, text) + encode(tokenizer, item.question)
    scores = {}
    for choice in item.choices:
        answer = encode(tokenizer, answer_text(choice))
        scores[choice] = sum(plain_log_probs(model, prompt + answer)[-len(answer) :])
    return scores


@pytest.mark.parametrize("family", ["llama", "gemma3", "bloom"])
def test_scores_equal_brute_force_alone_and_behind_a_document(family):
    model, tokenizer = tiny_model(family), byte_tokenizer()
    scorer, item = Scorer(model, name="m"), _item()
    expected = _brute_force(model, tokenizer, [context_token(tokenizer)], item, item.text)
    document = Tree()
    document.add([context_token(tokenizer), *encode(tokenizer, item.text + "and so on, without end")])
    for tree in (None, document):
        score = ItemScore(item, tokenizer, short=False, tree=tree)
        row = score.row(scorer.score([score.tree])[0], 0)
        assert row["scores"] == pytest.approx(expected, abs=5e-3)
        assert row["prediction"] == max(expected, key=expected.get)
        assert row["correct"] == (row["prediction"] == item.answer)


def test_few_shot_scores_equal_brute_force():
    model, tokenizer = tiny_model(), byte_tokenizer()
    item = _item(text="word " * 200)
    shots = [_item("b", "Permissive", "other text " * 100), _item("c")]
    prefix = shots_prefix(tokenizer, shots)
    shown = tokenizer.decode(prefix)
    assert shown.count("Kind:") == 2
    assert " Permissive\n" in shown
    assert len(shown) < 800
    score = ItemScore(item, tokenizer, short=True)
    row = score.row(Scorer(model, name="m").score([score.tree], prefix=prefix)[0], 2)
    cut = ("word " * 60).rstrip()
    assert row["scores"] == pytest.approx(_brute_force(model, tokenizer, prefix, item, cut), abs=5e-3)
    assert row["shots"] == 2


def test_shots_are_balanced_seeded_and_enough():
    answers = ["x"] * 20 + ["y"] * 2 + ["z"]
    examples = [_item(f"{n:02d}", answer) for n, answer in enumerate(answers)]
    drawn = choose_shots(examples, "kind", 6, seed=1)
    assert sorted(item.answer for item in drawn[:3]) == ["x", "y", "z"]
    assert sorted(item.answer for item in drawn) == ["x", "x", "x", "y", "y", "z"]
    assert drawn == choose_shots(examples[::-1], "kind", 6, seed=1)
    assert drawn != choose_shots(examples, "kind", 6, seed=2)
    assert choose_shots(examples, "kind", 0, seed=1) == []
    with pytest.raises(CorpusError, match=r"30 examples .* hold only 23"):
        choose_shots(examples, "kind", 30, seed=1)


def test_items_follow_the_scored_documents_first():
    items = [_item(name, answer) for name, answer in zip("abcdef", CHOICES * 2, strict=True)]
    chosen = choose_items(items, "kind", ["e", "b"], 4)
    assert [item.doc_id for item in chosen] == ["e", "b", "a", "c"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([_row(), _row(doc_id="b")], "kind:a occurs twice"),
        ([_row(), _row(item="kind:b")], "asks document a twice"),
        ([_row(answer="")], "has no answer"),
        ([_row(answer="z")], "'z' is not one of 2"),
        ([_row(choices=["x", "x"])], "not one of 2 different choices"),
    ],
)
def test_bad_items_are_named(rows, words):
    with pytest.raises(CorpusError, match=words):
        read_items(rows, where="exam.jsonl")


def test_one_class_only_is_an_error():
    with pytest.raises(CorpusError, match=r"2 item\(s\), 1 answer"):
        choose_items([_item("a"), _item("b")], "kind", [], 10)


def test_questions_of_one_document_are_drawn_together(tmp_path):
    """Ten questions on each of six documents, right or wrong together: six draws a resample, not sixty."""
    stored = {
        subject: [
            {"item": f"q{n}", "task": "kind", "doc_id": f"d{n // 10}", "shots": 0, "correct": n // 10 < right}
            for n in range(60)
        ]
        for subject, right in (("trained", 4), ("base", 3))
    }
    found = compute(FAMILY, tmp_path, stored)
    row = by_metric(found)["accuracy:kind:0-shot"]
    documents = Bootstrap(6, resamples=200, confidence=0.95, seed=3)
    own = [float(row["correct"]) for row in stored["trained"]]
    expected = documents.estimate(mean_by_document([row["doc_id"] for row in stored["trained"]], own))
    assert (row.value, row.low, row.high) == (expected.value, expected.low, expected.high)
    assert row.high - row.low > 0.5  # a draw of sixty items would give about 0.24
    (duel,) = found.comparisons
    assert duel.high - duel.low > 0.3
