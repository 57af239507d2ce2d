"""Jobs that a tiny model learns in a second: the label is in the text, or is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinsmith.base.files import write_jsonl
from tinsmith.jobs.spec import Job
from tinsmith.recipe import JobConfig, TrainConfig

WORDS = ("one", "two", "red", "blue", "up", "down", "left", "right")
LABELS = ("rises", "falls", "flat")  # the third begins like the second


def job(**facts) -> Job:
    """Return a job of three labels with a small context and a fixed number of passes."""
    settings = {"budget": "3 epochs", "context": 64, "trainable": "upper", "learning_rate": 4e-3, **facts}
    config = JobConfig.model_validate({"name": "way", "kind": "classify", "answer": "{way}", **settings})
    return Job(config=config, labels=LABELS)


def rows(count: int, seed: int = 0, wrong: float = 0.0) -> list[dict]:
    """Return rows whose label follows from a word of their text; a share of the labels is wrong."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(count):
        kind = int(generator.integers(3))
        words = [str(word) for word in generator.choice(WORDS[:6], 4)]
        words[int(generator.integers(4))] = ("up", "down", "left")[kind]
        words = [word for word in words if word not in ("up", "down") or word == ("up", "down", "left")[kind]]
        answer = LABELS[kind]
        if generator.random() < wrong:
            answer = LABELS[(kind + 1 + int(generator.integers(2))) % 3]
        found.append(
            {"id": f"r{seed}.{number}", "group": "", "input": " ".join(words), "answer": answer}
            | {"source": "rows.csv", "row": number, "true": LABELS[kind]}
        )
    return found


def write_examples(directory: Path, learnt: list[dict], validated: list[dict], **facts) -> None:
    """Write what the stage examples would."""
    directory.mkdir(parents=True, exist_ok=True)
    job(**facts).write(directory)
    write_jsonl(directory / "learn.jsonl", learnt)
    write_jsonl(directory / "validation.jsonl", validated)


def section(**facts) -> TrainConfig:
    """Return device and precision."""
    return TrainConfig.model_validate({"precision": "float32", "device": "cpu", **facts})
