"""The terminal chat reads lines where there is no terminal."""

import io
import json
from contextlib import nullcontext

import httpx
import pytest

from tinsmith.base.errors import AssetError
from tinsmith.serve import chat as module
from tinsmith.serve.chat import chat
from tinsmith.serve.runtime import LlamaServer, find_gguf
from tinsmith.serve.served import service


@pytest.fixture(scope="module", autouse=True)
def backend(bundle):
    """Start the server of all talks once, and return it."""
    with (
        pytest.MonkeyPatch.context() as patch,
        LlamaServer(find_gguf(bundle)) as backend,
        service(backend) as served,
    ):
        patch.setattr(module, "served_model", lambda gguf: nullcontext(served))
        yield backend


def talk(bundle, text, **options):
    sink = io.StringIO()
    chat(bundle, source=io.StringIO(text), sink=sink, temperature=0.0, max_tokens=6, **options)
    return sink.getvalue()


def test_each_line_is_answered_and_remembered(bundle, monkeypatch):
    asked = []
    answer = module._answer

    def watch(client, body, sink):
        asked.append(list(body["messages"]))
        return answer(client, body, sink)

    monkeypatch.setattr(module, "_answer", watch)
    shown = talk(bundle, "The licence?\nAnd the fee?\n/new\nThe licence?\n/exit\nnever\n", system="Be brief.")
    assert [len(messages) for messages in asked] == [2, 4, 2]
    assert asked[0][0] == {"role": "system", "content": "Be brief."}
    assert shown.count("\n") >= 3
    assert "> " not in shown


def test_the_same_question_again_gets_the_same_answer(bundle):
    once = talk(bundle, "The licence?\n")
    assert once.strip()
    assert talk(bundle, "The licence?\n\nThe licence?\n") == once * 2


def test_a_past_changes_the_answer(bundle):
    assert talk(bundle, "The licence?\nThe licence?\n") != talk(bundle, "The licence?\n\nThe licence?\n")


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_a_line_feed_ends_a_line_of_a_stream(size, end):
    said = ["one\u2028", "\u2029two\x85", "three\x0b\x0c\x1c four"]
    events = [{"choices": [{"delta": {"content": each}}]} for each in said]
    lines = [f"data: {json.dumps(event, ensure_ascii=False)}" for event in events]
    data = (end * 2).join([*lines, "data: [DONE]", ""]).encode()
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    assert list(module._deltas(httpx.Response(200, content=pieces))) == said


def test_a_model_without_a_template_is_refused(mute_gguf):
    with pytest.raises(AssetError, match="no chat template"):
        talk(mute_gguf, "hello\n")


def test_a_message_that_is_too_long_is_told_and_the_talk_goes_on(bundle):
    once = talk(bundle, "The licence?\n")
    shown = talk(bundle, f"{'lease ' * 600}\nThe licence?\n")
    told, _, rest = shown.partition("\n")
    assert "tokens, and this model reads 512 tokens" in told
    assert "/new" in told
    assert rest == once  # the long message is not part of the talk


def test_a_talk_that_became_too_long_is_told_until_it_starts_over(bundle):
    once = talk(bundle, "The licence?\n")
    shown = talk(bundle, f"{'lease ' * 40}\n" * 8 + "/new\nThe licence?\n")
    assert "start over with /new" in shown
    assert shown.endswith(once)


def test_a_server_that_stopped_is_started_again_and_the_talk_goes_on(bundle, backend, monkeypatch):
    once = talk(bundle, "The licence?\n")
    answer, asked = module._answer, []

    def die_first(client, body, sink):
        asked.append(body)
        if len(asked) == 1:
            backend._process.kill()
            backend._process.wait()
        return answer(client, body, sink)

    monkeypatch.setattr(module, "_answer", die_first)
    assert talk(bundle, "The licence?\nThe licence?\n") == f"[{STARTED_AGAIN}]\n{once}"


STARTED_AGAIN = "the model's server stopped and was started again; ask again"


@pytest.mark.parametrize("after", [0, 2])
def test_ctrl_c_stops_an_answer_and_the_talk_goes_on(bundle, monkeypatch, after):
    deltas, asked = module._deltas, []
    once = talk(bundle, "The licence?\n")

    def interrupted(reply):
        asked.append(reply)
        for number, piece in enumerate(deltas(reply)):
            if len(asked) == 1 and number >= after:
                raise KeyboardInterrupt
            yield piece

    monkeypatch.setattr(module, "_deltas", interrupted)
    shown = talk(bundle, "The licence?\n/new\nThe licence?\n")
    assert "[stopped]" in shown
    assert shown.endswith(once)


def test_half_a_surrogate_pair_ends_no_talk(bundle):
    assert talk(bundle, "The licence? \ud83d\n").strip()
