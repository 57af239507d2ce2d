"""Shapes keep their rule and their count; each family goes the whole way from fresh weights to a running server."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tinsmith import recipe
from tinsmith.base.errors import RecipeError
from tinsmith.base.progress import SilentProgress
from tinsmith.gguf.family import context_length
from tinsmith.gguf.writer import write_gguf
from tinsmith.model import families
from tinsmith.model.families import FAMILIES, configure, count_parameters, create, published, shape_of
from tinsmith.model.load import load_model
from tinsmith.model.presets import PRESETS, Preset
from tinsmith.parity.gate import check_parity
from tinsmith.recipe import PackageConfig
from tinsmith.train.attention import check_output_layer
from tinsmith.train.checkpoint import save_trained
from tiny_model import TEXTS, tiny_family, tiny_tokenizer
from tiny_training import config, make_engine, write_tokens

IDS = torch.tensor([[1, 40, 50, 60, 70, 80, 90]])
SIZES = [(1_000_000, 400), (125_000_000, 49_152), (3_000_000_000, 49_152)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("parameters", "vocabulary"), SIZES)
def test_shapes_keep_the_rule_and_are_counted_exactly(family: str, parameters: int, vocabulary: int) -> None:
    shape = shape_of(family, parameters, vocabulary)
    assert shape.parameters == pytest.approx(parameters, rel=0.1)
    assert shape.hidden % (64 if shape.hidden < 1024 else 256) == 0
    assert shape.heads * shape.head == shape.hidden
    assert shape.heads % shape.keys == 0
    assert shape.layers <= 32
    facts = FAMILIES[family].configure(shape)
    facts.vocab_size = vocabulary
    assert count_parameters(facts) == shape.parameters
    # The table of docs/training.md, sentence by sentence.
    assert shape.head == (64 if shape.hidden < 2048 else 128)
    gated = family in ("llama", "qwen3", "gemma3")
    step = (64 if shape.hidden < 1024 else 256) if gated else 1
    assert abs(shape.inner - shape.hidden * (8 / 3 if gated else 4)) <= step / 2
    wanted = shape.heads / {"qwen3": 2, "gemma3": 4}.get(family, 1)
    divisors = [keys for keys in range(1, shape.heads + 1) if shape.heads % keys == 0 and keys <= wanted]
    assert shape.keys == max(divisors, default=1)
    assert getattr(facts, "tie_word_embeddings", True) == (family != "phi")


@pytest.mark.parametrize(
    ("parameters", "hidden", "layers"),
    [(15_000_000, 192, 13), (125_000_000, 640, 19), (1_000_000_000, 1792, 23)],
)
def test_shapes_for_the_base_vocabulary(parameters: int, hidden: int, layers: int) -> None:
    shape = shape_of("llama", parameters, 49_152)
    assert (shape.hidden, shape.layers) == (hidden, layers)


@pytest.mark.parametrize("name", PRESETS)
def test_published_shapes_have_the_published_parameters(name: str) -> None:
    assert count_parameters(published(name)) == PRESETS[name].parameters


def test_the_models_that_are_named_by_their_size_have_it() -> None:
    said = {"llama-2-7b": 6.7, "llama-2-70b": 69, "phi-2": 2.7, "gpt3-175b": 175, "bloom-176b": 176.2}
    for name, billions in said.items():
        assert PRESETS[name].parameters / 1e9 == pytest.approx(billions, rel=0.03)


def test_a_published_vocabulary_stays_only_where_the_tokenizer_fits() -> None:
    assert configure("phi-2", 50_295).vocab_size == 51_200
    assert configure("phi-2", 16_000).vocab_size == 16_000
    assert configure("phi-2", 60_000).vocab_size == 60_000
    assert configure("phi-2", 16_000).hidden_size == 2560


@pytest.mark.parametrize("family", FAMILIES)
def test_fresh_weights_are_of_the_family_and_size(family: str) -> None:
    tokenizer = tiny_tokenizer()
    model = create(f"{family}@1m", tokenizer)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(1e6, rel=0.1)
    facts = model.config
    assert facts.model_type.removesuffix("_text") == family
    assert facts.tie_word_embeddings == (family != "phi")
    assert (facts.vocab_size, facts.bos_token_id, facts.eos_token_id) == (len(tokenizer), 1, 2)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    # Padding is the end of text here, and that is a token to learn.
    assert model.get_input_embeddings().padding_idx is None
    dropouts = {key: value for key, value in facts.to_dict().items() if key.endswith(("pdrop", "dropout"))}
    dropouts.pop("summary_first_dropout", None)  # of a head that no causal model has
    assert not any(dropouts.values())


def test_a_fresh_model_with_capped_scores_attends_by_the_code_that_caps_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
    tiny = Preset("gemma2", 0, {**sizes, "num_hidden_layers": 2, "head_dim": 16, "vocab_size": 400})
    monkeypatch.setitem(PRESETS, "tiny", tiny)
    assert create("tiny", tiny_tokenizer()).config._attn_implementation == "eager"


def test_the_seed_decides_the_weights_and_nothing_else_does() -> None:
    tokenizer = tiny_tokenizer()
    state = torch.random.get_rng_state()
    one, same, other = (create("llama@300k", tokenizer, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    weights = [model.get_input_embeddings().weight for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("llama", "neither family@size nor a published shape.*\n.*gpt3-175b"),
        ("llama@15", "neither family@size"),
        ("mamba@15m", "unknown family 'mamba'.*\n.*llama, qwen3, phi, gpt2, bloom, gemma3"),
        ("llama@10k", "ask for at least"),
    ],
)
def test_what_cannot_be_made_is_named(name: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        create(name, tiny_tokenizer())


def test_weights_beyond_the_memory_are_refused_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "free_bytes", lambda: 3_900_000)
    made: list[str] = []
    whole = AutoModelForCausalLM.from_config
    monkeypatch.setattr(
        families.AutoModelForCausalLM,
        "from_config",
        lambda *a, **k: made.append(str(torch.get_default_device())) or whole(*a, **k),
    )
    with pytest.raises(RecipeError, match=r"weights of llama@1m take 0.0 GB in float32; 0.0 GB of memory"):
        create("llama@1m", tiny_tokenizer())
    assert made == ["meta"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trains_saves_opens_exports_agrees_and_is_served(family: str, tmp_path: Path) -> None:
    model, tokenizer = tiny_family(family), tiny_tokenizer()
    engine = make_engine(write_tokens(tmp_path / "tokens", documents=12), config("2 steps"), model)
    check_output_layer(model, engine.mixture.components[0].batches.step(0)[0])
    losses = []
    for _ in range(4):
        losses.append(engine.gradients(0)["loss"])
        engine.update(1e-3)
    assert losses == sorted(losses, reverse=True)
    trained = tmp_path / "trained"
    save_trained(model, tokenizer, trained)
    opened = AutoModelForCausalLM.from_pretrained(trained, local_files_only=True)
    with torch.inference_mode():
        expected = model.eval()(IDS).logits
        assert torch.equal(opened(IDS).logits, expected)

    ggufs = {name: tmp_path / f"model-{name}.gguf" for name in ("f16", "q8_0", "q4_k_m")}
    for name, path in ggufs.items():
        write_gguf(trained, path, name)
    again = load_model(ggufs["f16"])
    assert context_length(again.config) == context_length(model.config) == 2048
    with torch.inference_mode():
        torch.testing.assert_close(again(IDS).logits, expected, rtol=0.02, atol=0.02)

    # The gate asks llama.cpp's running server, by text, by chat and by completion. Random weights know few plain words,
    # so their likeliest token is often a near tie.
    asked = PackageConfig(parity_prompts=9, parity_positions=200, min_top1={"q4_k_m": 0.5, "q8_0": 0.8})
    found = check_parity(trained, trained, ggufs, TEXTS, asked, SilentProgress(), seed=3)
    assert set(found["formats"]) == {"saved", "f16", "q8_0", "q4_k_m", "server"}
    assert found["formats"]["f16"]["mean_kl"] < 5e-5


def test_the_recipe_knows_the_families_there_are() -> None:
    assert tuple(FAMILIES) == recipe.FAMILIES
