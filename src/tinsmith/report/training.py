"""What the page tells of training: the recipe's settings, the log's curves, what went wrong and was mended."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from tinsmith.recipe import Recipe
from tinsmith.report.collect import read_if_there

CURVE_POINTS = 120
SHOWN_DECISIONS = 40
# Columns of the log that every run has; the others are figures of objectives.
COUNTS = ("step", "tokens", "seconds", "supervised", "loader_seconds")


def describe_training(bundle: Path, recipe: Recipe, manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """Return settings, totals, curves, roll-backs and streamlining of a bundle's training; what is missing is empty."""
    statistics = {manifest["stage"]: manifest.get("statistics") or {} for manifest in manifests}
    log = read_if_there(bundle / "data" / "log.jsonl") or []
    schedule = read_if_there(bundle / "data" / "schedule.jsonl") or []
    facts = {
        "budget": recipe.train.budget,
        "objective": [{"name": name, "share": share} for name, share in recipe.train.shares.items()],
        "trained": _trained(recipe, statistics.get("train", {})),
        "optimizer": _optimizer(recipe),
        "tokenizer": _tokenizer(recipe, statistics.get("tokenize", {})),
        "streamline": _streamlining(read_if_there(bundle / "data" / "streamline.json") or {}),
        "rollbacks": _rollbacks(read_if_there(bundle / "data" / "rollbacks.jsonl") or []),
        "decisions": len(schedule),
        "schedule": thin(schedule, SHOWN_DECISIONS),
    }
    return facts | (_progress(log) if log else {"steps": 0, "curve": [], "figures": []})


def _trained(recipe: Recipe, statistics: dict[str, float]) -> dict[str, Any]:
    facts: dict[str, Any] = {"kind": recipe.train.trainable}
    facts |= {name: statistics.get(name) for name in ("parameters", "trainable_parameters")}
    if recipe.train.trainable == "lora":
        facts |= recipe.train.lora.model_dump(mode="json")
    return facts


def _optimizer(recipe: Recipe) -> dict[str, Any]:
    names = ("learning_rate", "weight_decay", "batch_tokens", "schedule", "warmup", "decay")
    return {"name": recipe.train.optimizer, **{name: getattr(recipe.train, name) for name in names}}


def _tokenizer(recipe: Recipe, statistics: dict[str, float]) -> dict[str, Any]:
    names = ("vocabulary", "bytes_per_token", "bytes_per_token_held_out")
    facts = {name: statistics.get(name) for name in names}
    return {"kind": recipe.model.tokenizer, "base": recipe.model.base, **facts}


def _streamlining(facts: dict[str, Any]) -> dict[str, Any]:
    """Return what was cut, from how many to how many, and the loss on the sample after each cut."""
    if not facts:
        return {}
    cuts = [{"what": name, **facts[name]} for name in ("vocabulary", "layers", "mlp") if name in facts]
    names = ("parameters_before", "parameters_after", "sample_tokens", "seconds", "loss_before")
    kept: dict[str, Any] = {name: facts[name] for name in (*names, "loss_after_surgery")}
    kept["loss_after_training"] = facts.get("loss_after_training")
    kept["cuts"] = [{name: cut[name] for name in ("what", "before", "after", "loss")} for cut in cuts]
    if "layers" in facts:
        # As people count them, from 1.
        kept["layers_dropped"] = sorted(
            layer + 1 for layer in set(range(facts["layers"]["before"])) - set(facts["layers"]["kept"])
        )
    return kept


def _rollbacks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = ("step", "trouble", "back_to", "seconds")
    return [{name: row[name] for name in kept} | {"skipped": len(row["skipped"])} for row in rows]


def _progress(log: list[dict[str, Any]]) -> dict[str, Any]:
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


def _figures(log: list[dict[str, Any]], edge: int) -> list[dict[str, Any]]:
    """Return what objectives tell of themselves, at the first and at the last of the steps that have it."""
    known = {*COUNTS, "loss", "learning_rate", "grad_norm"}
    figures = []
    names = dict.fromkeys(name for row in log for name in row)
    for name in (name for name in names if name not in known and not name.startswith("tokens_")):
        rows = [row for row in log if isinstance(row.get(name), int | float)]
        if rows:
            figures.append(
                {"name": name, "first": _mean(rows[:edge], name), "last": _mean(rows[-edge:], name)}
            )
    return figures


def thin(rows: list[Any], most: int) -> list[Any]:
    """Return at most `most` rows at equal distances, the first among them."""
    return rows[:: -(-len(rows) // most) or 1]


def _curve(log: list[dict[str, Any]], tokens: list[float]) -> list[dict[str, float]]:
    """Average the log over at most CURVE_POINTS equal stretches."""
    width = -(-len(log) // CURVE_POINTS)
    points = []
    for start in range(0, len(log), width):
        rows = log[start : start + width]
        mean = {name: _mean(rows, name) for name in ("loss", "learning_rate")}
        points.append({"step": log[start]["step"], "tokens": tokens[start], **mean})
    return points


def _mean(rows: list[dict[str, Any]], name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)
