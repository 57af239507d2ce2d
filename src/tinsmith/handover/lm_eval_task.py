"""Write the exam of a bundle as a task of lm-evaluation-harness with its data, so that anybody can ask it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from transformers import PreTrainedTokenizerFast

from tinsmith.base.files import read_jsonl, write_jsonl
from tinsmith.jobs.spec import FILE, read_job
from tinsmith.tokens.encoding import context_token, prefix_ids
from tinsmith.tokens.tokenizer import load_tokenizer

_KIND_OF_TASK = "task"


def write_exam(bundle: Path, out: Path) -> list[str]:
    """Write `NAME.yaml` and `NAME.jsonl` for each task and each classification; return their names.

    Questions that the person may not hand on (with an access label) are left out and counted in the returned names.
    """
    written: list[str] = []
    rows: dict[str, list[dict[str, Any]]] = {}
    if (bundle / "model").is_dir() and (bundle / "items" / "questions.jsonl").is_file():
        begin = _begin(load_tokenizer(bundle / "model"))
        for row in read_jsonl(bundle / "items" / "questions.jsonl"):
            if row["kind"] == _KIND_OF_TASK and not row.get("access"):
                prompt = f"{begin}{row['text']}{row['question']}"
                choices = [f"{row['lead']}{choice}{row['tail']}" for choice in row["choices"]]
                rows.setdefault(row["task"], []).append(
                    {"prompt": prompt, "choices": choices, "answer": row["choices"].index(row["answer"])}
                )
    for task, found in rows.items():
        written.append(_write(out, f"exam_{task}", found))
    for job_file in sorted(bundle.glob(f"jobs/*/{FILE}")):
        job = read_job(job_file.parent)
        if job.config.kind != "classify" or job.config.several:
            continue
        begin, labels = _begin(load_tokenizer(job_file.parent / "model")), job.labels
        found = [
            {
                "prompt": f"{begin}{row['input'].strip()}\n\n{job.config.question.strip()}",
                "choices": [f" {label}\n" for label in labels],
                "answer": labels.index(row["answer"]),
            }
            for row in read_jsonl(bundle / "items" / "jobs.jsonl")
            if row["job"] == job.config.name and not row.get("access") and row["answer"] in labels
        ]
        if found:
            written.append(_write(out, f"job_{job.config.name}", found))
    return written


def _begin(tokenizer: PreTrainedTokenizerFast) -> str:
    """Return the token that we put before a text, unless the tokenizer does so itself."""
    return "" if prefix_ids(tokenizer) else str(tokenizer.convert_ids_to_tokens(context_token(tokenizer)))


def _write(out: Path, name: str, rows: list[dict[str, Any]]) -> str:
    write_jsonl(out / f"{name}.jsonl", rows)
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "prompt",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }
    (out / f"{name}.yaml").write_text(yaml.safe_dump(task, sort_keys=False), encoding="utf-8")
    return name
