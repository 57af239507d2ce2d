"""The stage package: what it leaves on disk, and that it starts over from what a kill left."""

from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tinsmith.base.errors import CorpusError, ParityError
from tinsmith.base.files import list_files, read_json, read_jsonl, write_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.jobs.spec import Job, read_job
from tinsmith.model.export import save_model
from tinsmith.recipe import GgufFormat, JobConfig, PackageConfig
from tinsmith.serve.job_model import JobModel, find_jobs
from tinsmith.stages.package import run as stage
from tinsmith.stages.package.run import package
from tiny_model import TEXTS, tiny_model, tiny_tokenizer, write_trained

CONFIG = PackageConfig(formats=("f16", "q8_0"), parity_prompts=18, parity_positions=200)


@pytest.fixture
def run(tmp_path):
    """Lay out what the earlier stages leave; return a function that runs the stage."""
    parts = ["held_out"] * 6 + ["train"] * (len(TEXTS) - 6)
    table = {"doc_id": [str(number) for number in range(len(TEXTS))], "text": TEXTS, "part": parts}
    for name in ("split", "train", "tokenize", "out"):
        (tmp_path / name).mkdir()
    pq.write_table(pa.table(table), tmp_path / "split" / "documents.parquet")
    write_trained(tmp_path / "train" / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "tokenize" / "tokenizer")
    inputs = {name: tmp_path / name for name in ("split", "train", "tokenize")}
    return lambda config=CONFIG, seed=7: package(
        config, inputs=inputs, seed=seed, out=tmp_path / "out", progress=SilentProgress()
    )


def test_it_leaves_model_ggufs_and_evidence(run, tmp_path):
    statistics = run()
    out = tmp_path / "out"
    names = {str(path) for path in list_files(out)}
    assert {"gguf/model-f16.gguf", "gguf/model-q8_0.gguf", "model/model.safetensors"} < names
    assert {"model/config.json", "model/tokenizer.json", "model/generation_config.json"} < names
    assert not any("partial" in name for name in names)
    facts = read_json(out / "parity.json")
    assert set(facts["formats"]) == {"saved", "f16", "q8_0", "server"}
    assert facts["tensors"]["q8_0"] == {"F32": 5, "Q8_0": 15}
    assert facts["formats"]["f16"]["bytes"] == (out / "gguf" / "model-f16.gguf").stat().st_size
    assert statistics["mean_kl_q8_0"] == facts["formats"]["q8_0"]["mean_kl"]
    assert statistics["bytes_saved"] == (out / "model" / "model.safetensors").stat().st_size
    rows = list(read_jsonl(out / "items" / "parity.jsonl"))
    assert len(rows) == 3 * 18
    assert rows[0].keys() == {"format", "prompt", "kind", "positions", "kl", "top1"}


def test_every_format_goes_through_the_gate(run, tmp_path):
    # Random weights have more near ties than the models that the bounds were set by.
    least = {"q5_k_m": 0.6, "q4_k_m": 0.6, "q3_k_m": 0.4}
    formats = get_args(GgufFormat)
    run(PackageConfig(formats=formats, parity_prompts=18, parity_positions=200, min_top1=least))
    facts = read_json(tmp_path / "out" / "parity.json")["formats"]
    assert set(facts) == {"saved", "server", *get_args(GgufFormat)}
    assert facts["f16"]["mean_kl"] < facts["q6_k"]["mean_kl"] < facts["q3_k_m"]["mean_kl"]


def test_it_replaces_what_an_interrupted_run_left(run, tmp_path):
    out = tmp_path / "out"
    (out / "model").mkdir()
    (out / "model" / "model.safetensors").write_bytes(b"half")
    (out / "gguf").mkdir()
    (out / "gguf" / "model-f16.gguf").write_bytes(b"GGUF half")
    run()
    assert not list(out.rglob("*.partial"))
    assert (out / "model" / "config.json").is_file()


def test_only_held_out_text_is_asked(run, tmp_path, monkeypatch):
    asked = []
    whole = stage.check_parity

    def watch(trained, saved, ggufs, texts, *rest, **options):
        asked.extend(texts)
        return whole(trained, saved, ggufs, texts, *rest, **options)

    monkeypatch.setattr(stage, "check_parity", watch)
    run()
    assert asked == TEXTS[:6]


def test_an_export_that_differs_is_an_error(run, monkeypatch):
    def spoil(model, tokenizer, out, precision):
        with_noise = tiny_model(base=5000.0)
        save_model(with_noise, tokenizer, out, precision)

    monkeypatch.setattr(stage, "save_model", spoil)
    with pytest.raises(ParityError, match="saved: mean KL"):
        run()


def test_nothing_held_out_is_an_error(run, tmp_path):
    table = {"doc_id": ["1"], "text": TEXTS[:1], "part": ["train"]}
    pq.write_table(pa.table(table), tmp_path / "split" / "documents.parquet")
    with pytest.raises(CorpusError, match="held-out"):
        run()


ROWS = [
    {
        "id": str(number),
        "input": f"Section {number}: the fee is {number * 7}",
        "answer": ("fee", "duty")[number % 2],
    }
    for number in range(30)
]
SORT = Job(
    config=JobConfig(name="sort", kind="classify", answer="{sort}", context=96), labels=("fee", "duty")
)


@pytest.fixture
def run_jobs(tmp_path):
    """Lay out what is learnt by a recipe with jobs alone; return a function that runs the stage."""
    SORT.write(tmp_path / "learn" / "sort")
    write_trained(tmp_path / "learn" / "sort" / "model")
    for part, rows in {"validation": ROWS, "test": []}.items():
        write_jsonl(tmp_path / "examples" / "sort" / f"{part}.jsonl", rows)
    inputs = {name: tmp_path / name for name in ("examples", "learn")}
    return lambda config=CONFIG: package(
        config, inputs=inputs, seed=7, out=tmp_path / "out", progress=SilentProgress()
    )


def test_a_job_is_exported_and_asked_its_own_prompts(run_jobs, tmp_path):
    statistics = run_jobs()
    job = tmp_path / "out" / "jobs" / "sort"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["jobs"]
    assert read_job(job) == SORT
    assert find_jobs(tmp_path / "out") == {"sort": job}
    formats = read_json(job / "parity.json")["formats"]
    assert set(formats) == {"saved", "f16", "q8_0", "server"}
    for name in ("saved", "f16", "q8_0"):
        assert formats[name]["label_kl"] <= formats[name]["bound_kl"]
        assert formats[name]["same_label"] > 0.9
        # Compared where the label is chosen, and nowhere else.
        assert formats[name]["positions"] == formats[name]["prompts"]
    assert 0 < formats["f16"]["label_kl"] < formats["q8_0"]["label_kl"]
    assert statistics["label_kl_q8_0_sort"] == formats["q8_0"]["label_kl"]
    items = list(read_jsonl(job / "parity.jsonl"))
    assert len(items) == 3 * formats["saved"]["prompts"]
    assert {item["kind"] for item in items} == {"job"}


def test_a_job_whose_labels_differ_is_an_error(run_jobs, monkeypatch):
    whole = JobModel.label_scores

    def swapped(self, prompts):
        found = whole(self, prompts)
        return [{"fee": scores["duty"], "duty": scores["fee"]} for scores in found]

    monkeypatch.setattr(JobModel, "label_scores", swapped)
    with pytest.raises(ParityError, match="parity gate, job sort: f16: labels have a mean KL of"):
        run_jobs(PackageConfig(formats=("f16",), parity_prompts=8))


def test_of_many_labels_no_whole_vocabulary_is_computed_at_their_branches(run_jobs, tmp_path, monkeypatch):
    labels = tuple(f"{first} {second}" for first in ("fee", "duty", "rate", "may") for second in "abcde")
    many = SORT.model_copy(update={"labels": labels})
    many.write(tmp_path / "learn" / "sort")
    rows = [{**row, "answer": labels[number % len(labels)]} for number, row in enumerate(ROWS)]
    write_jsonl(tmp_path / "examples" / "sort" / "validation.jsonl", rows)
    plain, vocabulary = torch.nn.functional.linear, tiny_model().config.vocab_size
    largest = 0

    def watched(inputs, weight, bias=None):
        nonlocal largest
        if len(weight) == vocabulary:
            largest = max(largest, inputs.numel() // inputs.shape[-1])
        return plain(inputs, weight, bias)

    monkeypatch.setattr(torch.nn.functional, "linear", watched)
    run_jobs(PackageConfig(formats=("f16",), parity_prompts=8))
    # One position a prompt, where the gate compares distributions; branches are read at their own tokens.
    figures = read_json(tmp_path / "out" / "jobs" / "sort" / "parity.json")["formats"]
    assert 0 < largest <= figures["saved"]["positions"]
    assert figures["f16"]["same_label"] > 0.8
