from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from plain_references import sharp_gemma2
from small_models import tiny_model
from tinsmith.base.errors import TrainingError
from tinsmith.model.load import load_model
from tinsmith.train.attention import check_output_layer, isolate_sequences, last_hidden, target_hidden
from tinsmith.train.blocked import blocked_attention
from tinsmith.train.checkpoint import save_trained
from tiny_model import tiny_tokenizer, write_trained
from tiny_training import VOCABULARY, batch_of, document, tiny_llama


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


def test_short_documents_attend_in_few_calls_each_within_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_llama().eval()
    isolate_sequences(model)
    documents = [document(number, length) for number, length in enumerate((20, 31, 140, 17, 32, 25, 40))]
    alone = [last_hidden(model, batch_of(ids))[0] for ids in documents]
    torch.cat(alone).square().sum().backward()
    wanted = {
        name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None
    }
    calls: list[int] = []

    def told(query: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        calls.append(query.shape[1])
        return blocked_attention(query, *rest)

    monkeypatch.setattr("tinsmith.train.attention.blocked_attention", told)
    model.zero_grad()
    together = last_hidden(model, batch_of(*documents))[0]
    # In each of two layers: five documents of 17 to 32 tokens with four heads, and two on their own.
    assert calls == [20, 4, 4] * 2
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)
    together.square().sum().backward()
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            torch.testing.assert_close(weight.grad, wanted[name], rtol=1e-3, atol=1e-4)


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


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "gemma3", "bloom"])
def test_what_is_shared_is_read_once_and_gives_the_same_states_and_gradients(family: str) -> None:
    model = tiny_model(family, size=VOCABULARY)
    if family == "gemma3":
        model.config.sliding_window = 12
        for layer in model.model.layers:
            if layer.self_attn.sliding_window is not None:
                layer.self_attn.sliding_window = 12
    isolate_sequences(model)
    text = document(1, 40)
    batch = batch_of(
        [*text, *document(2, 7)], document(3, 20), [*text, *document(4, 5)], [*text, *document(5, 1)]
    )
    read: list[int] = []
    model.get_input_embeddings().register_forward_hook(lambda *call: read.append(call[1][0].numel()))
    found = []
    for share in (False, True):
        model.zero_grad()
        hidden = target_hidden(model, batch, share=share)
        hidden.square().sum().backward()
        found.append(
            (
                hidden.detach(),
                {
                    name: weight.grad.clone()
                    for name, weight in model.named_parameters()
                    if weight.grad is not None
                },
            )
        )
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-4, atol=1e-5)
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], gradient, rtol=1e-3, atol=1e-3)
    whole = sum(batch.lengths)
    # A family whose attention is its own, or capped, reads sequence by sequence.
    assert read == ([*batch.lengths] * 2 if family in ("bloom", "gemma2") else [whole, whole - 2 * 40])


def test_capped_scores_are_never_left_to_the_code_that_drops_the_cap(tmp_path: Path) -> None:
    model, tokenizer = sharp_gemma2(0), tiny_tokenizer()
    row = torch.tensor([document(1, 30)])
    with torch.no_grad():
        capped = model(row).logits
        model.set_attn_implementation("sdpa")  # what the library chooses by itself
        assert float((model(row).logits - capped).abs().max()) > 0.1
        isolate_sequences(model)
        assert torch.equal(model(row).logits, capped)
        model.set_attn_implementation("sdpa")
        save_trained(model, tokenizer, tmp_path / "trained")
        assert torch.equal(model(row).logits, capped)
        assert torch.equal(load_model(tmp_path / "trained")(row).logits, capped)
    # Without a cap, the library's default stays.
    assert load_model(write_trained(tmp_path / "plain")).config._attn_implementation == "sdpa"


def test_a_model_that_scales_its_logits_is_refused() -> None:
    model = tiny_llama().eval()
    isolate_sequences(model)
    check_output_layer(model, batch_of(document(1, 9)))
    model.lm_head.register_forward_hook(lambda *call: call[2] * 2)
    with pytest.raises(TrainingError, match="scales or shifts its logits"):
        check_output_layer(model, batch_of(document(1, 9)))
