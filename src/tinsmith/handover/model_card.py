"""Write a model card for the Hugging Face hub from a bundle's evidence: figures, limits, licence, carbon."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from huggingface_hub import EvalResult, ModelCardData

from tinsmith.base.assets import published_base
from tinsmith.base.files import read_json
from tinsmith.evidence.schema import OURS

_LICENCES = {"Apache-2.0": "apache-2.0", "MIT": "mit", "Gemma Terms of Use": "gemma"}
# The hub's name of the task and of the metric of what we measure of documents, and of jobs.
_OF_DOCUMENTS = {
    "bits_per_byte": ("text-generation", "bits_per_byte"),
    "accuracy": ("multiple-choice", "accuracy"),
}
_OF_JOBS = {
    "job_accuracy": ("text-classification", "accuracy"),
    "job_weighted_f1": ("text-classification", "f1"),
    "job_exact": ("text-generation", "exact_match"),
    "job_word_f1": ("text-generation", "f1"),
    "job_calibration_error": ("text-classification", "expected_calibration_error"),
}


def write_model_card(bundle: Path, out: Path, *, job: str | None, tasks: list[str]) -> None:
    """Write `README.md` with the hub's metadata; `tasks` are those of the harness in `lm_eval/`."""
    evidence, recipe = read_json(bundle / "evidence.json"), read_json(bundle / "recipe.json")
    shown = _shown(evidence, job)
    title = f"{evidence['title']}: {job}" if job else str(evidence["title"])
    data = ModelCardData(
        language=list(recipe.get("curate", {}).get("languages") or ()) or None,
        license=_licence(evidence),
        base_model=None if evidence["fresh"] else published_base(evidence["base"]),
        datasets=None,  # a person's own documents, which have no name on the hub
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["tinsmith"],
        model_name=title,
        eval_results=[_result(row, names, title) for row, names in shown] or None,
        co2_eq_emissions=_emissions(evidence),
    )
    body = _body(evidence, title, job, [row for row, _ in shown], tasks)
    (out / "README.md").write_text(f"---\n{data.to_yaml()}\n---\n\n{body}", encoding="utf-8")


def _shown(evidence: dict[str, Any], job: str | None) -> list[tuple[dict[str, Any], tuple[str, str]]]:
    """Return our figures of the documents or of a job, each with the hub's names."""
    wanted = _OF_JOBS if job else _OF_DOCUMENTS
    subjects = {row["subject"] for row in evidence["subjects"] if row["role"].startswith("ours")}
    subject = OURS if OURS in subjects else min(subjects, default="")
    rows = [
        row
        for row in evidence["metrics"]
        if row["subject"] == subject and row.get("value") is not None and (not job or row.get("task") == job)
    ]
    return [(row, wanted[name]) for row in rows if (name := str(row["metric"]).partition(":")[0]) in wanted]


def _result(row: dict[str, Any], names: tuple[str, str], title: str) -> EvalResult:
    return EvalResult(
        task_type=names[0],
        dataset_type="private",
        dataset_name=f"{title}, held out",
        metric_type=names[1],
        metric_value=row["value"],
        metric_name=f"{row['label']} (95%: {row['low']:.4g} to {row['high']:.4g}, {row['items']} items)",
    )


def _licence(evidence: dict[str, Any]) -> str:
    """Return the hub's name of the base's licence, or other."""
    named = {asset["name"]: asset["licence"] for asset in evidence["assets"]}
    return _LICENCES.get(named.get(evidence["base"], ""), "other")


def _emissions(evidence: dict[str, Any]) -> dict[str, Any]:
    """Return the grams of CO2 of the whole build, in the hub's form."""
    return {
        "emissions": round(evidence["totals"]["g_co2e"], 3),
        "source": f"Tinsmith's meter; intensity of the grid: {evidence['grid']['source']}",
        "training_type": "pre-training" if evidence["fresh"] else "fine-tuning",
        "geographical_location": evidence["grid"]["country"],
        "hardware_used": ", ".join(sorted({machine["cpu"] for machine in evidence["machines"]})),
    }


def _body(
    evidence: dict[str, Any], title: str, job: str | None, shown: list[dict[str, Any]], tasks: list[str]
) -> str:
    findings = evidence["findings"]["jobs" if job else "quality"]
    said = [finding["text"] for finding in findings if not job or finding["verdict"] == job]
    rows = [
        f"| {row['label']} | {row['value']:.4g} | {row['low']:.4g} to {row['high']:.4g} | {row['items']} |"
        for row in shown
    ]
    table = ["| measured | value | 95% | items |", "|---|---|---|---|", *rows] if rows else ["Nothing."]
    command = "lm_eval --model hf --model_args pretrained=.. --include_path . --tasks " + ",".join(tasks)
    again = [
        "## Ask the exam again",
        "",
        "With lm-evaluation-harness:",
        "",
        "```",
        f"cd lm_eval && {command}",
        "```",
    ]
    not_shown = [f"- {line}" for line in evidence["not_proven"]]
    opening = [] if job else [evidence["verdict"]["headline"]]
    parts = [
        [f"# {title}", "", *opening, *said],
        ["## Figures", "", "On documents and rows that were held out.", "", *table],
        again if tasks else [],
        ["## Not shown", "", *not_shown],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"
