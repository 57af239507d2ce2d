"""A job whose answers are written: base and rivals are asked like our file, without examples and after some."""

import json
from pathlib import Path

import pytest

from small_models import byte_tokenizer, tiny_model
from tinsmith.base.files import read_jsonl, write_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.evaluate.job_models import shown_before
from tinsmith.gguf.writer import write_gguf
from tinsmith.jobs.answers import UNREADABLE
from tinsmith.jobs.spec import Job
from tinsmith.recipe import EvaluateConfig, JobConfig, MeterConfig, ModelConfig, TrainConfig
from tinsmith.stages.evaluate import Settings
from tinsmith.stages.evaluate.job_writers import FILES
from tinsmith.stages.evaluate.run import evaluate
from tinsmith.tokens.tokenizer import load_tokenizer
from tiny_model import write_trained

CONFIG = JobConfig(
    name="when",
    kind="answer",
    input="{passage}",
    question="{question}",
    answer="{answer}",
    examples=("e.csv",),
    context=96,
)


def _rows(side: str, count: int) -> list[dict]:
    return [
        {
            "id": f"{side}:{number}",
            "group": f"g{number}",
            "input": f"It was signed in {1990 + number} by both.",
            "answer": {"answer": str(1990 + number), "quote": ""} if number % 2 else None,
            "record": {"question": "When?"},
        }
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out what examples, learn and package leave of one job, a base and a rival."""
    root = tmp_path_factory.mktemp("run")
    for side, count in (("learn", 12), ("validation", 4), ("test", 6)):
        (root / "examples/when").mkdir(parents=True, exist_ok=True)
        write_jsonl(root / "examples/when" / f"{side}.jsonl", _rows(side, count))
    place = root / "package/jobs/when"
    model = write_trained(place / "model")
    write_gguf(model, place / "gguf" / "model-q4_k_m.gguf", "f16")
    Job(config=CONFIG, labels=(), answer_tokens=16).write(place)
    for seed, name in enumerate(("base", "rival")):
        tiny_model(seed=seed).save_pretrained(root / name)
        byte_tokenizer(bos=name == "rival").save_pretrained(root / name)
    return root


def _evaluated(run: Path, out: Path, **changes) -> dict:
    evaluate(
        EvaluateConfig(rivals=(str(run / "rival"),), bootstrap=200, job_items=4, **changes),
        settings=Settings(ModelConfig(base=str(run / "base")), TrainConfig(), (), MeterConfig()),
        inputs={name: run / name for name in ("examples", "learn", "package")},
        seed=3,
        out=out,
        progress=SilentProgress(),
    )
    metrics: dict = json.loads((out / "metrics.json").read_text())
    return metrics


def test_base_and_rivals_answer_the_same_rows_under_the_same_grammar(run: Path, tmp_path: Path) -> None:
    metrics = _evaluated(run, tmp_path, shots=(0, 1))
    asked = ["trained-4bit", "base", "base-1-shot", "rival", "rival-1-shot"]
    assert [row["subject"] for row in metrics["subjects"]] == asked
    right = {row["subject"] for row in metrics["metrics"] if row["metric"] == "job_exact_match:when"}
    assert right == set(asked)
    passages = {row["id"]: row["input"] for row in _rows("test", 6)}
    for subject in asked:
        rows = list(read_jsonl(tmp_path / "items" / f"job-{subject}.jsonl"))
        assert len(rows) == (6 if subject == "trained-4bit" else 4)
        for row in rows:
            given = row["prediction"]
            # An answer is a span of its passage, whoever gives it.
            assert given in (None, UNREADABLE) or given in passages[row["id"]]
    assert not (tmp_path / FILES).exists()
    assert not metrics.get("gaps")


def test_examples_that_do_not_fit_into_a_context_are_a_gap(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinsmith.stages.evaluate.job_writers.trained_context", lambda gguf: 100)
    metrics = _evaluated(run, tmp_path, shots=(1,))
    told = [(gap["what"], gap["why"]) for gap in metrics["gaps"]]
    assert [what.rpartition(" was not asked ")[2] for what, _ in told] == ["when", "when"]
    assert all("tokens do not fit into its context of 100" in why for _, why in told)


def test_an_example_shows_its_passage_and_its_answer(run: Path) -> None:
    tokenizer = load_tokenizer(run / "base")
    tokens = shown_before(tokenizer, Job(config=CONFIG, labels=(), answer_tokens=16), _rows("learn", 2)[1:])
    assert tokenizer.decode(tokens[1:]) == "It was signed in 1991 by both.\n\nWhen? 1991\n\n"
