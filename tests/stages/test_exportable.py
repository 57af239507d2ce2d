"""A base that could not be exported is refused by `plan` and by `build`, before a document is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.base_families import base_configs, random_base
from safetensors.torch import load_file, save_file
from transformers import GPTNeoXConfig, LlamaConfig

from small_vocabulary import write_bpe
from tinsmith.base.errors import AssetError
from tinsmith.base.progress import SilentProgress
from tinsmith.gguf.writer import write_gguf
from tinsmith.pipeline.build import build
from tinsmith.pipeline.describe import describe_plan
from tinsmith.recipe import Recipe
from tinsmith.stages.package.exportable import require_exportable
from tinsmith.tokens.tokenizer import load_base_tokenizer
from tinsmith.train.checkpoint import save_trained
from tiny_model import tiny_tokenizer, write_trained

FORMATS = ("q4_k_m", "q8_0")


def recipe(base: Path, tmp_path: Path, **package: object) -> Recipe:
    (tmp_path / "documents").mkdir(exist_ok=True)
    (tmp_path / "documents" / "a.txt").write_text("The licensee pays the fee.")
    return Recipe.model_validate(
        {
            "name": "mine",
            "runs": str(tmp_path / "runs"),
            "ingest": {"sources": [str(tmp_path / "documents")]},
            "model": {"base": str(base)},
            "package": package,
        }
    )


def narrow(**sizes: int) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        facts = LlamaConfig(vocab_size=400, num_hidden_layers=2, num_attention_heads=4, **sizes)
        save_trained(random_base(facts), tiny_tokenizer(), path)
        return path

    return make


def other_family(path: Path) -> Path:
    facts = GPTNeoXConfig(
        vocab_size=400, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4
    )
    save_trained(random_base(facts), tiny_tokenizer(), path)
    return path


def lying(path: Path) -> Path:
    write_trained(path)
    facts = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**facts, "intermediate_size": 96}))
    return path


def too_many_tokens(path: Path) -> Path:
    write_trained(path)
    saved = json.loads((path / "tokenizer.json").read_text())
    saved["model"]["vocab"] |= {f"piece {number}": number for number in range(373, 413)}
    (path / "tokenizer.json").write_text(json.dumps(saved))
    return path


def too_many_stops(path: Path) -> Path:
    write_trained(path)
    facts = json.loads((path / "generation_config.json").read_text())
    (path / "generation_config.json").write_text(json.dumps({**facts, "eos_token_id": [2, 0, 1, 7]}))
    return path


def another_tensor(path: Path) -> Path:
    write_trained(path)
    weights = load_file(path / "model.safetensors")
    weights["model.layers.0.adapter.weight"] = weights["model.norm.weight"].clone()
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    return path


def cut_off(path: Path) -> Path:
    write_trained(path)
    weights = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(weights[:40])
    return path


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            narrow(hidden_size=72, intermediate_size=128),
            "rows of a multiple of 32 values; those of .* have 72",
        ),
        (
            narrow(hidden_size=64, intermediate_size=172),
            "rows of a multiple of 32 values; those of .* have 172",
        ),
        (other_family, "its architecture is gpt_neox"),
        (lying, r"config.json describes .* as \(96, 64\), and its weights have \(128, 64\)"),
        (too_many_tokens, "tokenizer has 413 tokens, and the model 400 rows"),
        (too_many_stops, r"stops on 4 tokens \(\[2, 0, 1, 7\]\); a GGUF file has room for 3"),
        (another_tensor, "adapter.weight has no name in GGUF"),
        (cut_off, "has weights that cannot be read"),
    ],
)
def test_it_is_refused_before_a_document_is_read(
    tmp_path: Path, make: Callable[[Path], Path], reason: str
) -> None:
    wanted = recipe(make(tmp_path / "base"), tmp_path)
    with pytest.raises(AssetError, match=reason) as error:
        describe_plan(wanted, None)
    assert str(tmp_path / "base") in str(error.value)
    with pytest.raises(AssetError, match=reason):
        build(wanted, progress=SilentProgress())
    assert not (tmp_path / "runs" / "mine" / "ingest").exists()


def test_a_narrow_model_may_be_written_in_16_bits(tmp_path: Path) -> None:
    base = narrow(hidden_size=72, intermediate_size=128)(tmp_path / "base")
    assert "not yet run" in describe_plan(recipe(base, tmp_path, formats=["f16"]), None)
    with pytest.raises(AssetError, match="q8_0 needs rows"):
        describe_plan(recipe(base, tmp_path, formats=["f16", "q8_0"]), None)


@pytest.mark.parametrize("name", base_configs())
def test_directories_and_files_of_known_families_pass(tmp_path: Path, name: str) -> None:
    save_trained(random_base(base_configs()[name]), tiny_tokenizer(), tmp_path / "base")
    require_exportable(tmp_path / "base", FORMATS)
    write_gguf(tmp_path / "base", tmp_path / "base.gguf", "q8_0")
    require_exportable(tmp_path / "base.gguf", FORMATS)
    # The same file without its last bytes is not let through.
    whole = (tmp_path / "base.gguf").read_bytes()
    (tmp_path / "base.gguf").write_bytes(whole[:-100])
    with pytest.raises(AssetError, match="cut off"):
        require_exportable(tmp_path / "base.gguf", FORMATS)


def test_added_tokens_without_a_row_are_left_out_and_told(tmp_path: Path) -> None:
    """As in Gemma 3, whose token of images comes after the last row."""
    base = write_trained(tmp_path / "base")
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([f"<image {number}>" for number in range(30)])
    tokenizer.save_pretrained(base)
    require_exportable(base, FORMATS)
    read, told = load_base_tokenizer(base)
    assert (len(read), told) == (
        400,
        ("3 added tokens without a row of the model (<image 27>, <image 28>, <image 29>)",),
    )


def test_files_that_cannot_be_written_again_are_refused(tmp_path: Path) -> None:
    write_bpe(tmp_path / "vocabulary.gguf")
    with pytest.raises(AssetError, match=r"lacks 'llama\.embedding_length' in its metadata"):
        require_exportable(tmp_path / "vocabulary.gguf", FORMATS)
    base = narrow(hidden_size=72, intermediate_size=128)(tmp_path / "base")
    write_gguf(base, tmp_path / "narrow.gguf", "f16")
    with pytest.raises(AssetError, match=r"those of token_embd\.weight have 72"):
        require_exportable(tmp_path / "narrow.gguf", FORMATS)
    heads = LlamaConfig(
        vocab_size=400, num_hidden_layers=2, hidden_size=64, intermediate_size=128, num_attention_heads=2, head_dim=20
    )  # fmt: skip
    save_trained(random_base(heads), tiny_tokenizer(), tmp_path / "heads")
    write_gguf(tmp_path / "heads", tmp_path / "heads.gguf", "f16")
    for path in (tmp_path / "heads", tmp_path / "heads.gguf"):
        with pytest.raises(AssetError, match=r"those of blk\.0\.attn_output\.weight have 40"):
            require_exportable(path, FORMATS)
