"""A pre-tokenizer keeps its name through a file, and llama.cpp splits text under that name as we do."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tinsmith.base.errors import AssetError
from tinsmith.gguf.header import read_metadata
from tinsmith.gguf.pretokenizers import PRE_TOKENIZERS, build_pre_tokenizer, name_pre_tokenizer
from tinsmith.gguf.writer import write_gguf
from tinsmith.model.export import save_model
from tinsmith.serve.runtime import LlamaServer
from tinsmith.tokens.tokenizer import load_tokenizer
from tiny_model import tiny_model, tiny_tokenizer

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
    "日本",
    "…",
    "  ",
    "\t",
    "\n\n",
    "\r\n",
    " \n",
    "(a)",
    "½",
]
# Not st.characters, whose tables take seconds to build.
CHARACTERS = st.one_of(st.integers(0, 0xD7FF), st.integers(0xE000, 0x10FFFF)).map(chr)
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), CHARACTERS), max_size=8).map("".join)


@pytest.fixture(scope="module", params=PRE_TOKENIZERS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple]:
    """Yield (name, GGUF file, client of llama.cpp's server over it, tokenizer that was saved)."""
    folder = tmp_path_factory.mktemp(request.param)
    tokenizer = tiny_tokenizer(template=None)
    tokenizer.backend_tokenizer.pre_tokenizer = build_pre_tokenizer(request.param)
    save_model(tiny_model(layers=1), tokenizer, folder / "model", "float32")
    write_gguf(folder / "model", folder / "m.gguf", "f16")
    with LlamaServer(folder / "m.gguf") as server, server.client() as client:
        yield request.param, folder / "m.gguf", client, tokenizer


def test_llama_cpp_splits_text_alike(served: tuple) -> None:
    name, path, client, tokenizer = served
    assert read_metadata(path)["tokenizer.ggml.pre"] == name
    read = load_tokenizer(path)

    @hypothesis.settings(max_examples=60)
    @hypothesis.given(TEXTS)
    def check(text: str) -> None:
        body = {"content": text, "add_special": False, "parse_special": False}
        theirs = client.post("/tokenize", json=body).json()["tokens"]
        assert tokenizer(text, split_special_tokens=True)["input_ids"] == theirs
        assert read(text, split_special_tokens=True)["input_ids"] == theirs

    check()


def test_the_settings_of_a_known_pre_tokenizer_are_read_from_its_file() -> None:
    def steps(name: str, **changed: object) -> list[dict]:
        saved = json.loads(build_pre_tokenizer(name).__getstate__())["pretokenizers"]
        return [{**step, **{key: value for key, value in changed.items() if key in step}} for step in saved]

    assert [name_pre_tokenizer(steps(name), Path("here")) for name in PRE_TOKENIZERS] == list(PRE_TOKENIZERS)
    others = [("smollm", {"individual_digits": False}), ("gpt-2", {"use_regex": False})]
    others += [
        ("qwen2", {"behavior": "Removed"}),
        ("qwen2", {"invert": True}),
        ("llama-bpe", {"use_regex": True}),
    ]
    for name, changed in others:
        with pytest.raises(AssetError, match="no known name for the pre-tokenizer"):
            name_pre_tokenizer(steps(name, **changed), Path("here"))
