"""Answers in OpenAI's shapes: thoughts apart from the answer, and probabilities in both of their shapes."""

import pytest

from tinsmith.serve.answering import Part
from tinsmith.serve.shapes import ChatWriting, CompletionWriting


def streamed(text: str, size: int, *, thinks: bool = False) -> tuple[str, str]:
    """Return thoughts and answer of a text that comes in pieces of a size."""
    writing = ChatWriting("m", 3, None, thinks=thinks)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    parts = [*(Part(0, piece) for piece in pieces), Part(0, "", finish="stop", tokens=len(pieces))]
    deltas = [chunk["choices"][0]["delta"] for part in parts for chunk in writing.chunks(part)]
    names = ("reasoning_content", "content")
    return tuple("".join(delta.get(name, "") for delta in deltas) for name in names)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    ("text", "thinks", "thoughts", "answer"),
    [
        ("Yes, it is.", False, "", "Yes, it is."),
        ("<think>\nhm < 3\n</think>\n\nYes, it is.", False, "\nhm < 3\n", "Yes, it is."),
        ("hm</thin king</think>Yes.", True, "hm</thin king", "Yes."),
        ("never done </think", True, "never done </think", ""),
        ("a <think> inside", False, "", "a <think> inside"),
        ("<thin", False, "", "<thin"),
        ("  <think>a</think>b", False, "a", "b"),
        ("", False, "", ""),
    ],
)
def test_thoughts_are_told_apart_however_they_come(text, thinks, thoughts, answer, size):
    found = streamed(text, size, thinks=thinks)
    whole = ChatWriting("m", 3, None, thinks=thinks).whole([Part(0, text, finish="stop", tokens=2)])
    message = whole["choices"][0]["message"]
    assert (message.get("reasoning_content", ""), message["content"]) == (thoughts, answer)
    assert found == (thoughts, answer)


def token(text: str, log_probability: float | None, *tops: tuple[str, float]) -> dict:
    found = {"id": 1, "token": text, "bytes": list(text.encode()), "logprob": log_probability}
    return found | {"top_logprobs": [token(top, value) for top, value in tops]}


PROBABILITIES = [
    token("Yes", -0.5, ("Yes", -0.5), ("No", -1.0)),
    token(" it", None, ("a", -2.0), ("b", -3.0)),
]


def test_a_chat_lists_tokens_with_their_likeliest():
    part = Part(0, "Yes it", PROBABILITIES, "length", 2)
    found = ChatWriting("m", 3, 1).whole([part])["choices"][0]["logprobs"]["content"]
    assert [each["token"] for each in found] == ["Yes", " it"]
    assert [each["logprob"] for each in found] == [-0.5, -9999.0]
    assert [[top["token"] for top in each["top_logprobs"]] for each in found] == [["Yes"], ["a"]]
    assert found[0]["bytes"] == [89, 101, 115]
    assert ChatWriting("m", 3, None).whole([part])["choices"][0]["logprobs"] is None


def test_a_completion_lists_them_side_by_side_with_their_places():
    part = Part(0, "Yes it", PROBABILITIES, "length", 2)
    whole = CompletionWriting("m", 3, 2).whole([part])["choices"][0]["logprobs"]
    assert whole == {
        "tokens": ["Yes", " it"],
        "token_logprobs": [-0.5, -9999.0],
        "top_logprobs": [{"Yes": -0.5, "No": -1.0}, {"a": -2.0, "b": -3.0}],
        "text_offset": [0, 3],
    }
    writing = CompletionWriting("m", 3, 0)
    pieces = [Part(0, "Yes", PROBABILITIES[:1]), Part(0, " it", PROBABILITIES[1:], "stop", 2)]
    offsets = [
        chunk["choices"][0]["logprobs"]["text_offset"] for part in pieces for chunk in writing.chunks(part)
    ]
    assert offsets == [[0], [3]]
    assert CompletionWriting("m", 3, 0).whole([part])["choices"][0]["logprobs"]["top_logprobs"] is None


def test_all_answers_are_counted():
    parts = [Part(0, "a", finish="stop", tokens=2, cached=1), Part(1, "b", finish="length", tokens=5)]
    assert CompletionWriting("m", 7, None).whole(parts)["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 7,
        "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 1},
    }
