"""Which of the model's files to take, in a sentence, and where every subject stands in quality, size and energy."""

from __future__ import annotations

from typing import Any

from tinsmith.report import format as words


def describe_ladder(ladder: dict[str, Any]) -> str:
    """Return the recommendation as a sentence, or nothing where no file was scored."""
    rows = {row["format"]: row for row in ladder["rows"]}
    if not rows:
        return ""
    within = f"the {words.number(ladder['max_loss'])} bits per byte that the recipe allows"
    if ladder["recommended"] is None:
        least = min(rows.values(), key=lambda row: row["high"])
        return (
            f"No file that was scored surely loses less than {within}: {least['format']} comes nearest with "
            f"{words.number(least['loss'])} ({words.span(least['low'], least['high'])})."
        )
    row = rows[ladder["recommended"]]
    return (
        f"Take the file {row['format']} ({words.size(row['bytes'])} of weights): it loses {words.number(row['loss'])} "
        f"bits per byte against the original ({words.span(row['low'], row['high'])}), within {within}."
    )


def places(evidence: dict[str, Any], against: str) -> list[dict[str, Any]]:
    """Return {subject, x, value, low, high} of each model whose quality and size (or joules an answer) are known."""
    xs = {row["subject"]: row.get("bytes") for row in evidence["subjects"]}
    if against != "bytes":
        xs = {row["subject"]: row["value"] for row in evidence["metrics"] if row["metric"] == against}
    return [
        {
            "subject": row["subject"],
            "x": xs[row["subject"]],
            **{name: row[name] for name in ("value", "low", "high")},
        }
        for row in evidence["metrics"]
        if row["metric"] == "bits_per_byte" and xs.get(row["subject"])
    ]
