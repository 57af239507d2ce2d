"""What the page says of training: the recipe's settings, the log's curves, and what diverged."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from tinsmith.base.files import JsonObject, read_json, read_jsonl
from tinsmith.recipe import Recipe
from tinsmith.report.schema import (
    CurvePoint,
    Cut,
    ObjectiveShare,
    Optimizer,
    RollbackRow,
    Streamline,
    TokenizerFacts,
    Trained,
    Training,
    TrainingFigure,
)

_CURVE_POINTS = 120
_SHOWN_DECISIONS = 40
# Columns of the log that every run has; the others are figures of objectives.
_COMMON = {"step", "tokens", "seconds", "supervised", "loader_seconds", "loss", "learning_rate", "grad_norm"}

Log = Sequence[Mapping[str, float]]
_Row = TypeVar("_Row")


def describe_training(data: Path, recipe: Recipe, statistics: Mapping[str, JsonObject]) -> Training:
    """Return settings, totals, curves, rollbacks and pruning of a training, from what it left in `data`.

    `statistics` are those of the stages by name.
    """
    log, schedule, rollbacks = (
        list(read_jsonl(path)) if (path := data / f"{name}.jsonl").is_file() else []
        for name in ("log", "schedule", "rollbacks")
    )
    streamline, train = data / "streamline.json", recipe.train
    return Training(
        budget=train.budget,
        objective=tuple(ObjectiveShare(name=name, share=share) for name, share in train.shares.items()),
        trained=_trained(recipe, statistics.get("train", {})),
        optimizer=_optimizer(recipe),
        tokenizer=_tokenizer(recipe, statistics.get("tokenize", {})),
        streamline=_streamline(read_json(streamline)) if streamline.is_file() else None,
        rollbacks=tuple(RollbackRow(**row | {"skipped": len(row["skipped"])}) for row in rollbacks),
        decisions=len(schedule),
        schedule=tuple(thin(schedule, _SHOWN_DECISIONS)),
        **_progress(log) if log else {},
    )


def _trained(recipe: Recipe, statistics: JsonObject) -> Trained:
    adapters = recipe.train.lora.model_dump() if recipe.train.trainable == "lora" else {}
    sizes = {name: statistics.get(name) for name in ("parameters", "trainable_parameters")}
    return Trained(kind=recipe.train.trainable, **sizes, **adapters)


def _optimizer(recipe: Recipe) -> Optimizer:
    settings = {name: getattr(recipe.train, name) for name in Optimizer.model_fields if name != "name"}
    return Optimizer(name=recipe.train.optimizer, **settings)


def _tokenizer(recipe: Recipe, statistics: JsonObject) -> TokenizerFacts:
    return TokenizerFacts(**statistics | {"kind": recipe.model.tokenizer, "base": recipe.model.base})


def _streamline(facts: JsonObject) -> Streamline:
    """Return what was cut, from how many to how many, and the loss on the sample after each cut."""
    cuts = [Cut(**facts[name], what=name) for name in ("vocabulary", "layers", "mlp") if name in facts]
    dropped = None
    if layers := facts.get("layers"):
        dropped = sorted(layer + 1 for layer in set(range(layers["before"])) - set(layers["kept"]))
    return Streamline(**facts | {"cuts": cuts, "layers_dropped": dropped})


def _progress(log: Log) -> JsonObject:
    """Return the fields of `Training` that its log gives."""
    tokens, seconds = (list(itertools.accumulate(row[name] for row in log)) for name in ("tokens", "seconds"))
    edge = max(1, len(log) // 20)
    return {
        "steps": len(log),
        "tokens": tokens[-1],
        "seconds": seconds[-1],
        "tokens_per_second": tokens[-1] / seconds[-1] if seconds[-1] else None,
        "first_loss": _mean(log[:edge], "loss"),
        "last_loss": _mean(log[-edge:], "loss"),
        "averaged_steps": edge,
        "curve": _curve(log, tokens),
        "figures": _figures(log, edge),
    }


def _figures(log: Log, edge: int) -> list[TrainingFigure]:
    """Return the figures of objectives, averaged over the first and the last steps that have them."""
    figures = []
    for name in dict.fromkeys(name for row in log for name in row):
        rows = [row for row in log if isinstance(row.get(name), int | float)]
        if rows and name not in _COMMON and not name.startswith("tokens_"):
            first, last = _mean(rows[:edge], name), _mean(rows[-edge:], name)
            figures.append(TrainingFigure(name=name, first=first, last=last))
    return figures


def thin(rows: Sequence[_Row], most: int) -> Sequence[_Row]:
    """Return at most `most` rows at equal distances, the first among them."""
    return rows[:: -(-len(rows) // most) or 1]


def _curve(log: Log, tokens: Sequence[float]) -> list[CurvePoint]:
    """Average the log over at most _CURVE_POINTS equal stretches."""
    width = -(-len(log) // _CURVE_POINTS)
    points = []
    for start in range(0, len(log), width):
        rows = log[start : start + width]
        means = {name: _mean(rows, name) for name in ("loss", "learning_rate")}
        points.append(CurvePoint(step=int(log[start]["step"]), tokens=int(tokens[start]), **means))
    return points


def _mean(rows: Log, name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)
