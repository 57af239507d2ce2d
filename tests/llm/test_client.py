"""Models are asked over real HTTP: three providers, retries, budgets, a cache; keys are never shown."""

import contextlib
import io
import json
import time
from pathlib import Path

import pytest

from rule_teacher import RuleTeacher, rule_teacher
from tinsmith.base.completion import Answer, Failure, Request
from tinsmith.base.errors import LLMError, RecipeError
from tinsmith.llm import client
from tinsmith.recipe import LLMConfig
from tinsmith.stages.llm_session import open_llm

SECRET = "sk-very-secret-0123456789"
QUESTIONS = [Request(f"Question: {n}?") for n in range(6)]


@pytest.fixture
def server():
    with rule_teacher() as teacher:
        yield teacher


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(client, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setenv("TEACHER_KEY", SECRET)


def config(server: RuleTeacher, **fields) -> LLMConfig:
    return LLMConfig(
        **{"kind": "openai", "model": "m", "url": server.url, "key_variable": "TEACHER_KEY", **fields}
    )


def ask(server: RuleTeacher, folder: Path, questions=QUESTIONS, **fields):
    with open_llm(config(server, **fields), where="refine.synthesis.teacher", folder=folder) as asking:
        return list(asking.ask(questions)), asking.statistics()


@pytest.mark.parametrize(
    ("kind", "path", "header", "value"),
    [
        ("openai", "/v1/chat/completions", "authorization", f"Bearer {SECRET}"),
        ("anthropic", "/v1/messages", "x-api-key", SECRET),
        ("gemini", "/v1beta/models/m:generateContent", "x-goog-api-key", SECRET),
    ],
)
def test_each_shape_is_asked_as_published(server, tmp_path, kind, path, header, value):
    outcomes, figures = ask(
        server, tmp_path, kind=kind, price_per_million_input=1e5, price_per_million_output=1e6
    )
    assert [outcome.text for outcome in outcomes] == ["UNKNOWN"] * 6
    seen_path, headers, _ = server.asked[0]
    assert seen_path == path
    assert headers[header] == value
    assert (headers.get("anthropic-version") is not None) == (kind == "anthropic")
    assert figures["cost"] == pytest.approx(6 * (10 * 0.1 + 5 * 1.0))
    assert (figures["input_tokens"], figures["output_tokens"], figures["requests"]) == (60, 30, 6)


def test_answers_are_kept_and_no_file_holds_the_key(server, tmp_path):
    first, _ = ask(server, tmp_path)
    again, figures = ask(server, tmp_path)
    assert len(server.asked) == 6
    assert [each.text for each in again] == [each.text for each in first]
    assert figures["requests_cached"] == 6
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or SECRET not in path.read_text()


def test_what_is_busy_is_asked_again(server, tmp_path):
    server.failing = 2
    outcomes, _ = ask(server, tmp_path, parallel=1)
    assert all(isinstance(outcome, Answer) for outcome in outcomes)
    assert len(server.asked) == 8


def test_who_asks_to_be_paid_ends_it_with_the_place_and_without_the_key(server, tmp_path):
    server.status = 402
    with pytest.raises(LLMError, match=r"requires payment(.|\n)*top up") as caught:
        ask(server, tmp_path)
    assert caught.value.where == "refine.synthesis.teacher"
    assert SECRET not in str(caught.value)
    assert len(server.asked) <= 2  # at one time


def test_a_wrong_key_is_told_by_its_variable(server, tmp_path):
    server.status = 401
    with pytest.raises(LLMError, match="TEACHER_KEY") as caught:
        ask(server, tmp_path)
    assert SECRET not in str(caught.value)


def test_a_missing_key_is_told_before_anything_is_asked(server, tmp_path, monkeypatch):
    monkeypatch.delenv("TEACHER_KEY")
    with pytest.raises(LLMError, match="TEACHER_KEY"):
        ask(server, tmp_path)
    assert not server.asked


def test_one_that_is_too_slow_is_given_up(server, tmp_path):
    server.seconds = 1.0
    questions = [Request(f"Question: {n}?") for n in range(8)]
    with pytest.raises(LLMError, match=r"8 questions in a row got no answer from openai:\S+:m \(timeout"):
        ask(server, tmp_path, questions, seconds_per_answer=0.05, parallel=8)


def test_money_and_time_are_limits(server, tmp_path):
    outcomes, _ = ask(
        server, tmp_path, price_per_million_output=1e6, max_cost=1000.0, parallel=1
    )  # an answer may cost 512, and costs 5
    assert all(isinstance(outcome, Answer) for outcome in outcomes)
    outcomes, _ = ask(server, tmp_path / "b", price_per_million_output=1e6, max_cost=520.0, parallel=1)
    assert [type(outcome) for outcome in outcomes] == [Answer] * 2 + [Failure] * 4
    assert outcomes[-1].reason == "budget"
    server.seconds = 0.2
    outcomes, _ = ask(server, tmp_path / "c", max_minutes=0.3 / 60, parallel=1)
    reasons = {outcome.reason for outcome in outcomes if isinstance(outcome, Failure)}
    assert "budget" in reasons
    assert reasons <= {"budget", "timeout"}  # one may be under way when the time is up


def test_nobody_listening_is_said(tmp_path):
    with rule_teacher() as teacher:
        gone = teacher
    with pytest.raises(LLMError, match=r"unreachable"):
        ask(gone, tmp_path, [Request(f"{n}") for n in range(8)], parallel=8)


def test_a_teacher_without_a_model_is_a_mistake_of_the_recipe(server, tmp_path):
    with pytest.raises(RecipeError, match=r"refine\.synthesis\.teacher\.model: names no model"):
        ask(server, tmp_path, model="")


def reply(handler, status: int, body: bytes) -> None:
    handler.send_response(status)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def test_a_key_that_the_server_repeats_is_not_shown(server, tmp_path):
    body = json.dumps({"error": {"message": f"wrong key {SECRET}"}}).encode()
    server.handle = lambda handler: reply(handler, 401, body)
    with pytest.raises(LLMError, match=r"wrong key \[key\]") as caught:
        ask(server, tmp_path)
    assert SECRET not in str(caught.value)


def test_a_field_that_the_endpoint_rejects_is_left_out_from_then_on(server, tmp_path):
    answer, sent = server.handle, []

    def handle(handler):
        raw = handler.rfile.read(int(handler.headers["content-length"]))
        sent.append("temperature" in json.loads(raw))
        if sent[-1]:
            reply(handler, 400, b'{"error": {"param": "temperature", "message": "unsupported"}}')
        else:
            handler.rfile = io.BytesIO(raw)
            answer(handler)

    server.handle = handle
    outcomes, _ = ask(server, tmp_path, parallel=1)
    assert all(isinstance(outcome, Answer) for outcome in outcomes)
    assert sent == [True] + [False] * 6


def test_a_reply_that_trickles_in_ends_with_the_time_limit(server, tmp_path):
    def handle(handler):
        handler.send_response(200)
        handler.send_header("content-length", "100")
        handler.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(100):
                handler.wfile.write(b" ")
                time.sleep(0.05)

    server.handle = handle
    began = time.monotonic()
    outcomes, _ = ask(server, tmp_path, QUESTIONS[:1], seconds_per_answer=0.2)
    assert outcomes[0].reason == "timeout"
    assert time.monotonic() - began < 4 * 0.2 + 2


def test_a_damaged_cached_answer_is_asked_again(server, tmp_path):
    ask(server, tmp_path, QUESTIONS[:1])
    next(tmp_path.rglob("*.json")).write_text('{"text": ')
    outcomes, _ = ask(server, tmp_path, QUESTIONS[:1])
    assert isinstance(outcomes[0], Answer)
    assert len(server.asked) == 2
