"""Systems behind an API, asked the rows of jobs over real HTTP: read as recorded answers are, sent what may leave."""

import json
import time
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rule_teacher import rule_teacher
from tinsmith.base.errors import CorpusError, LLMError
from tinsmith.base.files import read_jsonl, write_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.evaluate.job_grades import Grader
from tinsmith.evaluate.job_requests import job_request, most_bytes, most_sent
from tinsmith.jobs.spec import Job
from tinsmith.llm import client
from tinsmith.recipe import EndpointConfig, EvaluateConfig, JobConfig
from tinsmith.stages.evaluate import job_work
from tinsmith.stages.evaluate.job_endpoints import Endpoints, endpoint_subject
from tinsmith.stages.evaluate.measured import Spent

LABELS = ("dovish", "hawkish")
CLASSIFY = JobConfig(
    name="stance", kind="classify", question="Stance:", answer="{label}", labels=LABELS, examples=("e.csv",)
)
SCHEMA = {"properties": {"law": {"type": "string", "title": "Governing law"}, "parties": {"type": "array"}}}


def kind(name, **fields):
    return Job(config=JobConfig(name="j", kind=name, examples=("e.csv",), **fields), labels=())


def row(number, answer, text="", **record):
    return {
        "id": f"e.csv:{number}",
        "group": f"g{number}",
        "input": text or f"Row {number}: rates {answer}.",
        "answer": answer,
        "record": record,
    }


def work(job, rows):
    questions = [job_work._question(job, each) for each in rows]
    return job_work.JobWork(job, None, [], [], rows, questions, list(range(len(rows))))


STANCES = [row(n, LABELS[n % 2], access=("public", "secret")[n == 3]) for n in range(4)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(client, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def server():
    with rule_teacher() as teacher:
        yield teacher


def endpoints(server, out, *works, allowed=(), remote=False, **fields):
    given = {"name": "api", "model": "m", "url": server.remote_url if remote else server.url, "parallel": 1}
    config = EvaluateConfig(endpoints=(EndpointConfig(**{**given, **fields}),), job_items=100)
    return Endpoints(config, works, allowed, None, out, SilentProgress())


def ask(asking, *works):
    """Ask about all jobs in one session; return the answers of the first, or of all if there are several."""
    (endpoint,) = asking.config.endpoints
    with asking.open(endpoint) as session:
        found = [asking.ask(endpoint, session, each) for each in works]
    return found if len(found) > 1 else found[0]


def test_the_rows_of_a_job_are_asked_and_read_as_recorded_answers_are(server, tmp_path):
    said = ["Dovish.", '{"answer": "hawkish"}', "I cannot tell", "It is hawkish, not dovish"]
    server.answer = lambda prompt: said[int(prompt[4])]
    stance = work(Job(config=CLASSIFY, labels=LABELS), STANCES)
    asking = endpoints(
        server, tmp_path, stance, price_per_million_input=100.0, price_per_million_output=200.0
    )
    answers = ask(asking, stance)
    assert [each["prediction"] for each in answers.rows] == ["dovish", "hawkish", "", ""]
    assert [each["correct"] for each in answers.rows] == [True, True, False, False]
    assert [each["raw"] for each in answers.rows] == said
    assert (answers.lost, answers.final) == ({}, True)
    # Ten tokens are read and five written, each time.
    assert answers.price_per_1000 == pytest.approx(1000 * (10 * 100 + 5 * 200) / 1e6)
    prompts = sorted(prompt for _, _, prompt in server.asked)
    assert prompts[0] == (
        "Row 0: rates dovish.\n\nStance:\n\nAnswer with one of these alone:\n- dovish\n- hawkish"
    )
    subject = endpoint_subject(asking.config.endpoints[0])
    assert (subject.subject, subject.name, subject.role) == ("api", "api (m)", "rival")


def test_only_rows_with_a_listed_label_leave_and_each_is_recorded(server, tmp_path):
    server.answer = lambda prompt: "dovish"
    stance = work(Job(config=CLASSIFY, labels=LABELS), STANCES)
    asking = endpoints(server, tmp_path, stance, allowed=("public",), remote=True)
    asking.check()
    answers = ask(asking, stance)
    assert [each["id"] for each in answers.rows] == ["e.csv:0", "e.csv:1", "e.csv:2"]
    assert not [body for body in server.bodies if "Row 3" in body]
    assert asking.left_out() == {"evaluate.endpoints.0": {"stance/e.csv:3"}}
    assert (answers.lost, answers.final) == ({"withheld": 1}, True)
    sent = list(read_jsonl(tmp_path / "answers" / "api" / "sent.jsonl"))
    assert sorted(name for each in sent for name in each["documents"]) == [
        f"stance/e.csv:{n}" for n in range(3)
    ]
    documents, most = most_sent(100, [CLASSIFY])
    assert documents == 100
    assert sum(each["bytes"] for each in sent) < most


def test_rows_without_a_listed_label_are_refused_before_anybody_is_asked(server, tmp_path):
    stance = work(Job(config=CLASSIFY, labels=LABELS), STANCES)
    with pytest.raises(CorpusError, match=r"no row of stance(.|\n)*public \(3\), secret \(1\)"):
        endpoints(server, tmp_path, stance, allowed=("pubic",), remote=True).check()
    # A row of a file without a field `access` is unknown.
    bare = work(Job(config=CLASSIFY, labels=LABELS), [row(n, "dovish") for n in range(2)])
    with pytest.raises(CorpusError, match=r"unknown \(2\)"):
        endpoints(server, tmp_path, bare, allowed=("public",), remote=True).check()
    endpoints(server, tmp_path, bare, allowed=("unknown",), remote=True).check()
    # What stays on this machine needs no label.
    endpoints(server, tmp_path, bare).check()
    assert not server.asked


@pytest.mark.parametrize(
    "record", [{"Access": "secret"}, {"confidentiality": "secret"}, {"access": ["public", "secret"]}]
)
def test_a_row_has_the_label_that_it_states_however_it_is_written(server, tmp_path, record):
    rows = [row(0, "dovish"), row(1, "hawkish", **record)]
    stance = work(Job(config=CLASSIFY, labels=LABELS), rows)
    asking = endpoints(server, tmp_path, stance, allowed=("unknown", "public"), remote=True)
    assert asking.left_out() == {"evaluate.endpoints.0": {"stance/e.csv:1"}}


def test_documents_have_their_own_labels(server, tmp_path):
    table = {"doc_id": ["d1", "d2"], "access": ["public", "secret"]}
    pq.write_table(pa.table(table), tmp_path / "documents.parquet")
    config = CLASSIFY.model_copy(update={"examples": ()})
    # What a document's own metadata says was read when its label was decided.
    rows = [row(n, "dovish", access="public") | {"id": f"d{n}"} for n in (1, 2)]
    asking = endpoints(
        server, tmp_path, work(Job(config=config, labels=LABELS), rows), allowed=("public",), remote=True
    )
    asking = replace(asking, documents=tmp_path / "documents.parquet")
    assert asking.left_out() == {"evaluate.endpoints.0": {"d2"}}


def test_a_label_that_only_rows_have_that_stay_is_never_listed(server, tmp_path):
    config = CLASSIFY.model_copy(update={"labels": ()})
    rows = [*STANCES[:3], row(3, "merger", access="secret")]
    job = Job(config=config, labels=(*LABELS, "merger"))
    with pytest.raises(CorpusError, match=r"merger \(1 in all\) stand in no row that may leave"):
        endpoints(server, tmp_path, work(job, rows), allowed=("public",), remote=True).check()
    endpoints(server, tmp_path, work(job, rows), allowed=("public", "secret"), remote=True).check()
    # A person who writes labels into the recipe says that they may be known.
    listed = Job(config=config.model_copy(update={"labels": job.labels}), labels=job.labels)
    endpoints(server, tmp_path, work(listed, rows), allowed=("public",), remote=True).check()


def test_limits_count_over_all_jobs_and_what_was_spent_before(server, tmp_path):
    server.answer = lambda prompt: "dovish"
    other = CLASSIFY.model_copy(update={"name": "other", "question": "Mood:"})
    works = [work(Job(config=config, labels=LABELS), STANCES) for config in (CLASSIFY, other)]
    # An answer of five tokens costs 0.005; the next is asked only if all that it may take could still be paid.
    longest = job_request(works[0].job, STANCES[0], max_tokens=64).max_tokens / 1000
    limits = {"price_per_million_output": 1000.0, "max_cost": longest + 0.1}
    first, second = ask(endpoints(server, tmp_path, *works, **limits), *works)
    assert (len(first.rows), len(second.rows)) == (4, 4)
    few = limits | {"max_cost": longest + 0.016}
    first, second = ask(endpoints(server, tmp_path / "2", *works, **few), *works)
    assert (len(first.rows), second.lost, second.final) == (4, {"budget": 4}, False)
    asking = replace(endpoints(server, tmp_path / "3", *works, **limits), spent={"api": Spent(money=0.11)})
    assert [answers.lost for answers in ask(asking, *works)] == [{"budget": 4}] * 2
    late = endpoints(server, tmp_path / "4", *works, max_minutes=1)
    late = replace(late, spent={"api": Spent(seconds=61.0)})
    with late.open(late.config.endpoints[0]) as session:
        assert session.budget.until < time.monotonic()


def test_a_row_of_more_bytes_than_the_plan_says_is_not_sent(server, tmp_path):
    server.answer = lambda prompt: "dovish"
    config = CLASSIFY.model_copy(update={"question": "{why} Stance:"})
    rows = [row(0, "dovish", why="x" * 100_000), row(1, "dovish", why="y")]
    asked = work(Job(config=config, labels=LABELS), rows)
    answers = ask(endpoints(server, tmp_path, asked, allowed=("unknown",), remote=True), asked)
    assert [each["id"] for each in answers.rows] == ["e.csv:1"]
    assert (answers.lost, answers.final) == ({"too_long": 1}, True)
    assert not [body for body in server.bodies if "xxx" in body]


@pytest.mark.parametrize("raw", ["[]", "null", '"none"', "0", "I cannot", "{", '{"law": '])
def test_json_that_is_no_object_is_unreadable(raw):
    assert Grader(kind("extract", json_schema=SCHEMA)).read(raw) == ""


def test_half_a_character_does_not_stop_a_build(server, tmp_path):
    server.answer = lambda prompt: "Ohio \ud83d" if "Row 0" in prompt else '{"law": "Utah \\ud83d"}'
    fields = work(kind("extract", json_schema=SCHEMA), [row(n, {}) for n in range(2)])
    answers = ask(endpoints(server, tmp_path, fields), fields)
    assert [each["prediction"] for each in answers.rows] == ["", {"law": ["Utah ?"], "parties": []}]
    write_jsonl(tmp_path / "rows.jsonl", answers.rows)


def test_a_json_object_is_read_without_what_stands_around_it():
    schema = {"type": "object", "properties": {"law": {"type": "string"}}}
    grader = Grader(kind("write", question="Q:", answer="{a}", json_schema=schema))
    assert grader.read('Here it is:\n```json\n{"law": "Ohio"}\n```') == '{"law": "Ohio"}'
    assert grader.read("no object") == "no object"
    found = Grader(kind("extract", json_schema=SCHEMA)).read('```\n{"law": "Ohio", "parties": ["A", "B"]}```')
    assert found == {"law": ["Ohio"], "parties": ["A", "B"]}


def test_a_refusal_counts_as_unreadable_and_a_broken_line_not_at_all(server, tmp_path):
    def answer(prompt):
        if "Row 1" in prompt:
            server.status = 503  # from the next request on
        return " " if "Row 0" in prompt else "rates Ann."

    server.answer = answer
    # Kind answer reads an empty text as "not in the text", which nobody said.
    asked = work(kind("answer", question="Who?", answer="{a}"), [row(n, None) for n in range(3)])
    answers = ask(endpoints(server, tmp_path, asked), asked)
    given = [each["prediction"] for each in answers.rows]
    assert given == ["", {"answer": "rates Ann.", "quote": ""}]
    assert answers.lost == {"status_503": 1}
    assert not answers.final  # another attempt asks again
    server.status = 402
    with pytest.raises(LLMError, match="requires payment"):
        ask(endpoints(server, tmp_path / "2", asked), asked)


def test_each_kind_says_what_an_answer_is():
    extract = job_request(kind("extract", json_schema=SCHEMA), row(0, {}), max_tokens=4)
    assert "- law: Governing law\n- parties: Parties" in extract.prompt
    assert extract.schema["required"] == ["law", "parties"]
    assert extract.max_tokens > 64
    several = Job(config=CLASSIFY.model_copy(update={"several": True}), labels=LABELS)
    assert "or with: none\n- dovish" in job_request(several, STANCES[0], max_tokens=4).prompt
    asked = kind("answer", question="Who is {name}?", answer="{a}")
    prompt = job_request(asked, row(0, None, name="Ann"), max_tokens=9).prompt
    assert "\n\nWho is Ann?\n\n" in prompt
    assert prompt.endswith("answer: not in the text")
    text = kind("write", question="Report:", answer="{a}")
    assert job_request(text, row(0, "x"), max_tokens=4000).max_tokens == 4000
    written = kind("write", question="Report:", answer="{a}", json_schema=SCHEMA)
    assert json.dumps(SCHEMA) in job_request(written, row(0, "x"), max_tokens=9).prompt


@pytest.mark.parametrize(("keep", "kept"), [("start", "a"), ("end", "z")])
def test_an_input_far_longer_than_the_context_is_cut_as_for_our_model(keep, kept):
    config = CLASSIFY.model_copy(update={"keep": keep, "context": 32})
    long = row(0, "dovish", text="a" * 1000 + "é" * 200_000 + "z" * 1000)
    request = job_request(Job(config=config, labels=LABELS), long, max_tokens=64)
    assert request.prompt.split("\n")[0] == kept * 256
    assert request.bytes <= most_bytes(config)
    fields = kind("extract", json_schema=SCHEMA)
    whole = job_request(fields, long, max_tokens=64)
    assert most_bytes(fields.config) >= whole.bytes > 300_000
