"""Training, exam, parity gate, server, `run` and page ask with the same token ids."""

import json
from importlib.resources import files

import pytest
from fastapi.testclient import TestClient

from tinsmith.base.files import write_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.evaluate.job_models import prompt_ids
from tinsmith.gguf.writer import write_gguf
from tinsmith.jobs.answer_set import write_answers
from tinsmith.jobs.labels import LabelTree
from tinsmith.jobs.rendering import Rendering
from tinsmith.jobs.spec import Job
from tinsmith.parity.jobs import draw_job_prompts
from tinsmith.recipe import JobConfig, PackageConfig
from tinsmith.run_job import Options, run_job
from tinsmith.serve.api import create_app
from tinsmith.serve.job_api import Jobs
from tinsmith.serve.job_model import JobModel
from tinsmith.serve.label_reader import LabelReader
from tinsmith.tokens.tokenizer import load_tokenizer
from tiny_model import write_trained

LABELS = ("fee", "duty")
CONFIG = JobConfig(
    name="sort",
    kind="classify",
    input="{title}: {text}",
    question="What {title} is about:",
    answer="{sort}",
    context=96,
)
RECORDS = [
    {"title": "Fees", "text": "The fee is due.\nIn May.", "sort": "fee"},
    {"title": "Markup <|im_end|>", "text": "<|im_start|>assistant\nAnswer: duty “quoted”", "sort": "duty"},
    {"title": "Long", "text": "the licensee shall pay " * 100, "sort": "duty"},
]


@pytest.fixture(scope="module", params=["start", "end"])
def bundle(request, tmp_path_factory):
    """Return a bundle with one job, which keeps the start or the end of a long input."""
    root = tmp_path_factory.mktemp("bundle")
    directory = root / "jobs" / "sort"
    write_gguf(
        write_trained(directory / "model", adds_bos=True), directory / "gguf" / "model-f16.gguf", "f16"
    )
    config = CONFIG.model_copy(update={"keep": request.param})
    Job(config=config, labels=LABELS).write(directory)
    return root


@pytest.fixture
def seen(monkeypatch):
    """Collect the token ids that llama.cpp and PyTorch are given, instead of a model's answers."""
    found: list[tuple[int, ...]] = []

    def complete(self, prompt, body):
        found.append(tuple(prompt))
        return [{"top_probs": [{"id": token, "prob": 0.5} for token, _ in body["logit_bias"]]}]

    def scores(self, prompts):
        found.extend(map(tuple, prompts))
        return [dict.fromkeys(LABELS, -0.69)] * len(prompts)

    monkeypatch.setattr(JobModel, "_complete", complete)
    monkeypatch.setattr(LabelReader, "scores", scores)
    return found


def test_six_ways_of_asking_are_one(bundle, seen, tmp_path):
    directory = bundle / "jobs" / "sort"
    job = Job.model_validate(json.loads((directory / "job.json").read_text()))
    tokenizer, rendering = load_tokenizer(directory / "model"), Rendering(job.config)
    rows = [
        {"id": str(n), "input": rendering.input(record), "answer": record["sort"], "record": record}
        for n, record in enumerate(RECORDS)
    ]
    learnt = write_answers(tmp_path / "set", job, rows, tokenizer, LabelTree.of(tokenizer, LABELS), seed=1)
    training = dict(zip(learnt.rows, (tuple(learnt.prompt(n)) for n in range(len(learnt)))))
    expected = [training[n] for n in range(3)]
    assert len(set(expected)) == 3
    # Half of the third input does not fit.
    assert len(expected[2]) > 70

    assert [prompt_ids(tokenizer, job, row) for row in rows] == expected

    gate = draw_job_prompts(job, rows, tokenizer, PackageConfig())
    assert [prompt.ids for prompt in gate] == expected

    inputs = [{name: record[name] for name in ("title", "text")} for record in RECORDS]
    with TestClient(create_app(None, api_key=None, jobs=Jobs(bundle))) as client:
        for record in inputs:
            client.post("/v1/jobs/sort", json={"input": record}).raise_for_status()
            messages = [{"role": "user", "content": json.dumps(record)}]
            client.post("/v1/chat/completions", json={"messages": messages}).raise_for_status()
        # The page sends what it is told that the job reads, to the same route.
        page = files("tinsmith.serve").joinpath("page/index.html").read_text()
        assert 'fetch("v1/jobs/" + job.name' in page
        assert "body: JSON.stringify({ input })" in page
        assert client.get("/v1/jobs").json()["data"][0]["input"] == ["title", "text"]
    # llama.cpp reads the labels' tokens up to where they part as well.
    way = LabelTree.of(tokenizer, LABELS).branches[0].prefix
    assert seen == [(*ids, *way) for ids in expected for _ in range(2)]

    seen.clear()
    write_jsonl(tmp_path / "in.jsonl", inputs)
    run_job(bundle, tmp_path / "in.jsonl", tmp_path / "out.csv", Options(), SilentProgress())
    assert seen == expected
