"""Store items as a stage does, and let a family of measurements compute its figures from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinsmith.base.files import write_json, write_jsonl
from tinsmith.evaluate.probe import HeldOutText, Preparation
from tinsmith.evidence.family import Family, FigureContext, Figures, Items
from tinsmith.evidence.schema import MetricRow, Role, Subject, role_of
from tinsmith.recipe import EvaluateConfig, MeterConfig

CONFIG = EvaluateConfig(bootstrap=200)


def store(folder: Path, kind: str, stored: Mapping[str, Any]) -> None:
    """Write the items of each subject: rows to JSON Lines, any other value to JSON."""
    for subject, items in stored.items():
        if isinstance(items, list):
            write_jsonl(folder / f"{kind}-{subject}.jsonl", items)
        else:
            write_json(folder / f"{kind}-{subject}.json", items)


def make_context(
    folder: Path,
    subjects: Mapping[str, Role | None] | tuple[str, ...],
    config: EvaluateConfig = CONFIG,
    meter: MeterConfig | None = None,
    seed: int = 3,
) -> FigureContext:
    """Return the context of items that are stored in `folder`; a role is that of the subject's name unless given."""
    roles = subjects if isinstance(subjects, Mapping) else dict.fromkeys(subjects)
    known = {
        name: Subject(subject=name, name=name.title(), role=role or role_of(name))
        for name, role in roles.items()
    }
    items = Items(folder, folder / "gguf", folder / "parity.jsonl", tuple(known))
    return FigureContext(items, known, config, meter or MeterConfig(), seed)


def compute(
    family: Family,
    folder: Path,
    stored: Mapping[str, Any],
    config: EvaluateConfig = CONFIG,
    meter: MeterConfig | None = None,
) -> Figures:
    """Store items of each subject in `folder` and return the figures that the family computes from them."""
    store(folder, family.kind, stored)
    return family.figures(make_context(folder, tuple(stored), config, meter))


def by_metric(figures: Figures, subject: str = "trained") -> dict[str, MetricRow]:
    """Return the figures of one subject by the name of the metric."""
    return {row.metric: row for row in figures.metrics if row.subject == subject}


def make_preparation(*, texts: Mapping[str, str] | None = None, **more: Any) -> Preparation:
    """Return what families prepare from: `texts` are held out; the rest goes to its field, or to the recipe."""
    given = {name: more.pop(name) for name in Preparation.__dataclass_fields__ if name in more}
    held_out = dict(texts or {})
    empty = {
        "seed": 3,
        "texts": [HeldOutText(name, text, 0.0) for name, text in held_out.items()],
        "questions": {},
        "training": {},
        "held_out": held_out,
        "learnt": {},
        "nothing_learnt": "",
        "canaries": (),
        "tokenizer": None,
        "redacted_documents": 0,
        "find_redacted": lambda limit: [],
    }
    return Preparation(**{"config": EvaluateConfig(**{"bias_sentences": 0, **more}), **empty, **given})
