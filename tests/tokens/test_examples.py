from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tinsmith.base.errors import CorpusError, RecipeError
from tinsmith.tokens.chat import Message
from tinsmith.tokens.examples import Preference, Rejects, read_conversations, read_preferences

ASKED, SAID = [{"role": "user", "content": "Hi"}], {"role": "assistant", "content": "Hello"}
GOOD = {"messages": [*ASKED, SAID]}


def write(path: Path, *rows: Any) -> str:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return str(path)


def said(role: str, content: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content}]}


def test_conversations_come_with_their_lines(tmp_path: Path) -> None:
    rejects = Rejects()
    name = write(
        tmp_path / "talks.jsonl", b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), b"", {**GOOD, "id": 7}
    )
    found = read_conversations(name, rejects)
    assert [example.where for example in found] == [f"{name}:1", f"{name}:3"]
    assert found[0].messages == (Message("user", "Hi"), Message("assistant", "Hello"))
    assert rejects.rows == []


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_line_ends_at_a_line_end_of_any_system_alone(tmp_path: Path, end: bytes) -> None:
    asked = ["one\u2028two", "one\x85two", "one\u2029two"]
    talks = [{"messages": [{"role": "user", "content": each}, GOOD["messages"][1]]} for each in asked]
    path = tmp_path / "talks.jsonl"
    path.write_bytes(end.join(json.dumps(talk, ensure_ascii=False).encode() for talk in talks))
    found = read_conversations(str(path), Rejects())
    assert [example.messages[0].content for example in found] == asked
    assert [example.where for example in found] == [f"{path}:{number}" for number in (1, 2, 3)]


def test_damaged_lines_are_skipped_with_reason_and_number(tmp_path: Path) -> None:
    rejects = Rejects()
    damaged = {
        b'{"messages": [': "no_json",
        b"[1]": "no_json",
        b"\xff\xfe{}": "no_json",
        b"[" * 100_000: "no_json",
        json.dumps({"messages": []}).encode(): "no_messages",
        json.dumps({"text": "x"}).encode(): "no_messages",
        json.dumps(said("tool", "x")).encode(): "unknown_role",
        json.dumps(said("user", None)).encode(): "no_text",
        json.dumps(said("user", "\ud83d")).encode(): "no_text",
        json.dumps(
            {"messages": [*said("user", "Hi")["messages"], *said("assistant", " \n")["messages"]]}
        ).encode(): "empty_answer",
        json.dumps(
            {"messages": [{**message, "weight": 1} for message in ASKED]}
        ).encode(): "weighted_message",
        json.dumps({"messages": [*ASKED, {**SAID, "weight": 0.5}]}).encode(): "weighted_message",
        json.dumps({"messages": [*ASKED, {**SAID, "train": "no"}]}).encode(): "weighted_message",
        json.dumps({**GOOD, "weight": 0}).encode(): "nothing_learnt",
        json.dumps({**GOOD, "tools": [{"type": "function"}]}).encode(): "tools",
        json.dumps(
            {"messages": [*ASKED, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]}
        ).encode(): "tools",
    }
    name = write(tmp_path / "talks.jsonl", *damaged, GOOD)
    assert [example.line for example in read_conversations(name, rejects)] == [len(damaged) + 1]
    assert [(row["line"], row["reason"]) for row in rejects.rows] == list(enumerate(damaged.values(), 1))
    assert all(row["source"] == name and row["detail"] for row in rejects.rows)


def test_answers_that_have_no_weight_are_read_and_not_learnt(tmp_path: Path) -> None:
    """OpenAI and Mistral write a weight, others whether to train on a message."""
    unlearnt = [
        {"weight": 0},
        {"weight": 0.0},
        {"train": False},
        {"training": False},
        {"loss": False},
        {"weight": 1, "train": False},
    ]
    learnt = [{}, {"weight": 1}, {"weight": None}, {"train": True}, {"loss": 1}, {"name": "Ada"}]
    rows = [{"messages": [*ASKED, {**SAID, **marks}]} for marks in (*unlearnt, *learnt)]
    asked = [{**ASKED[0], "weight": 0}]  # as it is in any case
    rejects = Rejects()
    found = read_conversations(write(tmp_path / "talks.jsonl", *rows, {"messages": [*asked, SAID]}), rejects)
    assert [talk.messages[1].learnt for talk in found] == [False] * len(unlearnt) + [True] * (len(learnt) + 1)
    assert [talk.messages[0].learnt for talk in found] == [True] * len(rows) + [True]
    assert rejects.rows == []
    empty = {"messages": [*ASKED, {**SAID, "content": "", "weight": 0}, *GOOD["messages"]]}
    assert len(read_conversations(write(tmp_path / "empty.jsonl", empty), rejects)) == 1


def test_a_conversation_may_begin_with_the_assistant(tmp_path: Path) -> None:
    rejects = Rejects()
    rows = [{"messages": [SAID, *GOOD["messages"]]}, said("assistant", "Welcome."), GOOD]
    found = read_conversations(write(tmp_path / "talks.jsonl", *rows), rejects)
    assert [len(talk.messages) for talk in found] == [3, 1, 2]
    assert rejects.rows == []


def test_a_file_without_a_usable_line_is_an_error(tmp_path: Path) -> None:
    name = write(tmp_path / "talks.jsonl", {"conversations": []}, b"{")
    with pytest.raises(
        CorpusError, match=r"talks\.jsonl: contains no usable line; line 1: messages is not a list"
    ):
        read_conversations(name, Rejects())
    with pytest.raises(CorpusError, match=r"empty\.jsonl: contains no usable line"):
        read_conversations(write(tmp_path / "empty.jsonl"), Rejects())
    with pytest.raises(RecipeError, match=r"absent\.jsonl: cannot be read"):
        read_conversations(str(tmp_path / "absent.jsonl"), Rejects())


def test_preferences_are_texts_or_messages(tmp_path: Path) -> None:
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    sides = {side: [{"role": "assistant", "content": side}] for side in ("chosen", "rejected")}
    plain = {"prompt": "Hi", "chosen": "chosen", "rejected": "rejected"}
    whole = {side: [*talk, *sides[side]] for side in sides}
    name = write(tmp_path / "p.jsonl", plain, {"prompt": talk, **sides}, {"prompt": talk, **whole})
    found = read_preferences(name, Rejects())
    asked = tuple(Message(row["role"], row["content"]) for row in talk)
    expected = [Preference(name, 1, asked[1:], chosen="chosen", rejected="rejected")]
    expected += [Preference(name, line, asked, chosen="chosen", rejected="rejected") for line in (2, 3)]
    assert found == expected
    assert found[1].text == "Be brief.\nHi\nchosen\nrejected"


def test_weights_in_a_prompt_mean_nothing_since_it_is_only_read(tmp_path: Path) -> None:
    prompt = [*ASKED, {**SAID, "weight": 0}, *ASKED]
    row = {
        "prompt": prompt,
        "chosen": [*ASKED, SAID, *ASKED, {"role": "assistant", "content": "a"}],
        "rejected": "b",
    }
    (found,) = read_preferences(write(tmp_path / "p.jsonl", row), Rejects())
    assert (found.chosen, found.rejected, len(found.messages)) == ("a", "b", 3)


def test_damaged_preferences_are_skipped(tmp_path: Path) -> None:
    good = {"prompt": "Hi", "chosen": "a", "rejected": "b"}
    damaged = {
        json.dumps({**good, "chosen": ""}): "empty_answer",
        json.dumps({**good, "rejected": None}): "no_text",
        json.dumps({**good, "chosen": [*GOOD["messages"], *GOOD["messages"]]}): "no_answer",
        json.dumps({**good, "prompt": GOOD["messages"]}): "no_question",
        json.dumps({"chosen": "a", "rejected": "b"}): "no_messages",
        json.dumps({**good, "chosen": [{**SAID, "weight": 0}]}): "weighted_message",
        json.dumps({**good, "weight": 0}): "nothing_learnt",
    }
    rejects = Rejects()
    name = write(tmp_path / "p.jsonl", good, *(line.encode() for line in damaged))
    assert len(read_preferences(name, rejects)) == 1
    assert [(row["line"], row["reason"]) for row in rejects.rows] == list(enumerate(damaged.values(), 2))
