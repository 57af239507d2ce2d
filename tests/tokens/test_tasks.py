from __future__ import annotations

from typing import Any

import pytest

from tinsmith.base.errors import RecipeError
from tinsmith.recipe import TaskConfig
from tinsmith.tokens.tasks import Task, answer_text, cut_at_word, question_text, read_meta

METAS: list[dict[str, Any]] = [
    {"category": "Permissive", "owner": "MIT", "year": 1988, "tags": ["a", "b"]},
    {"category": "Copyleft", "owner": "GNU"},
    {"owner": "nobody", "category": None},
]
TEXT = "Permission is hereby granted, free of charge, to any person. " * 40


def words(text: str) -> int:
    return len(text.split())


def make(
    question: str = "{text}\n\nCategory: ", answer: str = "{category}", room: int = 60, **more: Any
) -> Task:
    config = TaskConfig(name="category", question=question, answer=answer, **more)
    return Task(config, METAS, room=room, count=words)


def test_prompt_has_the_opening_the_question_and_the_answer() -> None:
    prompt = make(characters=100).prompt(TEXT, METAS[0])
    assert prompt
    assert prompt.text == cut_at_word(TEXT, 100)
    assert TEXT.startswith(prompt.text)
    assert (prompt.question, prompt.answer) == ("\n\nCategory:", "Permissive")
    assert prompt.choices == ("Copyleft", "Permissive")
    assert question_text(prompt.question) + answer_text(prompt.answer) == "\n\nCategory: Permissive\n"
    assert prompt.row("category", "d1")["item"] == "category:d1"


def test_choices_keys_numbers_and_lists_stand_in_the_question() -> None:
    task = make("{text} [{choices}] {{by}} {owner} {year} {tags}?", choices=("Permissive", "Other"))
    prompt = task.prompt("short", METAS[0])
    assert prompt
    assert prompt.question == " [Permissive, Other] {by} MIT 1988 a, b?"


def test_documents_without_the_key_or_outside_the_choices_are_left_out() -> None:
    assert make().prompt(TEXT, METAS[2]) is None
    assert make().prompt(TEXT, {}) is None
    assert make(choices=("Other",)).prompt(TEXT, METAS[0]) is None


def test_values_are_not_read_as_templates() -> None:
    prompt = make("{text} by {owner}:").prompt("x", {"owner": "{category.__class__}", "category": "Copyleft"})
    assert prompt
    assert prompt.question == " by {category.__class__}:"


def test_the_cut_fits_the_room_and_does_not_tell_the_answer() -> None:
    metas = [{"kind": "a"}, {"kind": "a much longer answer than the other"}]
    config = TaskConfig(name="kind", question="{text} Kind:", answer="{kind}", characters=2000)
    task = Task(config, metas, room=30, count=words)
    prompts = [task.prompt(TEXT, meta) for meta in metas]
    assert prompts[0]
    assert prompts[1]
    assert prompts[0].text == prompts[1].text
    assert words(prompts[1].text + prompts[1].question) + words(prompts[1].answer) + 1 <= 30
    assert words(prompts[0].text) >= 20


@pytest.mark.parametrize(
    ("text", "characters", "expected"),
    [
        ("one two three", 7, "one two"),
        ("one two three", 8, "one two"),
        ("one two three", 10, "one two"),
        ("one two", 7, "one two"),
        ("one two", 99, "one two"),
        ("wordwithoutend", 4, "word"),
        ("  lead", 4, "  le"),
    ],
)
def test_cut_is_a_beginning_that_ends_with_a_word(text: str, characters: int, expected: str) -> None:
    assert cut_at_word(text, characters) == expected


@pytest.mark.parametrize(
    ("question", "answer", "message"),
    [
        (
            "{text} {flavour}?",
            "{category}",
            r"category: .*\{flavour\}.*\n.*category, owner, tags, year",
        ),
        ("{text} ?", "{kategory}", r"answer uses \{kategory\}"),
        ("{text} ?", "always", "always the same"),
        ("Name it: {text}", "{category}", r"must start with \{text\}"),
        ("{text} {text}", "{category}", "contain it once"),
        ("{text} {owner.__class__}", "{category}", "not supported"),
        ("{text} {0}", "{category}", "not supported"),
        ("{text} {", "{category}", "not a valid template"),
    ],
)
def test_bad_templates_are_named(question: str, answer: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make(question, answer)


def test_a_question_that_fills_the_row_is_an_error() -> None:
    with pytest.raises(RecipeError, match=r"increase tokenize\.context"):
        make("{text}" + " why" * 60).prompt(TEXT, METAS[0])


def test_meta_column_is_an_object_or_empty() -> None:
    assert read_meta('{"a": 1}') == {"a": 1}
    assert read_meta("") == read_meta(None) == read_meta("[1]") == {}
