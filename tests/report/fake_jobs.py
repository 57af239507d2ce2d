"""A job in the directories of finished stages: its examples, what learning left, its files, and everybody's answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from job_items import UNKNOWN, make_job, make_questions, said_rows, store_job, sure_rows
from tinsmith.base.files import write_json, write_jsonl
from tinsmith.evaluate.metrics import compute_metrics
from tinsmith.evidence.family import FigureContext, Items
from tinsmith.evidence.schema import Role, Subject, role_of
from tinsmith.recipe import Recipe

NAMES = {
    "trained": "smollm2-135m, trained here",
    "trained-4bit": "smollm2-135m, trained here (q4_k_m)",
    "base": "smollm2-135m",
    "gemma": "gemma-3-270m",
    "gpt-4": "gpt-4",
    "gpt-3.5-turbo": "gpt-3.5-turbo",
    "majority": "commonest answer",
    "tfidf": "TF-IDF with logistic regression",
    "naive_bayes": "naive Bayes on words",
    "hidden_states": "hidden states of the base with logistic regression",
}
RIGHT = {
    "trained": 0.62,
    "trained-4bit": 0.62,
    "base": 0.0,
    "gemma": 0.1,
    "gpt-4": 0.5,
    "gpt-3.5-turbo": 0.35,
    "majority": 0.0,
    "tfidf": 0.34,
    "naive_bayes": 0.3,
    "hidden_states": 0.4,
}
BASELINES = ("majority", "tfidf", "naive_bayes", "hidden_states")
RECORDED = {"gpt-4": 9.1, "gpt-3.5-turbo": 0.6}
TEXTS = (
    "Inflation has eased over the past year but remains elevated, and the Committee will need to raise rates further.",
    "Participants saw risks to the outlook for employment as weighted to the downside.",
    "The Committee will continue to monitor the implications of incoming information for the outlook.",
)
STATISTICS = {
    "examples": {"stance_learn": 1588.0, "stance_validation": 396.0, "stance_test": 496.0},
    "learn": {"stance_seconds": 1104.0},
}
JOB = {
    "name": "stance",
    "kind": "classify",
    "question": "Stance on monetary policy:",
    "answer": "{stance}",
    "examples": ["train.csv"],
}


def write_job(
    runs: Mapping[str, Path],
    recipe: Recipe,
    *,
    rows: int = 496,
    evil: str = "",
    right: Mapping[str, float] = {},
) -> None:
    """Write the first job of a recipe below the directories of the stages that it needs."""
    config = recipe.jobs[0]
    name = config.name
    _examples(runs["examples"], name)
    _learn(runs["learn"] / name, evil)
    # Apart at first, so that figures of documents are not computed from what fake_runs made up.
    items, package = runs["evaluate"] / "job-items", runs["package"]
    _answers(items, rows, RIGHT | right, evil, config.ask_a_person)
    (package / "jobs").mkdir(parents=True, exist_ok=True)
    shutil.move(items / "jobs" / name, package / "jobs" / name)
    _package(package / "jobs" / name)
    subjects = {subject: _subject(subject) for subject in RIGHT}
    source = Items(items, package / "gguf", items / "parity.jsonl", tuple(subjects))
    context = FigureContext(source, subjects, recipe.evaluate, recipe.meter, recipe.seed)
    metrics = compute_metrics(context, precision="float32", notes=("All answer the same rows.",), gaps=())
    for file in [*items.iterdir()]:
        (runs["evaluate"] / "items").mkdir(exist_ok=True)
        file.rename(runs["evaluate"] / "items" / file.name)
    items.rmdir()
    path = runs["evaluate"] / "metrics.json"
    found = metrics.model_dump(mode="json")
    before = json.loads(path.read_text()) if path.is_file() else {}
    for table in ("metrics", "comparisons", "subjects", "notes"):
        known = [row.get("subject") for row in before.get(table, ())] if table == "subjects" else []
        added = [row for row in found[table] if table != "subjects" or row["subject"] not in known]
        before[table] = before.get(table, []) + added
    write_json(path, before | {"jobs": found["jobs"]})


def _examples(out: Path, job: str) -> None:
    text = (
        "16 of 496 rows of the test also stand in the examples; the figures are given with and without them."
    )
    rows = [f"r{n}" for n in range(16)]
    write_jsonl(
        out / "notes.jsonl",
        [{"job": job, "kind": "shared_with_test", "count": 16, "text": text, "rows": rows}],
    )
    reject = {"job": job, "source": "train.csv", "reason": "no_answer", "detail": "stance is empty"}
    write_jsonl(out / "rejects.jsonl", [reject | {"row": row} for row in (4, 9)])


def _learn(out: Path, evil: str) -> None:
    out.mkdir(parents=True)
    sizes = ((100, 0.48), (200, 0.55), (500, 0.61), (1588, 0.69))
    curve = [
        {"examples": size, "right": right, "low": right - 0.05, "high": right + 0.05, "asks": 396}
        for size, right in sizes
    ]
    write_jsonl(out / "curve.jsonl", curve)
    settings = {"trainable": "all", "learning_rate": 2e-5, "passes": 6.0, "right": 0.55, "loss": 0.9}
    trials = [
        {"what": "trial", **settings, "learning_rate": rate, "examples": 200, "seconds": 55.0, "asks": 396}
        for rate in (2e-5, 5e-5, 1e-4)
    ]
    run = {"what": "run", **settings, "examples": 1588, "seconds": 1104.0, "right": 0.69, "budget": "15m"}
    write_jsonl(out / "search.jsonl", [*trials, run])
    suspect = {"id": "r1", "source": "train.csv", "row": 17, "label": "dovish", "probability": 0.02}
    suspect |= {"model": "hawkish", "model_probability": 0.95, "input": f"{TEXTS[0]} {evil}"}
    write_jsonl(out / "suspects.jsonl", [suspect | {"row": 17 + n} for n in range(23)])


def _package(out: Path) -> None:
    (out / "model").mkdir()
    (out / "model" / "model.safetensors").write_bytes(b"job weights" * 1000)
    (out / "gguf").mkdir()
    formats = {}
    for n, (name, bound) in enumerate({"f16": 0.002, "q8_0": 0.01, "q4_k_m": 0.2}.items()):
        (out / "gguf" / f"model-{name}.gguf").write_bytes(b"GGUF" * (4000 - 1000 * n))
        labels = {"same_label": 0.985, "bound_same_label": 0.7, "label_kl": bound / 5}
        formats[name] = labels | {
            "mean_kl": bound / 3,
            "top1": 0.99,
            "prompts": 200,
            "bound_kl": bound,
            "bound_top1": 0.75,
        }
    write_json(out / "parity.json", {"formats": formats})


def _answers(items: Path, rows: int, right: Mapping[str, float], evil: str, ask_a_person: float) -> None:
    job = make_job(least=0.6 if ask_a_person else 0.0, question=JOB["question"], ask_a_person=ask_a_person)
    questions = make_questions(rows, groups=rows // 4, shared=16)
    for number, question in enumerate(questions):
        question["input"] = f"{TEXTS[number % 3]} {evil}"
    answers = {
        subject: sure_rows(job, questions, right=share, seed=7)
        if subject not in RECORDED and subject not in BASELINES
        else said_rows(job, questions, right=share, seed=9)
        for subject, share in right.items()
    }
    systems = dict.fromkeys(BASELINES, "baseline") | dict.fromkeys(RECORDED, "recorded")
    store_job(items, job, questions, answers, systems)
    for subject in right:
        asked: dict[str, Any] = UNKNOWN | {"rows": rows, "seconds": 6.0, "joules": (90.0, 45.0, 180.0)}
        if subject in RECORDED:
            counts = {"rows": rows, "matched": rows, "unmatched_rows": 2, "unanswered": 0, "unreadable": 3}
            asked |= {"seconds": None, "joules": None, "method": None, "price_per_1000": RECORDED[subject]}
            asked["recorded"] = counts | {"repeated": 0, "contradicting": 0}
        about = {"fingerprint": "x", "system": systems.get(subject, "model"), "jobs": {"stance": asked}}
        write_json(items / f"job-{subject}.json", about)


def _subject(name: str) -> Subject:
    recorded = {"date": "2023-05", "source": "the paper's own file"} if name in RECORDED else {}
    role = Role.BASELINE if name in BASELINES else role_of(name)
    return Subject(subject=name, name=NAMES[name], role=role, **recorded)
