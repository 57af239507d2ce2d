"""Check a bundle's `parity.json`: compute its figures again from the gate's items, its bounds and the files."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from scipy.stats import binom

from tinsmith.base.errors import BundleError
from tinsmith.base.files import JsonObject, read_json, read_jsonl
from tinsmith.gguf.header import read_tensor_types
from tinsmith.recipe import PackageConfig

_SAME = 1e-4  # of a mean: the gate's is a float32 one
_SAME_NATS = 1e-6
# Probability that a file exactly at its top-1 bound fails because of the few prompts that were drawn.
_FALSE_ALARM = 1e-4
# Mean KL in nats between llama.cpp's product and ours for the same file. Up to 0.006 with 4 bits, where llama.cpp
# rounds the hidden state too; a wrong matrix, bias or scale gives more than this.
_MAX_APART = 0.1


def server_figures(name: str, figures: JsonObject) -> JsonObject:
    """Return the figures of whole answers from the server, for the format that is served by default."""
    count = figures["answers"]
    return {
        **{key: figures[key] for key in ("token_ids_equal", "stop_equal", "bound_kl", "bytes")},
        "format": name,
        "mean_kl": figures["answers_kl"],
        "top1": figures["answers_top1"],
        "positions": count,
        "prompts": count,
        "bound_top1": least_share(figures["bound_top1"], count),
    }


def least_share(bound: float, count: int) -> float:
    """Return the least share of `count` answers that a file exactly at its bound misses only by rare chance."""
    # A share of so few positions is mostly chance: near ties in 24 prompts once stopped a good file.
    return max(0.0, float(binom.ppf(_FALSE_ALARM, count, bound))) / count


def out_of_bounds(figures: JsonObject) -> list[str]:
    """Say of a format which of its figures are out of bounds."""
    kl, top1 = figures["bound_kl"], figures["bound_top1"]
    apart, answers_kl = figures.get("answers_apart", 0.0), figures.get("answers_kl", 0.0)
    within = {
        f"mean KL {figures['mean_kl']:.4f} nats is above its bound {kl}": figures["mean_kl"] <= kl,
        f"top-1 agreement {figures['top1']:.3f} is below its bound {top1:.3f}": figures["top1"] >= top1,
        f"the server's distributions differ from its hidden states times the file's output matrix "
        f"(mean KL {apart:.4f} nats, at most {_MAX_APART})": apart <= _MAX_APART,
        f"mean KL of whole answers {answers_kl:.4f} nats is above its bound {kl}": answers_kl <= kl,
    }
    # Comparisons with NaN are false, so a NaN is out of bounds.
    return [text for text, holds in within.items() if not holds]


def check_figures(root: Path, where: Path, rows: Path, config: PackageConfig, *, of_job: bool) -> int:
    """Compare each figure of a `parity.json` with what its `rows` and the files in `root` give; return their number.

    Taken on trust is only what whole answers of the server were like. Raises BundleError for the first difference.
    """
    if not where.is_file():
        raise _wrong(where, "is missing, so the exports cannot be compared with what was trained")
    stored = read_json(where)
    ggufs: dict[str, Path] = {format: root / "gguf" / f"model-{format}.gguf" for format in config.formats}
    served = min(ggufs, key=lambda name: ggufs[name].stat().st_size)
    sizes = {name: path.stat().st_size for name, path in ggufs.items()}
    sizes["saved"] = sum(file.stat().st_size for file in (root / "model").glob("*.safetensors"))
    items: dict[str, list[Any]] = {name: [] for name in sizes}
    for row in read_jsonl(rows):
        items.setdefault(row["format"], []).append(row)
    expected = {
        name: _figures(name, items[name], config, of_job=of_job) | {"bytes": sizes[name]} for name in sizes
    }
    for name, figures in stored["formats"].items():
        if name in expected:
            # The server's whole answers have no items.
            kept = {key: value for key, value in figures.items() if key.partition("_")[0] == "answers"}
            expected[name] |= kept
    if "answers" in expected[served]:
        expected["server"] = server_figures(
            served, expected[served] | {"bound_top1": config.min_top1[served]}
        )
    count = _compare(where, "formats", stored["formats"], expected)
    for name, figures in expected.items():
        if wrong := out_of_bounds(figures):
            raise _wrong(where, f"{name}: {wrong[0]}")
    types = {name: dict(Counter(row[0] for row in read_tensor_types(path))) for name, path in ggufs.items()}
    return count + _compare(where, "tensors", stored["tensors"], types)


def _figures(name: str, rows: list[Any], config: PackageConfig, *, of_job: bool) -> JsonObject:
    """Return what the items of a format give, and what the gate demands."""
    positions, least = sum(row["positions"] for row in rows), config.min_top1[name]

    def mean(field: str) -> float:
        return math.fsum(row[field] * row["positions"] for row in rows) / positions if rows else math.nan

    # Of a classification, how its labels agree: one prompt counts as another.
    count = sum("label_kl" in row for row in rows)
    labels = (
        {}
        if not count
        else {
            "label_kl": math.fsum(row["label_kl"] for row in rows) / count,
            "same_label": sum(row["same_label"] for row in rows) / count,
            "bound_same_label": least_share(least, count),
        }
    )
    return labels | {
        "mean_kl": mean("kl"),
        "top1": mean("top1"),
        "positions": positions,
        "prompts": len(rows),
        "token_ids_equal": True,
        "stop_equal": True,
        "bound_kl": config.max_kl[name],
        "bound_top1": least_share(least, positions) if of_job else least,
    }


def _compare(where: Path, table: str, stored: JsonObject, expected: JsonObject) -> int:
    """Raise BundleError for the first difference; return how many fields agree."""
    for name in [*expected, *stored]:
        own, given = stored.get(name, {}), expected.get(name, {})
        for field in [*given, *own]:
            value, again = own.get(field), given.get(field)
            if not _same(value, again):
                raise _wrong(where, f"{table}, {name}: {field} is {value!r}, the bundle gives {again!r}")
    return sum(map(len, expected.values()))


def _same(value: object, other: object) -> bool:
    if isinstance(value, float) and isinstance(other, float):
        return math.isclose(value, other, rel_tol=_SAME, abs_tol=_SAME_NATS)
    return value == other


def _wrong(where: Path, what: str) -> BundleError:
    return BundleError(
        what,
        where=str(where),
        next_step="do not trust this bundle; build it again from its recipe and documents",
    )
