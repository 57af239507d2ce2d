"""The models that are measured: ours and its GGUF files, its base, and the rivals; what each of them is."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedTokenizerFast

from tinsmith.base.assets import resolve_model
from tinsmith.evaluate.names import check_names, rival_name, scored_formats
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.evaluate.weights import read_weights
from tinsmith.evidence.schema import BASE, GGUF_SUBJECTS, OURS, Precision, Role, Subject, role_of
from tinsmith.model.load import has_bfloat16, load_model
from tinsmith.recipe import EvaluateConfig, ModelConfig
from tinsmith.tokens.tokenizer import load_tokenizer

_ROUNDING: dict[Precision, str] = {
    "float32": "",
    "bfloat16": ", which moves a document's bits per byte by about 0.2% either way",
}


@dataclass(frozen=True)
class EvalModel:
    """A model to be measured: `subject` is its place in the comparison, `name` what people call it."""

    subject: str
    name: str
    path: Path
    licence: str

    @property
    def gguf(self) -> Path | None:
        """Return the file that llama.cpp can run, if the model is one."""
        return self.path if self.path.is_file() else None

    @property
    def is_probed(self) -> bool:
        """Say whether it is ours or its base, which alone are asked the probes."""
        return role_of(self.subject) in (Role.OURS, Role.BASE)


def find_models(config: EvaluateConfig, model: ModelConfig, package: Path) -> list[EvalModel]:
    """List all models, ours first. Raises RecipeError where two have one name."""
    check_names(config)
    name, licence = f"{model.scratch or model.base}, trained here", "that of its base and documents"
    models = [EvalModel(OURS, name, package / "model", licence)]
    for format in scored_formats(config) if not unscored(config, package) else ():
        file = _file(package, format)
        if file.exists():
            models.append(EvalModel(GGUF_SUBJECTS[format], f"{name} ({format})", file, licence))
    return models + find_others(config, model)


def find_others(config: EvaluateConfig, model: ModelConfig) -> list[EvalModel]:
    """List the base, unless our model began with fresh weights, and the rivals."""
    models = []
    if not model.scratch:
        base = resolve_model(model.base)
        models.append(EvalModel(BASE, base.name, base.path, base.licence))
    for rival in config.rivals:
        asset = resolve_model(rival)
        models.append(EvalModel(rival_name(rival), asset.name, asset.path, asset.licence))
    return models


def unscored(config: EvaluateConfig, package: Path) -> list[str]:
    """Say in a note why our 4-bit file is not scored although the recipe asks for it; return nothing where it is."""
    if not config.quantised and not config.all_formats:
        return []
    if config.quantised and not _file(package, "q4_k_m").exists() and not config.all_formats:
        return ["Our 4-bit file is not scored: package.formats does not have q4_k_m."]
    return []


def _file(package: Path, format: str) -> Path:
    return package / "gguf" / f"model-{format}.gguf"


@contextmanager
def opened(model: EvalModel, precision: Precision, device: torch.device) -> Iterator[Scorer]:
    """Open one model for scoring on a device and free its memory afterwards."""
    weights = load_model(model.path, dtype=torch.float32)
    # The types of transformers describe `to` without an argument.
    scorer = Scorer(weights.to(device), name=model.name)  # type: ignore[arg-type]
    if precision == "bfloat16":
        scorer.round_weights()
    try:
        yield scorer
    finally:
        del scorer.body, scorer.output, weights
        gc.collect()


def open_tokenizer(model: EvalModel) -> PreTrainedTokenizerFast:
    """Open a model's own tokenizer."""
    return load_tokenizer(model.path)


def describe(model: EvalModel, tokenizer: PreTrainedTokenizerFast) -> Subject:
    """Return a model's row among the subjects: size, bits per weight, types of the stored tensors, licence."""
    return Subject(
        subject=model.subject,
        name=model.name,
        role=role_of(model.subject),
        **read_weights(model.path)._asdict(),
        licence=model.licence,
        chat_template=bool(tokenizer.chat_template),
    )


def scoring_precision(asked: Literal["auto", "float32", "bfloat16"], device: torch.device) -> Precision:
    """Return the precision of scoring: `auto` is bfloat16 where the device multiplies it in hardware."""
    if asked != "auto":
        return asked
    return "bfloat16" if has_bfloat16(device) else "float32"


def notes_on(subjects: list[Subject], precision: Precision) -> list[str]:
    """Say in what precision the models exist here, and which lack a chat template."""
    stored = [
        f"{row.subject} ({row.name}): {row.quantisation}, {row.bits_per_weight} bits per weight"
        for row in subjects
    ]
    notes = [
        f"Stored tensors of each model, by share of weights. {'; '.join(stored)}. "
        f"All are scored in {precision}{_ROUNDING[precision]}."
    ]
    others = [row for row in subjects if not row.role.is_ours]
    few = [row.name for row in others if not (row.quantisation or "").startswith(("F", "BF"))]
    if few:
        notes.append(
            f"Available in quantised form only: {', '.join(few)}. At full precision they may do better."
        )
    plain = [row.name for row in others if not row.chat_template]
    if plain:
        notes.append(f"Pretrained models without a chat template: {', '.join(plain)}.")
    return notes
