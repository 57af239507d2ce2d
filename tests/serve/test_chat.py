"""The terminal chat reads lines where there is no terminal."""

import io

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


def test_a_model_without_a_template_is_refused(mute_gguf):
    with pytest.raises(AssetError, match="no chat template"):
        talk(mute_gguf, "hello\n")
