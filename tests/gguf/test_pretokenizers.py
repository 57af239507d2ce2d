"""A pre-tokenizer keeps its name through a file, and llama.cpp splits text under that name as we do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tokenizers import Regex, Tokenizer, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from small_vocabulary import bpe_across_kinds
from tinsmith.base.errors import AssetError
from tinsmith.gguf.header import read_metadata
from tinsmith.gguf.pretokenizers import (
    PRE_TOKENIZERS,
    build_pre_tokenizer,
    is_supported,
    name_pre_tokenizer,
    probe,
    takes_whole_words,
)
from tinsmith.gguf.writer import write_gguf
from tinsmith.model.export import save_model
from tinsmith.serve.runtime import LlamaServer
from tinsmith.tokens.tokenizer import load_tokenizer
from tiny_model import tiny_model

hypothesis = pytest.importorskip("hypothesis", reason="the extra tinsmith[dev] is not installed")
st = pytest.importorskip("hypothesis.strategies")

PIECES = [
    "it's",
    "WE'LL",
    " the",
    "2024",
    " 1999",
    "3.14",
    "naïve",
    "École",
    "日本",
    "…",
    "  ",
    "\t",
    "\n\n",
    "\r\n",
]
PIECES += [" \n", "(a)", "½", "e\u0301", "HTTPServer", "🙂"]
# Not st.characters, whose tables take seconds to build.
CHARACTERS = st.one_of(st.integers(0, 0xD7FF), st.integers(0xE000, 0x10FFFF)).map(chr)
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), CHARACTERS), max_size=8).map("".join)


@pytest.fixture(scope="module")
def across_kinds() -> str:
    """Return a vocabulary, as JSON, whose tokens run across every border that a split may draw."""
    return bpe_across_kinds().to_str()


@pytest.fixture(scope="module", params=PRE_TOKENIZERS)
def served(
    request: pytest.FixtureRequest, across_kinds: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, httpx.Client, PreTrainedTokenizerFast]]:
    """Yield (name, GGUF file, client of llama.cpp's server over it, tokenizer that was saved)."""
    folder = tmp_path_factory.mktemp(request.param)
    backend = Tokenizer.from_str(across_kinds)
    backend.pre_tokenizer = build_pre_tokenizer(request.param)
    backend.model.ignore_merges = takes_whole_words(request.param)
    end = "<|endoftext|>"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=end, eos_token=end, clean_up_tokenization_spaces=False
    )
    model = tiny_model(layers=1)
    model.resize_token_embeddings(len(tokenizer))
    save_model(model, tokenizer, folder / "model", "float32")
    write_gguf(folder / "model", folder / "m.gguf", "f16")
    with LlamaServer(folder / "m.gguf") as server, server.client() as client:
        yield request.param, folder / "m.gguf", client, tokenizer


def test_llama_cpp_splits_text_alike(
    served: tuple[str, Path, httpx.Client, PreTrainedTokenizerFast],
) -> None:
    name, path, client, tokenizer = served
    assert read_metadata(path)["tokenizer.ggml.pre"] == name
    read = load_tokenizer(path)

    def agrees(text: str) -> None:
        body = {"content": text, "add_special": False, "parse_special": False}
        theirs = client.post("/tokenize", json=body).json()["tokens"]
        assert tokenizer(text, split_special_tokens=True)["input_ids"] == theirs
        assert read(text, split_special_tokens=True)["input_ids"] == theirs

    for start in range(0, len(probe()), 8000):
        agrees(probe()[start : start + 8000])
    hypothesis.settings(max_examples=30)(hypothesis.given(TEXTS)(agrees))()


def test_every_name_stands_for_a_split_of_its_own() -> None:
    for name in PRE_TOKENIZERS:
        whole = takes_whole_words(name)
        assert name_pre_tokenizer(build_pre_tokenizer(name), whole_words=whole, where=Path("here")) == name
    assert is_supported("llama3")  # another name of llama-bpe
    assert build_pre_tokenizer("llama3").pre_tokenize_str("a 1234") == build_pre_tokenizer(
        "llama-bpe"
    ).pre_tokenize_str("a 1234")
    assert not is_supported("kimi-k2")
    # Where no name takes whole words, the merges decide.
    assert name_pre_tokenizer(build_pre_tokenizer("qwen2"), whole_words=True, where=Path("here")) == "qwen2"


def test_a_published_expression_is_known_by_what_it_does() -> None:
    upper, lower = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
    first, ending = r"[^\r\n\p{L}\p{N}]?", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    words = f"{first}{upper}*{lower}+{ending}|{first}{upper}+{lower}*{ending}"
    rest = r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    as_published = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words + rest), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    name = name_pre_tokenizer(as_published, whole_words=False, where=Path("here"))
    assert name == "gpt-4o"
    # llama.cpp takes a capital outside ASCII for either case.
    assert [piece for piece, _ in as_published.pre_tokenize_str("éÉa")] == ["Ã©", "Ãīa"]
    assert [piece for piece, _ in build_pre_tokenizer(name).pre_tokenize_str("éÉa")] == ["Ã©Ãīa"]


@pytest.mark.parametrize(
    ("name", "step", "changed"),
    [
        ("gpt-2", 1, {"use_regex": True, "add_prefix_space": True}),
        ("qwen2", 0, {"behavior": "Removed"}),
        ("bloom", 0, {"behavior": "MergedWithNext"}),
        ("smollm", 0, {"pattern": {"Regex": r"\p{N}+"}}),
        ("deepseek-v3", 1, {"pattern": {"Regex": "[一-龥]+"}}),
    ],
)
def test_another_split_has_no_name(name: str, step: int, changed: dict[str, object]) -> None:
    steps = json.loads(build_pre_tokenizer(name).__getstate__())["pretokenizers"]
    steps[step] |= changed
    backend = json.loads(bpe_across_kinds(300).to_str())
    backend["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
    other = Tokenizer.from_str(json.dumps(backend)).pre_tokenizer
    with pytest.raises(AssetError, match="no name for how its tokenizer splits text"):
        name_pre_tokenizer(other, whole_words=False, where=Path("here"))
