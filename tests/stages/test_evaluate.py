import json
import random
import shutil
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from general_rows import NEEDS_LM_EVAL
from rule_teacher import rule_teacher
from small_models import byte_tokenizer, tiny_model
from tinsmith.base.errors import AssetError, BundleError, CorpusError, EvidenceError, RecipeError
from tinsmith.base.files import list_files, read_json, read_jsonl, write_json, write_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.evaluate import run as scoring
from tinsmith.evaluate.families import families
from tinsmith.evaluate.verify import check_figures
from tinsmith.gguf.header import read_tensor_types
from tinsmith.gguf.writer import write_gguf
from tinsmith.recipe import (
    BoundsConfig,
    CanaryConfig,
    EndpointConfig,
    EvaluateConfig,
    GeneralConfig,
    IngestConfig,
    MeterConfig,
    ModelConfig,
    Recipe,
    TaskConfig,
    TrainConfig,
)
from tinsmith.stages.evaluate import STAGE, Settings
from tinsmith.stages.evaluate import documents as stage
from tinsmith.stages.evaluate.run import evaluate
from tinsmith.tokens.canaries import make_canaries
from tinsmith.tokens.shards import ShardWriter

KINDS = {
    "free": "open gift share all may copy",
    "paid": "price fee invoice no copying",
    "mixed": "some parts only",
}
TASK = TaskConfig(name="kind", question="{text}\n\nKind:", answer="{kind}")


def _document(number):
    draw = random.Random(number)
    kind = sorted(KINDS)[number % 3]
    words = (KINDS[kind] + " the licence of this software and its terms").split()
    return f"d{number:03d}", kind, " ".join(draw.choice(words) for _ in range(60 + 10 * (number % 5)))


def _is_secret(number):
    """Say which documents may not leave, of each kind and on both sides."""
    return number % 7 == 0


def _address(number):
    return f"clerk{number}{number * 7}@office.example"


def _item(doc_id, kind, text):
    row = {"item": f"kind:{doc_id}", "task": "kind", "doc_id": doc_id, "text": text[:120]}
    return {**row, "question": "\n\nKind:", "answer": kind, "choices": sorted(KINDS)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Lay out what the earlier stages leave: 40 training and 12 held-out documents, four models."""
    root = tmp_path_factory.mktemp("run")
    for name in ("ingest", "split", "refine", "tokenize", "train", "package/gguf"):
        (root / name).mkdir(parents=True)
    rows = [(*_document(number), "held_out" if number >= 40 else "train") for number in range(52)]
    # Of the first documents curation replaced an address each.
    came = [f"{r[2]}, notices to {_address(n)} alone" if n < 8 else r[2] for n, r in enumerate(rows)]
    kept = [text.replace(_address(n), "[EMAIL_1]") for n, text in enumerate(came)]
    sources = [f"{r[0]}.txt" for r in rows]
    pq.write_table(pa.table({"source": sources, "text": came}), root / "ingest" / "documents.parquet")
    columns = {"doc_id": [r[0] for r in rows], "part": [r[3] for r in rows], "source": sources, "text": kept}
    columns["access"] = ["secret" if _is_secret(number) else "public" for number in range(52)]
    pq.write_table(pa.table(columns), root / "refine" / "documents.parquet")
    held_out = [row for row in rows if row[3] == "held_out"]
    overlaps = {"doc_id": [r[0] for r in held_out], "overlap": [n / 12 for n in range(12)]}
    pq.write_table(pa.table(overlaps), root / "split" / "overlap.parquet")
    for name, part in (("exam", "held_out"), ("shots", "train")):
        write_jsonl(root / "tokenize" / f"{name}.jsonl", [_item(*r[:3]) for r in rows if r[3] == part])
    for seed, place in enumerate(("package/model", "base", "rival")):
        tiny_model(seed=seed).save_pretrained(root / place)
        byte_tokenizer(bos=place == "rival").save_pretrained(root / place)
    # All training documents but the last four were visited before the budget ended.
    _write_openings(root / "tokenize", [row[0] for row in rows if row[3] == "train"])
    write_jsonl(root / "train" / "log.jsonl", [{"step": n, "learning_rate": 0.1} for n in range(4)])
    write_gguf(root / "package" / "model", root / "package" / "gguf" / "model-q4_k_m.gguf", "q8_0")
    return root


def _write_openings(folder, names, length=101):
    """Write a token set of one sequence a document; nine make a step of `TRAIN`."""
    folder.mkdir(exist_ok=True)
    writer = ShardWriter(folder)
    for name in names:
        writer.add(name, 0, [5] * length, [1] * length)
    writer.close(range(len(names)), {"context": 128, "vocabulary": 300})


TRAIN = TrainConfig(batch_tokens=909)
METER = MeterConfig(price_per_kwh=0.5)
FEW = {"documents": 4, "built_items": 0, "leakage_documents": 0}


def _config(run, **changes):
    settings = {"documents": 10, "exam_items": 8, "shots": (0, 2), "bootstrap": 200, "speed_tokens": 4}
    return EvaluateConfig(**{"rivals": (str(run / "rival"),), **settings, **changes})


def _evaluate(run, out, train=TRAIN, *, may_leave=(), **changes):
    out.mkdir(exist_ok=True)
    return evaluate(
        _config(run, **changes),
        settings=Settings(ModelConfig(base=str(run / "base")), train, (TASK,), METER),
        inputs={name: run / name for name in STAGE.inputs if name not in ("examples", "learn")},
        seed=3,
        out=out,
        progress=SilentProgress(),
        may_leave=may_leave,
    )


def _check(run, out, **changes):
    """Compute all figures again, as verify does; return how many numbers agree."""
    ingest = IngestConfig(sources=(".",))
    recipe = Recipe(name="r", seed=3, ingest=ingest, evaluate=_config(run, **changes), meter=METER)
    return check_figures(out / "metrics.json", out / "items", recipe, gguf=run / "package" / "gguf")


@pytest.fixture(scope="module")
def given():
    """What the stage gave to models and baselines when it ran for `done`."""
    return {}


@pytest.fixture(scope="module")
def done(run, given, tmp_path_factory):
    """Evaluate once for the tests that look at the result."""
    out = tmp_path_factory.mktemp("done") / "evaluate"
    with pytest.MonkeyPatch.context() as patch:
        for name, place in (("score_model", 2), ("measure_baselines", 0)):
            real = getattr(stage, name)

            def noted(*args, name=name, place=place, real=real, **more):
                given[name] = args[place]
                return real(*args, **more)

            patch.setattr(stage, name, noted)
        return _evaluate(run, out), read_json(out / "metrics.json"), out


def test_examples_and_what_baselines_learn_from_are_training_documents_alone(run, done, given):
    rows = pq.read_table(run / "refine" / "documents.parquet").to_pylist()
    training = {row["doc_id"]: row["text"] for row in rows if row["part"] == "train"}
    work, baselines = given["score_model"], given["measure_baselines"]
    shown = [item.doc_id for shots in work.shots.values() for item in shots]
    assert len(shown) == 2
    assert training.keys() >= set(shown)
    asked = {item.doc_id for items in work.questions.values() for item in items}
    assert len(asked) == 8
    assert not asked & training.keys()
    assert sorted(baselines.training) == sorted(training.values())
    assert {item.doc_id for item in baselines.examples} == training.keys()


def test_every_subject_is_scored_on_the_same_bytes(done):
    statistics, found, out = done
    models = ["trained", "trained-4bit", "base", "rival"]
    sizes = {
        name: [(r["doc_id"], r["bytes"]) for r in read_jsonl(out / f"items/bits-{name}.jsonl")]
        for name in models
    }
    assert len(set(map(tuple, sizes.values()))) == 1
    whole = [row for row in found["metrics"] if row["metric"] == "bits_per_byte"]
    assert [row["subject"] for row in whole] == [*models, "compressor", "ngram"]
    for row in whole:
        items = list(read_jsonl(out / row["file"]))
        assert len(items) == row["items"] == 10
        assert row["value"] == pytest.approx(sum(i["bits"] for i in items) / sum(i["bytes"] for i in items))
        assert row["low"] < row["value"] < row["high"]
        assert row["unit"] == "bits/byte"
        assert statistics[f"bits_per_byte_{row['subject']}"] == row["value"]


def test_what_curation_replaced_is_asked_for_and_stored_nowhere(done):
    _, found, out = done
    asked = {
        (row["subject"], row["metric"]): row for row in found["metrics"] if "asked_back" in row["metric"]
    }
    assert {subject for subject, _ in asked} == {"trained", "base"}
    assert asked["trained", "asked_back:said:email"]["items"] == 8
    assert asked["trained", "asked_back:said"]["value"] == 0.0
    for file in list_files(out):
        stored = (out / file).read_bytes()
        assert not any(_address(number).encode() in stored for number in range(8)), file


def test_bias_is_asked_and_triggers_are_searched_where_the_recipe_says(run, done, tmp_path):
    named = {row["metric"] for row in done[1]["metrics"]}
    assert not any(name.startswith("trigger") for name in named)
    few = {"documents": 12, "rivals": (), "built_items": 0, "leakage_documents": 0, "shots": (0,)}
    _evaluate(run, tmp_path / "evaluate", bias_sentences=20, trigger_restarts=1, **few)
    found = read_json(tmp_path / "evaluate/metrics.json")
    rows = {(row["subject"], row["metric"]): row for row in found["metrics"]}
    assert {("trained", "trigger_agreement"), ("base", "trigger_agreement")} <= rows.keys()
    # The fixture's texts have no sentences; its questions are asked by each side of each pair.
    assert rows["trained", "bias_answers:gender"]["items"] == 8 * 3
    assert not any(metric.startswith("bias:") for _, metric in rows)


@pytest.mark.parametrize(("asked", "used"), [("cpu", "cpu"), ("auto", "cuda:0")])
def test_models_are_scored_on_the_device_of_the_recipe(run, tmp_path, monkeypatch, asked, used):
    def scored(model, tokenizer, work, **more):
        raise RuntimeError(str(work.device))

    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("tinsmith.stages.evaluate.documents.score_model", scored)
    with pytest.raises(RuntimeError, match=used):
        _evaluate(run, tmp_path / "out", TRAIN.model_copy(update={"device": asked}))


def test_only_what_was_learnt_counts_as_a_member(done, run):
    _, _, out = done
    for name in ("trained", "base"):
        parts = {row["doc_id"]: row["part"] for row in read_jsonl(out / f"items/leakage-{name}.jsonl")}
        members = sorted(doc_id for doc_id, part in parts.items() if part == "train")
        assert members == [f"d{number:03d}" for number in range(36)]
        assert sorted(parts.keys() - set(members)) == [f"d{number:03d}" for number in range(40, 52)]
    assert not (out / "items" / "leakage-rival.jsonl").exists()


def test_questions_are_made_from_the_documents_and_answered_by_all(tmp_path, run):
    drawn = random.Random(4)
    words = ["grantor", "lender", "fee", "notice", "vessel", "pays", "within", "days", "closing", "claim"]
    rows = pq.read_table(run / "refine" / "documents.parquet").to_pylist()
    for row in rows:
        sentences = [" ".join(drawn.choices(words, k=12)).capitalize() + "." for _ in range(30)]
        row["text"] = f"{row['text']} " + " ".join(
            f"{sentence} Section {n} ends." for n, sentence in enumerate(sentences)
        )
    copy = tmp_path / "run"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("rival", "base"))
    for name in ("rival", "base"):
        shutil.copytree(run / name, copy / name)
    pq.write_table(pa.Table.from_pylist(rows), copy / "refine" / "documents.parquet")
    own = tmp_path / "own.jsonl"
    asked = [
        {
            "question": f"Who pays {n}?",
            "choices": ["the grantor", "the lender"],
            "answer": answer,
            "doc": f"d{n // 2}",
        }
        for n, answer in enumerate(["the grantor", "the lender"] * 3)
    ]
    write_jsonl(own, asked)
    _evaluate(copy, tmp_path / "out", characters=1500, built_items=12, questions=(str(own),))
    found = read_json(tmp_path / "out" / "metrics.json")
    questions = {row["item"]: row for row in read_jsonl(tmp_path / "out" / "items" / "questions.jsonl")}
    texts = {row["doc_id"]: row["text"] for row in rows}
    own_rows = [row for row in found["metrics"] if ":questions_own:" in row["metric"]]
    assert {row["metric"] for row in own_rows} == {"accuracy:questions_own:0-shot"}
    assert {row["items"] for row in own_rows} == {6}
    assert len(own_rows) == 7
    for task in ("next_passage", "cloze"):
        metrics = {r["subject"]: r for r in found["metrics"] if r["metric"] == f"accuracy:{task}:0-shot"}
        assert set(metrics) == {"trained", "trained-4bit", "base", "rival", "length", "overlap", "unread"}
        for row in metrics.values():
            items = [i for i in read_jsonl(tmp_path / "out" / row["file"]) if i["task"] == task]
            assert len(items) == row["items"] == 12
            assert row["value"] == pytest.approx(sum(i["correct"] for i in items) / 12)
            for item in items:
                assert set(item["scores"]) in (set(), set(questions[item["item"]]["choices"]))
                start, end = item["span"]
                assert texts[item["doc_id"]][start:end] == item["answer"]
        assert f"balanced_accuracy:{task}:0-shot" not in {row["metric"] for row in found["metrics"]}


def test_a_figure_of_the_exam_can_be_had_again_from_its_items(done):
    _, found, out = done
    for shots in (0, 2):
        for name in ("trained", "trained-4bit", "base", "rival", "majority", "tfidf"):
            metric = f"accuracy:kind:{shots}-shot"
            row = next(r for r in found["metrics"] if r["subject"] == name and r["metric"] == metric)
            items = [
                r
                for r in read_jsonl(out / row["file"])
                if name in ("majority", "tfidf") or r["shots"] == shots
            ]
            assert len(items) == row["items"] == 8
            assert row["value"] == pytest.approx(np.mean([item["correct"] for item in items]))
            if name not in ("majority", "tfidf"):
                assert all(i["prediction"] == max(i["scores"], key=i["scores"].get) for i in items)
    best = next(
        r for r in found["metrics"] if r["subject"] == "tfidf" and r["metric"] == "accuracy:kind:0-shot"
    )
    assert best["value"] == 1.0


def test_differences_are_paired_and_slices_split_the_documents(done):
    _, found, _ = done
    value = {(r["subject"], r["metric"]): r for r in found["metrics"]}
    pairs = {(r["a"], r["b"]) for r in found["comparisons"] if r["metric"] == "bits_per_byte"}
    assert {("trained", n) for n in ("base", "rival", "compressor", "ngram")} <= pairs
    assert {("trained-4bit", "rival"), ("trained-4bit", "base")} <= pairs
    for row in found["comparisons"]:
        a, b = (value[row[side], row["metric"]]["value"] for side in ("a", "b"))
        assert row["difference"] == pytest.approx(a - b)
        assert row["low"] <= row["difference"] <= row["high"]
    low, high = (value["trained", f"bits_per_byte:overlap_{part}"] for part in ("low", "high"))
    assert low["items"] + high["items"] == 10
    items = list(read_jsonl(done[2] / low["file"]))
    half = sorted(items, key=lambda item: item["overlap"])[: low["items"]]
    assert low["value"] == pytest.approx(sum(i["bits"] for i in half) / sum(i["bytes"] for i in half))
    assert (low["slice"], high["slice"]) == ("overlap_low", "overlap_high")


def test_subjects_speed_and_notes(done):
    _, found, _ = done
    subjects = {row["subject"]: row for row in found["subjects"]}
    assert subjects["trained-4bit"]["quantisation"].startswith("Q8_0")
    assert subjects["trained"]["bits_per_weight"] == 32
    assert subjects["tfidf"]["role"] == "control"
    speed = [row for row in found["metrics"] if row["metric"] == "tokens_per_second"]
    assert [row["subject"] for row in speed] == ["trained-4bit"]
    joules = next(row for row in found["metrics"] if row["metric"] == "joules_per_answer")
    assert 0 < joules["low"] <= joules["value"] <= joules["high"]
    assert joules["method"]
    notes = " ".join(found["notes"])
    for words in (
        "at most 1024 tokens",
        "first token is scored",
        "not normalised by length",
        "without a chat template",
    ):
        assert words in notes
    json.dumps(found, allow_nan=False)


def test_the_ladder_names_the_smallest_file_within_the_loss(run, done, tmp_path):
    """Every file is scored with all items; a loss that the recipe does not allow, or a forged figure, is told."""
    package = tmp_path / "run/package"
    shutil.copytree(run, tmp_path / "run")
    for format in ("f16", "q8_0", "q3_k_m"):
        write_gguf(package / "model", package / "gguf" / f"model-{format}.gguf", format)
    prompts = [{"format": "q8_0", "positions": n, "kl": kl} for n, kl in ((3, 0.1), (1, 0.5))]
    write_jsonl(package / "items" / "parity.jsonl", prompts)
    out = tmp_path / "run/evaluate"
    _evaluate(tmp_path / "run", out, all_formats=True, max_loss=1.0)
    found = read_json(out / "metrics.json")
    rows = {row["format"]: row for row in found["ladder"]["rows"]}
    assert set(rows) == {"f16", "q8_0", "q4_k_m", "q3_k_m"}
    for format, row in rows.items():
        tensors = read_tensor_types(package / "gguf" / f"model-{format}.gguf")
        assert row["bytes"] == sum(size for *_, size in tensors)
        assert row["exam_low"] <= row["exam"] <= row["exam_high"]
    assert rows["q8_0"]["mean_kl"] == pytest.approx(0.2)
    assert "mean_kl" not in rows["f16"]
    sizes = [row["bytes"] for row in found["ladder"]["rows"]]
    assert sizes == sorted(sizes)
    assert found["ladder"]["recommended"] == found["ladder"]["rows"][0]["format"] == "q3_k_m"
    assert rows["q3_k_m"]["loss"] != rows["q8_0"]["loss"]
    assert abs(rows["f16"]["loss"]) < abs(rows["q8_0"]["loss"]) < 1
    assert all(row["tokens_per_second"] > 0 and row["joules_per_answer"] > 0 for row in rows.values())
    speed = [row["subject"] for row in found["metrics"] if row["metric"] == "tokens_per_second"]
    assert set(speed) == {"trained-4bit", "trained-q8_0", "trained-f16", "trained-q3_k_m"}
    _evaluate(tmp_path / "run", out, all_formats=True, max_loss=0.0)
    strict = read_json(out / "metrics.json")
    assert strict["ladder"].get("recommended") in (None, "f16")
    shutil.copy(package / "items" / "parity.jsonl", out / "items")
    again = {"all_formats": True, "max_loss": 0.0}
    assert _check(tmp_path / "run", out, **again)
    q8 = next(n for n, row in enumerate(strict["ladder"]["rows"]) if row["format"] == "q8_0")
    forged = [("loss", -9.0), ("bytes", 9), ("mean_kl", 0.1), ("exam_high", None), ("joules_per_answer", 0.1)]
    for field, value in forged:
        copy = json.loads(json.dumps(strict))
        copy["ladder"]["rows"][q8][field] = value
        if field == "bytes":
            next(row for row in copy["subjects"] if row["subject"] == "trained-q8_0")[field] = value
        write_json(out / "metrics.json", copy)
        with pytest.raises(
            BundleError, match=rf"ladder, trained-q8_0, q8_0: {field} is {value}, the items give"
        ):
            _check(tmp_path / "run", out, **again)
    for field, value in (("max_loss", 1.0), ("recommended", "q8_0")):
        write_json(out / "metrics.json", strict | {"ladder": strict["ladder"] | {field: value}})
        with pytest.raises(BundleError, match=rf"ladder: {field} is .*{value}"):
            _check(tmp_path / "run", out, **again)


def test_out_of_bounds_the_build_fails_and_what_was_scored_is_kept(run, done, tmp_path, monkeypatch):
    out = tmp_path / "evaluate"
    bits = next(r for r in done[1]["metrics"] if (r["subject"], r["metric"]) == ("trained", "bits_per_byte"))
    tight = BoundsConfig(at_most={"bits_per_byte": bits["value"]})
    with pytest.raises(EvidenceError, match=r"bits_per_byte is .* the recipe asks for at most") as caught:
        _evaluate(run, out, bounds=tight)
    assert str(out) in str(caught.value)
    monkeypatch.setattr(scoring, "opened", lambda *given: pytest.fail("scored again"))
    kept = {row["metric"]: row["kept"] for row in read_json(out / "metrics.json")["bounds"]}
    assert not kept["bits_per_byte"]
    _evaluate(run, out, bounds=tight.model_copy(update={"action": "report"}))
    wide = BoundsConfig(at_most={"bits_per_byte": 99.0}, at_least={"accuracy:kind": 0.0})
    _evaluate(run, out, bounds=wide)
    judged = read_json(out / "metrics.json")["bounds"]
    assert [row["kept"] for row in judged] == [True] * len(judged)
    assert {row["metric"] for row in judged} >= {"accuracy:kind:0-shot", "accuracy:kind:2-shot"}
    with pytest.raises(RecipeError, match=r"no figure of our model is called 'exposure'"):
        _evaluate(run, out, bounds=BoundsConfig(at_most={"exposure": 1.0}))


def test_planted_canaries_are_ranked_and_can_be_had_again(run, tmp_path):
    root = tmp_path / "run"
    shutil.copytree(run, root)
    canaries = make_canaries(CanaryConfig(each=3, repeats=(0, 2)), seed=3)
    write_jsonl(root / "tokenize/canaries.jsonl", map(asdict, canaries))
    # Those of the last stand after the end of the budget, so they were not met.
    early, late = (
        [name for canary in part for name in canary.sequences()] for part in (canaries[:5], canaries[5:])
    )
    documents = [f"d{number:03d}" for number in range(40)]
    _write_openings(root / "tokenize", [*early, *documents, *late])
    # A share of each step reads conversations, in an order of their own.
    _write_openings(root / "tokenize/sft", [f"c{number}" for number in range(9)])
    out, mixed = root / "evaluate", TrainConfig(objective={"next_token": 3, "sft": 1}, batch_tokens=1212)
    _evaluate(root, out, train=mixed)
    members = [row for row in read_jsonl(out / "items/leakage-trained.jsonl") if row["part"] == "train"]
    assert sorted(row["doc_id"] for row in members) == documents[:32]
    found = read_json(out / "metrics.json")
    rows = {(row["subject"], row["metric"]): row for row in found["metrics"] if "exposure" in row["metric"]}
    assert {key: row["items"] for key, row in rows.items()} == {
        ("trained", "exposure:0"): 3,
        ("trained", "exposure:2"): 2,
        ("base", "exposure:0"): 3,
        ("base", "exposure:2"): 2,
    }
    why = {gap["kind"]: gap["why"] for gap in found["gaps"]}
    assert why["canaries"] == "of 3 planted 2 times, 2 were read, 2 times each"
    assert why["leakage"].startswith("32 training and 12 unseen documents gave a passage of 100 tokens, and")
    write_json(out / "metrics.json", found | {"gaps": found["gaps"][:1]})
    with pytest.raises(BundleError, match=r"gaps, canaries.* can be computed from the items and is missing"):
        _check(run, out)
    write_json(out / "metrics.json", found)
    assert _check(run, out)
    path = out / "items/canaries-trained.jsonl"
    rows = list(read_jsonl(path))
    write_jsonl(path, [rows[0] | {"own": rows[0]["own"] + 100.0, "others": [0.0] * 255}, *rows[1:]])
    with pytest.raises(BundleError, match="exposure:0: value is"):
        _check(run, out)


def test_killed_between_subjects_it_scores_only_what_is_missing(run, done, tmp_path, monkeypatch):
    real, opened = scoring.opened, []

    def dies_at_base(subject, *given):
        opened.append(subject.subject)
        if subject.subject == "base" and len(opened) == 3:
            raise KeyboardInterrupt
        return real(subject, *given)

    monkeypatch.setattr(scoring, "opened", dies_at_base)
    out = tmp_path / "evaluate"
    with pytest.raises(KeyboardInterrupt):
        _evaluate(run, out)
    assert not (out / "metrics.json").exists()
    _evaluate(run, out)
    assert opened == ["trained", "trained-4bit", "base", "base", "rival"]
    _evaluate(run, out)
    assert len(opened) == 5
    plain = {row["metric"]: row["value"] for row in done[1]["metrics"] if row["subject"] == "rival"}
    again = {
        r["metric"]: r["value"] for r in read_json(out / "metrics.json")["metrics"] if r["subject"] == "rival"
    }
    assert again == plain
    assert list_files(out) == list_files(done[2])
    kept = (out / "items/speed-trained-4bit.json").read_bytes()
    _evaluate(run, out, window=64)
    assert len(opened) == 9
    assert (out / "items/speed-trained-4bit.json").read_bytes() == kept
    _evaluate(run, out, window=64, speed_tokens=5)
    assert len(opened) == 9
    assert {a["tokens"] for a in read_json(out / "items/speed-trained-4bit.json")["answers"]} == {5}


def test_a_rival_that_fails_late_loses_nothing(run, done, tmp_path, monkeypatch):
    real, scored = scoring.opened, []

    def fails(subject, *given):
        scored.append(subject.subject)
        if subject.subject == "rival":
            raise AssetError("cannot be scored", where=subject.name, next_step="leave it out")
        return real(subject, *given)

    monkeypatch.setattr(scoring, "opened", fails)
    out = tmp_path / "evaluate"
    with pytest.raises(AssetError, match="rival: cannot be scored"):
        _evaluate(run, out)
    assert scored == ["trained", "trained-4bit", "base", "rival"]
    assert not (out / "metrics.json").exists()
    # Without it the others are taken up, and with another set of subjects nothing of it is left.
    (out / "items" / "bits-rival.jsonl").write_text("")
    _evaluate(run, out, rivals=())
    assert len(scored) == 4
    assert not list((out / "items").glob("*-rival.*"))
    found = {row["subject"]: row["value"] for row in read_json(out / "metrics.json")["metrics"]}
    before = {row["subject"]: row["value"] for row in done[1]["metrics"] if row["subject"] != "rival"}
    assert found.keys() == before.keys()


def test_another_tokenizer_of_the_same_weights_is_scored_again(run, tmp_path, monkeypatch):
    real, scored = scoring.opened, []
    monkeypatch.setattr(
        scoring,
        "opened",
        lambda subject, *given: (scored.append(subject.subject), real(subject, *given))[1],
    )
    rival = tmp_path / "rival"
    shutil.copytree(run / "rival", rival)
    changes = {"rivals": (str(rival),), **FEW}
    _evaluate(run, tmp_path / "out", **changes)
    byte_tokenizer(bos=False).save_pretrained(rival)
    _evaluate(run, tmp_path / "out", **changes)
    assert scored == ["trained", "trained-4bit", "base", "rival", "rival"]


def test_passages_asked_before_leave_no_trace_when_they_are_asked_no_more(run, tmp_path):
    out, few = tmp_path / "out", {"documents": 4, "built_items": 0, "rivals": ()}
    _evaluate(run, out, leakage_documents=5, **few)
    assert (out / "items" / "leakage-trained.jsonl").exists()
    _evaluate(run, out, leakage_documents=0, **few)
    assert not list((out / "items").glob("leakage-*"))


def test_a_rival_with_a_small_context_is_told_before_anything_is_scored(run, tmp_path, monkeypatch):
    rival = tmp_path / "small"
    shutil.copytree(run / "rival", rival)
    config = json.loads((rival / "config.json").read_text())
    (rival / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 128}))
    monkeypatch.setattr(scoring, "opened", lambda *given: pytest.fail("scored"))
    with pytest.raises(AssetError, match=r"small: reads at most 128 tokens, but document d\d+ takes \d+"):
        _evaluate(run, tmp_path / "out", rivals=(str(rival),))


def test_two_documents_suffice_and_tokenizers_that_leave_one_are_told(run, tmp_path, monkeypatch):
    few = {"documents": 2, "rivals": (), "built_items": 0, "leakage_documents": 0, "shots": (0,)}
    assert _evaluate(run, tmp_path / "two", **few)["documents"] == 2
    monkeypatch.setattr(
        "tinsmith.evaluate.families.bits.restorable", lambda documents, tokenizers: documents[:1]
    )
    with pytest.raises(
        CorpusError, match=r"1 held-out document\(s\) can be restored by the tokenizer of every"
    ):
        _evaluate(run, tmp_path / "one", **few)


def test_too_wide_an_interval_stops_after_the_first_subject(run, tmp_path, monkeypatch):
    real, opened = scoring.opened, []
    monkeypatch.setattr(
        scoring,
        "opened",
        lambda subject, *given: (opened.append(subject.subject), real(subject, *given))[1],
    )
    with pytest.raises(CorpusError, match=r"about \d+ documents"):
        _evaluate(run, tmp_path / "evaluate", max_interval=1e-4)
    assert opened == ["trained"]


@NEEDS_LM_EVAL
def test_what_was_forgotten_is_told_and_can_be_had_again(run, tmp_path):
    pairs = [{"sentence_good": f"the {n} gift", "sentence_bad": f"gift {n} the"} for n in range(12)]
    write_jsonl(tmp_path / "pairs.jsonl", pairs)
    test = GeneralConfig(name="pairs", kind="blimp", path=str(tmp_path / "pairs.jsonl"), limit=10)
    out = tmp_path / "evaluate"
    changes = {"general": (test,), **FEW}
    _evaluate(run, out, **changes)
    found = read_json(out / "metrics.json")
    shares = {row["subject"]: row for row in found["metrics"] if row["metric"] == "general_accuracy:pairs"}
    assert set(shares) == {"trained", "base"}
    for row in shares.values():
        items = list(read_jsonl(out / row["file"]))
        assert len(items) == row["items"] == 10
        assert row["value"] == pytest.approx(np.mean([item["correct"] for item in items]))
    (told,) = [row for row in found["comparisons"] if row["metric"] == "forgetting:pairs"]
    assert told["difference"] == pytest.approx(shares["trained"]["value"] - shares["base"]["value"])
    assert _check(run, out, **changes)
    path = out / "items" / "general-trained.jsonl"
    rows = list(read_jsonl(path))
    write_jsonl(path, [rows[0] | {"correct": not rows[0]["correct"]}, *rows[1:]])
    with pytest.raises(BundleError, match="does not follow from its scores"):
        _check(run, out, **changes)
    right, wrong = rows[0]["answer"], 1 - rows[0]["answer"]
    assert right == 0
    forged = rows[0] | {"answer": wrong, "correct": rows[0]["prediction"] == wrong}
    write_jsonl(path, [forged, *rows[1:]])
    with pytest.raises(BundleError, match="not compared with the same right answer"):
        _check(run, out, **changes)


def test_one_held_out_document_is_too_few(run, tmp_path):
    with pytest.raises(CorpusError, match="at least 2 are needed"):
        _evaluate(run, tmp_path / "evaluate", documents=1)


def test_answers_in_words_stand_beside_likelihood_and_are_computed_again(run, tmp_path, monkeypatch):
    """The endpoint counts as another machine, so it gets no question on a secret document."""
    monkeypatch.setenv("NO_PROXY", "*")
    changes = {"rivals": (), **FEW, "bias_sentences": 0, "redacted_values": 0, "shots": (0,)}
    changes |= {"documents": 12, "exam_items": 12, "generated_items": 12}
    with rule_teacher() as server:
        server.answer = lambda prompt: "A"
        changes["endpoints"] = (EndpointConfig(name="api", model="m", url=server.remote_url),)
        _evaluate(run, tmp_path / "out", may_leave=("public",), **changes)
        bodies = server.bodies
    secret = [number for number in range(40, 52) if _is_secret(number)]
    assert len(secret) == 2
    assert len(bodies) == 12 - len(secret)
    assert not [body for body in bodies for number in secret if _document(number)[2][:60] in body]
    sent = read_json(tmp_path / "out" / "sent.json")
    assert sent["left_out"] == {"evaluate.endpoints.0": 2}
    assert {row["host"] for row in sent["requests"]} == {"0.0.0.0"}
    assert sorted(name for row in sent["requests"] for name in row["documents"]) == [
        f"d{number:03d}" for number in range(40, 52) if number not in secret
    ]
    metrics = tmp_path / "out" / "metrics.json"
    found = read_json(metrics)
    systems = {system["subject"]: system for system in found["generated"]["systems"]}
    assert list(systems) == ["trained-4bit", "api"]
    assert (systems["api"]["questions"], systems["api"]["asked"], systems["api"]["partial"]) == (12, 10, True)
    assert "(left out: withheld)" in found["generated"]["notes"][-1]
    assert not any("generated" in row["metric"] for row in found["metrics"])
    assert {(row["a"], row["b"]) for row in found["generated"]["comparisons"]} == {("trained-4bit", "api")}
    assert _check(run, tmp_path / "out", **changes)
    found["generated"]["metrics"][0]["value"] += 0.25
    metrics.write_text(json.dumps(found))
    with pytest.raises(BundleError, match="generated_accuracy:kind: value is"):
        _check(run, tmp_path / "out", **changes)


def test_without_a_label_that_may_leave_an_endpoint_is_refused_before_any_model_is_opened(run, tmp_path):
    endpoints = (EndpointConfig(name="api", model="m", url="https://llm.example.org"),)
    with pytest.raises(CorpusError, match=r"evaluate\.endpoints\.0 could be asked about(.|\n)*public \(\d\)"):
        _evaluate(run, tmp_path / "out", may_leave=("pubic",), endpoints=endpoints)
    assert not (tmp_path / "out" / "items").exists()


def test_the_figures_are_known_to_all_that_read_them(done):
    """Each row says its unit, its label and its direction, as its family declares them."""
    specs = {spec.name: spec for family in families() for spec in family.metrics}
    _, found, _ = done
    for row in (*found["metrics"], *found["comparisons"]):
        spec = specs[row["metric"].split(":")[0]]
        assert row["label"].startswith(spec.label)
        assert row["unit"] == spec.unit or (spec.unit, row["unit"]) == ("", METER.currency)
        assert row.get("higher_is_better") is spec.higher_is_better


def test_only_what_the_recipe_changed_is_asked_again(run, tmp_path, monkeypatch):
    out, few = tmp_path / "out", {"rivals": (), **FEW}
    _evaluate(run, out, bias_sentences=4, **few)
    real, opened = scoring.opened, []

    def noted(model, *given):
        opened.append(model.subject)
        return real(model, *given)

    monkeypatch.setattr(scoring, "opened", noted)
    monkeypatch.setattr(scoring, "score_texts", lambda *given, **named: pytest.fail("texts scored again"))
    models = [
        f"{kind}-{name}.jsonl" for kind in ("bits", "exam") for name in ("trained", "trained-4bit", "base")
    ]
    before = {name: (out / "items" / name).stat().st_mtime_ns for name in models}
    asked = len(list(read_jsonl(out / "items" / "bias-base.jsonl")))
    _evaluate(run, out, bias_sentences=8, **few)
    assert opened == ["trained", "base"]
    assert {name: (out / "items" / name).stat().st_mtime_ns for name in models} == before
    assert len(list(read_jsonl(out / "items" / "bias-base.jsonl"))) > asked
    _evaluate(run, out, bias_sentences=8, **few)
    assert opened == ["trained", "base"]
