from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import BloomConfig, BloomForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig

import tinsmith.train.objectives as objectives
from tinsmith.foundation.errors import TrainingError
from tinsmith.tokens.batches import Batch, make_batch
from tinsmith.train.attention import isolate_sequences
from tinsmith.train.objectives import NextToken, check_output_layer, chunked_cross_entropy, last_hidden
from tiny_training import VOCABULARY, config, make_engine, tiny_llama, write_tokens


def batch_of(*documents: list[int]) -> Batch:
    return make_batch([(np.array(ids, np.uint32), np.ones(len(ids), np.uint8)) for ids in documents])


def document(seed: int, length: int) -> list[int]:
    return np.random.default_rng(seed).integers(3, VOCABULARY, length).tolist()


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_chunks_give_the_plain_loss_and_gradients(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(objectives, "_LOGITS_AT_ONCE", rows * 97)
    torch.manual_seed(0)
    hidden, weight = torch.randn(50, 16, requires_grad=True), torch.randn(97, 16, requires_grad=True)
    labels = torch.randint(0, 97, (50,))
    plain = cross_entropy(hidden @ weight.T, labels, reduction="sum")
    expected = torch.autograd.grad(plain / 3, [hidden, weight])
    ours = chunked_cross_entropy(hidden, weight, labels)
    got = torch.autograd.grad(ours / 3, [hidden, weight])
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(got, expected)


def test_whole_logits_never_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "_LOGITS_AT_ONCE", 4 * 500)
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
    assert objective.weight(batch) == 64
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


def test_architectures_that_cannot_be_isolated_or_scale_logits_are_refused() -> None:
    bloom = BloomForCausalLM(BloomConfig(vocab_size=50, hidden_size=16, n_layer=1, n_head=2))
    with pytest.raises(TrainingError, match="bloom has attention of its own"):
        isolate_sequences(bloom)
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
        norms.append((len(engine.mixture.parts[0].batches.step(0)), facts, grads))
    assert norms[0][0] > norms[1][0] > norms[2][0] == 1
    for _, facts, grads in norms[1:]:
        assert facts["supervised"] == norms[0][1]["supervised"]
        assert facts["loss"] == pytest.approx(norms[0][1]["loss"], rel=1e-6)
        torch.testing.assert_close(grads, norms[0][2], rtol=1e-4, atol=1e-6)
