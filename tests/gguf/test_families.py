"""What llama.cpp would compute otherwise is refused by name, and what it computes alike is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoConfig, PretrainedConfig

from tinsmith.base.errors import AssetError
from tinsmith.gguf.configuration import configuration
from tinsmith.gguf.families import architecture_metadata, refuse_unwritable
from tinsmith.model.families import FAMILIES, Shape, published
from tinsmith.model.presets import PRESETS

SHAPE = Shape(hidden=128, inner=384, layers=7, head=32, keys=1, parameters=0)
ROPE = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
LOCAL = {"full_attention": {"rope_type": "default", "rope_theta": 1e6}}
OTHERWISE = [
    ("llama", {"hidden_act": "gelu"}, "activation is gelu"),
    ("llama", {"rope_parameters": {**ROPE, "rope_type": "dynamic"}}, r"positions are scaled \(dynamic\)"),
    ("llama", {"rope_parameters": ROPE}, r"only a part of its channels \(0.5\)"),
    ("qwen3", {"attention_bias": True}, "attention has biases"),
    (
        "qwen3",
        {"layer_types": ["sliding_attention"] * 7, "sliding_window": 512},
        "attend to a window of 512 tokens of 2048",
    ),
    ("phi", {"qk_layernorm": True}, "queries and keys are normalised"),
    ("phi", {"tie_word_embeddings": True}, "embeddings are tied"),
    ("phi", {"hidden_act": "gelu"}, "tanh form of gelu"),
    ("phi", {"rope_parameters": ROPE}, r"positions are scaled \(linear\)"),
    ("phi", {"head_dim": 16}, "head size is not"),
    ("gpt2", {"activation_function": "relu"}, "activation is relu"),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "not scaled by the head size"),
    ("gpt2", {"scale_attn_weights": False}, "not scaled by the head size"),
    ("gpt2", {"add_cross_attention": True}, "cross-attention to an encoder"),
    ("bloom", {"apply_residual_connection_post_layernorm": True}, "residual is taken after the norm"),
    ("gemma3", {"query_pre_attn_scalar": 256}, "query_pre_attn_scalar is 256, llama.cpp scales by 32"),
    ("gemma3", {"layer_types": ["full_attention"] * 7}, "not every 6th layer"),
    ("gemma3", {"hidden_activation": "gelu"}, "tanh form of gelu"),
    ("gemma3", {"final_logit_softcapping": 30.0}, "logits are capped"),
    ("gemma3", {"attention_bias": True}, "attention has biases"),
    ("gemma3", {"use_bidirectional_attention": True}, "attention is bidirectional"),
    (
        "gemma3",
        {"rope_parameters": {**LOCAL, "sliding_attention": {"rope_type": "default", "rope_theta": 1e5}}},
        "local rotary base is not 10000",
    ),
    ("gemma3", {"rope_parameters": {**LOCAL, "sliding_attention": ROPE}}, "positions are scaled"),
]


@pytest.mark.parametrize(("family", "facts", "reason"), OTHERWISE)
def test_what_llama_cpp_would_compute_otherwise_is_refused(family: str, facts: dict, reason: str) -> None:
    config = FAMILIES[family].configure(SHAPE)
    refuse_unwritable(config, Path("here"))
    for name, value in facts.items():
        setattr(config, name, value)
    with pytest.raises(AssetError, match=reason):
        refuse_unwritable(config, Path("here"))


def file_facts(config: PretrainedConfig) -> dict:
    """Return the metadata of a file, as it is read again."""
    architecture = refuse_unwritable(config, Path("here")).name
    vocabulary = {"tokenizer.ggml.tokens": ["x"] * config.vocab_size}
    return {"general.architecture": architecture, **vocabulary, **architecture_metadata(config)}


@pytest.mark.parametrize(("name", "layers"), [("gemma2", 46), ("gemma3_text", 62)])
def test_a_gemma_of_so_many_layers_is_taken_for_the_one_of_27_billion(name: str, layers: int) -> None:
    sizes = {"hidden_size": 128, "intermediate_size": 384, "num_attention_heads": 4, "num_key_value_heads": 1}
    config = AutoConfig.for_model(
        name, **sizes, num_hidden_layers=layers, head_dim=16, query_pre_attn_scalar=32, vocab_size=9
    )
    again = configuration(file_facts(config), (), Path("here"))
    assert (again.query_pre_attn_scalar, again.head_dim) == (32, 16)
    config.query_pre_attn_scalar = 16
    with pytest.raises(AssetError, match=r"query_pre_attn_scalar is 16, llama\.cpp scales by 32"):
        refuse_unwritable(config, Path("here"))


def test_what_a_file_of_a_gemma2_does_not_name_is_what_llama_cpp_takes() -> None:
    config = published("gemma-2-2b")
    config.attn_logit_softcapping, config.final_logit_softcapping, config.sliding_window = 7.0, 8.0, 16
    facts = file_facts(config)
    names = ("attn_logit_softcapping", "final_logit_softcapping", "sliding_window")
    again = configuration(facts, (), Path("here"))
    assert [getattr(again, name) for name in names] == [7.0, 8.0, 16]
    for key in ("attn_logit_softcapping", "final_logit_softcapping", "attention.sliding_window"):
        del facts[f"gemma2.{key}"]
    again = configuration(facts, (), Path("here"))
    assert [getattr(again, name) for name in names] == [50.0, 30.0, 4096]


def test_a_gemma3_file_keeps_a_cap_of_logits_which_llama_cpp_reads() -> None:
    facts = file_facts(published("gemma-3-270m"))
    assert configuration(facts, (), Path("here")).final_logit_softcapping is None
    again = configuration(facts | {"gemma3.final_logit_softcapping": 30.0}, (), Path("here"))
    assert again.final_logit_softcapping == 30.0
    with pytest.raises(AssetError, match="logits are capped"):
        refuse_unwritable(again, Path("here"))


@pytest.mark.parametrize("name", PRESETS)
def test_published_shapes_can_be_written(name: str) -> None:
    config = published(name)
    refuse_unwritable(config, Path("here"))
    layers = [value for key, value in architecture_metadata(config).items() if key.endswith(".block_count")]
    assert layers == [config.num_hidden_layers]


def test_the_metadata_of_published_shapes() -> None:
    phi = architecture_metadata(published("phi-2"))
    assert phi["phi2.rope.dimension_count"] == 32
    assert phi["phi2.attention.layer_norm_epsilon"] == 1e-5
    capped = architecture_metadata(published("gemma-2-2b"))
    assert capped["gemma2.attn_logit_softcapping"] == 50.0
    assert capped["gemma2.final_logit_softcapping"] == 30.0
    assert capped["gemma2.attention.sliding_window"] == 4096
    assert capped["gemma2.attention.value_length"] == 256
    gemma = architecture_metadata(published("gemma-3-270m"))
    assert gemma["gemma3.attention.key_length"] == 256
    assert gemma["gemma3.attention.sliding_window"] == 512
    assert gemma["gemma3.rope.freq_base"] == 1e6
    assert architecture_metadata(published("gpt3-175b"))["gpt2.context_length"] == 2048
    assert architecture_metadata(published("gpt3-175b"))["gpt2.feed_forward_length"] == 4 * 12_288
    assert architecture_metadata(published("bloom-176b"))["bloom.context_length"] == 2048
    assert architecture_metadata(published("llama-2-70b"))["llama.attention.head_count_kv"] == 8
    assert architecture_metadata(published("qwen3-0.6b"))["qwen3.attention.key_length"] == 128
