"""A model that has learnt its documents by heart is caught by each test, and one that has not passes."""

import random
import zlib

import numpy as np
import pytest
import torch

from family_figures import compute, make_preparation
from small_models import byte_tokenizer, tiny_model
from tinsmith.evaluate.families.memorization import (
    CONTINUATION,
    FAMILY,
    HELD_OUT,
    PREFIX,
    TRAIN,
    Passage,
    choose_passages,
    passage_row,
    read_passage,
    read_passages,
)
from tinsmith.evaluate.probe import Opening
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.recipe import EvaluateConfig
from tinsmith.tokens.encoding import context_token

WORDS = (
    "the",
    "grantor",
    "lender",
    "fee",
    "notice",
    "vessel",
    "pays",
    "within",
    "days",
    "of",
    "closing",
    "claim",
    "loss",
)
ATTACKS = ("loss", "zlib", "min_k", "base")
CONFIG = EvaluateConfig(bootstrap=300)


def writings(part: str, count: int) -> dict[str, str]:
    draw = random.Random(part)
    return {f"{part}{n:02d}": " ".join(draw.choices(WORDS, k=60)) for n in range(count)}


TRAINING, OTHERS = writings("a", 24), writings("b", 24)


@pytest.fixture(scope="module")
def passages():
    return choose_passages(TRAINING, OTHERS, byte_tokenizer(), limit=30, seed=1)


def read(model, passages):
    scorer = Scorer(model, name="m")
    return read_passages(scorer, byte_tokenizer(), lambda amount: None, passages=passages)


@pytest.fixture(scope="module")
def overtrained(passages):
    """Train a small model on the training passages until it knows them by heart."""
    torch.manual_seed(0)
    model = tiny_model(seed=1)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(0.3)
    rows = torch.tensor([read_passage(p, byte_tokenizer()) for p in passages if p.part == TRAIN])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    model.train()
    for _ in range(400):
        loss = model(input_ids=rows, labels=rows).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < 0.02:
            break
    assert loss.item() < 0.1
    return model.eval()


def values(folder, stored):
    found = compute(FAMILY, folder, stored, CONFIG)
    return {(row.subject, row.metric): row for row in found.metrics}


def test_passages_are_drawn_from_both_parts_and_hold_prefix_and_continuation(passages):
    tokenizer = byte_tokenizer()
    assert [passage.part for passage in passages] == [TRAIN] * 24 + [HELD_OUT] * 24
    for passage in passages:
        tokens = read_passage(passage, tokenizer)
        assert tokens[0] == context_token(tokenizer)
        assert len(tokens) == 1 + PREFIX + CONTINUATION
        assert (TRAINING | OTHERS)[passage.doc_id].startswith(passage.text)
        assert passage.copies == (passage.part == TRAIN)
    assert len(choose_passages(TRAINING, OTHERS, tokenizer, limit=5, seed=1)) == 10
    assert choose_passages({"a": "Too short."}, {}, tokenizer, limit=5, seed=1) == []


def test_a_member_is_a_document_whose_whole_passage_was_learnt():
    lengths = {"a00": 100, "a01": 99, "a02": 400}
    learnt = {name: Opening(tokens, 1) for name, tokens in lengths.items()}
    given = {"training": TRAINING, "texts": OTHERS, "tokenizer": byte_tokenizer()}
    about = FAMILY.prepare(make_preparation(**given, learnt=learnt)).about
    parts = [text.split("part='")[1].split("'")[0] for text in about]
    assert [text.split("'")[1] for text, part in zip(about, parts) if part == TRAIN] == ["a00", "a02"]
    assert parts.count(HELD_OUT) == 24


def test_copies_are_counted_in_training_text_alone():
    twice = {"x": TRAINING["a00"], "y": f"Before it. {TRAINING['a00']}", "z": TRAINING["a01"]}
    found = choose_passages(twice, {"h": TRAINING["a01"]}, byte_tokenizer(), limit=9, seed=1)
    assert {passage.doc_id: passage.copies for passage in found} == {"x": 2, "y": 2, "z": 1, "h": 1}


def test_what_is_extracted_is_what_greedy_generation_says(overtrained, passages):
    found = {row["doc_id"]: row["extracted"] for row in read(overtrained, passages)}
    assert any(found.values())
    assert not all(found.values())
    for passage in passages[::6]:
        tokens = read_passage(passage, byte_tokenizer())
        said = overtrained.generate(
            torch.tensor([tokens[: 1 + PREFIX]]),
            max_new_tokens=CONTINUATION,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )[0].tolist()
        assert (said == tokens) == found[passage.doc_id]


def test_an_overtrained_model_is_caught_by_each_test(overtrained, passages, tmp_path):
    before = tiny_model(seed=7)
    stored = {"trained": read(overtrained, passages), "base": read(before, passages)}
    rows = values(tmp_path, stored)
    assert rows["trained", "extracted:train"].low > 0.5
    assert rows["trained", "extracted:held_out"].value == 0
    for attack in ATTACKS:
        assert rows["trained", f"membership_auc:{attack}"].low > 0.9, attack
        assert rows["trained", f"membership_found:{attack}"].value > 0.9, attack


def test_an_untrained_model_passes_each_test(passages, tmp_path):
    stored = {"trained": read(tiny_model(seed=2), passages), "base": read(tiny_model(seed=7), passages)}
    rows = values(tmp_path, stored)
    assert rows["trained", "extracted:train"].value == 0
    for attack in ATTACKS:
        row = rows["trained", f"membership_auc:{attack}"]
        assert row.low <= 0.5 <= row.high, attack


def test_figures_need_enough_passages_and_repeated_ones_stand_apart(tmp_path):
    def row(n, part, copies=1, extracted=False):
        passage = Passage(f"{part}{n}", part, "some text", copies)
        return passage_row(passage, [-1.0 - n / 100] * 99, [extracted] * 99)

    few = [row(n, part) for n in range(19) for part in (TRAIN, HELD_OUT)]
    few[0]["extracted"] = True
    judged = compute(FAMILY, tmp_path, {"trained": few, "base": few}, CONFIG)
    assert not judged.metrics
    (gap,) = judged.gaps
    assert gap.why.startswith(
        "19 training and 19 unseen documents gave a passage of 100 tokens, and at least 20"
    )
    assert gap.why.endswith("word for word it repeated 1 and 0 of them")
    many = [row(n, TRAIN, copies=1 + (n < 25), extracted=n < 25) for n in range(50)]
    many += [row(n, HELD_OUT) for n in range(50)]
    rows = values(tmp_path, {"trained": many})
    assert rows["trained", "extracted:train"].value == pytest.approx(0.5)
    assert rows["trained", "extracted:train:repeated"].value == 1
    assert rows["trained", "extracted:train:repeated"].items == 25
    assert ("trained", "membership_auc:base") not in rows
    # The same scores on both sides tell nothing.
    assert rows["trained", "membership_auc:loss"].value == pytest.approx(0.5)
    assert rows["trained", "membership_found:loss"].value == 0


def test_a_row_holds_what_its_name_says():
    passage = Passage("a", TRAIN, "to the lender " * 9, 1)
    log_probs = [-float(n) for n in range(1, 101)]
    row = passage_row(passage, log_probs, [False] * 50 + [True] * 50)
    assert row["extracted"]
    assert row["nats"] == pytest.approx(5050)
    assert row["loss"] == pytest.approx(50.5)
    assert row["min_k"] == pytest.approx(np.mean(range(81, 101)))
    assert row["zlib"] == pytest.approx(5050 / len(zlib.compress(passage.text.encode())))
    assert not passage_row(passage, log_probs, [True] * 99 + [False])["extracted"]
    assert not passage_row(passage, log_probs, [False] * 51 + [True] * 49)["extracted"]
