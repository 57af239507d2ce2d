"""Write the exam of a bundle as a task of lm-evaluation-harness with its data, so that anybody can ask it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from transformers import PreTrainedTokenizerFast

from tinsmith.base.files import read_jsonl, write_jsonl
from tinsmith.jobs.spec import read_job
from tinsmith.tokens.encoding import context_token, prefix_ids
from tinsmith.tokens.tokenizer import load_tokenizer

_KIND_OF_TASK = "task"


def write_exam(bundle: Path, out: Path, job: str | None) -> list[str]:
    """Write `NAME.yaml` and `NAME.jsonl` for each task of the documents, or for a job; return their names.

    They hold texts that were held out, whatever their access label.
    """
    written: list[str] = []
    rows: dict[str, list[dict[str, Any]]] = {}
    if job is None and (bundle / "items" / "questions.jsonl").is_file():
        begin = _begin(load_tokenizer(bundle / "model"))
        for row in read_jsonl(bundle / "items" / "questions.jsonl"):
            if row["kind"] == _KIND_OF_TASK:
                prompt = f"{begin}{row['text']}{row['question']}"
                choices = [f"{row['lead']}{choice}{row['tail']}" for choice in row["choices"]]
                rows.setdefault(row["task"], []).append(
                    {"prompt": prompt, "choices": choices, "answer": row["choices"].index(row["answer"])}
                )
    for task, found in rows.items():
        written.append(_write(out, f"exam_{task}", found))
    learnt = read_job(bundle / "jobs" / job) if job else None
    if learnt and learnt.config.kind == "classify" and not learnt.config.several:
        begin, labels = _begin(load_tokenizer(bundle / "jobs" / learnt.config.name / "model")), learnt.labels
        found = [
            {
                "prompt": f"{begin}{row['input'].strip()}\n\n{learnt.config.question.strip()}",
                "choices": [f" {label}\n" for label in labels],
                "answer": labels.index(row["answer"]),
            }
            for row in read_jsonl(bundle / "items" / "jobs.jsonl")
            if row["job"] == learnt.config.name and row["answer"] in labels
        ]
        if found:
            written.append(_write(out, f"job_{learnt.config.name}", found))
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
