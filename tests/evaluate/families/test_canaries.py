"""A model that has learnt planted secrets by heart is caught, one that has not passes."""

import math

import pytest
import torch

from family_figures import by_metric, compute
from small_models import byte_tokenizer, plain_log_probs, tiny_model
from tinsmith.evaluate.families.canaries import FAMILY, exposure, score_canaries
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.recipe import CanaryConfig
from tinsmith.tokens.canaries import CANDIDATES, make_canaries, other_secrets
from tinsmith.tokens.encoding import context_token, encode

CANARIES = make_canaries(CanaryConfig(each=4, repeats=(0, 8)), seed=5)


def scored(model):
    scorer = Scorer(model, name="m")
    planted = [(each, each.planted) for each in CANARIES]
    return score_canaries(scorer, byte_tokenizer(), lambda amount: None, canaries=planted, seed=5)


def values(folder, rows):
    return by_metric(compute(FAMILY, folder, {"trained": rows}))


@pytest.fixture(scope="module")
def overtrained():
    """Train a small model on the planted canaries until it knows them by heart."""
    torch.manual_seed(0)
    model, tokenizer = tiny_model(seed=1), byte_tokenizer()
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(0.3)
    texts = [encode(tokenizer, each.text) for each in CANARIES if each.planted]
    rows = torch.tensor([[context_token(tokenizer), *ids] for ids in texts])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    model.train()
    for _ in range(300):
        loss = model(input_ids=rows, labels=rows).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < 0.02:
            break
    return model.eval()


def test_a_model_that_knows_them_by_heart_is_caught_and_only_for_what_it_met(overtrained, tmp_path):
    found = values(tmp_path, scored(overtrained))
    assert found["exposure:8"].value == 8.0
    assert found["exposure:0"].high < 6.0


def test_an_untrained_model_passes(tmp_path):
    found = values(tmp_path, scored(tiny_model(seed=4)))
    assert all(row.value < 4.5 for row in found.values())


def test_scores_are_those_of_the_plain_loop():
    model, tokenizer, canary = tiny_model(seed=2), byte_tokenizer(), CANARIES[0]
    scorer = Scorer(model, name="m")
    row = score_canaries(scorer, tokenizer, print, canaries=[(canary, 0)], seed=5)[0]
    for secret, value in zip(
        (canary.secret, *other_secrets(canary, 5)[:3]), (row["own"], *row["others"][:3])
    ):
        tokens = [context_token(tokenizer), *encode(tokenizer, f"{canary.lead} {secret}")]
        assert value == pytest.approx(sum(plain_log_probs(model, tokens)), abs=0.02)


def test_exposure_is_the_logarithm_of_the_rank():
    assert exposure({"own": -1.0, "others": [-2.0] * 255}) == 8.0
    assert exposure({"own": -3.0, "others": [-2.0] * 255}) == 0.0
    assert exposure({"own": -2.0, "others": [-1.0, -3.0, -2.0]}) == pytest.approx(math.log2(4 / 3))


def test_what_was_planted_and_not_visited_counts_as_neither(tmp_path):
    rows = [{"planted": 4, "seen": seen, "own": -1.0, "others": [-2.0] * 3} for seen in (0, 0, 3, 4)] + [
        {"planted": 0, "seen": 0, "own": -2.5, "others": [-2.0] * 3} for _ in range(3)
    ]
    figures = compute(FAMILY, tmp_path, {"trained": rows, "base": rows})
    found = by_metric(figures)
    assert {metric: row.items for metric, row in found.items()} == {"exposure:4": 2, "exposure:0": 3}
    (gap,) = figures.gaps
    assert gap.why == "of 4 planted 4 times, 2 were read, 3 to 4 times each"
    few = compute(FAMILY, tmp_path, {"trained": rows[1:3] + rows[4:]})
    assert by_metric(few).keys() == {"exposure:0"}
    assert few.gaps[0].why == "of 2 planted 4 times, 1 was read, 3 times each; at least 2 are needed"
    assert not compute(FAMILY, tmp_path, {"trained": [rows[3]] * 2 + rows[4:]}).gaps


def test_secrets_differ_and_come_again_with_the_seed():
    assert make_canaries(CanaryConfig(each=4, repeats=(0, 8)), seed=5) == CANARIES
    assert len({each.text for each in CANARIES}) == 8
    assert make_canaries(CanaryConfig(), seed=5) == []
    others = other_secrets(CANARIES[0], 5)
    assert len(set(others)) == CANDIDATES
    assert CANARIES[0].secret not in others
    assert {len(secret) for secret in others} == {len(CANARIES[0].secret)}
    assert others != other_secrets(CANARIES[1], 5)
