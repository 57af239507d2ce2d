"""Before another machine stands a gate: which requests leave, and what is written down of them."""

from dataclasses import replace

import pytest

from rule_teacher import rule_teacher
from tinsmith.base.completion import Answer, Failure, Request
from tinsmith.base.errors import RecipeError
from tinsmith.base.files import sha256_json
from tinsmith.llm.cache import request_key
from tinsmith.llm.client import remote_host
from tinsmith.llm.gate import RECORD, read_record
from tinsmith.recipe import LLMConfig
from tinsmith.stages.llm_session import open_llm
from tinsmith.stages.outbound import Outbound

SECRET = Request("Question: the secret one?", documents=("a", "secret"))
OPEN = [Request(f"Question: {n}?", documents=(name,)) for n, name in enumerate("aab")]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with rule_teacher() as teacher:
        yield teacher


def ask(server, folder, requests, *, most_bytes=10_000, **fields):
    config = LLMConfig(kind="openai", model="m", **{"url": server.remote_url, **fields})
    with open_llm(config, where="w", folder=folder, permitted={"a", "b"}, most_bytes=most_bytes) as asking:
        return list(asking.ask(requests))


def test_a_request_with_a_document_that_may_not_leave_is_never_sent(server, tmp_path):
    unnamed = Request("Question: whose?")
    outcomes = ask(server, tmp_path, [OPEN[0], SECRET, unnamed, OPEN[2]])
    assert [type(outcome) for outcome in outcomes] == [Answer, Failure, Failure, Answer]
    assert [outcome.reason for outcome in outcomes[1:3]] == ["withheld"] * 2
    assert "label of secret" in outcomes[1].detail
    assert "does not say which" in outcomes[2].detail
    assert not any("secret" in body or "whose" in body for body in server.bodies)
    assert len(server.bodies) == 2


def test_many_that_may_not_leave_do_not_count_as_a_broken_endpoint(server, tmp_path):
    assert len(ask(server, tmp_path, [replace(SECRET, seed=n) for n in range(12)])) == 12


def test_an_answer_kept_for_a_document_that_may_no_longer_leave_is_not_used(server, tmp_path):
    ask(server, tmp_path, OPEN[:1])
    outcomes = ask(server, tmp_path, [replace(OPEN[0], documents=("secret",))])
    assert isinstance(outcomes[0], Failure)


def test_what_left_is_written_down_once_and_cached_answers_count(server, tmp_path):
    ask(server, tmp_path, OPEN, parallel=3)
    record = tmp_path / RECORD
    first = record.read_bytes()
    assert {(row["where"], row["host"]) for row in read_record(record)} == {("w", "0.0.0.0")}
    assert sorted(row["documents"][0] for row in read_record(record)) == ["a", "a", "b"]
    assert sum(row["bytes"] for row in read_record(record)) == sum(len(each.prompt) for each in OPEN)
    ask(server, tmp_path, OPEN)
    assert record.read_bytes() == first
    # A kill cuts the last line off, and another attempt finds the answer alone.
    record.write_bytes(first[:-20])
    ask(server, tmp_path, OPEN)
    assert (record.read_bytes(), len(server.bodies)) == (first, 3)
    assert [row["request"] for row in read_record(record)] == sorted(
        row["request"] for row in read_record(record)
    )


def test_a_request_is_written_down_before_it_is_sent(server, tmp_path):
    seen = []
    server.answer = lambda prompt: seen.append(list(read_record(tmp_path / RECORD))) or "yes"
    ask(server, tmp_path, OPEN[:1])
    assert [row["documents"] for row in seen[0]] == [["a"]]


def test_no_more_bytes_leave_than_the_plan_says(server, tmp_path):
    outcomes = ask(server, tmp_path, OPEN, most_bytes=2 * OPEN[0].bytes)
    assert [isinstance(outcome, Answer) for outcome in outcomes] == [True, True, False]
    assert "more bytes would leave" in outcomes[2].detail
    assert len(server.bodies) == 2


def test_to_this_machine_everything_may_go_and_nothing_is_written_down(server, tmp_path):
    assert all(isinstance(each, Answer) for each in ask(server, tmp_path, [SECRET], url=server.url))
    assert not (tmp_path / RECORD).exists()


def test_bytes_are_those_of_both_texts():
    assert Request("ä", "system").bytes == 8


@pytest.mark.parametrize(
    ("kind", "url", "host"),
    [
        ("openai", "", "api.openai.com"),
        ("anthropic", "", "api.anthropic.com"),
        ("gemini", "", "generativelanguage.googleapis.com"),
        ("openai", "https://LLM.example.org:8443/v1", "llm.example.org"),
        ("openai", "http://key@example.org/v1", "example.org"),
        ("openai", "http://localhost.example.org", "localhost.example.org"),
        ("openai", "http://127.0.0.1.example.org", "127.0.0.1.example.org"),
        ("openai", "http://127.0.0.1@example.org", "example.org"),
        ("openai", "http://192.168.0.7:8080", "192.168.0.7"),
        ("openai", "http://0.0.0.0:1", "0.0.0.0"),
        ("openai", "http://127.0.0.1:8080", ""),
        ("openai", "http://127.8.9.1:8080", ""),
        ("openai", "http://[::1]:8080/v1", ""),
        ("anthropic", "http://localhost:8080", ""),
    ],
)
def test_only_a_loopback_address_is_this_machine(kind, url, host):
    assert remote_host(kind, url) == host


@pytest.mark.parametrize("url", ["example.org/v1", "ftp://example.org", "http://", "http://host:port"])
def test_what_is_not_an_address_is_refused_by_its_field(url):
    with pytest.raises(RecipeError, match=r"w\.url: .* is not an address"):
        Outbound("w", LLMConfig(kind="openai", model="m", url=url)).check(("public",))


def test_the_names_of_documents_do_not_change_which_answer_is_found():
    """Answers that an earlier version kept are found, since their key has no names."""
    request = Request("p", "s", 5, 0.0, 1, {"type": "object"}, documents=("a",))
    old = {"prompt": "p", "system": "s", "max_tokens": 5, "temperature": 0.0, "seed": 1}
    assert request_key("i", request) == sha256_json({"teacher": "i", **old, "schema": {"type": "object"}})
