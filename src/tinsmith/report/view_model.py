"""Evidence arranged for the eye: tables and pictures of the page. Nothing here measures or decides."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup

from tinsmith.recipe import OBJECTIVES, loss_unit
from tinsmith.report import format as words
from tinsmith.report.bias import is_conduct
from tinsmith.report.curation_view import CurationView
from tinsmith.report.ladder import places
from tinsmith.report.leaks import PREFIXES, is_leak
from tinsmith.report.plots import Mark, curve, intervals, scatter
from tinsmith.report.verdict import BITS, OUR_FILES, is_exam

JOULES_PER_KWH = 3.6e6


class View:
    """Tables and pictures drawn from one evidence dictionary."""

    def __init__(self, evidence: dict[str, Any]) -> None:
        self.evidence = evidence
        self.subjects = {row["subject"]: row for row in evidence["subjects"]}
        self.curation = CurationView(evidence["curation"])

    def name(self, subject: str) -> str:
        """Return a subject's name as people read it."""
        named = str(self.subjects.get(subject, {}).get("name") or subject)
        bits = OUR_FILES.get(subject, 4)
        short = {
            "ours": "This model",
            "ours_quantised": f"This model in {bits} bits",
            "base": f"{named}, its base",
        }
        return short.get(self.role(subject), named)

    def kind(self, subject: str) -> str:
        """Return the style class of a subject."""
        return "ours" if self.role(subject).startswith("ours") else "other"

    def role(self, subject: str) -> str:
        """Return a subject's role."""
        return str(self.subjects.get(subject, {}).get("role", ""))

    def rows(self, metric: str) -> list[dict[str, Any]]:
        """Return the measurements of one metric, best first."""
        found = [row for row in self.evidence["metrics"] if row["metric"] == metric]
        return sorted(found, key=lambda row: row["value"], reverse=is_exam(metric))

    @property
    def exams(self) -> list[str]:
        """Return the exam metrics in the order in which they were measured."""
        return list(
            dict.fromkeys(row["metric"] for row in self.evidence["metrics"] if is_exam(row["metric"]))
        )

    @property
    def slices(self) -> list[str]:
        """Return the metrics that are bits per byte on a part of the documents."""
        names = dict.fromkeys(row["metric"] for row in self.evidence["metrics"])
        return [name for name in names if name.startswith(BITS) and name != BITS]

    @property
    def others(self) -> list[str]:
        """Return the metrics that no other table shows: speed, and whatever else was measured."""
        names = dict.fromkeys(row["metric"] for row in self.evidence["metrics"])
        shown = {BITS, *self.exams, *self.slices, *self.general}
        return [name for name in names if name not in shown and not is_leak(name) and not is_conduct(name)]

    @property
    def general(self) -> list[str]:
        """Return the metrics of general ability."""
        names = dict.fromkeys(row["metric"] for row in self.evidence["metrics"])
        return [name for name in names if name.startswith("general_accuracy:")]

    @property
    def conduct(self) -> list[str]:
        """Return the metrics of bias and planted behaviour."""
        names = dict.fromkeys(row["metric"] for row in self.evidence["metrics"])
        return [name for name in names if is_conduct(name)]

    @property
    def leaks(self) -> list[tuple[str, list[str]]]:
        """Return the metrics of what is given away in groups with a heading each."""
        names = list(dict.fromkeys(row["metric"] for row in self.evidence["metrics"]))
        headings = (
            "Passages said word for word",
            "Learnt and unseen told apart, half is chance",
            "Learnt ones found",
            "Exposure of planted secrets, bits",
            "What curation replaced, asked back",
        )
        groups = [
            (heading, [name for name in names if name.startswith(prefix)])
            for heading, prefix in zip(headings, PREFIXES, strict=True)
        ]
        return [(heading, metrics) for heading, metrics in groups if metrics]

    def matrix(self, metrics: list[str]) -> list[dict[str, Any]]:
        """Return a row per subject that has any of the metrics, with a cell (or None) per metric."""
        cells = {(row["subject"], row["metric"]): row for row in self.evidence["metrics"]}
        order = [row["subject"] for row in self.rows(BITS)]
        order += [subject for subject in self.subjects if subject not in order]
        table = [{"subject": s, "cells": [cells.get((s, metric)) for metric in metrics]} for s in order]
        return [row for row in table if any(row["cells"])]

    @property
    def duels(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the differences that the verdict rests on, and all others."""
        main = [
            d
            for d in self.evidence["verdict"]["duels"]
            if d["metric"] == BITS or d["metric"].startswith("accuracy")
        ]
        return main, [d for d in self.evidence["verdict"]["duels"] if d not in main]

    @property
    def funnel(self) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the rows of the funnel that dropped anything, and the names of rules that did not."""
        rows = self.evidence["funnel"]
        busy = [
            row for row in rows if row["documents"] or row.get("bytes") or row["step"] in ("ingested", "kept")
        ]
        return busy, [
            words.metric(row.get("reason") or row["step"]).lower() for row in rows if row not in busy
        ]

    def bits_picture(self) -> Markup:
        """Draw bits per byte with intervals, best on top, without the controls that are off the scale."""
        rows = [row for row in self.rows(BITS) if row not in self.off_scale]
        marks = [self._mark(row, words.number(row["value"])) for row in rows]
        told = "; ".join(
            f"{self.name(row['subject'])} {words.number(row['value'])}" for row in self.rows(BITS)
        )
        return intervals(
            marks, f"Bits per byte on held-out documents, lower is better: {told}", lambda v: f"{v:.4g}"
        )

    def places(self, against: str) -> list[dict[str, Any]]:
        """Return where each model stands in quality and in size or joules an answer."""
        return places(self.evidence, against)

    def scatter_picture(self, against: str) -> Markup:
        """Draw quality against size or energy, a dot with its interval for each model."""
        shown = words.size if against == "bytes" else words.significant
        found = self.places(against)
        marks = [
            (
                row["x"],
                Mark(
                    self.name(row["subject"]),
                    row["value"],
                    row["low"],
                    row["high"],
                    "",
                    self.kind(row["subject"]),
                ),
            )
            for row in found
        ]
        told = "; ".join(f"{mark.label} {shown(x)}, {words.number(mark.value)}" for x, mark in marks)
        what = "size" if against == "bytes" else "joules an answer"
        return scatter(marks, f"Bits per byte against {what}: {told}", shown)

    @property
    def off_scale(self) -> list[dict[str, Any]]:
        """Return the controls so much worse than every model that they would squeeze the picture."""
        rows = self.rows(BITS)
        models = [row["value"] for row in rows if self.role(row["subject"]) != "control"]
        limit = 1.15 * max(models, default=math.inf)
        return [row for row in rows if self.role(row["subject"]) == "control" and row["value"] > limit]

    def exam_picture(self, metric: str) -> Markup:
        """Draw the shares of right answers as bars with intervals, best on top."""
        rows = self.rows(metric)
        marks = [self._mark(row, words.percent(row["value"])) for row in rows]
        told = "; ".join(f"{self.name(row['subject'])} {words.percent(row['value'])}" for row in rows)
        alt = f"{words.metric(metric)}, share of right answers, higher is better: {told}"
        return intervals(marks, alt, lambda v: words.percent(v), bars=True)

    def _mark(self, row: dict[str, Any], shown: str) -> Mark:
        subject = row["subject"]
        return Mark(
            self.name(subject), row["value"], row.get("low"), row.get("high"), shown, self.kind(subject)
        )

    @property
    def tokenizer(self) -> str:
        """Return where the tokenizer comes from."""
        kind = self.evidence["training"]["tokenizer"]
        if kind["kind"] == "base":
            return f"that of {kind['base']}"
        return "byte-level BPE, trained on the training documents"

    def objective(self, name: str) -> str:
        """Return an objective in words."""
        return OBJECTIVES[name].learns

    def cut(self, name: str) -> str:
        """Return in words what streamlining cut."""
        return {"vocabulary": "Fewer tokens", "layers": "Fewer layers", "mlp": "Narrower MLPs"}[name]

    @property
    def trained(self) -> str:
        """Return which weights were trained."""
        facts = self.evidence["training"]["trained"]
        if facts["kind"] == "all":
            return "all weights"
        where = words.listing(facts["targets"]) or "every linear layer of the blocks"
        scale = f"rank {facts['rank']}, alpha {facts['alpha']:g}"
        return f"low-rank adapters (LoRA, {scale}) on {where}, folded into the weights in the end"

    @property
    def schedule(self) -> str:
        """Return the course of the learning rate in words."""
        facts = self.evidence["training"]["optimizer"]
        rise = f"rising over {words.percent(facts['warmup'])} of the budget"
        if facts["schedule"] == "cosine":
            return f"{rise}, then falling to zero along a cosine"
        return f"{rise}, falling to zero over the last {words.percent(facts['decay'])}"

    @property
    def loss_unit(self) -> str:
        """Return the unit of the loss."""
        return loss_unit(part["name"] for part in self.evidence["training"]["objective"])

    def loss_picture(self) -> Markup:
        """Draw the training loss over tokens."""
        points = self.evidence["training"]["curve"]
        losses = [point["loss"] for point in points]
        alt = f"Training loss goes from {losses[0]:.3f} to {losses[-1]:.3f} {self.loss_unit} over the run"
        label = f"{words.big(self.evidence['training']['tokens'])} tokens"
        return curve([point["tokens"] for point in points], losses, alt, label)

    def rate_picture(self) -> Markup:
        """Draw the learning rate over tokens."""
        points = self.evidence["training"]["curve"]
        rates = [point["learning_rate"] for point in points]
        alt = f"Learning rate: peak {max(rates):.2g}, at the end {rates[-1]:.2g}"
        label = f"{words.big(self.evidence['training']['tokens'])} tokens"
        return curve([point["tokens"] for point in points], rates, alt, label)

    def energy_picture(self) -> Markup:
        """Draw this run's energy beside published runs on a logarithmic axis."""
        totals = self.evidence["totals"]
        low, central, high = (totals[name] for name in ("kwh_low", "kwh", "kwh_high"))
        marks = [Mark("This run, all stages", central, low, high, words.energy(central), "ours")]
        for run in reversed(self.evidence["yardsticks"]["runs"]):
            shown = words.energy(run["mwh"] * 1000) + (" *" if run["derived"] else "")
            marks.append(Mark(run["run"], run["mwh"] * 1000, None, None, shown))
        told = "; ".join(f"{mark.label} {mark.shown}" for mark in marks)
        return intervals(marks, f"Energy of training runs, logarithmic: {told}", words.energy, log=True)

    @property
    def parity_rows(self) -> list[dict[str, Any]]:
        """Return a row per export with its bounds, size and whether it holds."""
        rows = []
        for name, row in self.evidence["parity"].get("formats", {}).items():
            size = row.get("bytes") or self._gguf_bytes(name)
            rows.append({**row, "format": name, "bytes": size, "holds": holds(row)})
        return rows

    def _gguf_bytes(self, name: str) -> int | None:
        found = (row["bytes"] for row in self.evidence["gguf"] if row["file"].endswith(f"-{name}.gguf"))
        return next(found, None)

    @property
    def smallest(self) -> dict[str, Any] | None:
        """Return the smallest export."""
        return min(self.evidence["gguf"], key=lambda row: row["bytes"], default=None)

    @property
    def parameters(self) -> float | None:
        """Return the size of our model."""
        row = self.subjects.get(self.evidence["verdict"]["subject"] or "", {})
        return row.get("parameters")

    @property
    def times_smaller(self) -> list[dict[str, Any]]:
        """Return how many times this run's energy each published run took."""
        kwh = self.evidence["totals"]["kwh"]
        runs = self.evidence["yardsticks"]["runs"]
        return [{**run, "times": run["mwh"] * 1000 / kwh if kwh else None} for run in runs]


def holds(row: dict[str, Any]) -> bool:
    """Say whether an export keeps every bound that the file states for it."""
    within = row.get("mean_kl") is None or row.get("bound_kl") is None or row["mean_kl"] <= row["bound_kl"]
    agrees = row.get("top1") is None or row.get("bound_top1") is None or row["top1"] >= row["bound_top1"]
    return (
        within and agrees and row.get("token_ids_equal") is not False and row.get("stop_equal") is not False
    )
