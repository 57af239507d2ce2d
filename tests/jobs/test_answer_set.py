"""Asks about one text are a group, whose text is read once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from small_models import byte_tokenizer
from tinsmith.jobs.answer_set import write_answers
from tinsmith.jobs.spec import Job
from tinsmith.recipe import JobConfig

PASSAGES = ("It was signed in 1991 by both of them.", "Nobody signed it before the year 2005 came.")


def test_asks_about_one_text_are_read_together(tmp_path: Path) -> None:
    config = JobConfig(name="when", kind="answer", question="{question}", answer="{answer}", context=128)
    rows = [
        {"id": f"{number}", "input": PASSAGES[number % 2], "record": {"question": f"Question {number}?"}}
        | {"answer": {"answer": "1991", "quote": ""}}
        for number in range(6)
    ]
    answers = write_answers(
        tmp_path / "set", Job(config=config, labels=(), answer_tokens=8), rows, byte_tokenizer(), None, seed=1
    )
    groups = answers.groups()
    assert sorted(number for members in groups.members for number in members) == list(range(6))
    assert [len({answers.asks[number].text for number in members}) for members in groups.members] == [1, 1]
    for members, length in zip(groups.members, groups.lengths, strict=True):
        text = len(answers.asks[members[0]].text)
        whole = sum(int(answers.tokens.lengths[number]) for number in members)
        assert length <= whole - 2 * text
    # In the file they follow each other, so that frozen blocks read their text once too.
    in_file = np.argsort([answers.tokens.offsets[number] for number in range(6)])
    assert [answers.asks[number].text for number in in_file] == [PASSAGES[0]] * 3 + [PASSAGES[1]] * 3
    # Even where only one of them fits, the asks about a text stay together.
    few = answers.within(1)
    assert len(few) == 3
    assert len({ask.text for ask in few.asks}) == 1
    assert len(answers.within(int(groups.lengths.sum()))) == 6


def test_many_asks_about_one_text_are_several_groups(tmp_path: Path) -> None:
    config = JobConfig(name="when", kind="answer", question="{question}", answer="{answer}", context=128)
    rows = [
        {"id": f"{number}", "input": PASSAGES[0], "record": {"question": f"Question {number}?"}}
        | {"answer": {"answer": "1991", "quote": ""}}
        for number in range(20)
    ]
    answers = write_answers(
        tmp_path / "set", Job(config=config, labels=(), answer_tokens=8), rows, byte_tokenizer(), None, seed=1
    )
    assert [len(members) for members in answers.groups().members] == [8, 8, 4]
