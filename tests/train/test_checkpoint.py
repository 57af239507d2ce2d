from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import tinsmith.train.checkpoint as checkpoint
from small_vocabulary import write_bpe
from tinsmith.base.errors import RunError, TrainingError
from tinsmith.base.files import read_json, write_json
from tinsmith.tokens.tokenizer import load_tokenizer
from tinsmith.train.attention import isolate_sequences
from tinsmith.train.budget import TrainProgress
from tinsmith.train.checkpoint import load_checkpoint, save_checkpoint, save_trained
from tinsmith.train.optim import Optimizers
from tiny_training import config, tiny_llama, weights_equal


def saved(directory: Path, *steps: int) -> dict[int, torch.nn.Module]:
    models = {}
    for step in steps:
        models[step] = tiny_llama(step)
        save_checkpoint(
            directory,
            models[step],
            Optimizers(models[step], config()),
            TrainProgress(step, step * 10, step / 2),
        )
    return models


def load(directory: Path) -> tuple[TrainProgress, torch.nn.Module, list[str]]:
    model, said = tiny_llama(99), []
    return load_checkpoint(directory, model, Optimizers(model, config()), said.append), model, said


def test_the_newest_comes_back_and_two_are_kept(tmp_path: Path) -> None:
    models = saved(tmp_path, 1, 2, 30)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000002", "step-000000030"]
    done, model, said = load(tmp_path)
    assert done == TrainProgress(30, 300, 15.0)
    assert weights_equal(model, models[30])
    assert said == []


def test_a_return_needs_one_far_enough_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_llama()
    monkeypatch.setattr(checkpoint, "_write_tensors", lambda *of: 0)
    for step in (10, 20, 30, 31, 33):
        done = TrainProgress(step)
        save_checkpoint(tmp_path, model, Optimizers(model, config()), done, reach=13)

    def left() -> list[int]:
        return sorted(int(path.name.removeprefix("step-")) for path in tmp_path.iterdir())

    # The newest two, and the newest that lay 13 steps before each.
    assert left() == [10, 31, 33]
    assert checkpoint.drop_after(tmp_path, 31) == 31
    assert left() == [10, 31]
    assert checkpoint.drop_after(tmp_path, 30) == 10
    assert left() == [10]
    with pytest.raises(TrainingError, match="no checkpoint at or before step 9"):
        checkpoint.drop_after(tmp_path, 9)
    assert left() == [10]


def test_no_checkpoint_is_a_fresh_start(tmp_path: Path) -> None:
    assert load(tmp_path / "none")[0] == TrainProgress()


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "state.json"])
def test_a_truncated_one_falls_back_to_the_one_before(tmp_path: Path, name: str) -> None:
    models = saved(tmp_path, 1, 2)
    path = tmp_path / "step-000000002" / name
    path.write_bytes(path.read_bytes()[:-9])
    done, model, said = load(tmp_path)
    assert done.step == 1
    assert weights_equal(model, models[1])
    assert "step-000000002 is damaged" in said[0]


def test_nothing_but_damaged_ones_is_an_error(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2)
    for path in tmp_path.glob("step-*/weights.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(TrainingError, match="every checkpoint is damaged"):
        load(tmp_path)


def test_a_failed_write_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, 1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(RunError, match="No space left"):
        saved(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]
    assert load(tmp_path)[0].step == 1


def test_no_pickle_is_written(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    kinds = {path.suffix for path in (tmp_path / "step-000000001").iterdir()}
    assert kinds == {".safetensors", ".json"}


def test_the_trained_model_opens_in_transformers_without_leftovers(tmp_path: Path) -> None:
    model = tiny_llama()
    isolate_sequences(model)
    model.config.quantization_config = {"quant_method": "gguf", "gguf_file": "v.gguf"}
    model.config.eos_token_id = model.generation_config.eos_token_id = 1
    model.generation_config.temperature, model.generation_config.do_sample = 0.3, True
    write_bpe(tmp_path / "v.gguf")
    save_trained(model, load_tokenizer(tmp_path / "v.gguf"), tmp_path / "model")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert weights_equal(again, model)
    assert again.dtype == torch.float32
    assert again.generation_config.eos_token_id == again.config.eos_token_id == 2
    assert not again.generation_config.do_sample
    facts = json.loads((tmp_path / "model" / "config.json").read_text())
    assert "quantization_config" not in facts
    assert "tinsmith" not in json.dumps(facts)
    assert AutoTokenizer.from_pretrained(tmp_path / "model").eos_token == "<|im_end|>"
    ids = torch.tensor([[5, 6, 7]])
    assert torch.isfinite(again(ids).logits).all()


def test_a_changed_bit_is_damage_and_one_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    models = saved(tmp_path, 1, 2)
    path = tmp_path / "step-000000002" / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    done, model, said = load(tmp_path)
    assert (done.step, len(said)) == (1, 1)
    assert weights_equal(model, models[1])
    state = tmp_path / "step-000000001" / "state.json"
    facts = {name: value for name, value in read_json(state).items() if name not in ("files", "sha256")}
    size = sum(file.stat().st_size for file in state.parent.glob("*.safetensors"))
    write_json(state, facts | {"bytes": size})
    assert load(tmp_path)[0].step == 1
