"""Twelve faults of exported models, planted: each makes a copy of a sound model with one thing wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from tinsmith.gguf.writer import write_gguf
from tinsmith.model.load import load_model
from tinsmith.parity import findings

_MODEL, _FORMAT = "model.safetensors", "q8_0"
_CONFIG, _TOKENIZER = "config.json", "tokenizer.json"


class Fault(NamedTuple):
    """The kind under which a fault must be found, and a function that makes A and B in a directory."""

    kind: str
    plant: Callable[[Path, Path], tuple[Path, Path]]


def _copy(source: Path, out: Path) -> Path:
    shutil.copytree(source, out, ignore=shutil.ignore_patterns("*.gguf", "done"))
    return out


def _change_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def _in_json(
    file: str, change: Callable[[dict[str, Any]], None]
) -> Callable[[Path, Path], tuple[Path, Path]]:
    """Plant a change of a JSON file, and write B as a GGUF file."""

    def plant(source: Path, out: Path) -> tuple[Path, Path]:
        wrong = _copy(source, out / "wrong")
        _change_json(wrong / file, change)
        write_gguf(wrong, out / "b.gguf", _FORMAT)
        return source, out / "b.gguf"

    return plant


def _in_weights(
    change: Callable[[dict[str, torch.Tensor]], None],
) -> Callable[[Path, Path], tuple[Path, Path]]:
    """Plant a change of weights, and write B as a GGUF file."""

    def plant(source: Path, out: Path) -> tuple[Path, Path]:
        wrong = _copy(source, out / "wrong")
        weights = load_file(source / _MODEL)
        change(weights)
        save_file(
            {name: tensor.contiguous() for name, tensor in weights.items()},
            wrong / _MODEL,
            metadata={"format": "pt"},
        )
        write_gguf(wrong, out / "b.gguf", _FORMAT)
        return source, out / "b.gguf"

    return plant


def _split_otherwise(saved: dict[str, Any]) -> None:
    # As GPT-2 splits: digits in one piece.
    saved["pre_tokenizer"] = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }


def _begin_twice(source: Path, out: Path) -> tuple[Path, Path]:
    bos = json.loads((source / "tokenizer_config.json").read_text())["bos_token"]
    sound, wrong = _copy(source, out / "sound"), _copy(source, out / "wrong")
    for path, times in ((sound, 1), (wrong, 2)):
        begins = [{"SpecialToken": {"id": bos, "type_id": 0}}] * times

        def change(saved: dict[str, Any], begins: list[Any] = begins) -> None:
            token_id = next(row["id"] for row in saved["added_tokens"] if row["content"] == bos)
            saved["post_processor"] = {
                "type": "TemplateProcessing",
                "single": [*begins, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [
                    *begins,
                    {"Sequence": {"id": "A", "type_id": 0}},
                    {"Sequence": {"id": "B", "type_id": 1}},
                ],
                "special_tokens": {bos: {"id": bos, "ids": [token_id], "tokens": [bos]}},
            }

        _change_json(path / _TOKENIZER, change)
    return sound, wrong


def _template(source: Path, out: Path) -> tuple[Path, Path]:
    wrong = _copy(source, out / "wrong")
    template = wrong / "chat_template.jinja"
    template.write_text(template.read_text().replace("\\n", " ").replace("<|im_end|>\n", "<|im_end|>"))
    write_gguf(wrong, out / "b.gguf", _FORMAT)
    return source, out / "b.gguf"


def _stop(source: Path, out: Path) -> tuple[Path, Path]:
    return _in_json("generation_config.json", lambda facts: facts.update(eos_token_id=[7]))(source, out)


def write_adapter(source: Path, out: Path) -> Path:
    """Write an adapter of the source with random weights, as peft saves it."""
    torch.manual_seed(3)
    model = load_model(source)
    targets = ["q_proj", "v_proj", "down_proj"]
    adapted = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=targets))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.02)
    adapted.save_pretrained(str(out / "adapter"))
    _change_json(
        out / "adapter" / "adapter_config.json",
        lambda facts: facts.update(base_model_name_or_path=str(source)),
    )
    return out / "adapter"


def _not_folded(source: Path, out: Path) -> tuple[Path, Path]:
    write_gguf(source, out / "b.gguf", _FORMAT)
    return write_adapter(source, out), out / "b.gguf"


def _folded_twice(source: Path, out: Path) -> tuple[Path, Path]:
    from peft import PeftModel

    adapter = write_adapter(source, out)
    merged = load_model(source)
    for _ in range(2):
        merged = PeftModel.from_pretrained(merged, str(adapter)).merge_and_unload()
    wrong = _copy(source, out / "wrong")
    merged.save_pretrained(str(wrong))
    write_gguf(wrong, out / "b.gguf", _FORMAT)
    return adapter, out / "b.gguf"


def _tied(source: Path, out: Path) -> tuple[Path, Path]:
    """A has an output layer of its own, and B was written as if it had none."""
    sound, wrong = _copy(source, out / "sound"), _copy(source, out / "wrong")
    weights = load_file(source / _MODEL)
    torch.manual_seed(4)
    embeddings = weights["model.embed_tokens.weight"]
    weights["lm_head.weight"] = embeddings + 0.5 * embeddings.std() * torch.randn_like(embeddings)
    for path in (sound, wrong):
        save_file(weights, path / _MODEL, metadata={"format": "pt"})
    _change_json(sound / _CONFIG, lambda facts: facts.update(tie_word_embeddings=False))
    _change_json(wrong / _CONFIG, lambda facts: facts.update(tie_word_embeddings=True))
    write_gguf(wrong, out / "b.gguf", _FORMAT)
    return sound, out / "b.gguf"


def _rope_base(source: Path, out: Path) -> tuple[Path, Path]:
    rope = {"rope_type": "default", "rope_theta": 10_001.0}
    return _in_json(_CONFIG, lambda facts: facts.update(rope_parameters=rope))(source, out)


def _rope_scaling(source: Path, out: Path) -> tuple[Path, Path]:
    """A stretches its positions, and B was written without."""
    sound = _copy(source, out / "sound")

    def stretch(facts: dict[str, Any]) -> None:
        facts["rope_parameters"] = {**facts["rope_parameters"], "rope_type": "linear", "factor": 2.0}

    _change_json(sound / _CONFIG, stretch)
    write_gguf(source, out / "b.gguf", _FORMAT)
    return sound, out / "b.gguf"


def _other_order(saved: dict[str, Any]) -> None:
    vocabulary = saved["model"]["vocab"]
    names = sorted(vocabulary, key=vocabulary.get)[300:320]
    ids = [vocabulary[name] for name in names]
    vocabulary.update(zip(names, [*ids[1:], ids[0]], strict=True))


def _swap(weights: dict[str, torch.Tensor]) -> None:
    first, second = (f"model.layers.{layer}.self_attn.q_proj.weight" for layer in (0, 1))
    weights[first], weights[second] = weights[second], weights[first]


def _round_badly(weights: dict[str, torch.Tensor]) -> None:
    """Round a matrix to a few levels with one scale for all of it, as no format does."""
    name = "model.layers.1.mlp.down_proj.weight"
    matrix = weights[name].float()
    step = matrix.std()
    weights[name] = ((matrix / step).round() * step).to(weights[name].dtype)


FAULTS = {
    "another split of text": Fault(findings.TOKENIZER, _in_json(_TOKENIZER, _split_otherwise)),
    "begin of text twice": Fault(findings.BEGIN_OF_TEXT, _begin_twice),
    "another chat template": Fault(findings.TEMPLATE, _template),
    "another stop token": Fault(findings.STOP_TOKENS, _stop),
    "adapter not folded": Fault(findings.ADAPTER, _not_folded),
    "adapter folded twice": Fault(findings.ADAPTER, _folded_twice),
    "output layer taken as tied": Fault(findings.OUTPUT_LAYER, _tied),
    "another RoPE base": Fault(findings.ROPE_BASE, _rope_base),
    "RoPE scaling lost": Fault(findings.ROPE_SCALING, _rope_scaling),
    "another order of the vocabulary": Fault(findings.VOCABULARY_ORDER, _in_json(_TOKENIZER, _other_order)),
    "two tensors swapped": Fault(findings.SWAPPED, _in_weights(_swap)),
    "a tensor rounded badly": Fault(findings.QUANTISATION, _in_weights(_round_badly)),
}
