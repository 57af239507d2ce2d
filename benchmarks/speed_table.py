"""Tables of the speed benchmarks: tokens per second, ratios round by round, equal work, memory and loader."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.evidence import table
from benchmarks.flops import train_flops_per_token
from benchmarks.ratios import ratio_spread, spread
from benchmarks.subjects import SUBJECTS

Rows = list[dict[str, Any]]
_OURS = [subject.name for subject in SUBJECTS if subject.environment == "tinsmith"]
_TASKS = {
    "blocks": "Blocks of exactly 512 tokens, the same for all",
    "documents": "Whole documents, each tool's usual way (padded or packed), real tokens counted",
}
_EQUAL = 2e-3  # relative difference of losses up to which the work was the same


def body(facts: dict[str, Any]) -> list[str]:
    """Return the page: one table per kind of data and precision."""
    rows: Rows = facts["rows"]
    lines: list[str] = []
    for task, precision in dict.fromkeys((row["task"], row["precision"]) for row in rows):
        chosen = [row for row in rows if (row["task"], row["precision"]) == (task, precision)]
        lines += [f"## {_TASKS[task]}, {precision}", "", *_speeds(chosen, facts, task)]
        if task == "blocks":
            lines += [_equal_work(chosen, facts["settings"]["trainable"]), ""]
    return [*lines, *_loader(rows)]


def by_subject(rows: Rows) -> dict[str, Rows]:
    """Group the rows of subjects that did not fail in any round."""
    names = dict.fromkeys(row["subject"] for row in rows if row["subject"] != "matmul")
    groups = {name: [row for row in rows if row["subject"] == name] for name in names}
    return {name: group for name, group in groups.items() if not any("failed" in row for row in group)}


def _speeds(rows: Rows, facts: dict[str, Any], task: str) -> list[str]:
    rates = {row["round"]: row["gflops"] for row in rows if row["subject"] == "matmul"}
    rank = 16 if facts["settings"]["trainable"] == "lora" else 0
    # Documents attend within themselves, so only full blocks have the length that the formula assumes.
    cost = train_flops_per_token(facts["model"], length=512, lora_rank=rank) / 1e9
    groups = by_subject(rows)
    ours = [name for name in _OURS if name in groups]
    header = ["subject", "tokens/s", *(f"{name}: times as fast" for name in ours)]
    header += ["share of matmul rate", "cpu s per 1,000 tokens", "peak GiB", "first step s", "set-up s"]
    lines = []
    for name, group in sorted(groups.items(), key=lambda item: -_median(item[1], _speed)):
        speeds = [_speed(row) for row in group]
        shares = [_speed(row) * cost / rates[row["round"]] for row in group]
        lines.append(
            [
                name,
                f"{spread(speeds).median:.1f} ({min(speeds):.1f} to {max(speeds):.1f})",
                *(_ratio(groups[mine], group) if mine != name else "" for mine in ours),
                f"{statistics.median(shares):.0%}" if task == "blocks" else "",
                f"{_median(group, lambda row: 1000 * row['cpu_seconds'] / row['tokens']):.1f}",
                f"{max(row['peak_rss_bytes'] for row in group) / 2**30:.2f}",
                f"{group[0]['step_seconds'][0]:.0f}",
                f"{_median(group, lambda row: row['setup_seconds']):.0f}",
            ]
        )
    failed = sorted({f"{row['subject']}: failed ({row['failed']})" for row in rows if "failed" in row})
    rate = spread(list(rates.values()))
    about = (
        f"Matrix products at the model's shapes: {rate.median:.0f} ({rate.low:.0f} to {rate.high:.0f}) GFLOP/s; "
        f"a token costs {cost:.3f} GFLOP."
    )
    return [*table(header, lines), about, "", *(f"- {line}" for line in failed), *([""] if failed else [])]


def _ratio(ours: Rows, theirs: Rows) -> str:
    mine = {row["round"]: _speed(row) for row in ours}
    other = {row["round"]: _speed(row) for row in theirs}
    rounds = sorted(mine.keys() & other.keys())
    return str(ratio_spread([mine[n] for n in rounds], [other[n] for n in rounds]))


def _equal_work(rows: Rows, trainable: str) -> str:
    """Say whether the first losses agree. Adapters begin at random, so under LoRA only the first must."""
    groups = by_subject(rows)
    count = 3 if trainable == "all" else 1
    losses = {name: group[0]["losses"][:count] for name, group in groups.items()}
    middle = [statistics.median(values) for values in zip(*losses.values())]
    worst = {
        name: max(abs(value / centre - 1) for value, centre in zip(values, middle))
        for name, values in losses.items()
    }
    odd = [f"{name} by {difference:.1e}" for name, difference in worst.items() if difference > _EQUAL]
    if odd:
        return f"**The work was NOT equal**: the first {count} losses of {', '.join(odd)} differ from the others'."
    figures = ", ".join(f"{value:.4f}" for value in middle)
    return (
        f"Equal work: the losses of the first {count} steps ({figures}) agree across all within "
        f"{max(worst.values()):.1e}."
    )


def _loader(rows: Rows) -> list[str]:
    timed = [row for row in rows if "loader_seconds" in row]
    if not timed:
        return []
    shares = [sum(row["loader_seconds"]) / sum(row["step_seconds"]) for row in timed]
    return [f"Tinsmith's data loader takes {max(shares):.4%} of step time at most.", ""]


def _speed(row: dict[str, Any]) -> float:
    return float(row["tokens_per_second"])


def _median(rows: Sequence[dict[str, Any]], figure: Callable[[dict[str, Any]], float]) -> float:
    return statistics.median(map(figure, rows))
