"""Damaged files of every kind that a person hands over: read, counted, or refused with a reason; never a traceback."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from damage import HANGS_AFTER, each_damaged, survive
from gguf import GGUFReader
from small_documents import small_documents
from small_models import byte_tokenizer, tiny_model
from tinsmith.base.errors import AssetError, CorpusError, RecipeError, TrainingError
from tinsmith.corpus.read import REASONS
from tinsmith.corpus.readers.pool import FileLimits, read_files
from tinsmith.evaluate.own_questions import read_open_questions, read_own_questions, repeated_questions
from tinsmith.gguf.header import read_metadata, read_tensor_types, require_whole
from tinsmith.gguf.vocabulary import read_vocabulary
from tinsmith.gguf.writer import write_gguf
from tinsmith.model.export import save_model
from tinsmith.model.load import load_model
from tinsmith.recipe.toml import load_recipe
from tinsmith.tokens.examples import Rejects, read_conversations, read_preferences
from tinsmith.tokens.tokenizer import load_tokenizer
from tinsmith.train.budget import TrainProgress
from tinsmith.train.checkpoint import load_checkpoint, save_checkpoint
from tinsmith.train.optim import Optimizers
from tiny_training import config, tiny_llama, weights_equal

AtLength = Callable[[int, float], int | float]
LONG = 1200.0  # seconds of each target under `make prove`
_NATIVE_FAILURES = {"crashed", "timeout", "out_of_memory"}


def test_documents(tmp_path: Path, at_length: AtLength) -> None:
    """Every damaged document has a text or a reason, and no reader process dies or hangs."""
    sound, length = {name: each.data for name, each in small_documents().items()}, at_length(600, LONG)
    cases = each_damaged(list(sound.values()), length, seed=1)
    names, files, broken = list(sound), dict[Path, bytes](), []
    while batch := list(itertools.islice(cases, 60)):
        for number, data in batch:
            path = tmp_path / f"{number}-{random.Random(number).choice(names)}"
            path.write_bytes(data)
            files[path] = data
        paths = [path for path in files if path.exists()]
        for path, (result, _) in zip(
            paths, read_files(paths, FileLimits(HANGS_AFTER, 10_000_000)), strict=True
        ):
            assert bool(result.documents) != bool(result.reason), path.name
            assert result.reason == "" or result.reason in REASONS
            assert all(document["text"].strip() for document in result.documents)
            assert all(row["reason"] in REASONS and row["count"] >= 1 for row in result.lost)
            json.dumps(result.to_json()).encode()
            if result.reason in _NATIVE_FAILURES:
                broken.append((path.name, result.reason, result.detail, files[path][:500]))
            path.unlink()
    assert not broken


CONVERSATIONS = (
    b'{"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Who pays?"}, '
    b'{"role": "assistant", "content": "The tenant.", "weight": 1}]}\n'
    b'{"messages": [{"role": "user", "content": "And \\ud83d\\ude42?"}, {"role": "assistant", "content": "Yes."}]}\n',
    b'{"prompt": "Who pays?", "completion": "The tenant."}\n\n'
    b'{"prompt": "When?", "chosen": "In May.", "rejected": "Never."}\n',
    b'{"prompt": [{"role": "user", "content": "When?"}], "chosen": "In May.", "rejected": "Never."}\n',
)


def _lines(data: bytes) -> int:
    return sum(bool(line.strip()) for line in data.split(b"\n"))


@pytest.mark.parametrize("read", [read_conversations, read_preferences])
def test_lines_of_conversations(
    tmp_path: Path, at_length: AtLength, read: Callable[..., list[object]]
) -> None:
    """Every line is an example or among the rejects."""
    path = tmp_path / "talk.jsonl"

    def attempt(data: bytes) -> None:
        path.write_bytes(data)
        rejects = Rejects()
        examples = read(str(path), rejects)
        whole = {row["line"] for row in rejects.rows}
        assert len(examples) + len(whole) >= _lines(data)

    survive(CONVERSATIONS, at_length(300, LONG), attempt, CorpusError, RecipeError)


QUESTIONS = (
    b'{"question": "Who pays?", "choices": ["The tenant", "The landlord"], "answer": "The tenant", "doc": "a"}\n'
    b'{"question": "When?", "answer": ["May", "In May"], "passage": "Rent is due in May.", "span": [15, 18]}\n',
    b'{"question": "How much?", "answer": "950", "id": 3, "access": "secret"}\n',
)


def test_files_of_questions(tmp_path: Path, at_length: AtLength) -> None:
    """Every line is a question or named as left out; all others are refused by their number."""
    path = tmp_path / "exam.jsonl"

    def attempt(data: bytes) -> None:
        path.write_bytes(data)
        closed, opened = read_own_questions([str(path)]), read_open_questions([str(path)])
        asked = sum(map(len, closed.values())) + sum(map(len, opened.values()))
        assert asked + len(repeated_questions([str(path)])) == _lines(data)

    survive(QUESTIONS, at_length(300, LONG), attempt, RecipeError)


def test_recipes(tmp_path: Path, at_length: AtLength) -> None:
    """A damaged recipe is a valid one, or refused with the place."""
    path = tmp_path / "recipe.toml"
    recipes = [each.read_bytes() for each in sorted(Path("recipes").glob("*.toml"))]

    def attempt(data: bytes) -> None:
        path.write_bytes(data)
        load_recipe(path)

    survive(recipes, at_length(250, LONG), attempt, RecipeError)


def test_gguf_files(tmp_path: Path, at_length: AtLength) -> None:
    """A damaged GGUF file is opened, or refused as damaged."""
    tokenizer = byte_tokenizer()
    save_model(tiny_model("llama", size=len(tokenizer)), tokenizer, tmp_path / "model", "float32")
    sound, path = tmp_path / "sound.gguf", tmp_path / "damaged.gguf"
    write_gguf(tmp_path / "model", sound, "f16")
    header = GGUFReader(sound).data_offset
    # The rest are weights, of which any value is sound.
    weights = sound.read_bytes()[header:]

    def attempt(data: bytes) -> None:
        path.write_bytes(data + weights)
        read_metadata(path)
        read_tensor_types(path)
        require_whole(path)
        read_vocabulary(path)
        load_tokenizer(path)
        load_model(path)

    survive([sound.read_bytes()[:header]], at_length(60, LONG), attempt, AssetError)


def test_checkpoints(tmp_path: Path, at_length: AtLength) -> None:
    """A damaged checkpoint is never taken for a sound one: the one before it is, with its very weights."""
    models = {}
    for step in (1, 2):
        models[step] = tiny_llama(step)
        done = TrainProgress(step, step * 10, step / 2)
        save_checkpoint(tmp_path, models[step], Optimizers(models[step], config()), done)
    files = sorted(path for path in tmp_path.glob("step-000000002/*") if path.is_file())
    sound = {path: path.read_bytes() for path in files}
    model = tiny_llama(9)

    def attempt(data: bytes) -> None:
        path = random.Random(len(data)).choice(files)
        path.write_bytes(data)
        done = load_checkpoint(tmp_path, model, Optimizers(model, config()), lambda line: None)
        path.write_bytes(sound[path])
        assert done.step == (2 if data == sound[path] else 1)
        assert weights_equal(model, models[done.step])

    with torch.random.fork_rng():
        survive(list(sound.values()), at_length(60, LONG), attempt, TrainingError)
