"""Quantisation: what each file of our model loses against the original, and the smallest one worth taking."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from tinsmith.base.files import read_jsonl
from tinsmith.evaluate.families import bits, speed
from tinsmith.evidence.bootstrap import Bootstrap, ratio
from tinsmith.evidence.family import Family, FigureContext, Figures, Results, Section
from tinsmith.evidence.format import number, size, span
from tinsmith.evidence.items import ChoiceRow
from tinsmith.evidence.schema import GGUF_SUBJECTS, OURS, Finding, FormatRow, Formats

_SPEEDS = ("tokens_per_second", "joules_per_answer")


def figures(context: FigureContext) -> Figures:
    """Return a row for each scored file of our model, the smallest first.

    `loss` is in bits per byte against the original on the same documents, `exam` the difference in the share of correct
    answers, both with paired intervals. Sizes are read from the files, the divergence in nats from the items of the
    parity gate. Recommended is the smallest file whose interval ends within `max_loss`: a loss that the documents
    cannot rule out counts as one.
    """
    items = context.items
    scored: dict[str, list[bits.BitsRow]] = items.rows("bits")
    allowed = context.config.max_loss
    if OURS not in scored:
        return Figures(ladder=Formats(max_loss=allowed))
    speeds = {(row.subject, row.metric): row.value for row in speed.figures(context).metrics}
    divergences = _divergences(items.parity)
    bootstrap = context.bootstrap(len(scored[OURS]))
    original = bits.statistic(scored[OURS])
    rows = []
    for format, subject in GGUF_SUBJECTS.items():
        if subject not in scored:
            continue
        own = bits.statistic(scored[subject])
        loss = bootstrap.difference(own, original)
        rows.append(
            FormatRow(
                format=format,
                subject=subject,
                **_size(items.gguf / f"model-{format}.gguf"),
                bits_per_byte=bootstrap.estimate(own).value,
                loss=loss.value,
                low=loss.low,
                high=loss.high,
                **_exam(items.rows("exam"), subject, bootstrap, context),
                mean_kl=divergences.get(format),
                **{name: speeds.get((subject, name)) for name in _SPEEDS},
            )
        )
    rows.sort(key=lambda row: (row.bytes, row.format))
    within = [row.format for row in rows if row.high <= allowed]
    recommended = within[0] if within else None
    return Figures(ladder=Formats(rows=tuple(rows), recommended=recommended, max_loss=allowed))


def _size(path: Path) -> dict[str, Any]:
    from tinsmith.evaluate.weights import read_weights  # gguf takes a moment to import

    weights = read_weights(path)
    return {"bytes": weights.bytes, "bits_per_weight": weights.bits_per_weight}


def _divergences(parity: Path) -> dict[str, float]:
    """Return each format's mean KL over all positions from the prompts' means."""
    nats: Counter[str] = Counter()
    positions: Counter[str] = Counter()
    for row in read_jsonl(parity) if parity.exists() else ():
        nats[row["format"]] += row["kl"] * row["positions"]
        positions[row["format"]] += row["positions"]
    return {format: nats[format] / count for format, count in positions.items()}


def _exam(
    answers: dict[str, list[ChoiceRow]], subject: str, bootstrap: Bootstrap, context: FigureContext
) -> dict[str, float | None]:
    """Return the difference in the share of correct answers; an interval needs questions on two documents."""
    original, own = answers.get(OURS, []), answers.get(subject, [])
    documents = sorted({row["doc_id"] for row in original})
    if not documents:
        return dict.fromkeys(("exam", "exam_low", "exam_high"))
    asked = Counter(row["doc_id"] for row in original)
    correct = [Counter(row["doc_id"] for row in rows if row["correct"]) for rows in (own, original)]
    if len(documents) < 2:
        share = (correct[0].total() - correct[1].total()) / asked.total()
        return {"exam": share, "exam_low": None, "exam_high": None}
    counts = [asked[name] for name in documents]
    sides = [ratio([side[name] for name in documents], counts) for side in correct]
    found = context.bootstrap(len(documents)).difference(*sides)
    return {"exam": found.value, "exam_low": found.low, "exam_high": found.high}


def findings(results: Results) -> list[Finding]:
    """Recommend the smallest file that surely loses no more than the recipe allows."""
    ladder = results.metrics.ladder
    if not ladder.rows:
        return []
    within = f"the {number(ladder.max_loss)} bits per byte that the recipe allows"
    if ladder.recommended is None:
        least = min(ladder.rows, key=lambda row: row.high)
        text = (
            f"No scored file is certain to lose no more than {within}: {least.format} comes nearest with "
            f"{number(least.loss)} ({span(least.low, least.high)})."
        )
        return [Finding(verdict="", text=text, outcome="none")]
    row = next(row for row in ladder.rows if row.format == ladder.recommended)
    text = (
        f"Take the file {row.format} ({size(row.bytes)} of weights): it loses {number(row.loss)} bits per byte against "
        f"the original ({span(row.low, row.high)}), within {within}."
    )
    return [Finding(verdict="", text=text, outcome="recommended")]


FAMILY = Family(
    kind="ladder",
    order=100,
    metrics=(),
    figures=figures,
    section=Section("ladder", "Files", 20),
    findings=findings,
    front=frozenset({"none", "recommended"}),
)
