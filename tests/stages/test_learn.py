"""The stage learn: a tiny model learns a planted job, resumes after a kill, and says what it found on the way."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file

import tinsmith.stages.learn.run as stage
from tinsmith.base.files import read_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.gguf.writer import write_gguf
from tinsmith.jobs.spec import Calibration, read_job
from tinsmith.recipe import ModelConfig
from tinsmith.serve.job_model import JobModel
from tinsmith.stages.learn import Settings
from tinsmith.train import job_finish
from tinsmith.train.job_finish import alike, finish_job
from tinsmith.train.job_search import candidates_of
from tiny_jobs import LABELS, WORDS, job, rows, section, write_examples
from tiny_model import write_trained

pytestmark = pytest.mark.usefixtures("one_thread")


class Killed(Exception):
    """What a kill is to the code: nothing after it runs."""


class Killing(SilentProgress):
    """Kills the stage when a line has been printed so often."""

    def __init__(self, text: str, times: int) -> None:
        self.text, self.left = text, times

    def say(self, message: str) -> None:
        self.left -= self.text in message
        if not self.left:
            raise Killed


def learn(root: Path, out: str, progress=None, **facts) -> dict[str, float]:
    (root / out).mkdir(exist_ok=True)
    return stage.learn(
        (job(**facts).config,),
        settings=Settings(ModelConfig(base=str(root / "base")), device="cpu", precision="float32"),
        inputs={"examples": root / "examples", "train": root / "train"},
        seed=7,
        out=root / out,
        progress=progress or SilentProgress(),
    )


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Learn a job with 8% wrong labels, once."""
    root = tmp_path_factory.mktemp("learn")
    write_trained(root / "base")
    write_examples(root / "examples" / "way", rows(160, wrong=0.08), rows(40, seed=1), ask_a_person=0.9)
    statistics = learn(root, "out", ask_a_person=0.9)
    (root / "statistics.json").write_text(json.dumps(statistics))
    return root


def test_a_planted_job_is_learnt(learnt: Path) -> None:
    facts = json.loads((learnt / "statistics.json").read_text())
    assert facts["way_right"] > 0.8
    assert facts["way_passes"] == 3
    validated = list(read_jsonl(learnt / "out" / "way" / "validation.jsonl"))
    assert sum(row["correct"] for row in validated) / len(validated) > 0.8
    for row in validated:
        assert sum(row["scores"].values()) == pytest.approx(1)
        assert row["confidence"] == max(row["scores"].values())
    fitted = read_job(learnt / "out" / "way")
    assert fitted.labels == LABELS
    assert fitted.calibration.temperature != 1.0
    assert set(fitted.calibration.prior) == set(LABELS)
    assert not (learnt / "out" / "way" / "work").exists()


def test_rows_with_a_wrong_label_are_listed_first(learnt: Path) -> None:
    true = {row["id"]: row["true"] for row in read_jsonl(learnt / "examples" / "way" / "learn.jsonl")}
    suspects = list(read_jsonl(learnt / "out" / "way" / "suspects.jsonl"))
    wrong = sum(
        row["answer"] != row["true"] for row in read_jsonl(learnt / "examples" / "way" / "learn.jsonl")
    )
    assert wrong >= 8
    first = suspects[:wrong]
    assert sum(row["label"] != true[row["id"]] for row in first) >= 0.5 * wrong
    margins = [row["model_probability"] - row["probability"] for row in suspects]
    assert margins == sorted(margins, reverse=True)
    assert margins[-1] > 0


def test_a_killed_run_ends_with_the_same_weights(learnt: Path) -> None:
    out, examples = learnt / "killed", learnt / "examples" / "way"
    out.mkdir()

    def finish(progress: SilentProgress) -> None:
        parts = [list(read_jsonl(examples / f"{part}.jsonl")) for part in ("learn", "validation")]
        config = section(checkpoint_seconds=0.01)
        finish_job(
            read_job(examples), learnt / "base", tuple(parts), out, config=config, seed=7, progress=progress
        )

    with pytest.raises(Killed):
        finish(Killing("after ", 2))
    assert int(max(path.name for path in (out / "work" / "run" / "checkpoints").glob("step-*"))[5:]) > 0
    finish(SilentProgress())
    whole, resumed = (
        load_file(place / "model" / "model.safetensors") for place in (learnt / "out" / "way", out)
    )
    assert all((whole[name] == resumed[name]).all() for name in whole)
    for name in ("job.json", "suspects.jsonl", "validation.jsonl"):
        assert (out / name).read_text() == (learnt / "out" / "way" / name).read_text()


def test_words_beyond_the_context_count_beside_the_model(learnt: Path, tmp_path: Path) -> None:
    """Of inputs that the language model sees the start of alone, the words tell the label."""
    filler = " ".join(WORDS[:4] * 20)
    parts = tuple(
        [{**row, "input": f"{filler} {row['input']}"} for row in rows(count, seed=seed)]
        for count, seed in ((120, 0), (60, 1))
    )
    finish_job(
        job(budget="1 epochs", ask_a_person=0.9),
        learnt / "base",
        parts,
        tmp_path,
        config=section(),
        seed=7,
        progress=SilentProgress(),
    )
    fitted = read_job(tmp_path)
    assert fitted.calibration.word_weight > 0
    validated = list(read_jsonl(tmp_path / "validation.jsonl"))
    assert sum(row["correct"] for row in validated) / len(validated) > 0.9
    write_gguf(tmp_path / "model", tmp_path / "gguf" / "model-f16.gguf", "f16")
    asked = [{"input": f"{filler} {row['input']}"} for row in rows(30, seed=2)]
    with JobModel(tmp_path, "f16", threads=1, bulk=True) as model:
        answers = model.answer(asked)
        calibration = model.job.calibration.model_copy(update={"word_weight": 0.0})
        model.job = model.job.model_copy(update={"calibration": calibration})
        without = model.answer(asked)
    right = [row["answer"] for row in rows(30, seed=2)]
    assert sum(answer.answer == label for answer, label in zip(answers, right, strict=True)) > 26
    assert sum(answer.answer == label for answer, label in zip(without, right, strict=True)) < 20
    assert not any(answer.ask_a_person for answer in answers)


@pytest.mark.parametrize(("most", "asked"), [(0, 1), (2 * (4 + 8 * 16), 2), (10**6, 5)])
def test_answers_are_generated_within_their_tokens(
    most: int, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_finish, "answer_room", lambda job: 16)
    monkeypatch.setattr(job_finish, "answer_ids", lambda tokenizer, text: [0])
    monkeypatch.setattr(job_finish, "use_stock_attention", lambda model: None)
    monkeypatch.setattr(job_finish, "how_right", lambda job, ask, text: 0.5)
    monkeypatch.setattr(job_finish, "greedy_answer", lambda model, prompt, room, stop: ([1], -1.0))
    tokenizer = SimpleNamespace(decode=lambda ids: "")
    trainer = SimpleNamespace(job=None, tokenizer=tokenizer, tokens_of_generation=lambda settings: most)
    learnt = SimpleNamespace(settings=None, model=None)
    asks = _Asks([None] * 6)
    scored = SimpleNamespace(exact=[False, True, *[False] * 4], log_probabilities=[-0.5] * 6)
    said, right = job_finish._generate(trainer, learnt, asks, scored)
    assert said[:3] == [-1.0, -0.5, -1.0][: len(said)]
    assert right.count(0.5) == asked
    assert len(said) == len(right)


class _Asks(list):
    """Asks with prompts of four tokens."""

    asks = (None,) * 6

    def prompt(self, number: int) -> list[int]:
        return [1] * 4


def test_generated_answers_are_calibrated_too(learnt: Path, tmp_path: Path) -> None:
    learnt_rows, validated = (
        [
            {**row, "answer": None if row["answer"] == "flat" else {"answer": row["input"], "quote": ""}}
            for row in rows(count, seed=seed)
        ]
        for count, seed in ((40, 0), (16, 1))
    )
    # Its answer does not fit, so it is not validated with; the others keep their ids.
    long = {"id": "long", "group": "", "input": "up " * 200, "answer": {"answer": "up " * 200, "quote": ""}}
    validated = [long, *validated]
    made = job(kind="answer", budget="1 epochs")
    finish_job(
        made,
        learnt / "base",
        (learnt_rows, validated),
        tmp_path,
        config=section(),
        seed=7,
        progress=SilentProgress(),
    )
    validation = list(read_jsonl(tmp_path / "validation.jsonl"))
    assert sorted(row["id"] for row in validation) == sorted(row["id"] for row in validated[1:])
    assert all(0 <= row["none"] <= 1 and row["log_probability"] <= 0 for row in validation)
    assert len([row for row in validation if row["correct"]]) > 0
    # What confidence is fitted on is what it is applied to: the file answers as surely as it was calibrated.
    write_gguf(tmp_path / "model", tmp_path / "gguf" / "model-f16.gguf", "f16")
    by_id = {row["id"]: row for row in validated}
    with JobModel(tmp_path, "f16", threads=1) as model:
        answers = model.answer([{"input": by_id[row["id"]]["input"]} for row in validation])
    fitted_on = [row["confidence"] for row in validation]
    compared = [
        (answer.confidence, sure)
        for answer, sure, row in zip(answers, fitted_on, validation, strict=True)
        if row["none"] > 0.003  # less is not among the likeliest tokens that llama.cpp tells
    ]
    assert len(compared) >= 3
    assert all(given == pytest.approx(sure, abs=0.02) for given, sure in compared)
    fitted = read_job(tmp_path).calibration
    assert fitted.temperature != 1.0
    assert all(0 < threshold < 1 for threshold in fitted.none_at.values())
    assert len(fitted.none_at) >= 1
    assert not list(read_jsonl(tmp_path / "suspects.jsonl"))


def test_a_finished_job_is_not_learnt_again(learnt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "finish_job", None)
    assert learn(learnt, "out", ask_a_person=0.9) == json.loads((learnt / "statistics.json").read_text())


def test_a_job_may_start_from_the_model_of_the_documents(
    learnt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(stage, "finish_job", lambda job, start, *_, **__: seen.append(start))
    monkeypatch.setattr(stage, "job_statistics", lambda directory: {})
    learn(learnt, "from-documents", start="documents")
    assert seen == [learnt / "train" / "model"]


def test_another_model_is_taught_alike(learnt: Path) -> None:
    finished = learnt / "out" / "way"
    ours = read_job(finished)
    rival = alike(ours)
    assert (ours.config.trainable, ours.config.learning_rate) == ("upper", 4e-3)
    # What suits our model may not suit another: it searches for its own settings, within the same budget.
    assert len(candidates_of(rival.config, 10_000)) == 5
    assert rival.config.budget == ours.config.budget
    assert rival.labels == ours.labels
    # Nothing that our tokens or our answers say comes along.
    assert rival.calibration == Calibration()
