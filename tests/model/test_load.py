"""A GGUF file is opened without its vocabulary's contents, to the same model."""

import struct
from pathlib import Path

import pytest
import torch

import gguf
from tinsmith.base.errors import AssetError, TrainingError
from tinsmith.gguf.writer import write_gguf
from tinsmith.model import load
from tinsmith.model.load import choose_device, load_model
from tinsmith.train.checkpoint import save_trained
from tiny_model import tiny_family, tiny_tokenizer


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    save_trained(tiny_family(request.param), tiny_tokenizer(), folder / "model")
    write_gguf(folder / "model", folder / "model.gguf", "f16")
    return folder / "model.gguf"


def test_a_long_vocabulary_is_passed_over_and_the_model_is_the_same(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = load_model(file)
    tokens = gguf.GGUFReader(file).fields["tokenizer.ggml.tokens"]
    assert len(tokens.data) < load._VOCABULARY  # so that the model above was read in the usual way
    monkeypatch.setattr(load, "_VOCABULARY", 100)
    quick = load_model(file)
    assert quick.config.to_dict() == plain.config.to_dict()
    states = plain.state_dict(), quick.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    passed_over = load._Reader(file).fields["tokenizer.ggml.tokens"]
    assert len(passed_over.data) == len(tokens.data)
    assert len(passed_over.parts) < 10 < len(tokens.parts)


def test_a_vocabulary_that_runs_past_the_end_is_told(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "_VOCABULARY", 100)
    data = bytearray(file.read_bytes())
    at = data.index(b"tokenizer.ggml.tokens") + len(b"tokenizer.ggml.tokens") + 8
    data[at : at + 8] = struct.pack("<Q", 2**40)
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(data)
    with pytest.raises(AssetError, match=r"broken\.gguf: cannot be opened"):
        load_model(broken)


@pytest.mark.parametrize(
    ("asked", "devices", "chosen"),
    [("cpu", 1, "cpu"), ("auto", 0, "cpu"), ("auto", 1, "cuda:0"), ("cuda", 1, "cuda:0")],
)
def test_a_gpu_is_used_where_there_is_one_and_the_recipe_allows_it(
    monkeypatch: pytest.MonkeyPatch, asked: str, devices: int, chosen: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    assert str(choose_device(asked)) == chosen


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(TrainingError, match=r"train\.device: (.|\n)*set train\.device to cpu"):
        choose_device("cuda")
