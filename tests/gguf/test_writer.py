"""A GGUF file opens in gguf's own reader and in transformers, and its header describes the model."""

import shutil

import libgguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import gguf
from tinsmith.base.assets import is_cached, resolve_model
from tinsmith.base.errors import AssetError
from tinsmith.gguf import writer
from tinsmith.gguf.four_bit_levels import as_q4_1
from tinsmith.gguf.header import read_metadata
from tinsmith.gguf.metadata import read_stop_tokens, refuse_unwritable_tokenizer
from tinsmith.gguf.writer import write_gguf
from tinsmith.model.export import save_model
from tinsmith.model.load import load_model
from tinsmith.tokens.tokenizer import load_tokenizer
from tiny_model import CHATML, changed_copy, tiny_model, tiny_tokenizer, write_trained

IDS = torch.tensor([[1, 40, 50, 60, 70, 80, 90]])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return write_trained(tmp_path_factory.mktemp("trained") / "model")


@pytest.mark.parametrize(
    ("tied", "format", "bound"), [(True, "f16", 1e-3), (False, "f16", 1e-3), (True, "q8_0", 0.03)]
)
def test_transformers_reads_the_gguf_back(tmp_path, tied, format, bound):
    model = tiny_model(tied=tied)
    save_model(model, tiny_tokenizer(), tmp_path / "model", "float32")
    write_gguf(tmp_path / "model", tmp_path / "m.gguf", format)
    opened = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", dtype=torch.float32)
    with torch.inference_mode():
        ours, theirs = model(IDS).logits.log_softmax(-1), opened(IDS).logits.log_softmax(-1)
    assert float((ours.exp() * (ours - theirs)).sum(-1).mean()) < bound


def test_the_header_says_what_the_model_is(trained, tmp_path):
    report = write_gguf(trained, tmp_path / "m.gguf", "q8_0", name="tiny")
    facts = read_metadata(tmp_path / "m.gguf")
    assert report.bytes == (tmp_path / "m.gguf").stat().st_size
    assert facts["general.name"] == "tiny"
    assert facts["general.file_type"] == 7
    assert facts["llama.rope.freq_base"] == 100.0
    assert facts["llama.attention.head_count_kv"] == 2
    assert facts["llama.rope.dimension_count"] == 16
    assert facts["tokenizer.ggml.pre"] == "smollm"
    assert facts["tokenizer.ggml.token_type"][:4] == [3, 3, 3, 1]
    assert facts["tokenizer.ggml.eos_token_id"] == 2
    assert facts["tokenizer.ggml.add_bos_token"] is False
    assert facts["tokenizer.chat_template"] == CHATML
    vocabulary = load_tokenizer(tmp_path / "m.gguf").get_vocab()
    assert tiny_tokenizer().get_vocab().items() <= vocabulary.items()


def test_padded_vocabularies_and_two_stop_tokens(tmp_path):
    model = tiny_model()
    model.resize_token_embeddings(416)
    model.generation_config.eos_token_id = [2, 0]
    save_model(model, tiny_tokenizer(adds_bos=True), tmp_path / "model", "float32")
    write_gguf(tmp_path / "model", tmp_path / "m.gguf", "f16")
    facts = read_metadata(tmp_path / "m.gguf")
    assert facts["tokenizer.ggml.tokens"][-1] == "[PAD415]"
    assert facts["tokenizer.ggml.token_type"][-1] == 5
    assert facts["tokenizer.ggml.eot_token_id"] == 0
    assert facts["tokenizer.ggml.add_bos_token"] is True


def test_the_reference_file_says_the_same_of_the_same_model(tmp_path):
    if not is_cached("smollm2-135m"):
        pytest.skip("smollm2-135m is not fetched")
    reference = resolve_model("smollm2-135m").path
    expected = read_metadata(reference)
    tokenizer = load_tokenizer(reference)
    model = tiny_model()
    # The same vocabulary under a small body: the tokenizer's part of the header must be that of the original.
    model.resize_token_embeddings(len(tokenizer))
    save_model(model, tokenizer, tmp_path / "model", "bfloat16")
    write_gguf(tmp_path / "model", tmp_path / "m.gguf", "q8_0")
    facts = read_metadata(tmp_path / "m.gguf")
    differing = {key for key in expected if key.startswith("tokenizer.") and facts.get(key) != expected[key]}
    assert differing == set()
    assert {key for key in expected if key.startswith("llama.")} <= facts.keys()


def test_tiny_widths_are_refused_with_the_reason(tmp_path):
    save_model(tiny_model(hidden=48), tiny_tokenizer(), tmp_path / "model", "float32")
    for format in ("q8_0", "q4_k_m"):
        with pytest.raises(
            AssetError, match=f"{format} needs rows of a multiple of 32 values; those of .* have 48"
        ):
            write_gguf(tmp_path / "model", tmp_path / "m.gguf", format)
    assert write_gguf(tmp_path / "model", tmp_path / "m.gguf", "f16").types == {"F16": 15, "F32": 5}


@pytest.mark.parametrize(
    ("file", "facts", "reason"),
    [
        (
            "config.json",
            {"model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"]},
            "architecture is gpt_neox; a GGUF file can be written for llama",
        ),
        ("config.json", {"hidden_act": "gelu"}, "activation is gelu"),
        (
            "config.json",
            {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 100.0}},
            r"positions are scaled \(dynamic\)",
        ),
        (
            "tokenizer.json",
            {"normalizer": {"type": "Lowercase"}},
            r"changes text before splitting it \(Lowercase\)",
        ),
        (
            "tokenizer.json",
            {
                "pre_tokenizer": {
                    "type": "ByteLevel",
                    "add_prefix_space": False,
                    "trim_offsets": True,
                    "use_regex": False,
                }
            },
            "no name for how its tokenizer splits text",
        ),
    ],
)
def test_what_cannot_be_written_is_refused(trained, tmp_path, file, facts, reason):
    changed = changed_copy(trained, tmp_path / "other", file, **facts)
    with pytest.raises(AssetError, match=reason):
        write_gguf(changed, tmp_path / "m.gguf", "f16")
    assert not list(tmp_path.glob("*m.gguf*"))
    if file == "tokenizer.json":
        refuse_unwritable_tokenizer(trained)
        with pytest.raises(AssetError, match=reason):
            refuse_unwritable_tokenizer(changed)


def test_stop_tokens_are_those_of_the_model_up_to_three(trained, tmp_path):
    three = changed_copy(trained, tmp_path / "three", "generation_config.json", eos_token_id=[2, 0, 1])
    write_gguf(three, tmp_path / "m.gguf", "f16")
    facts = read_metadata(tmp_path / "m.gguf")
    assert [facts[f"tokenizer.ggml.{name}_token_id"] for name in ("eos", "eot", "eom")] == [2, 0, 1]
    assert load_model(tmp_path / "m.gguf").generation_config.eos_token_id == [2, 0, 1]
    assert load_tokenizer(tmp_path / "m.gguf").eot_token_id == 0
    four = changed_copy(trained, tmp_path / "four", "generation_config.json", eos_token_id=[2, 0, 1, 9])
    with pytest.raises(AssetError, match=r"stops on 4 tokens .*room for 3"):
        write_gguf(four, tmp_path / "m.gguf", "f16")
    # Where the generation's own file names none, those of config.json count.
    none = changed_copy(trained, tmp_path / "none", "generation_config.json", eos_token_id=None)
    assert read_stop_tokens(none) == [2]
    nowhere = changed_copy(none, tmp_path / "nowhere", "config.json", eos_token_id=None)
    with pytest.raises(AssetError, match="names no stop token"):
        write_gguf(nowhere, tmp_path / "m.gguf", "f16")


def test_a_write_that_breaks_off_leaves_the_old_file(trained, tmp_path, monkeypatch):
    path = tmp_path / "m.gguf"
    path.write_bytes(b"old")

    def fail(array, kind):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "quantise", fail)
    with pytest.raises(OSError, match="No space"):
        write_gguf(trained, path, "q8_0")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["m.gguf"]


def test_sharded_weights_are_read_whole(trained, tmp_path):
    write_gguf(trained, tmp_path / "one.gguf", "f16")
    tiny_model().save_pretrained(tmp_path / "shards", max_shard_size="100KB")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"):
        shutil.copy(trained / name, tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    write_gguf(tmp_path / "shards", tmp_path / "many.gguf", "f16")
    first, second = (
        {t.name: np.array(t.data) for t in gguf.GGUFReader(tmp_path / name).tensors}
        for name in ("one.gguf", "many.gguf")
    )
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_weight_out_of_range_is_named(tmp_path):
    model = tiny_model()
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = 1e6
    save_model(model, tiny_tokenizer(), tmp_path / "whole", "float32")
    with pytest.raises(AssetError, match="out of the range of 16-bit"):
        write_gguf(tmp_path / "whole", tmp_path / "m.gguf", "f16")
    assert not list(tmp_path.glob("*m.gguf*"))


def test_no_path_of_this_machine_is_written(trained, tmp_path):
    write_gguf(trained, tmp_path / "m.gguf", "f16")
    assert str(trained.parent).encode() not in (tmp_path / "m.gguf").read_bytes()


def test_an_output_matrix_that_repeats_tied_embeddings_is_left_out(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "model")
    weights = load_file(trained / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    write_gguf(tmp_path / "model", tmp_path / "m.gguf", "f16")
    assert "output.weight" not in {tensor.name for tensor in gguf.GGUFReader(tmp_path / "m.gguf").tensors}


def on_16_levels(shape: tuple[int, int], seed: int, levels: int = 16) -> np.ndarray:
    """Return values as a file of 4 bits holds them: in blocks of 32, a lowest value and equal steps."""
    draw = np.random.default_rng(seed)
    blocks = (shape[0], shape[1] // 32, 1)
    steps = draw.uniform(0.001, 0.02, blocks).astype(np.float16).astype(np.float32)
    lowest = draw.uniform(-0.2, -0.1, blocks).astype(np.float16).astype(np.float32)
    return (steps * draw.integers(0, levels, (*blocks[:2], 32)) + lowest).reshape(shape).astype(np.float32)


@pytest.mark.parametrize(("levels", "dtype", "bound"), [(16, np.float32, 2e-4), (6, np.float16, 4e-4)])
def test_a_matrix_on_16_levels_is_written_as_it_was(levels, dtype, bound):
    array = on_16_levels((40, 96), 1, levels).astype(dtype).astype(np.float32)
    read = gguf.dequantize(as_q4_1(array), gguf.GGMLQuantizationType.Q4_1)
    assert np.abs(read - array).max() < bound
    # Quantised in the usual way, a block that does not use all levels is rounded.
    usual = gguf.dequantize(
        libgguf.quantize_rows(array, gguf.GGMLQuantizationType.Q5_0), gguf.GGMLQuantizationType.Q5_0
    )
    assert np.abs(usual - array).max() > 5 * bound
    moved = array.copy()
    moved[-1, -32:] += np.random.default_rng(2).normal(0, 0.01, 32)
    assert as_q4_1(moved) is None
    # What 16 bits cannot hold would be rounded too: an overflow, or a step far below the lowest value.
    assert as_q4_1(array * np.float32(1e8)) is None
    assert as_q4_1(array * np.float32(1e-6)) is None
    assert as_q4_1(np.ones((2, 64), np.float32)) is not None
    assert as_q4_1(np.ones((2, 40), np.float32)) is None


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_what_a_short_training_moved_is_not_rounded_away(dtype):
    # A second of training moves weights by hundredths of a step, all in one direction: most of what it taught.
    steps = np.float32(2**-7)
    array = steps * np.random.default_rng(1).integers(-8, 8, (40, 96)).astype(np.float32)
    array[:, ::32], array[:, 1::32] = -8 * steps, 7 * steps
    assert as_q4_1(array) is not None
    moved = (array + np.float32(0.02) * steps).astype(dtype).astype(np.float32)
    moved[:, 5] = array[:, 5]
    assert as_q4_1(moved) is None
    # Saved in bfloat16, the same change lies within what saving rounds.
    saved = torch.from_numpy(moved).to(torch.bfloat16).to(torch.float32).numpy()
    read = gguf.dequantize(as_q4_1(saved), gguf.GGMLQuantizationType.Q4_1)
    assert np.abs(read - saved).max() < 0.06 * steps


def test_a_block_of_the_outer_levels_alone_is_written_exactly():
    block = np.tile(np.array([0, 1, 14, 15], np.float32), 8)[None]  # fourteen steps would nearly fit
    assert np.array_equal(gguf.dequantize(as_q4_1(block), gguf.GGMLQuantizationType.Q4_1), block)


def test_only_what_was_trained_is_quantised_again(tmp_path):
    model = tiny_model()
    held = [name for name, weight in model.named_parameters() if weight.ndim == 2 and "layers.0" in name]
    with torch.no_grad():
        for name in held:
            weight = model.get_parameter(name)
            weight.copy_(torch.from_numpy(on_16_levels(tuple(weight.shape), 3)))
    save_model(model, tiny_tokenizer(), tmp_path / "model", "float16")
    report = write_gguf(tmp_path / "model", tmp_path / "m.gguf", "q4_k_m")
    assert report.types["Q4_1"] == len(held)
    assert not any("blk.0" in row["tensor"] for row in report.substituted)
    opened = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", dtype=torch.float32)
    for name in held:
        assert torch.allclose(opened.get_parameter(name), model.get_parameter(name), atol=4e-4)
    assert "Q4_1" not in write_gguf(tmp_path / "model", tmp_path / "8.gguf", "q8_0").types


def test_what_was_trained_on_four_bits_has_six_or_more(tmp_path):
    model = tiny_model()
    for name, weight in model.named_parameters():
        if weight.ndim == 2 and "layers.1" not in name:
            weight.data = torch.from_numpy(on_16_levels(tuple(weight.shape), 3))
    save_model(model, tiny_tokenizer(), tmp_path / "model", "float32")
    report = write_gguf(tmp_path / "model", tmp_path / "m.gguf", "q4_k_m")
    assert set(report.types) == {"F32", "Q4_1", "Q8_0"}
    assert {(row["format"], row["wanted"], row["used"]) for row in report.substituted} == {
        ("q4_k_m", "Q6_K", "Q8_0")
    }
    opened = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", dtype=torch.float32)
    with torch.no_grad():
        assert (opened(IDS).logits - model(IDS).logits).abs().max() < 0.2
