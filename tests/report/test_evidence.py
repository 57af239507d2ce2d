"""evidence.json holds the promised rows, and totals that add up."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tinsmith.meter.carbon import grid
from tinsmith.report.training import thin


def test_rows_have_the_promised_columns(evidence: dict[str, Any]) -> None:
    promised = {
        "metrics": {"subject", "metric", "value", "low", "high", "items", "file"},
        "comparisons": {"metric", "a", "b", "difference", "low", "high"},
        "stages": {"stage", "seconds", "joules_low", "joules", "joules_high", "method", "peak_rss_bytes"},
        "assets": {"name", "kind", "sha256", "bytes", "licence", "source", "stages"},
        "funnel": {"step", "reason", "documents", "bytes"},
    }
    for name, columns in promised.items():
        assert evidence[name], name
        assert all(columns <= set(row) for row in evidence[name]), name
    assert evidence["parity"]["formats"]["f16"]["positions"] == 2000
    assert evidence["versions"]["torch"] == "2.13.0+cpu"
    assert evidence["recipe"] == "licences"
    assert evidence["machines"][0]["cpu"] == "Example CPU 9000"


def test_files_that_metrics_name_are_in_the_bundle(bundle: Path, evidence: dict[str, Any]) -> None:
    named = {row["file"] for row in evidence["metrics"] if row["metric"].startswith("bits")}
    assert len(named) == 6
    assert all((bundle / file).is_file() for file in named)


def test_totals_add_up_and_carbon_follows_the_country(evidence: dict[str, Any]) -> None:
    stages, totals = evidence["stages"], evidence["totals"]
    for name in ("seconds", "joules_low", "joules", "joules_high", "g_co2e", "money"):
        assert totals[name] == pytest.approx(sum(row[name] for row in stages)), name
    kwh = totals["joules"] / 3.6e6
    assert totals["g_co2e"] == pytest.approx(kwh * grid("DEU").g_co2e_per_kwh)
    assert totals["money"] == pytest.approx(kwh * 0.3)


def test_one_asset_that_two_stages_used_is_one_row(evidence: dict[str, Any]) -> None:
    names = {row["name"]: row["stages"] for row in evidence["assets"]}
    assert names == {"licence-agreements": ["ingest"], "smollm2-135m": ["train", "evaluate"]}


def test_training_figures(evidence: dict[str, Any]) -> None:
    training = evidence["training"]
    assert training["tokens"] == 95 * 2048
    assert training["tokens_per_second"] == pytest.approx(2048 / 5.05)
    assert training["first_loss"] > training["last_loss"]
    assert 40 < len(training["curve"]) <= 120


def test_long_lists_are_cut_but_counted() -> None:
    rows = list(range(95))
    assert thin(rows, 40) == rows[::3]
    assert thin(rows[:3], 40) == [0, 1, 2]
    assert thin([], 40) == []


def test_evidence_is_strict_json(bundle: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads((bundle / "evidence.json").read_text(encoding="utf-8"), parse_constant=refuse)


def test_every_interval_holds_its_value(evidence: dict[str, Any]) -> None:
    for row in evidence["metrics"]:
        assert math.isfinite(row["value"])
        assert row["low"] <= row["value"] <= row["high"]
