"""Each family that people start from is opened, trained, exported, opened again and agrees with llama.cpp."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.base_families import base_configs, random_base
from transformers import AutoModelForCausalLM

from gguf import GGUFReader
from tinsmith.base.errors import AssetError
from tinsmith.base.progress import SilentProgress
from tinsmith.gguf.families import refuse_unwritable
from tinsmith.gguf.family import context_length
from tinsmith.gguf.writer import write_gguf
from tinsmith.model import lora
from tinsmith.model.load import load_model
from tinsmith.parity.gate import check_parity
from tinsmith.recipe import LoraConfig, PackageConfig
from tinsmith.tokens.batches import make_batch
from tinsmith.train.attention import isolate_sequences, last_hidden
from tinsmith.train.checkpoint import save_trained
from tiny_model import TEXTS, tiny_tokenizer
from tiny_training import config, make_engine, write_tokens

IDS = torch.tensor([[1, 40, 50, 60, 70, 80, 90] * 6])


@pytest.mark.parametrize("name", base_configs())
def test_a_base_is_opened_trained_exported_and_opened_again(name: str, tmp_path: Path) -> None:
    save_trained(random_base(base_configs()[name]), tiny_tokenizer(), tmp_path / "base")
    model = load_model(tmp_path / "base")
    # Of the library's codes, this one computes every setting of a configuration.
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "base", attn_implementation="eager")
    with torch.inference_mode():
        torch.testing.assert_close(model(IDS).logits, plain(IDS).logits, rtol=1e-4, atol=1e-4)
    engine = make_engine(write_tokens(tmp_path / "tokens", documents=12), config("2 steps"), model)
    losses = []
    for _ in range(3):
        losses.append(engine.gradients(0)["loss"])
        engine.update(1e-3)
    assert losses == sorted(losses, reverse=True)
    trained = tmp_path / "trained"
    save_trained(model, tiny_tokenizer(), trained)
    ggufs = {format: tmp_path / f"model-{format}.gguf" for format in ("f16", "q4_k_m")}
    for format, path in ggufs.items():
        write_gguf(trained, path, format)
    again = load_model(ggufs["f16"])
    assert context_length(again.config) == context_length(model.config)
    with torch.inference_mode():
        torch.testing.assert_close(again(IDS).logits, load_model(trained)(IDS).logits, rtol=0.03, atol=0.06)
    # Random weights know few plain words, so their likeliest token is often a near tie.
    asked = PackageConfig(
        parity_prompts=9, parity_positions=200, min_top1={"q4_k_m": 0.4}, max_kl={"q4_k_m": 1.0}
    )
    found = check_parity(trained, trained, ggufs, TEXTS, asked, SilentProgress(), seed=3)
    assert found["formats"]["f16"]["mean_kl"] < 1e-4


@pytest.mark.parametrize("name", base_configs())
def test_sequences_of_a_row_do_not_see_each_other(name: str) -> None:
    model = random_base(base_configs()[name])
    isolate_sequences(model)
    draw = np.random.default_rng(3)
    sequences = [
        (draw.integers(3, 400, length).astype(np.uint32), np.ones(length, np.uint8)) for length in (5, 21, 9)
    ]
    with torch.inference_mode():
        together = last_hidden(model, make_batch(sequences))
        alone = [last_hidden(model, make_batch([sequence])) for sequence in sequences]
    torch.testing.assert_close(together, torch.cat(alone, dim=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "facts", "reason"),
    [
        ("mistral", {"sliding_window": 128}, "attend to a window of 128 tokens of 512"),
        ("qwen2.5", {"hidden_act": "gelu"}, "activation is gelu"),
        ("llama, yarn", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 100.0}}, "dynamic"),
        (
            "llama, yarn",
            {"rope_parameters": {"rope_type": "yarn", "attention_factor": 2.0}},
            "factor of attention",
        ),
        ("smollm3", {"no_rope_layers": [1, 1, 1, 1]}, "not every 4th layer"),
        ("smollm3", {"attention_bias": True}, "attention has biases"),
        ("granite", {"mlp_bias": True}, "MLP has biases"),
        ("olmo-2", {"rope_parameters": {"rope_type": "linear", "factor": 2.0}}, "scaled"),
        ("phi-3", {"sliding_window": 100}, "attend to a window of 100 tokens of 512"),
        ("gemma 2", {"hidden_activation": "silu"}, "tanh form of gelu"),
        ("gemma 2", {"query_pre_attn_scalar": 16}, "query_pre_attn_scalar is 16, llama.cpp scales by 32"),
        ("gemma 2", {"layer_types": ["full_attention", "sliding_attention"] * 2}, "not every 2nd layer"),
        ("gemma 2", {"layer_types": ["full_attention"] * 4}, "not every 2nd layer"),
        ("gemma 2", {"sliding_window": None}, "window of tokens has no size"),
        ("gemma 2", {"attention_bias": True}, "attention has biases"),
        ("gemma 2", {"use_bidirectional_attention": True}, "attention is bidirectional"),
        ("gemma 2", {"rope_parameters": {"rope_type": "linear", "factor": 2.0}}, r"scaled \(linear\)"),
        ("gemma 2", {"attn_logit_softcapping": None}, "scores of attention are not capped"),
        ("gemma 2", {"final_logit_softcapping": None}, "its logits are not capped"),
        ("gemma 2", {"tie_word_embeddings": False}, "output matrix is not that of its embeddings"),
        ("gemma 3", {"final_logit_softcapping": 30.0}, "logits are capped"),
        ("gemma 3", {"attn_logit_softcapping": 50.0}, "logits are capped"),
        ("lfm2", {"conv_bias": True}, "convolutions have biases"),
        ("lfm2", {"rope_parameters": {"rope_type": "linear", "factor": 2.0}}, "scaled"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(name: str, facts: dict, reason: str) -> None:
    found = base_configs()[name]
    refuse_unwritable(found, Path("here"))
    for key, value in facts.items():
        setattr(found, key, value)
    with pytest.raises(AssetError, match=reason):
        refuse_unwritable(found, Path("here"))


def test_adapters_on_a_capped_model_learn_and_are_exported(tmp_path: Path) -> None:
    model = random_base(base_configs()["gemma 2"])
    lora.add(model, LoraConfig(rank=4), seed=1)
    engine = make_engine(write_tokens(tmp_path / "tokens", documents=12), config("2 steps"), model)
    losses = []
    for _ in range(3):
        losses.append(engine.gradients(0)["loss"])
        engine.update(1e-2)
    assert losses == sorted(losses, reverse=True)
    with torch.inference_mode():
        expected = model.eval()(IDS).logits
    assert lora.merge(model, IDS) < 1e-5
    save_trained(model, tiny_tokenizer(), tmp_path / "trained")
    write_gguf(tmp_path / "trained", tmp_path / "model.gguf", "f16")
    for path, atol in ((tmp_path / "trained", 1e-4), (tmp_path / "model.gguf", 0.06)):
        with torch.inference_mode():
            torch.testing.assert_close(load_model(path)(IDS).logits, expected, rtol=0.03, atol=atol)


def test_frequencies_that_are_slowed_in_another_way_are_refused(tmp_path: Path) -> None:
    facts = base_configs()["llama 3.2"]
    facts.rope_parameters["original_max_position_embeddings"] = 4096
    save_trained(random_base(facts), tiny_tokenizer(), tmp_path / "model")
    write_gguf(tmp_path / "model", tmp_path / "m.gguf", "f16")
    names = {tensor.name for tensor in GGUFReader(tmp_path / "m.gguf").tensors}
    assert "rope_freqs.weight" in names
    with pytest.raises(AssetError, match=r"m\.gguf: its rotary frequencies are slowed in another way"):
        load_model(tmp_path / "m.gguf")
