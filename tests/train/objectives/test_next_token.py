from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from plain_references import as_double, assert_same, ours, plain_logits, sharp_gemma2
from tinsmith.model.families import FAMILIES
from tinsmith.model.output_layer import output_layer
from tinsmith.train.attention import isolate_sequences, target_hidden
from tinsmith.train.chunked_loss import chunked_cross_entropy
from tinsmith.train.objectives.next_token import NextToken
from tiny_model import tiny_family
from tiny_training import batch_of, config, document, make_engine, tiny_llama, write_tokens


def test_loss_is_the_sum_that_transformers_computes_document_by_document() -> None:
    model, documents = tiny_llama().eval(), [document(1, 40), document(2, 25), document(3, 2)]
    expected = 0.0
    for ids in documents:
        row = torch.tensor([ids])
        expected += float(model(input_ids=row, labels=row).loss.detach()) * (len(ids) - 1)
    isolate_sequences(model)
    objective, batch = NextToken(), batch_of(*documents)
    assert objective.num_targets(batch) == 64
    assert float(objective.loss(model, batch)[0].detach()) == pytest.approx(expected, rel=1e-6)


def test_loss_and_gradients_of_a_capped_model_are_the_plain_ones() -> None:
    model, batch = sharp_gemma2(0), batch_of(*(documents := [document(1, 40), document(2, 25)]))
    double = as_double(model)
    logits = torch.cat([logits[:-1] for logits in plain_logits(double, documents)])
    assert 4.5 < float(logits.detach().abs().max()) <= 5
    plain = cross_entropy(logits, batch.labels, reduction="sum")
    loss, gradients, _ = ours(NextToken(), model, batch)
    assert_same((loss, gradients), plain, double)


@pytest.mark.parametrize("family", FAMILIES)
def test_in_every_family_a_document_changes_no_other_ones_loss(family: str) -> None:
    model = tiny_family(family)
    documents = [document(1, 40), document(2, 25), document(3, 18)]
    alone = []
    with torch.no_grad():
        for ids in documents:
            row = torch.tensor([ids])
            alone.append(float(model(input_ids=row, labels=row).loss) * (len(ids) - 1))
    isolate_sequences(model)
    before = document_losses(model, *documents)
    for changed in range(3):
        others = [document(9, len(ids)) if n == changed else ids for n, ids in enumerate(documents)]
        pairs = zip(before, document_losses(model, *others), strict=True)
        assert [one == other for one, other in pairs] == [n != changed for n in range(3)]
    assert before == pytest.approx(alone, rel=1e-5)
    loss = float(NextToken().loss(model, batch_of(*documents))[0].detach())
    assert loss == pytest.approx(sum(alone), rel=1e-5)


def document_losses(model: PreTrainedModel, *documents: list[int]) -> list[float]:
    batch, sizes = batch_of(*documents), [len(ids) - 1 for ids in documents]
    output = output_layer(model)
    with torch.no_grad():
        hidden = target_hidden(model, batch)
        pairs = zip(hidden.split(sizes), batch.labels.split(sizes), strict=True)
        return [float(chunked_cross_entropy(states, output, labels)) for states, labels in pairs]


@pytest.mark.parametrize("family", FAMILIES)
def test_in_every_family_gradients_hang_on_neither_micro_batches_nor_checkpointing(
    tmp_path: Path, family: str
) -> None:
    tokens, grads = write_tokens(tmp_path, documents=8), []
    for options in ({}, {"activation_checkpointing": True}, {"micro_rows": 8}):
        engine = make_engine(tokens, config(**options), tiny_family(family))
        engine.gradients(0)
        grads.append(torch.cat([parameter.grad.flatten() for parameter in engine.model.parameters()]))
    assert torch.equal(grads[0], grads[1])
    assert float((grads[2] - grads[0]).norm()) < 1e-5 * float(grads[0].norm())


def test_gradient_does_not_depend_on_micro_batches_or_neighbours(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path)
    norms = []
    for rows in (1, 2, 8):
        section = config(micro_rows=rows)
        engine = make_engine(tokens, section)
        facts = engine.gradients(0)
        grads = torch.cat([parameter.grad.flatten() for parameter in engine.model.parameters()])
        norms.append((len(engine.mixture.components[0].batches.step(0)), facts, grads))
    assert norms[0][0] > norms[1][0] > norms[2][0] == 1
    for _, facts, grads in norms[1:]:
        assert facts["supervised"] == norms[0][1]["supervised"]
        assert facts["loss"] == pytest.approx(norms[0][1]["loss"], rel=1e-6)
        torch.testing.assert_close(grads, norms[0][2], rtol=1e-4, atol=1e-6)
