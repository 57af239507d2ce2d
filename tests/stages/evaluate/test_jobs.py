"""The part of the stage evaluate that measures jobs: who is asked what, what is stored, and that it verifies."""

import json
import random
import re
import shutil

import pytest
import torch

from rule_teacher import rule_teacher
from small_models import byte_tokenizer, tiny_model
from tinsmith.base.errors import BundleError, CorpusError, RecipeError
from tinsmith.base.files import read_json, read_jsonl, write_json, write_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.evaluate.promised import check_promised
from tinsmith.evaluate.rescore_jobs import rescore_jobs
from tinsmith.evaluate.verify import check_figures
from tinsmith.evidence.family import Items
from tinsmith.gguf.writer import write_gguf
from tinsmith.jobs.labels import LabelTree
from tinsmith.jobs.spec import Calibration, Job
from tinsmith.model.load import has_bfloat16
from tinsmith.recipe import (
    EndpointConfig,
    EvaluateConfig,
    JobConfig,
    MeterConfig,
    ModelConfig,
    Recipe,
    RecordedConfig,
    TrainConfig,
)
from tinsmith.stages.evaluate import STAGE, Settings, job_taught, job_work
from tinsmith.stages.evaluate import jobs as stage
from tinsmith.stages.evaluate.run import evaluate
from tiny_model import write_trained

LABELS = ("dovish", "hawkish", "neutral")
WORDS = {"dovish": "cut lower ease", "hawkish": "raise higher tighten", "neutral": "wait report meet"}
JOB = JobConfig(
    name="stance", kind="classify", answer="{label}", labels=LABELS, examples=("e.csv",), context=96
)
ROUNDS = has_bfloat16(torch.device("cpu"))
RANDOM = {"base", "base-1-shot", "rival", "rival-1-shot"}


def _rows(side, count):
    draw = random.Random(side)
    for n in range(count):
        label = LABELS[n % 3]
        words = [draw.choice(f"{WORDS[label]} rates the bank will".split()) for _ in range(8)]
        text = f"{side} {n}: {' '.join(words)} {WORDS[label].split()[n % 2]}"
        yield {
            "id": f"{side}:{n}",
            "group": f"g{n % 8}",
            "input": text,
            "answer": label,
            "record": {"text": text},
        }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Lay out what examples, learn and package leave of one job, and two other models."""
    root = tmp_path_factory.mktemp("run")
    for side, count in (("learn", 60), ("validation", 15), ("test", 24)):
        rows = [
            row | ({"shared": True} if side == "test" and n < 2 else {})
            for n, row in enumerate(_rows(side, count))
        ]
        (root / "examples/stance").mkdir(parents=True, exist_ok=True)
        write_jsonl(root / "examples/stance" / f"{side}.jsonl", rows)
    place = root / "package/jobs/stance"
    model = write_trained(place / "model")
    write_gguf(model, place / "gguf" / "model-q4_k_m.gguf", "f16")
    prior = dict.fromkeys(LABELS, -1.0)
    Job(config=JOB, labels=LABELS, calibration=Calibration(temperature=2.0, prior=prior)).write(place)
    for seed, name in enumerate(("base", "rival")):
        tiny_model(seed=seed).save_pretrained(root / name)
        byte_tokenizer(bos=name == "rival").save_pretrained(root / name)
    test = list(_rows("test", 24))
    answers = [{"text": row["input"], "answer": f"{row['answer'].upper()}\nIt says so."} for row in test[:20]]
    answers[4]["answer"] = "I cannot say"
    answers += [answers[0] | {"answer": "neutral"}, {"text": "of another test", "answer": "dovish"}]
    (root / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers))
    return root


def _config(run, **changes):
    recorded = RecordedConfig(
        name="gpt-4", file=str(run / "answers.jsonl"), date="2023-07", price_per_1000=3.0
    )
    given = {"rivals": (str(run / "rival"),), "shots": (0, 1), "bootstrap": 200, "recorded": (recorded,)}
    return EvaluateConfig(**(given | {"job_items": 18} | changes))


def _evaluate(run, out, **changes):
    out.mkdir(exist_ok=True)
    return evaluate(
        _config(run, **changes),
        settings=Settings(ModelConfig(base=str(run / "base")), TrainConfig(), (), MeterConfig()),
        inputs={name: run / name for name in ("examples", "learn", "package")},
        seed=3,
        out=out,
        progress=SilentProgress(),
    )


@pytest.fixture(scope="module")
def done(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "evaluate"
    return out, _evaluate(run, out), read_json(out / "metrics.json")


def _items(out, subject):
    return list(read_jsonl(out / "items" / f"job-{subject}.jsonl"))


def test_everybody_is_asked_and_described(done):
    _, statistics, metrics = done
    subjects = {row["subject"]: row for row in metrics["subjects"]}
    assert list(subjects) == [
        "trained",
        "trained-4bit",
        "base",
        "base-1-shot",
        "hidden_states",
        "rival",
        "rival-1-shot",
        "majority",
        "tfidf",
        "naive_bayes",
        "gpt-4",
    ]
    roles = [
        subjects[name]["role"] for name in ("trained", "trained-4bit", "base-1-shot", "rival-1-shot", "tfidf")
    ]
    assert roles == ["ours", "ours_quantised", "base", "rival", "control"]
    assert (subjects["gpt-4"]["role"], subjects["gpt-4"]["date"]) == ("rival", "2023-07")
    assert subjects["base-1-shot"]["shots"] == 1
    assert statistics["test_rows_stance"] == 24
    assert statistics["job_accuracy_stance_tfidf"] > 0.9


def test_slow_systems_are_asked_the_rows_that_the_seed_draws_and_all_others_every_row(done):
    out, *_ = done
    asked = [row["id"] for row in _items(out, "base")]
    assert len(asked) == 18
    for name in (*RANDOM, "hidden_states"):
        assert [row["id"] for row in _items(out, name)] == asked
    for name in ("trained", "trained-4bit", "majority", "tfidf", "naive_bayes"):
        assert [row["id"] for row in _items(out, name)] == [f"test:{n}" for n in range(24)]


def test_our_file_answers_as_the_trained_weights_do(done):
    out, *_ = done
    for ours, served in zip(_items(out, "trained"), _items(out, "trained-4bit"), strict=True):
        for label in LABELS:
            # The file is read in bfloat16 where the processor has it.
            assert ours["log_p"][label] == pytest.approx(served["log_p"][label], abs=0.15 if ROUNDS else 0.02)
    assert {row["shared"] for row in _items(out, "trained")[2:]} == {False}


def test_labels_of_a_model_are_scored_against_what_they_cost_without_a_text(done, run):
    out, *_ = done
    facts = read_json(out / "items" / "job-base.json")["jobs"]["stance"]
    assert facts["calibration"]["prior_weight"] == 1.0
    assert set(facts["calibration"]["prior"]) == set(LABELS)
    shown = read_json(out / "items" / "job-base-1-shot.json")["jobs"]["stance"]
    assert shown["calibration"]["prior"] != facts["calibration"]["prior"]
    assert facts["seconds"] > 0
    assert facts["joules"][0] > 0
    assert len(LabelTree.of(byte_tokenizer(), LABELS).branches) == 1


def test_recorded_answers_are_matched_read_and_counted(done):
    out, _, metrics = done
    counts = read_json(out / "items" / "job-gpt-4.json")["jobs"]["stance"]["recorded"]
    assert counts == {
        "rows": 22,
        "matched": 20,
        "without_answer": 0,
        "unmatched_rows": 1,
        "ambiguous": 0,
        "unanswered": 4,
        "unreadable": 1,
        "repeated": 1,
        "contradicting": 1,
    }
    rows = _items(out, "gpt-4")
    assert [row["correct"] for row in rows] == [n != 4 for n in range(20)]
    figures = {row["metric"]: row["value"] for row in metrics["metrics"] if row["subject"] == "gpt-4"}
    assert figures["job_accuracy:stance"] == 0.95
    assert figures["job_unreadable:stance"] == 0.05
    assert figures["job_price:stance"] == 3.0


def test_all_of_it_can_be_computed_again_from_the_items(done, run):
    out, *_ = done
    recipe = Recipe(name="r", seed=3, jobs=(JOB,), evaluate=_config(run))
    assert check_figures(out / "metrics.json", out / "items", recipe, gguf=run / "package" / "gguf") > 300


def test_what_was_asked_before_is_not_asked_again(done, run, tmp_path, monkeypatch):
    out, *_ = done
    (tmp_path / "evaluate").mkdir()
    for pattern in STAGE.reusable:
        for path in out.glob(pattern):
            (tmp_path / "evaluate" / "items").mkdir(exist_ok=True)
            (tmp_path / "evaluate" / path.relative_to(out)).write_bytes(path.read_bytes())
    for module, name in ((stage, "JobModel"), (job_work, "opened")):
        monkeypatch.setattr(module, name, lambda *given: pytest.fail("asked again"))
    _evaluate(run, tmp_path / "evaluate", shots=(0,))
    assert _items(tmp_path / "evaluate", "base") == _items(out, "base")
    assert not (tmp_path / "evaluate" / "items" / "job-base-1-shot.jsonl").exists()


def test_recorded_answers_to_other_inputs_are_refused(run, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("text,answer\nsomething else,dovish\nand more,neutral\n")
    recorded = (RecordedConfig(name="gpt-4", file=str(other)),)
    with pytest.raises(RecipeError, match="none of its 2 answers is to one of the 24 test rows of stance"):
        _evaluate(run, tmp_path / "out", recorded=recorded, rivals=(), shots=(0,), job_items=2)


def test_a_test_of_one_group_is_refused(run, tmp_path):
    folder = tmp_path / "examples" / "stance"
    folder.mkdir(parents=True)
    for side in ("learn", "validation", "test"):
        write_jsonl(folder / f"{side}.jsonl", [row | {"group": "g"} for row in _rows(side, 4)])
    with pytest.raises(CorpusError, match="the test of stance has 4 row"):
        list(
            job_work.read_jobs(
                _config(run), {"package": run / "package", "examples": tmp_path / "examples"}, 3
            )
        )


def test_a_rival_is_taught_with_the_same_examples_and_budget_and_then_asked(run, tmp_path, monkeypatch):
    given = []

    def finish(job, start, rows, out, **more):
        given.append(
            (job.config.budget, job.config.learning_rate, str(start), list(map(len, rows)), more["seed"])
        )
        shutil.copytree(run / "rival", out / "model")
        job.model_copy(update={"calibration": Calibration(temperature=3.0)}).write(out)

    monkeypatch.setattr(job_taught, "finish_job", finish)
    monkeypatch.setattr(stage, "JOB_BASELINES", ())
    rival = str(run / "rival")
    _evaluate(run, tmp_path / "out", trained_rivals=(rival,), rivals=(), shots=(0,), recorded=())
    assert given == [("20m", 0.0, rival, [60, 15], 3)]
    assert len(_items(tmp_path / "out", "rival-same-examples")) == 18
    facts = read_json(tmp_path / "out/items/job-rival-same-examples.json")["jobs"]["stance"]
    assert facts["calibration"]["temperature"] == 3.0
    assert not (tmp_path / "out" / job_taught.TAUGHT).exists()
    subjects = {row["subject"]: row for row in read_json(tmp_path / "out/metrics.json")["subjects"]}
    assert subjects["rival-same-examples"]["minutes"] == 20
    assert subjects["rival-same-examples"]["role"] == "rival"


def test_the_file_of_a_job_answers_again_as_it_did(done, run, tmp_path):
    out, *_ = done
    items = Items(out / "items", run / "package/gguf", out / "items/parity.jsonl", ("trained-4bit",))
    assert rescore_jobs(items, seed=1) == (20, ("trained-4bit",), "cpu")
    shutil.copytree(out / "items", tmp_path / "items")
    rows = _items(tmp_path, "trained-4bit")
    for row in rows:
        row["scores"] = dict(zip(LABELS, (0.98, 0.01, 0.01)))
    write_jsonl(tmp_path / "items" / "job-trained-4bit.jsonl", rows)
    forged = Items(tmp_path / "items", run / "package/gguf", out / "items/parity.jsonl", ("trained-4bit",))
    with pytest.raises(BundleError, match="answers otherwise than is stored: row test"):
        rescore_jobs(forged, seed=1)


@pytest.fixture
def bundle(done, run, tmp_path):
    out, *_ = done
    shutil.copytree(out / "items", tmp_path / "items")
    shutil.copytree(run / "package/jobs", tmp_path / "jobs")
    (tmp_path / "data").mkdir()
    shutil.copy(out / "metrics.json", tmp_path / "data")
    return tmp_path


def _without(path, subject):
    metrics = read_json(path)
    metrics["subjects"] = [row for row in metrics["subjects"] if row["subject"] != subject]
    write_json(path, metrics)


PROMISED = {
    "a recorded system": (
        lambda b: _without(b / "data/metrics.json", "gpt-4"),
        "gpt-4 is missing from the subjects",
    ),
    "the base after examples": (
        lambda b: _without(b / "data/metrics.json", "base-1-shot"),
        "base-1-shot is missing from the subjects, though the recipe has its base after 1 examples measured",
    ),
    "a baseline": (lambda b: _without(b / "data/metrics.json", "tfidf"), "the baseline tfidf is missing"),
    "the job": (lambda b: (b / "jobs/stance/job.json").unlink(), r"job\.json: is missing"),
    "its file": (lambda b: (b / "jobs/stance/gguf/model-q4_k_m.gguf").unlink(), "package.formats names it"),
    "its test": (lambda b: write_jsonl(b / "items/jobs.jsonl", []), "asks no row of stance"),
}


def _promised(run):
    return Recipe(
        name="r",
        seed=3,
        jobs=(JOB,),
        evaluate=_config(run),
        package={"formats": ("q4_k_m",)},
        model={"base": "b"},
    )


def test_a_bundle_holds_what_its_recipe_promises(bundle, run):
    assert check_promised(bundle, _promised(run)) == 0


@pytest.mark.parametrize("name", PROMISED)
def test_what_is_left_out_of_a_bundle_is_named(bundle, run, name):
    change, said = PROMISED[name]
    change(bundle)
    with pytest.raises(BundleError, match=said):
        check_promised(bundle, _promised(run))


def test_another_job_than_the_recipe_has_is_named(bundle, run):
    other = _promised(run).model_copy(update={"jobs": (JOB.model_copy(update={"question": "Is it?"}),)})
    with pytest.raises(BundleError, match="is another job than the recipe has"):
        check_promised(bundle, other)


def test_an_endpoint_of_the_recipe_is_missed_unless_its_version_asked_no_jobs(bundle, run):
    endpoints = (EndpointConfig(name="api", model="m"),)
    recipe = _promised(run).model_copy(update={"evaluate": _config(run, endpoints=endpoints)})
    with pytest.raises(BundleError, match="api is missing from the subjects"):
        check_promised(bundle, recipe)
    metrics = read_json(bundle / "data/metrics.json")
    gap = {"kind": "job", "what": "Endpoints were not asked the jobs", "why": "questions alone"}
    write_json(bundle / "data/metrics.json", metrics | {"gaps": [*metrics.get("gaps", []), gap]})
    assert check_promised(bundle, recipe) == 0


def test_an_endpoint_stands_beside_the_others_and_verifies(run, tmp_path):
    with rule_teacher() as server:
        server.answer = lambda prompt: "hawkish" if "raise" in prompt or "tighten" in prompt else "dovish"
        endpoints = (EndpointConfig(name="api", model="m", url=server.url),)
        changes = {"rivals": (), "shots": (0,), "recorded": (), "endpoints": endpoints}
        _evaluate(run, tmp_path / "out", **changes)
        asked = len(server.asked)
        _evaluate(run, tmp_path / "out", **changes)
        assert len(server.asked) == asked == 18
    out, metrics = tmp_path / "out", read_json(tmp_path / "out" / "metrics.json")
    assert metrics["subjects"][-1]["name"] == "api (m)"
    assert {row["b"] for row in metrics["comparisons"]} >= {"api", "tfidf"}
    assert read_json(out / "sent.json") == {"requests": [], "left_out": {}}
    recipe = Recipe(name="r", seed=3, jobs=(JOB,), evaluate=_config(run, **changes))
    assert check_figures(out / "metrics.json", out / "items", recipe, gguf=run / "package" / "gguf") > 100
    path = out / "items" / "job-api.jsonl"
    first, *rest = read_jsonl(path)
    for forged in ({"raw": "neutral"}, {"raw": None, "prediction": "neutral", "correct": False}):
        write_jsonl(path, [first | forged, *rest])
        with pytest.raises(BundleError, match="prediction"):
            check_figures(out / "metrics.json", out / "items", recipe, gguf=run / "package" / "gguf")


def test_the_frozen_base_reads_no_more_examples_than_asked_and_says_so(run, tmp_path):
    alone = {"rivals": (), "shots": (0,), "recorded": ()}
    _evaluate(run, tmp_path / "few", frozen_tokens=600, **alone)
    rows = read_json(tmp_path / "few" / "metrics.json")["subjects"]
    title = next(row["name"] for row in rows if row["subject"] == "hidden_states")
    own, total = re.fullmatch(r"hidden states .*, from (\d+) of (\d+) examples", title).groups()
    assert 2 <= int(own) < int(total)
    _evaluate(run, tmp_path / "none", frozen_tokens=0, **alone)
    subjects = [row["subject"] for row in read_json(tmp_path / "none" / "metrics.json")["subjects"]]
    assert "hidden_states" not in subjects
    assert "tfidf" in subjects


def test_too_few_tokens_for_the_frozen_base_are_a_gap_and_no_traceback(run, tmp_path):
    _evaluate(run, tmp_path / "out", frozen_tokens=1, rivals=(), shots=(0,), recorded=())
    metrics = read_json(tmp_path / "out" / "metrics.json")
    assert "hidden_states" not in [row["subject"] for row in metrics["subjects"]]
    assert "evaluate.frozen_tokens = 1 holds too few examples" in [gap["why"] for gap in metrics["gaps"]]
