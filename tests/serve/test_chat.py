"""The terminal chat reads lines where there is no terminal."""

import io
import json

import httpx
import pytest

from tinsmith.base.errors import AssetError
from tinsmith.serve import chat as module
from tinsmith.serve.chat import chat


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
