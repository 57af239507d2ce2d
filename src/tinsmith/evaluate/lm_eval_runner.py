"""Ask tests of general ability through lm-eval, offline, and return a row for each item."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from tinsmith.base.files import JsonObject, write_jsonl
from tinsmith.evaluate.general_files import Asked, GeneralItem, GeneralRow, require_harness
from tinsmith.evaluate.scoring.scorer import Scorer

_PROMPTS = {
    "arc": "Question: {{question}}\nAnswer:",
    "openbookqa": "{{question}}",
    "boolq": "{% if passage %}{{passage}}\n{% endif %}Question: {{question}}?\nAnswer:",
    "mmlu": "{{question}}\nAnswer:",
    "blimp": "",
    "legalbench": "{{question}}\nAnswer:",
}
_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")


def ask(scorer: Scorer, tokenizer: PreTrainedTokenizerFast, asked: Asked) -> list[GeneralRow]:
    """Let lm-eval ask `scorer`; return a row for each item with its choices' log-likelihoods in nats."""
    with harness():
        model = importlib.import_module("tinsmith.evaluate.lm_eval_model").ScorerLM(scorer, tokenizer)
        return run(model, asked)


def run(model: Any, asked: Mapping[str, tuple[str, Sequence[GeneralItem]]]) -> list[GeneralRow]:
    """Let lm-eval ask any of its models, inside `harness`; return a row for each item."""
    import lm_eval
    from lm_eval.api.task import ConfigurableTask

    with tempfile.TemporaryDirectory() as home:
        tasks = {
            name: ConfigurableTask(config=_task(name, kind, rows, Path(home)))
            for name, (kind, rows) in asked.items()
        }
        found = lm_eval.evaluate(model, tasks, bootstrap_iters=0, log_samples=True)
        samples = found["samples"]
        return [_row(name, sample) for name in asked for sample in samples[name]]


@contextlib.contextmanager
def harness() -> Iterator[None]:
    """Load and run lm-eval without network, progress bars and messages."""
    require_harness()
    before = {name: os.environ.get(name) for name in _OFFLINE}
    os.environ.update(dict.fromkeys(_OFFLINE, "1"))
    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets")]
    levels = [logger.level for logger in loggers]
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _task(name: str, kind: str, rows: Sequence[GeneralItem], home: Path) -> JsonObject:
    """Write the rows where lm-eval's data loader finds them; return the task as it would stand in YAML."""
    file = home / f"{name}.jsonl"
    write_jsonl(file, map(asdict, rows))
    return {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(file)}, "cache_dir": str(home / "cache")},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": _PROMPTS[kind],
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "num_fewshot": 0,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }


def _row(name: str, sample: JsonObject) -> GeneralRow:
    scores = [nats for nats, _ in sample["filtered_resps"]]
    return {
        "item": sample["doc"]["item"],
        "task": name,
        "answer": sample["target"],
        "prediction": scores.index(max(scores)),
        "correct": bool(sample["acc"]),
        "scores": scores,
    }
