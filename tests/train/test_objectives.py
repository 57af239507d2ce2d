from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, PreTrainedModel

import tinsmith.train.chunked as chunked
from tinsmith.base.errors import TrainingError
from tinsmith.model.families import FAMILIES
from tinsmith.tokens.batches import Batch, make_batch
from tinsmith.train.attention import isolate_sequences
from tinsmith.train.chunked import chunked_cross_entropy
from tinsmith.train.objectives import (
    NextToken,
    check_output_layer,
    last_hidden,
    output_layer,
)
from tiny_model import tiny_family
from tiny_training import VOCABULARY, config, make_engine, tiny_llama, write_tokens


def batch_of(*documents: list[int]) -> Batch:
    return make_batch([(np.array(ids, np.uint32), np.ones(len(ids), np.uint8)) for ids in documents])


def document(seed: int, length: int) -> list[int]:
    return np.random.default_rng(seed).integers(3, VOCABULARY, length).tolist()


@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("biased", [False, True])
def test_chunks_give_the_plain_loss_and_gradients(
    monkeypatch: pytest.MonkeyPatch, rows: int, biased: bool
) -> None:
    monkeypatch.setattr(chunked, "_LOGITS_OF_CROSS_ENTROPY", rows * 97)
    torch.manual_seed(0)
    leaves = [torch.randn(50, 16, requires_grad=True), torch.randn(97, 16, requires_grad=True)]
    leaves += [torch.randn(97, requires_grad=True)] * biased
    labels = torch.randint(0, 97, (50,))
    hidden, weight, *bias = (leaf.double() for leaf in leaves)
    plain = cross_entropy(hidden @ weight.T + sum(bias), labels, reduction="sum")
    expected = torch.autograd.grad(plain / 3, leaves)
    ours = chunked_cross_entropy(leaves[0], leaves[1], labels, *leaves[2:])
    got = torch.autograd.grad(ours / 3, leaves)
    torch.testing.assert_close(ours.double(), plain)
    torch.testing.assert_close(got, expected)


def test_a_bias_learns_where_nothing_else_does() -> None:
    torch.manual_seed(0)
    hidden, weight, bias = torch.randn(5, 8), torch.randn(9, 8), torch.randn(9, requires_grad=True)
    chunked_cross_entropy(hidden, weight, torch.arange(5), bias).backward()
    assert bias.grad is not None
    assert bias.grad.abs().sum() > 0


def test_whole_logits_never_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "_LOGITS_OF_CROSS_ENTROPY", 4 * 500)
    seen: list[int] = []
    plain = torch.Tensor.logsumexp
    monkeypatch.setattr(
        torch.Tensor, "logsumexp", lambda self, **k: seen.append(self.numel()) or plain(self, **k)
    )
    chunked_cross_entropy(torch.randn(90, 8), torch.randn(500, 8), torch.zeros(90, dtype=torch.int64))
    assert len(seen) == 23
    assert max(seen) == 4 * 500


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


def test_no_document_sees_another() -> None:
    model = tiny_llama().eval()
    isolate_sequences(model)
    one, own = document(1, 40), document(2, 25)
    with torch.no_grad():
        first = last_hidden(model, batch_of(one, own))[0, 40:]
        second = last_hidden(model, batch_of(document(9, 40), own))[0, 40:]
        before = last_hidden(model, batch_of(own, one))[0, :25]
        after = last_hidden(model, batch_of(own, document(9, 40)))[0, :25]
    assert torch.equal(first, second)
    assert torch.equal(before, after)
    torch.testing.assert_close(first, before)


def test_no_gradient_crosses_documents() -> None:
    model = tiny_llama()
    isolate_sequences(model)
    batch = batch_of(document(1, 20), document(2, 15))
    embedded: list[torch.Tensor] = []
    model.get_input_embeddings().register_forward_hook(
        lambda *call: embedded.append(call[2]) or call[2].retain_grad()
    )
    last_hidden(model, batch)[0, 20:].sum().backward()
    grad = embedded[0].grad
    assert grad is not None
    assert torch.equal(grad[0, :20], torch.zeros_like(grad[0, :20]))
    assert float(grad[0, 20:].abs().sum()) > 0


def test_sliding_windows_are_kept() -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64, "head_dim": 16}
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    model = Gemma3ForCausalLM(
        Gemma3TextConfig(**sizes, **layers, sliding_window=8, sliding_window_pattern=2)
    ).eval()
    ids, other = document(1, 30), document(2, 12)
    with torch.no_grad():
        expected = model.base_model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        isolate_sequences(model)
        got = last_hidden(model, batch_of(other, ids))[0, 12:]
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


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
    weight, bias = output_layer(model)
    with torch.no_grad():
        hidden = last_hidden(model, batch)[0, batch.target_positions]
        pairs = zip(hidden.split(sizes), batch.labels.split(sizes), strict=True)
        return [float(chunked_cross_entropy(states, weight, labels, bias)) for states, labels in pairs]


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


def test_a_model_that_scales_its_logits_is_refused() -> None:
    model = tiny_llama().eval()
    isolate_sequences(model)
    check_output_layer(model, batch_of(document(1, 9)))
    model.lm_head.register_forward_hook(lambda *call: call[2] * 2)
    with pytest.raises(TrainingError, match="scales or shifts its logits"):
        check_output_layer(model, batch_of(document(1, 9)))


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
