"""Compare any two models and name what differs: `tinsmith parity A B`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch

from gguf import TokenType
from tinsmith.base.progress import Progress
from tinsmith.parity.conversations import TEXTS
from tinsmith.parity.findings import ANSWERS, Finding, architecture
from tinsmith.parity.opened import DirectoryModel, OpenedModel, OpenModel
from tinsmith.parity.prompts import Prompt
from tinsmith.parity.served import is_address, served_findings
from tinsmith.parity.tensors import all_findings
from tinsmith.recipe import PackageConfig

_CHUNK = 256


class Figures(NamedTuple):
    """How much the distributions of two models agree: mean KL(A || B) in nats, and the share of equal top tokens."""

    mean_kl: float
    top1: float
    positions: int
    bound_kl: float


@dataclass
class Compared:
    """What was found to differ, and the figures where both could be asked the same tokens."""

    findings: list[Finding]
    notes: list[str] = field(default_factory=list)
    figures: Figures | None = None


def compare(a: str, b: str, progress: Progress) -> Compared:
    """Compare two models: a transformers directory, an adapter, a GGUF file, or (B) the address of a server.

    Raises AssetError for a model that cannot be opened, RunError for a server that does not answer.
    """
    with ExitStack() as stack:
        opening = OpenModel(Path(a).expanduser(), "A")
        first = stack.enter_context(opening)
        if is_address(b):
            return Compared(*served_findings(first, b, progress))
        second = stack.enter_context(OpenModel(Path(b).expanduser(), "B"))
        base = DirectoryModel(opening.adapter_base, "the base") if opening.adapter_base else None
        findings = list(all_findings(first, second, base))
        alike = architecture(first) == architecture(second)
        notes = [] if alike else ["tensors of two architectures are not compared"]
        notes += [
            f"{model.called} as published is read otherwise than by llama.cpp: {difference}"
            for model in (first, second)
            for difference in model.vocabulary.left_out
        ]
        figures = _figures(first, second, progress)
        if figures is None:
            notes.append("their answers were not compared, since their vocabularies differ")
    if not findings and figures and not _within(figures):
        text = f"mean KL {figures.mean_kl:.4f} nats (at most {figures.bound_kl:g}), from no cause that is known here"
        findings.append(Finding(ANSWERS, text))
    return Compared(findings, notes, figures)


def _within(figures: Figures) -> bool:
    return figures.mean_kl <= figures.bound_kl  # false where it is not a number


def _figures(a: OpenedModel, b: OpenedModel, progress: Progress) -> Figures | None:
    """Ask both models the token ids of A; None where B does not have all these tokens."""
    counts = [sum(type != TokenType.UNUSED for type in model.vocabulary.types) for model in (a, b)]
    if counts[0] > counts[1]:
        return None
    prompts = [Prompt("text", text, tuple(a.token_ids(text, markup=True))) for text in TEXTS]
    with progress.task("asking both", 2 * len(prompts), "prompts") as advance:
        (ours, our_layer), (theirs, their_layer) = (model.hidden(prompts, advance) for model in (a, b))
    rows = min(len(our_layer.weight), len(their_layer.weight))
    kl, same = [], []
    with torch.inference_mode():
        for start in range(0, len(ours), _CHUNK):
            part = slice(start, start + _CHUNK)
            expected = our_layer.logits(ours[part])[:, :rows].log_softmax(-1)
            got = their_layer.logits(theirs[part])[:, :rows].log_softmax(-1)
            kl.append(torch.nn.functional.kl_div(got, expected, reduction="none", log_target=True).sum(-1))
            same.append(expected.argmax(-1) == got.argmax(-1))
    return Figures(
        float(torch.cat(kl).mean()), float(torch.cat(same).float().mean()), len(ours), _bound(a, b)
    )


def _bound(*models: OpenedModel) -> float:
    """Return the mean KL that the coarsest of their tensors' types allow, as the gate of a build does."""
    bounds = PackageConfig().max_kl
    coarsest = max((bounds[format] for model in models for format in _formats(model)), default=bounds["f16"])
    return float(coarsest)


def _formats(model: OpenedModel) -> Iterator[str]:
    """Yield the build's formats that are as coarse as the tensors of a model."""
    formats = {"8": "q8_0", "6": "q6_k", "5": "q5_k_m", "4": "q4_k_m", "3": "q3_k_m", "2": "q3_k_m"}
    for type in set(model.types.values()) - {"F32", "F16", "BF16"}:
        yield formats[next((digit for digit in type if digit in formats), "2")]
