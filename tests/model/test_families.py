from __future__ import annotations

from pathlib import Path

import pytest
import torch

from small_vocabulary import write_bpe
from tinsmith.foundation.errors import RecipeError
from tinsmith.model.families import create, llama_shape
from tinsmith.tokens.tokenizer import load_tokenizer


@pytest.mark.parametrize("name", ["llama@300k", "llama@1.5m", "llama@8m"])
def test_the_size_is_met_and_the_shape_is_plain(tmp_path: Path, name: str) -> None:
    write_bpe(tmp_path / "v.gguf")
    tokenizer = load_tokenizer(tmp_path / "v.gguf")
    model = create(name, tokenizer)
    number = float(name[6:-1]) * {"k": 1e3, "m": 1e6}[name[-1]]
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(number, rel=0.1)
    config = model.config
    assert config.hidden_size % 64 == 0
    assert config.hidden_size // config.num_attention_heads == 64
    assert config.tie_word_embeddings
    assert config.vocab_size == len(tokenizer)
    assert (config.bos_token_id, config.eos_token_id) == (1, 2)
    assert model.dtype == torch.float32


@pytest.mark.parametrize(
    ("parameters", "vocabulary", "hidden", "layers"),
    [(15_000_000, 49_152, 192, 13), (125_000_000, 49_152, 640, 19)],
)
def test_shapes_for_the_base_vocabulary(parameters: int, vocabulary: int, hidden: int, layers: int) -> None:
    shape = llama_shape(parameters, vocabulary)
    assert (shape.hidden, shape.layers) == (hidden, layers)
    assert shape.parameters == pytest.approx(parameters, rel=0.1)


def test_the_seed_decides_the_weights_and_nothing_else_does(tmp_path: Path) -> None:
    write_bpe(tmp_path / "v.gguf")
    tokenizer = load_tokenizer(tmp_path / "v.gguf")
    state = torch.random.get_rng_state()
    one, same, other = (create("llama@300k", tokenizer, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    weights = [model.get_input_embeddings().weight for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("llama", "is no family@size"),
        ("llama@15", "is no family@size"),
        ("mamba@15m", "unknown family 'mamba'"),
        ("llama@10k", "ask for at least"),
    ],
)
def test_what_cannot_be_made_is_named(tmp_path: Path, name: str, message: str) -> None:
    write_bpe(tmp_path / "v.gguf")
    with pytest.raises(RecipeError, match=message):
        create(name, load_tokenizer(tmp_path / "v.gguf"))
