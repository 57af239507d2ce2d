"""What the cache key of a stage depends on, and what a plan says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tinsmith.base.erasure import write_rows
from tinsmith.base.errors import RecipeError, RunError
from tinsmith.base.files import write_json
from tinsmith.pipeline.plan import _changed_fields, run_directory, stage_key
from tinsmith.recipe.toml import parse_recipe
from tinsmith.stages import STAGES

TALK = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'


def key(tmp_path: Path, stage: str, **sections: dict[str, Any]) -> str:
    """Return the key of a stage whose inputs are the same each time."""
    recipe = parse_recipe(data(tmp_path, **sections), where="test")
    (row,) = [each for each in STAGES if each.name == stage]
    for name in row.inputs:
        write_json(run_directory(recipe) / name / "manifest.json", {"digest": "x"})
    return stage_key(row, recipe, run_directory(recipe))


def data(tmp_path: Path, **sections: dict[str, Any]) -> dict[str, Any]:
    return {"name": "x", "runs": str(tmp_path), "ingest": {"sources": ["nowhere"]}, **sections}


def test_tokens_depend_on_single_fields_of_train_and_split(tmp_path: Path) -> None:
    plain = key(tmp_path, "tokenize")
    assert (
        key(tmp_path, "tokenize", train={"learning_rate": 0.1, "trainable": "lora", "lora": {"rank": 4}})
        == plain
    )
    assert key(tmp_path, "tokenize", split={"held_out": 0.2}) == plain
    changed = [
        key(tmp_path, "tokenize", train={"objective": "dpo"}, tasks=[task()]),
        key(tmp_path, "tokenize", train={"streamline": {"vocabulary": 300}}),
        key(tmp_path, "tokenize", split={"shared_run_words": 20}),
        key(tmp_path, "tokenize", model={"scratch": "llama@15m", "tokenizer": "bpe@300"}),
    ]
    assert len({plain, *changed}) == 5


def test_what_is_forgotten_changes_the_keys_of_the_stages_that_read(tmp_path: Path) -> None:
    def keys() -> dict[str, str]:
        return {stage: key(tmp_path, stage) for stage in ("curate", "split", "tokenize")}

    before = keys()
    row = {"doc_ids": ["d"], "source": "a.txt", "sha256": "s", "whole_file": True, "reason": "", "when": ""}
    write_rows(tmp_path / "x", [{**row, "undone": ""}])
    assert [stage for stage, now in keys().items() if now != before[stage]] == ["curate"]
    write_rows(tmp_path / "x", [{**row, "undone": "2026-01-01T00:00:00Z"}])
    assert keys() == before
    (tmp_path / "x" / "forgotten.jsonl").write_text('{"doc_ids": [')
    with pytest.raises(RunError, match=r"forgotten\.jsonl: is damaged"):
        keys()


def test_a_register_of_rights_counts_by_its_bytes(tmp_path: Path) -> None:
    register = tmp_path / "register.csv"
    curate = {"rights": {"file": str(register)}}
    with pytest.raises(RecipeError, match=r"curate\.rights\.file: .*register\.csv cannot be read"):
        key(tmp_path, "curate", curate=curate)
    register.write_text("source,licence\na.txt,MIT\n")
    one = key(tmp_path, "curate", curate=curate)
    register.touch()
    assert key(tmp_path, "curate", curate=curate) == one
    register.write_text("source,licence\na.txt,GPL\n")
    assert key(tmp_path, "curate", curate=curate) != one


def test_fresh_weights_with_a_vocabulary_of_their_own_ask_for_no_base(tmp_path: Path) -> None:
    def models(**model: str) -> set[str]:
        recipe = parse_recipe(data(tmp_path, model=model), where="test")
        return {name for stage in STAGES for name in stage.models(recipe)}

    assert models(scratch="llama@1m", tokenizer="bpe@1k") == set()
    assert models(scratch="llama@1m") == models(base="smollm2-135m") == {"smollm2-135m"}


def task() -> dict[str, str]:
    return {"name": "kind", "question": "{text} Kind:", "answer": "{kind}"}


def test_tokens_depend_on_the_bytes_of_files_that_are_learnt_from(tmp_path: Path) -> None:
    talks = tmp_path / "talks.jsonl"
    sections: dict[str, Any] = {"tokenize": {"conversations": [str(talks)]}, "train": {"objective": "sft"}}
    with pytest.raises(RecipeError, match=r"talks\.jsonl: cannot be read"):
        key(tmp_path, "tokenize", **sections)
    talks.write_text(TALK)
    one = key(tmp_path, "tokenize", **sections)
    talks.touch()
    assert key(tmp_path, "tokenize", **sections) == one
    unread = {**sections, "train": {"objective": "next_token"}}
    before = key(tmp_path, "tokenize", **unread)
    talks.write_text(TALK.replace("b", "c"))
    assert key(tmp_path, "tokenize", **sections) != one
    assert key(tmp_path, "tokenize", **unread) == before


def test_weights_depend_on_the_teacher(tmp_path: Path) -> None:
    teacher = tmp_path / "teacher.gguf"
    teacher.write_bytes(b"GGUF")
    train = {"objective": "distil", "distil": {"teacher": str(teacher)}}
    one = key(tmp_path, "train", train=train)
    teacher.write_bytes(b"GGUF another")
    assert key(tmp_path, "train", train=train) != one


def test_a_plan_names_the_field_that_changed(tmp_path: Path) -> None:
    (row,) = [each for each in STAGES if each.name == "tokenize"]

    def configured(**sections: dict[str, Any]) -> dict[str, Any]:
        return row.configuration(parse_recipe(data(tmp_path, tasks=[task()], **sections), where="test"))

    mixed, plain = {"next_token": 0.5, "sft": 0.5}, {"next_token": 0.5}
    before = configured(train={"objective": mixed})
    assert before["train.objective"] == mixed
    assert _changed_fields(before, configured(train={"objective": plain})) == ["train.objective.sft"]
    assert _changed_fields(before, configured()) == ["train.objective"]
    narrow = configured(
        train={"objective": mixed, "streamline": {"vocabulary": 300}}, tokenize={"context": 64}
    )
    assert _changed_fields(before, narrow) == ["tokenize.context", "train.streamline.vocabulary"]


def test_a_report_depends_on_what_earlier_stages_cost(tmp_path: Path) -> None:
    recipe = parse_recipe(data(tmp_path), where="test")
    before = key(tmp_path, "report")
    write_json(run_directory(recipe) / "train" / "manifest.json", {"digest": "x", "seconds": 2})
    (stage,) = [stage for stage in STAGES if stage.name == "report"]
    assert stage_key(stage, recipe, run_directory(recipe)) != before
