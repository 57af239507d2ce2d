"""Who is measured: our own model in two forms, its base, and the rivals; and what each of them is."""

from __future__ import annotations

import collections
import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from transformers import PreTrainedTokenizerFast

from tinsmith.base.assets import resolve_model
from tinsmith.base.errors import AssetError, RecipeError
from tinsmith.evaluate.items import BASE, CONTROLS, FORMATS, OURS
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.gguf.header import read_tensor_types
from tinsmith.model.load import has_bfloat16, load_model, reads_back
from tinsmith.recipe import EvaluateConfig, ModelConfig
from tinsmith.tokens.tokenizer import load_tokenizer

Precision = Literal["float32", "bfloat16"]
_ROUNDING: dict[Precision, str] = {
    "float32": "",
    "bfloat16": ", which moves a document's bits per byte by about 0.2% either way",
}


@dataclass(frozen=True)
class Subject:
    """A model to be measured: `subject` is its place in the comparison, `name` what people call it."""

    subject: str
    name: str
    path: Path
    licence: str

    @property
    def gguf(self) -> Path | None:
        """Return the file that llama.cpp can run, if the subject is one."""
        return self.path if self.path.is_file() else None


def find_subjects(config: EvaluateConfig, model: ModelConfig, package: Path) -> list[Subject]:
    """List all subjects, ours first. Raises RecipeError where two bear one name."""
    name = f"{model.scratch or model.base}, trained here"
    subjects = [Subject(OURS, name, package / "model", "that of its base and documents")]
    for format in _scored_formats(config) if not unscored(config, package) else ():
        file = _file(package, format)
        if file.exists():
            licence = "that of its base and documents"
            subjects.append(Subject(FORMATS[format], f"{name} ({format})", file, licence))
    if not model.scratch:
        base = resolve_model(model.base)
        subjects.append(Subject(BASE, base.name, base.path, base.licence))
    for rival in config.rivals:
        asset = resolve_model(rival)
        subjects.append(Subject(file_name(asset.name), asset.name, asset.path, asset.licence))
    check_names([*(subject.subject for subject in subjects), *(each.name for each in config.endpoints)])
    return subjects


def unscored(config: EvaluateConfig, package: Path) -> list[str]:
    """Say why our 4-bit file is not among the subjects although the recipe asks for it, in a note, or nothing."""
    if not config.quantised and not config.ladder:
        return []
    if config.quantised and not _file(package, "q4_k_m").exists() and not config.ladder:
        return ["Our 4-bit file is not scored: package.formats does not have q4_k_m."]
    if not reads_back(package / "model"):
        why = "transformers has no reader for such a file of its family"
        return [
            f"Our 4-bit file is not scored: {why}. The parity gate has compared it with what was trained."
        ]
    return []


def _scored_formats(config: EvaluateConfig) -> tuple[str, ...]:
    return tuple(FORMATS) if config.ladder else ("q4_k_m",) if config.quantised else ()


def _file(package: Path, format: str) -> Path:
    return package / "gguf" / f"model-{format}.gguf"


def file_name(name: str) -> str:
    """Return what a model is called in names of files and in tables."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "rival"


def check_names(names: list[str]) -> None:
    """Raise RecipeError where two subjects, or a subject and a control, bear one name."""
    for name, times in collections.Counter([*names, *CONTROLS]).items():
        if times > 1:
            raise RecipeError(
                f"two subjects are called {name!r}",
                where="evaluate.rivals",
                next_step="leave one out, or rename its file or directory",
            )


@contextmanager
def opened(subject: Subject, precision: Precision = "float32") -> Iterator[Scorer]:
    """Open one subject's model for scoring and free its memory afterwards."""
    model = load_model(subject.path, dtype=torch.float32)
    if torch.cuda.is_available():
        model = model.to("cuda")
    scorer = Scorer(model, name=subject.name)
    if precision == "bfloat16":
        scorer.round_weights()
    try:
        yield scorer
    finally:
        del scorer.body, scorer.weight, scorer.bias, model
        gc.collect()


def open_tokenizer(subject: Subject) -> PreTrainedTokenizerFast:
    """Open a subject's own tokenizer."""
    return load_tokenizer(subject.path)


def describe(subject: Subject, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Return a row of `subjects`: size, bits per weight, types of the stored tensors, licence."""
    weights, size, kinds = _gguf_facts(subject.path) if subject.gguf else _safetensors_facts(subject.path)
    return {
        "subject": subject.subject,
        "name": subject.name,
        "parameters": weights,
        "bytes": size,
        "bits_per_weight": round(8 * size / weights, 2),
        "quantisation": ", ".join(f"{kind} {share:.0%}" for kind, share in _shares(kinds)),
        "licence": subject.licence,
        "chat_template": bool(tokenizer.chat_template),
    }


def _shares(kinds: collections.Counter[str]) -> list[tuple[str, float]]:
    total = sum(kinds.values())
    shares = [(kind, count / total) for kind, count in kinds.most_common()]
    return [(kind, share) for kind, share in shares if share >= 0.005]


def _gguf_facts(path: Path) -> tuple[int, int, collections.Counter[str]]:
    kinds: collections.Counter[str] = collections.Counter()
    size = 0
    for kind, weights, stored in read_tensor_types(path):
        kinds[kind] += weights
        size += stored
    return kinds.total(), size, kinds


def _safetensors_facts(path: Path) -> tuple[int, int, collections.Counter[str]]:
    kinds: collections.Counter[str] = collections.Counter()
    size = 0
    for file in sorted(path.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118  (safe_open has no iterator)
                kept = tensors.get_slice(key)
                count = 1
                for extent in kept.get_shape():
                    count *= extent
                kinds[kept.get_dtype()] += count
                size += count * _width(kept.get_dtype())
    if not kinds:
        raise AssetError(
            "holds no *.safetensors", where=str(path), next_step="name a complete model directory"
        )
    return kinds.total(), size, kinds


def _width(dtype: str) -> int:
    digits = re.search(r"\d+", dtype)
    return max(1, int(digits[0]) // 8) if digits else 1


def scoring_precision(asked: Literal["auto", "float32", "bfloat16"]) -> Precision:
    """Return in what all subjects are scored: `auto` is bfloat16 where this machine multiplies it."""
    if asked != "auto":
        return asked
    return (
        "bfloat16"
        if has_bfloat16(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        else "float32"
    )


def notes_on(rows: list[dict[str, Any]], precision: Precision) -> list[str]:
    """Say in what precision the subjects exist here, and who lacks a chat template."""
    stored = [
        f"{row['subject']} ({row['name']}): {row['quantisation']}, {row['bits_per_weight']} bits per weight"
        for row in rows
    ]
    notes = [
        "Stored tensors of each subject, by share of weights. "
        + "; ".join(stored)
        + f". All are scored in {precision}{_ROUNDING[precision]}."
    ]
    others = [row for row in rows if row["subject"] not in (OURS, *FORMATS.values())]
    few = [row["name"] for row in others if not row["quantisation"].startswith(("F", "BF"))]
    if few:
        notes.append(
            f"At hand in quantised form only: {', '.join(few)}. At full precision they may do better."
        )
    plain = [row["name"] for row in others if not row["chat_template"]]
    if plain:
        notes.append(f"Pretrained models without a chat template: {', '.join(plain)}.")
    return notes
