"""Smaller models out of bigger ones: what is cut is what costs least, and cutting what does nothing costs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    PhiConfig,
    PreTrainedModel,
    Qwen3Config,
)

from tinsmith.base.errors import RecipeError, TrainingError
from tinsmith.base.progress import SilentProgress
from tinsmith.gguf.writer import write_gguf
from tinsmith.model.blocks import Skipper, blocks_of, sample_loss
from tinsmith.model.export import save_model
from tinsmith.model.load import load_model, parameter_count
from tinsmith.model.prune import drop_layers, narrow_mlp, prune, prune_cached, slice_vocabulary
from tinsmith.recipe import StreamlineConfig
from tiny_model import tiny_tokenizer

VOCABULARY, LAYERS, INNER = 400, 4, 128
_SIZES: dict[str, Any] = {"vocab_size": VOCABULARY, "num_hidden_layers": LAYERS, "hidden_size": 64}
_GATED = {
    **_SIZES,
    "intermediate_size": INNER,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 2,
}
CONFIGS: dict[str, Any] = {
    "llama": lambda: LlamaConfig(**_GATED),
    "qwen3": lambda: Qwen3Config(**_GATED, head_dim=16, tie_word_embeddings=True),
    "gemma2": lambda: Gemma2Config(
        **_GATED, head_dim=16, sliding_window=8, attn_logit_softcapping=0.5, attn_implementation="eager"
    ),
    "gemma3": lambda: Gemma3TextConfig(
        **_GATED, head_dim=16, sliding_window=8, layer_types=["sliding_attention", "full_attention"] * 2
    ),
    "phi": lambda: PhiConfig(**_SIZES, intermediate_size=INNER, num_attention_heads=4),
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCABULARY,
        n_layer=LAYERS,
        n_embd=64,
        n_head=4,
        n_inner=INNER,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "bloom": lambda: BloomConfig(vocab_size=VOCABULARY, n_layer=LAYERS, hidden_size=64, n_head=4),
}
# How each family writes the inner channels of its MLPs.
WRITERS = {"phi": ("fc1",), "gpt2": ("c_fc",)}
KEPT = [1, 2, 5, *range(20, 300, 2)]


def drawn(vocabulary: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(3, vocabulary, (24,), generator=generator) for _ in range(3)]


SAMPLE = drawn(VOCABULARY)


pytestmark = pytest.mark.usefixtures("one_thread")


def build(family: str) -> PreTrainedModel:
    """Make a random model in which every block, channel and bias changes the answer."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[family]()).eval()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.ndim == 2:
                weights.normal_(0, 0.1)
            elif name.endswith("bias"):
                weights.normal_(0, 0.3)
    return model


def own_words(model: PreTrainedModel) -> list[torch.Tensor]:
    """Return sequences that a model wrote itself: another would expect them less."""
    torch.manual_seed(1)
    start = torch.arange(5, 11)[:, None]
    options = {"do_sample": True, "top_k": 0, "pad_token_id": 2, "eos_token_id": None}
    return list(model.generate(start, attention_mask=torch.ones_like(start), max_new_tokens=30, **options))


def logits(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids[None], use_cache=False).logits[0]


def make_identity(model: PreTrainedModel, place: int) -> None:
    """Make a block add nothing to the hidden state."""
    with torch.no_grad():
        for name, weights in blocks_of(model)[1][place].named_parameters():
            if "norm" not in name and not name.startswith("ln"):
                weights.zero_()


@pytest.mark.parametrize("family", CONFIGS)
def test_with_fewer_tokens_the_logits_of_the_others_stay(family: str, tmp_path: Path) -> None:
    model = build(family)
    smaller = slice_vocabulary(model, KEPT)
    new = drawn(len(KEPT))[0]
    expected = logits(model, torch.tensor(KEPT)[new])[:, KEPT]
    torch.testing.assert_close(logits(smaller, new), expected, rtol=0, atol=1e-5)
    smaller.save_pretrained(tmp_path)
    opened = load_model(tmp_path)
    torch.testing.assert_close(logits(opened, new), logits(smaller, new), rtol=0, atol=1e-6)
    assert opened.config.vocab_size == len(opened.get_output_embeddings().weight) == len(KEPT)


def test_special_tokens_get_their_new_numbers() -> None:
    model = build("llama")
    model.config.bos_token_id, model.config.eos_token_id, model.config.pad_token_id = 5, [2, 21, 20], 3
    config = slice_vocabulary(model, KEPT).config
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (2, [1, 3], None)


def test_a_token_that_the_model_does_not_have_is_an_error() -> None:
    with pytest.raises(TrainingError, match="the token 400, and the model does not"):
        slice_vocabulary(build("llama"), [3, 400])


@pytest.mark.parametrize("family", CONFIGS)
def test_a_layer_that_does_nothing_is_the_one_that_goes_and_costs_nothing(family: str) -> None:
    model = build(family)
    gone = [2, 3] if family in ("gemma2", "gemma3") else [2]  # its layers of two kinds alternate
    for place in gone:
        make_identity(model, place)
    sample = own_words(model)
    smaller, facts = drop_layers(model, LAYERS - len(gone), sample, SilentProgress())
    assert facts["kept"] == [place for place in range(LAYERS) if place not in gone]
    for place in gone:
        assert facts["influence"][place] == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(logits(smaller, SAMPLE[0]), logits(model, SAMPLE[0]), rtol=0, atol=1e-5)
    assert facts["loss"] == pytest.approx(sample_loss(model, sample), abs=1e-5)
    assert smaller.config.num_hidden_layers == len(blocks_of(smaller)[1]) == LAYERS - len(gone)
    if types := getattr(smaller.config, "layer_types", None):
        assert types == model.config.layer_types[: LAYERS - len(gone)]


@pytest.mark.parametrize("family", ["llama", "bloom"])
def test_layers_go_one_by_one_each_time_the_one_that_costs_least(family: str) -> None:
    model = build(family)
    smaller, facts = drop_layers(model, 2, SAMPLE, SilentProgress())
    left = list(range(LAYERS))
    for cut in facts["cuts"]:
        plainly = {}
        for place in left:
            blocks = blocks_of(model)[1]
            chosen = torch.nn.ModuleList(blocks[other] for other in left if other != place)
            plainly[place] = loss_with(model, chosen)
        assert {tried["layers"][0]: tried["loss"] for tried in cut["tried"]} == pytest.approx(
            plainly, abs=1e-5
        )
        assert cut["layers"] == [min(plainly, key=plainly.__getitem__)]
        left.remove(cut["layers"][0])
    assert facts["kept"] == left
    assert facts["loss"] == pytest.approx(sample_loss(smaller, SAMPLE), abs=1e-5)


def loss_with(model: PreTrainedModel, blocks: torch.nn.ModuleList) -> float:
    """Return the loss with other blocks, by taking the others out of the model."""
    name, before = blocks_of(model)
    model.set_submodule(name, blocks)
    loss = sample_loss(model, SAMPLE)
    model.set_submodule(name, before)
    return loss


def test_only_layers_of_little_influence_are_tried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinsmith.model.prune._CANDIDATES", 2)
    model = build("llama")
    skipper = Skipper(model, SAMPLE)
    skipper.read()
    ranked = sorted(range(LAYERS), key=lambda place: skipper.influence(range(place, place + 1)))
    _, facts = drop_layers(model, 3, SAMPLE, SilentProgress())
    assert [tried["layers"] for tried in facts["cuts"][0]["tried"]] == [[ranked[0]], [ranked[1]]]


def test_influence_is_one_less_the_cosine_of_the_states_around_a_layer() -> None:
    model = build("llama")
    skipper = Skipper(model, SAMPLE)
    skipper.read()
    with torch.no_grad():
        states = [model(input_ids=ids[None], output_hidden_states=True).hidden_states for ids in SAMPLE]
    cosines = [torch.cosine_similarity(each[1][0], each[2][0]) for each in states]
    assert skipper.influence(range(1, 2)) == pytest.approx(1 - float(torch.cat(cosines).mean()), abs=1e-6)


def test_a_family_whose_layers_know_their_numbers_is_refused() -> None:
    torch.manual_seed(0)
    counting = GPT2Config(
        vocab_size=VOCABULARY, n_layer=4, n_embd=64, n_head=4, scale_attn_by_inverse_layer_idx=True
    )
    model = AutoModelForCausalLM.from_config(counting).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(8)
    with pytest.raises(TrainingError, match="depend on their number"):
        drop_layers(model, 3, SAMPLE, SilentProgress())


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3", "phi", "gpt2"])
def test_channels_that_are_never_active_go_and_cost_nothing(family: str, tmp_path: Path) -> None:
    model = build(family)
    silent = torch.randperm(INNER, generator=torch.Generator().manual_seed(1))[:32]
    with torch.no_grad():
        for block in blocks_of(model)[1]:
            for name in WRITERS.get(family, ("gate_proj", "up_proj")):
                for weights in getattr(block.mlp, name).parameters():
                    weights.index_fill_(weights.ndim - 1 if family == "gpt2" else 0, silent, 0)
    smaller, facts = narrow_mlp(model, INNER - 32, SAMPLE)
    assert facts["share_kept"] == pytest.approx([1.0] * LAYERS)
    torch.testing.assert_close(logits(smaller, SAMPLE[0]), logits(model, SAMPLE[0]), rtol=0, atol=1e-5)
    smaller.save_pretrained(tmp_path)
    opened = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert parameter_count(opened) < parameter_count(model)
    torch.testing.assert_close(logits(opened, SAMPLE[1]), logits(model, SAMPLE[1]), rtol=0, atol=1e-5)


def test_sizes_that_are_not_there_are_named() -> None:
    model = build("llama")
    with pytest.raises(RecipeError, match="has 4 layers, so keeping 4 removes none") as caught:
        drop_layers(model, 4, SAMPLE, SilentProgress())
    assert "train.streamline.layers" in str(caught.value)
    with pytest.raises(RecipeError, match="are 128 wide, so 160 would not shrink them") as caught:
        narrow_mlp(model, 160, SAMPLE)
    assert "train.streamline.mlp" in str(caught.value)
    with pytest.raises(RecipeError, match="blocks of 32 channels, and 100 is not a multiple") as caught:
        narrow_mlp(model, 100, SAMPLE)
    assert "set it to 96" in str(caught.value)
    with pytest.raises(RecipeError, match="repeat with a period of 2") as caught:
        drop_layers(build("gemma3"), 3, SAMPLE, SilentProgress())
    assert "set it to one of [2]" in str(caught.value)
    with pytest.raises(RecipeError, match="the MLPs of a bloom cannot be narrowed"):
        narrow_mlp(build("bloom"), 64, SAMPLE)


def test_a_streamlined_model_opens_everywhere_and_its_cost_is_told(tmp_path: Path) -> None:
    model = build("llama")
    before, sample = parameter_count(model), drawn(len(KEPT))
    config = StreamlineConfig(vocabulary=len(KEPT), layers=3, mlp=96)
    smaller, report = prune(model, config, sample, KEPT, SilentProgress())
    assert report["parameters_before"] == before
    assert report["parameters_after"] == parameter_count(smaller) < before
    assert report["loss_before"] == pytest.approx(
        sample_loss(model, [torch.tensor(KEPT)[ids] for ids in sample])
    )
    assert report["loss_after_surgery"] == pytest.approx(sample_loss(smaller, sample))
    assert [(report[name]["before"], report[name]["after"]) for name in ("vocabulary", "layers", "mlp")] == [
        (VOCABULARY, len(KEPT)), (LAYERS, 3), (INNER, 96)
    ]  # fmt: skip
    again, second = prune(build("llama"), config, sample, KEPT, SilentProgress())
    assert {**report, "seconds": 0} == {**second, "seconds": 0}
    assert all(torch.equal(a, b) for a, b in zip(smaller.parameters(), again.parameters(), strict=True))


def test_a_shallower_narrower_model_becomes_gguf(tmp_path: Path) -> None:
    config = StreamlineConfig(layers=2, mlp=96)
    smaller, _ = prune(build("llama"), config, SAMPLE, None, SilentProgress())
    save_model(smaller, tiny_tokenizer(), tmp_path / "model", "float32")
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    torch.testing.assert_close(logits(opened, SAMPLE[0]), logits(smaller, SAMPLE[0]), rtol=0, atol=1e-6)
    write_gguf(tmp_path / "model", tmp_path / "m.gguf", "q8_0")
    read = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", dtype=torch.float32)
    assert (read.config.num_hidden_layers, read.config.intermediate_size) == (2, 96)
    torch.testing.assert_close(logits(read, SAMPLE[0]), logits(smaller, SAMPLE[0]), rtol=0, atol=0.2)


def test_surgery_is_done_once_and_then_kept(tmp_path: Path) -> None:
    config = StreamlineConfig(layers=3)
    first, report = prune_cached(lambda: build("llama"), config, SAMPLE, None, tmp_path, SilentProgress())
    again, same = prune_cached(
        lambda: pytest.fail("done again"), config, SAMPLE, None, tmp_path, SilentProgress()
    )
    assert report == same
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
