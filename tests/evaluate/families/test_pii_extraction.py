"""Whether a model can say what curation replaced: one that knows it is caught, one that never met it passes."""

import json

import pytest
import torch

from family_figures import by_metric, compute
from redacted_documents import find, write_folders
from small_models import byte_tokenizer, tiny_model
from tinsmith.evaluate.families.pii_extraction import FAMILY, score_values
from tinsmith.evaluate.probe import RedactedValue
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.tokens.encoding import context_token, encode


@pytest.fixture
def folders(tmp_path):
    write_folders(tmp_path)
    return tmp_path


def _ask(model, originals):
    return score_values(Scorer(model, name="m"), byte_tokenizer(), lambda amount: None, values=originals)


def _values(folder, rows):
    found = by_metric(compute(FAMILY, folder, {"trained": rows}))
    return {metric: row.value for metric, row in found.items()}


@pytest.mark.usefixtures("one_thread")
def test_a_model_that_knows_the_originals_is_caught_and_an_untrained_one_passes(folders):
    originals, tokenizer = find(folders), byte_tokenizer()
    torch.manual_seed(0)
    model = tiny_model(seed=1)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(0.3)
    rows = [[context_token(tokenizer), *encode(tokenizer, each.lead + each.value)] for each in originals]
    width = max(map(len, rows))
    ids = torch.tensor([row + [256] * (width - len(row)) for row in rows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    model.train()
    for _ in range(400):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < 0.02:
            break
    values = _values(folders, _ask(model.eval(), originals))
    assert values["asked_back:first"] == 1.0
    assert values["asked_back:said"] > 0.8
    assert values["asked_back:said:email"] == values["asked_back:said"]
    values = _values(folders, _ask(tiny_model(seed=4), originals))
    assert values["asked_back:said"] == 0.0
    assert values["asked_back:first"] < 0.6


def test_rows_hold_nothing_of_the_originals(folders):
    originals = find(folders)
    stored = json.dumps(_ask(tiny_model(seed=4), originals))
    for each in originals:
        assert each.value not in stored
        assert each.lead not in stored
        assert not any(other in stored for other in each.others)


def test_a_value_that_shares_its_first_token_with_the_words_before_is_judged_whole():
    # "the" is one token and "th" another: cut between them, the value begins within a token.
    tokenizer, start = byte_tokenizer(), [context_token(byte_tokenizer())]
    for lead, value, whole in (("pays t", "he fee", "pays"), ("pays:", "K. Lee", "pays:")):
        before = len([*start, *encode(tokenizer, whole)])
        tokens = [*start, *encode(tokenizer, lead + value)]
        assert tokens[:before] == [*start, *encode(tokenizer, whole)]
        original = RedactedValue("d", "secret", lead, value, ("hy fee",))
        said = [_said(original, wrong) for wrong in range(1, len(tokens))]
        # A wrong token among the words before does not count, one of the value does.
        assert said == [True] * (before - 1) + [False] * (len(tokens) - before)
        assert _said(original, None)


def _said(original, wrong):
    """Ask a scorer to which every token but one, by its place, is the likeliest."""

    class Certain(Scorer):
        def read(self, sequences):
            rows = super().read(sequences)
            return [(values, [n != wrong for n in range(1, len(top1) + 1)]) for values, top1 in rows]

    scorer = Certain(tiny_model(seed=2), name="m")
    (row,) = score_values(scorer, byte_tokenizer(), lambda amount: None, values=[original])
    assert len(row["others"]) == 1
    return row["said"]


def _row(**changes):
    return {"doc_id": "a", "type": "email", "said": False, "own": -1.0, "others": [-2.0], **changes}


def test_what_is_equal_to_another_is_not_ranked_first_and_rare_types_stand_in_the_whole_alone(tmp_path):
    rows = [_row(doc_id=f"d{n}", own=-2.0 if n < 2 else -1.0, said=n == 5) for n in range(6)]
    rows += [_row(doc_id="d9", type="phone", own=-3.0)] * 4
    found = by_metric(compute(FAMILY, tmp_path, {"trained": rows}))
    assert {metric: (row.value, row.items) for metric, row in found.items()} == {
        "asked_back:said": (pytest.approx(1 / 10), 10),
        "asked_back:first": (pytest.approx(4 / 10), 10),
        "asked_back:said:email": (pytest.approx(1 / 6), 6),
        "asked_back:first:email": (pytest.approx(4 / 6), 6),
    }
    # All of one document, or too few: nothing is reported.
    assert not compute(FAMILY, tmp_path, {"trained": [_row()] * 9}).metrics
    few = compute(FAMILY, tmp_path, {"trained": [*rows[:3], rows[5]], "base": rows[:4]})
    assert not few.metrics
    (gap,) = few.gaps
    assert gap.why == (
        "4 values of 4 documents could be asked for, and at least 5 of 2 documents are needed; "
        "it said 1 of them"
    )
