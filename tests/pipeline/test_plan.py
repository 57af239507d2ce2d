"""What the cache key of a stage depends on, and what a plan says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tinsmith.base.erasure import write_rows
from tinsmith.base.errors import RecipeError, RunError
from tinsmith.base.files import write_json
from tinsmith.pipeline.plan import _changed_fields, check_recipe, run_directory, stage_key
from tinsmith.recipe import Recipe
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


# A change of the recipe, and the stages whose keys depend on it.
CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "seed": ({"seed": 5}, "curate split refine tokenize train examples learn package evaluate report"),
    "may_leave": ({"may_leave": ["public"]}, "report"),  # where nothing is sent away
    "ingest": ({"ingest": {"exclude": ["*.tmp"]}}, "ingest report"),
    "curate": ({"curate": {"near_duplicate_jaccard": 0.8}}, "curate report"),
    "split": ({"split": {"held_out": 0.2}}, "split report"),
    "refine": ({"refine": {"boilerplate": {"min_documents": 9}}}, "refine report"),
    "tokenize": ({"tokenize": {"context": 64}}, "tokenize report"),
    "tasks": (
        {"tasks": [{"name": "kind", "question": "{text} Kind:", "answer": "{kind}"}]},
        "tokenize evaluate report",
    ),
    "jobs": (
        {"jobs": [{"name": "kind", "kind": "classify", "answer": "{kind}"}]},
        "examples learn package evaluate report",
    ),
    "model": ({"model": {"base": "gemma-3-270m"}}, "tokenize train examples learn evaluate report"),
    "train": ({"train": {"budget": "5 steps"}}, "train evaluate report"),
    "package": (
        {"package": {"formats": ["q8_0"]}, "evaluate": {"quantised": False}},
        "package evaluate report",
    ),
    "package.precision": ({"package": {"precision": "float32"}}, "package report"),
    "evaluate": ({"evaluate": {"documents": 7}}, "evaluate report"),
    "meter": ({"meter": {"country": "DEU"}}, "evaluate report"),
    "name": ({"name": "y"}, "report"),
    "report": ({"report": {"title": "Ours"}}, "report"),
}
# A stage, and the stages that read what it wrote.
READ_BY = {
    "ingest": "curate evaluate report",
    "curate": "split report",
    "split": "refine package evaluate report",
    "refine": "tokenize evaluate report",
    "tokenize": "train package evaluate report",
    "train": "package evaluate report",
    "examples": "",  # without a job
    "learn": "",
    "package": "evaluate report",
    "evaluate": "report",
    "report": "",
}


def all_keys(tmp_path: Path, changed_input: str = "", **sections: Any) -> dict[str, str]:
    """Return the key of every stage; one of them may have written something else."""
    source = tmp_path / "a.txt"
    if not source.exists():
        source.write_text("Some text.")
    given = data(tmp_path) | sections
    given["ingest"] = {"sources": [str(source)], **sections.get("ingest", {})}
    recipe = parse_recipe(given, where="test")
    root = run_directory(recipe)
    for stage in STAGES:
        (root / stage.name).mkdir(parents=True, exist_ok=True)
        digest = "y" if stage.name == changed_input else "x"
        (root / stage.name / "manifest.json").write_text(f'{{"digest": "{digest}"}}')
    return {stage.name: stage_key(stage, recipe, root) for stage in STAGES}


def test_every_section_of_the_recipe_changes_the_keys_of_the_stages_that_read_it(tmp_path: Path) -> None:
    assert Recipe.model_fields.keys() - {"runs"} <= CHANGES.keys()
    before = all_keys(tmp_path)
    for name, (sections, stages) in CHANGES.items():
        now = all_keys(tmp_path, **sections)
        assert [stage for stage in now if now[stage] != before[stage]] == stages.split(), name


def test_every_output_changes_the_keys_of_the_stages_that_read_it(tmp_path: Path) -> None:
    before = all_keys(tmp_path)
    for name, stages in READ_BY.items():
        now = all_keys(tmp_path, changed_input=name)
        assert [stage for stage in now if now[stage] != before[stage]] == stages.split(), name


def test_a_stage_that_computes_something_else_has_another_key(tmp_path: Path) -> None:
    recipe = parse_recipe(data(tmp_path), where="test")
    all_keys(tmp_path)
    for stage in STAGES[1:]:
        now, later = (
            stage_key(each, recipe, run_directory(recipe))
            for each in (stage, replace(stage, version=stage.version + 1))
        )
        assert now != later


def test_measurements_depend_on_the_content_of_rivals_and_questions(tmp_path: Path) -> None:
    rival, questions = tmp_path / "rival.gguf", tmp_path / "questions.jsonl"
    evaluate = {"rivals": [str(rival)], "questions": [str(questions)]}
    question = '{"question": "Who signs?", "choices": ["Ann", "Bob"], "answer": "Ann"}\n'
    question += question.replace("signs", "pays").replace(': "Ann"', ': "Bob"')
    keys = []
    for weights, choice in (("GGUF", "Bob"), ("other", "Bob"), ("GGUF", "Bea")):
        rival.write_text(weights)
        questions.write_text(question.replace("Bob", choice))
        keys.append(key(tmp_path, "evaluate", evaluate=evaluate))
    assert len(set(keys)) == 3


AWAY = {"kind": "openai", "model": "m", "url": "https://llm.example.org/v1"}
HERE = {**AWAY, "url": "http://127.0.0.1:8080"}


def asking(model: dict[str, Any], *, who: str) -> dict[str, Any]:
    """Return the sections of a recipe in which a model reads text of documents."""
    if who == "evaluate.endpoints.0":
        return {"evaluate": {"endpoints": [{**model, "name": "api"}]}}
    name, fields = ("score", {"kind": "teacher"}) if "score" in who else ("synthesis", {"items": 3})
    return {"refine": {name: {**fields, "teacher": model}}}


EVERYBODY = ["refine.score.teacher", "refine.synthesis.teacher", "evaluate.endpoints.0"]


@pytest.mark.parametrize("who", EVERYBODY)
def test_what_would_leave_without_leave_is_refused_before_any_document_is_read(
    tmp_path: Path, who: str
) -> None:
    with pytest.raises(RecipeError, match=rf"may_leave: {who} would send .* to llm\.example\.org") as caught:
        check_recipe(parse_recipe(data(tmp_path, **asking(AWAY, who=who)), where="test"))
    assert 'may_leave = ["public"]' in (caught.value.next_step or "")
    check_recipe(parse_recipe(data(tmp_path, **asking(AWAY, who=who), may_leave=["public"]), where="test"))
    check_recipe(parse_recipe(data(tmp_path, **asking(HERE, who=who)), where="test"))


@pytest.mark.parametrize("who", EVERYBODY)
def test_a_limit_on_money_without_a_price_is_refused(tmp_path: Path, who: str) -> None:
    with pytest.raises(RecipeError, match=rf"{who}\.max_cost: 5 would never be reached"):
        check_recipe(parse_recipe(data(tmp_path, **asking({**HERE, "max_cost": 5}, who=who)), where="test"))
    priced = {**HERE, "max_cost": 5, "price_per_million_output": 1}
    check_recipe(parse_recipe(data(tmp_path, **asking(priced, who=who)), where="test"))


def test_labels_that_may_leave_change_the_key_of_the_stage_that_sends_alone(tmp_path: Path) -> None:
    def keys(**sections: Any) -> dict[str, str]:
        return {stage: key(tmp_path, stage, **sections) for stage in ("curate", "refine", "evaluate")}

    def changed(**sections: Any) -> list[str]:
        public, secret = (keys(**sections, may_leave=[label]) for label in ("public", "secret"))
        return [stage for stage in public if public[stage] != secret[stage]]

    assert changed() == changed(**asking(HERE, who="refine.score.teacher")) == []
    assert changed(**asking(AWAY, who="refine.score.teacher")) == ["refine"]
    assert changed(**asking(AWAY, who="evaluate.endpoints.0")) == ["evaluate"]
