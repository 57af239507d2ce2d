"""From stored items to the rows of metrics.json."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tinsmith.evaluate.bootstrap import (
    Bootstrap,
    Statistic,
    balanced,
    difference_row,
    holm,
    only,
    overlap_slices,
    ratio,
)
from tinsmith.evaluate.families.general_table import general_rows
from tinsmith.evaluate.items import CONTROLS, FORMATS, OURS, OURS_4BIT, Measured, has_classes
from tinsmith.recipe import EvaluateConfig

CONTROL_NAMES = {
    "majority": "commonest answer",
    "tfidf": "TF-IDF with logistic regression",
    "compressor": "bzip2 primed with the training text",
    "ngram": "byte 8-gram model of the training text",
    "length": "longest or shortest choice",
    "overlap": "words shared with the text before",
    "unread": "byte 8-gram model, document unread",
}


def control_rows(measured: dict[str, Measured]) -> list[dict[str, Any]]:
    """Return the rows of `subjects` for the controls: they have a name and no weights."""
    empty = dict.fromkeys(("parameters", "bytes", "bits_per_weight", "quantisation", "licence"))
    names = [name for name in CONTROLS if name in measured]
    return [{"subject": name, "name": CONTROL_NAMES[name], "role": "control", **empty} for name in names]


def tabulate(
    measured: dict[str, Measured],
    asked: Iterable[tuple[str, int]],
    bootstrap: Bootstrap,
    config: EvaluateConfig,
) -> dict[str, Any]:
    """Return `metrics` and `comparisons`, with intervals by the same resamples of documents.

    `asked` names the exams: task and number of examples.
    """
    metrics, comparisons = _bits_rows(measured, bootstrap)
    for task, count in asked:
        more_metrics, more_comparisons = _exam_rows(measured, task, count, config, bootstrap)
        metrics += more_metrics
        comparisons += more_comparisons
    general = {name: found.general for name, found in measured.items() if found.general}
    more_metrics, more_comparisons = general_rows(general, config, bootstrap.seed)
    metrics += more_metrics
    comparisons += more_comparisons
    _adjust(comparisons)
    return {"metrics": metrics, "comparisons": comparisons}


def _adjust(comparisons: list[dict[str, Any]]) -> None:
    """Add to each comparison between models its p-value adjusted for how many of them there are."""
    between = [row for row in comparisons if row["b"] not in CONTROLS]
    for row, adjusted in zip(between, holm([row["p"] for row in between]), strict=True):
        row["p_holm"] = adjusted


def pairs(subjects: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield what is compared: ours and its 4-bit form with base and rivals, ours with controls too.

    What its files lose against the original is the ladder's affair.
    """
    for a in (OURS, OURS_4BIT):
        for b in subjects:
            if (
                a in subjects
                and a != b
                and b not in FORMATS.values()
                and not (a == OURS_4BIT and b in CONTROLS)
            ):
                yield a, b


def _bits_rows(
    measured: dict[str, Measured], bootstrap: Bootstrap
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rows = {name: found.bits for name, found in measured.items() if found.bits}
    statistics = {
        name: ratio([r["bits"] for r in own], [r["bytes"] for r in own]) for name, own in rows.items()
    }
    first = next(iter(rows.values()))
    count = len(first)
    slices = {"": list(range(count)), **overlap_slices([row["overlap"] for row in first])}
    metrics, comparisons = [], []
    for part, members in slices.items():
        metric = "bits_per_byte" + (f":{part}" if part else "")
        chosen = {name: only(members, count, statistic) for name, statistic in statistics.items()}
        common = {"unit": "bits/byte", "slice": part}
        metrics += _metric_rows(metric, chosen, bootstrap, len(members), "bits", common)
        comparisons += _comparison_rows(metric, chosen, bootstrap, len(members), {"slice": part})
    return metrics, comparisons


def _exam_rows(
    measured: dict[str, Measured], task: str, count: int, config: EvaluateConfig, paired: Bootstrap
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for name, found in measured.items():
        # Controls know no examples in the prompt: their one answer stands beside each number of shots.
        own = [
            row for row in found.exam if row["task"] == task and (row["shots"] == count or name in CONTROLS)
        ]
        if own:
            rows[name] = own
    if not rows:
        return [], []
    size = len(next(iter(rows.values())))
    documents = list(dict.fromkeys(row["doc_id"] for row in next(iter(rows.values()))))
    if len(documents) < 2:
        return [], []
    bootstrap = Bootstrap(
        len(documents), resamples=config.bootstrap, confidence=config.confidence, seed=paired.seed
    )
    metrics, comparisons = [], []
    for kind in ("accuracy", "balanced_accuracy") if has_classes(task) else ("accuracy",):
        metric = f"{kind}:{task}:{count}-shot"
        statistics = {name: _exam_statistic(kind, own, documents) for name, own in rows.items()}
        common = {"unit": "share", "slice": "", "task": task, "shots": count}
        metrics += _metric_rows(metric, statistics, bootstrap, size, "exam", common)
        comparisons += _comparison_rows(
            metric, statistics, bootstrap, size, {"slice": "", "task": task, "shots": count}
        )
    return metrics, comparisons


def _exam_statistic(kind: str, rows: Sequence[dict[str, Any]], documents: Sequence[str]) -> Statistic:
    """Return a statistic over documents: the items of one are drawn together, since they are not independent."""
    if kind == "balanced_accuracy":
        return balanced([bool(row["correct"]) for row in rows], [row["answer"] for row in rows])
    place = {doc_id: number for number, doc_id in enumerate(documents)}
    right, asked = [0.0] * len(documents), [0.0] * len(documents)
    for row in rows:
        right[place[row["doc_id"]]] += bool(row["correct"])
        asked[place[row["doc_id"]]] += 1
    return ratio(right, asked)


def _metric_rows(
    metric: str,
    statistics: dict[str, Statistic],
    bootstrap: Bootstrap,
    items: int,
    kind: str,
    common: dict[str, Any],
) -> list[dict[str, Any]]:
    return [
        {
            "subject": name,
            "metric": metric,
            **bootstrap.estimate(statistic).row(),
            "items": items,
            "file": f"items/{kind}-{name}.jsonl",
            **common,
        }
        for name, statistic in statistics.items()
    ]


def _comparison_rows(
    metric: str, statistics: dict[str, Statistic], bootstrap: Bootstrap, items: int, common: dict[str, Any]
) -> list[dict[str, Any]]:
    return [
        difference_row(
            metric,
            a,
            b,
            bootstrap.difference(statistics[a], statistics[b]),
            items,
            confidence=bootstrap.confidence,
            **common,
        )
        for a, b in pairs(list(statistics))
    ]
