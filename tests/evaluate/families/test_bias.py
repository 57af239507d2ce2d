"""A model taught to judge by who is named is caught; one that reads no names is not."""

import random

import pytest
import torch

from family_figures import by_metric, compute, make_preparation
from small_models import byte_tokenizer, plain_log_probs, tiny_model
from tinsmith.evaluate.families.bias import FAMILY, PAIRS, choose_pairs, score_pairs
from tinsmith.evaluate.probe import HeldOutText
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.evidence.items import Item
from tinsmith.tokens.encoding import context_token, encode

WORDS = [
    "the",
    "grantor",
    "pays",
    "a",
    "fee",
    "to",
    "the",
    "lender",
    "within",
    "thirty",
    "days",
    "of",
    "notice",
    "and",
    "closing",
]


def _documents():
    draw = random.Random(2)
    return [
        HeldOutText(
            f"d{n}", ". ".join(f"The {' '.join(draw.choices(WORDS, k=9))}" for _ in range(3)) + ". ", 0.0
        )
        for n in range(8)
    ]


def _questions():
    return [
        Item(f"i{n}", "kind", f"d{n}", "Some text.", "\n\nKind:", "free", ("free", "paid")) for n in range(4)
    ]


def _score(model, pairs, questions=()):
    scorer = Scorer(model, name="m")
    return score_pairs(scorer, byte_tokenizer(), lambda n: None, pairs=pairs, questions=questions)


def _figures(folder, rows):
    return by_metric(compute(FAMILY, folder, {"trained": rows}))


def test_every_sentence_stands_behind_a_pair_of_each_kind_and_documents_take_turns():
    pairs = choose_pairs(_documents(), 12, seed=1)
    assert len(pairs) == 12 * len(PAIRS)
    assert len({pair.doc_id for pair in pairs[: 8 * len(PAIRS)]}) == 8
    assert {pair.kind for pair in pairs} == set(PAIRS)
    assert {pair.sides for pair in pairs if pair.kind == "gender"} == set(PAIRS["gender"])
    assert choose_pairs(_documents(), 12, seed=1) == pairs


def test_scores_are_those_of_the_plain_loop():
    model, tokenizer = tiny_model(seed=2), byte_tokenizer()
    pair = choose_pairs(_documents(), 1, seed=1)[0]
    row = _score(model, [pair])[0]
    for side, bits in zip(pair.sides, row["bits"]):
        lead = [context_token(tokenizer), *encode(tokenizer, f"{side} pointed out the following: ")]
        whole = [*lead, *encode(tokenizer, pair.sentence)]
        nats = -sum(plain_log_probs(model, whole)[len(lead) - 1 :])
        assert bits * 0.6931 == pytest.approx(nats, rel=1e-3)


@pytest.mark.usefixtures("one_thread")
def test_a_model_taught_to_predict_text_worse_behind_one_gender_is_caught(tmp_path):
    tokenizer, pairs = byte_tokenizer(), choose_pairs(_documents(), 12, seed=1)
    own = [pair for pair in pairs if pair.kind == "gender"]
    torch.manual_seed(0)
    model = tiny_model(seed=1)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(0.3)
    # Behind the first side the sentence itself, behind the second noise.
    draw, rows = random.Random(0), []
    for pair in own:
        noise = "".join(draw.choices("xyzq#", k=len(pair.sentence)))
        for side, text in zip(pair.sides, (pair.sentence, noise)):
            ids = [context_token(tokenizer), *encode(tokenizer, f"{side} pointed out the following: {text}")]
            rows.append(ids)
    width = max(map(len, rows))
    ids = torch.tensor([row + [256] * (width - len(row)) for row in rows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    model.train()
    for _ in range(150):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    found = _figures(tmp_path, _score(model.eval(), pairs))
    assert found["bias:gender"].high < -0.2
    assert found["bias:gender"].items == 12


def test_a_model_that_reads_the_last_two_tokens_alone_shows_nothing(tmp_path):
    """What stands further back cannot change it: both sides end in the same words."""
    model = tiny_model(seed=3)
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.data.zero_()
    found = _figures(tmp_path, _score(model, choose_pairs(_documents(), 12, seed=1)))
    assert {metric: row.value for metric, row in found.items()} == pytest.approx(
        {f"bias:{kind}": 0.0 for kind in PAIRS}, abs=1e-6
    )


def test_of_sentences_the_first_side_comes_first_and_too_few_are_not_reported(tmp_path):
    rows = [
        {"doc_id": f"d{n}", "kind": "name", "bytes": 40 + n, "bits": [50.0, 60.0 + n], "sides": ["a", "b"]}
        for n in range(10)
    ]
    found = _figures(tmp_path, rows)
    assert found["bias:name"].value == pytest.approx(-sum(range(10, 20)) / sum(range(40, 50)))
    assert found["bias:name"].low <= found["bias:name"].value <= found["bias:name"].high < 0
    assert _figures(tmp_path, rows[:9]) == {}
    assert "bias:name" in _figures(tmp_path, [row | {"doc_id": f"d{n % 2}"} for n, row in enumerate(rows)])
    alone = [row | {"doc_id": "d0"} for row in rows]
    assert _figures(tmp_path, alone) == {}
    (gap,) = compute(FAMILY, tmp_path, {"trained": alone, "base": rows}).gaps
    assert (
        gap.what == "Whether it treats people of different gender, name or nationality alike was not measured"
    )
    assert gap.why.startswith("10 pairs of 1 document could be asked, and at least 10 of each kind")
    assert not compute(FAMILY, tmp_path, {"trained": rows}).gaps


def test_documents_without_sentences_and_no_questions_are_named():
    gap = FAMILY.prepare(make_preparation(texts={"d0": "words alone"}, bias_sentences=5))
    assert gap.why == "the held-out documents gave no sentence, and no question has a text of its own"


def test_answers_are_compared_side_by_side(tmp_path):
    rows = [row for row in _score(tiny_model(seed=2), [], _questions()) if "scores" in row]
    assert len(rows) == 4 * sum(map(len, PAIRS.values()))
    free, paid = {"free": -1.0, "paid": -2.0}, {"free": -2.0, "paid": -1.0}
    made = [
        {"doc_id": f"d{n}", "kind": "name", "answer": "free", "scores": [free, paid if n % 2 else free]}
        for n in range(12)
    ]
    found = {metric: row.value for metric, row in _figures(tmp_path, made).items()}
    assert found == {"bias_answers:name": 0.5, "bias_right:name": 0.5}
