from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tinsmith.base.errors import CorpusError, RecipeError
from tinsmith.tokens.chat import Message
from tinsmith.tokens.examples import Preference, Rejects, read_conversations, read_preferences

GOOD = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}


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
        json.dumps(said("assistant", "Welcome.")).encode(): "no_question",
        json.dumps(
            {"messages": [{**message, "weight": 0} for message in GOOD["messages"]]}
        ).encode(): "weighted_message",
        json.dumps(
            {"messages": [{**message, "train": False} for message in GOOD["messages"]]}
        ).encode(): "weighted_message",
    }
    name = write(tmp_path / "talks.jsonl", *damaged, GOOD)
    assert [example.line for example in read_conversations(name, rejects)] == [len(damaged) + 1]
    assert [(row["line"], row["reason"]) for row in rejects.rows] == list(enumerate(damaged.values(), 1))
    assert all(row["source"] == name and row["detail"] for row in rejects.rows)


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


def test_damaged_preferences_are_skipped(tmp_path: Path) -> None:
    good = {"prompt": "Hi", "chosen": "a", "rejected": "b"}
    damaged = {
        json.dumps({**good, "chosen": ""}): "empty_answer",
        json.dumps({**good, "rejected": None}): "no_text",
        json.dumps({**good, "chosen": [*GOOD["messages"], *GOOD["messages"]]}): "no_answer",
        json.dumps({**good, "prompt": GOOD["messages"]}): "no_question",
        json.dumps({"chosen": "a", "rejected": "b"}): "no_messages",
    }
    rejects = Rejects()
    name = write(tmp_path / "p.jsonl", good, *(line.encode() for line in damaged))
    assert len(read_preferences(name, rejects)) == 1
    assert [(row["line"], row["reason"]) for row in rejects.rows] == list(enumerate(damaged.values(), 2))
