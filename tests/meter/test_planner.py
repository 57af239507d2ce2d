"""Estimates follow from stated rules and move in the right direction."""

from pathlib import Path
from typing import Any

import pytest

from tinsmith.meter.planner import (
    MEMORY_FACTOR,
    SHARE_OF_MATMUL_RATE,
    TIME_FACTOR,
    Cost,
    Scale,
    measure_gflops,
    vocabulary_size,
)
from tinsmith.recipe import Recipe
from tinsmith.recipe.toml import load_recipe, parse_recipe
from tinsmith.stages import stages_for


def make_recipe(**sections: Any) -> Recipe:
    return parse_recipe({"name": "plan", "ingest": {"sources": ["docs"]}, **sections}, where="test")


def by_stage(recipe: Recipe, *, gflops: float = 100.0, **changes: Any) -> dict[str, Cost]:
    sizes = {
        "corpus_bytes": 16_000_000,
        "parameters": 134_500_000,
        "teacher": 0,
        "example_bytes": {},
    } | changes
    rate = gflops * 1e9 * SHARE_OF_MATMUL_RATE
    scale = Scale(vocabulary=vocabulary_size(recipe.model), operations_per_second=rate, **sizes)
    return {stage.name: stage.estimate(recipe, scale) for stage in stages_for(recipe)}


def test_every_stage_costs_time_memory_and_disk() -> None:
    assert all(min(cost[:3]) > 0 for cost in by_stage(make_recipe()).values())


def test_a_time_budget_is_kept_and_tells_its_tokens() -> None:
    row = by_stage(make_recipe(train={"budget": "8m"}))["train"]
    assert 8 <= row.seconds / 60 < 8.5
    # 80 GFLOP/s over 6 operations per parameter: about 100 tokens a second.
    assert row.tokens == pytest.approx(480 * 99, rel=0.02)


@pytest.mark.parametrize(
    ("budget", "tokens"), [("200k tokens", 200_000), ("20 steps", 40_960), ("2 epochs", 2 * 16e6 / 4.2)]
)
def test_other_budgets_take_what_the_machine_needs(budget: str, tokens: float) -> None:
    slow = by_stage(make_recipe(train={"budget": budget}), gflops=50.0)["train"]
    fast = by_stage(make_recipe(train={"budget": budget}), gflops=100.0)["train"]
    assert slow.tokens == pytest.approx(tokens, rel=1e-3)
    assert 1.5 < slow.seconds / fast.seconds <= 2


def test_an_epoch_is_one_of_what_the_objectives_learn_from() -> None:
    files = {"conversations": ["talks.jsonl"]}
    talks = {"budget": "2 epochs", "objective": "sft"}
    few = by_stage(make_recipe(train=talks, tokenize=files), example_bytes={"sft": 420_000})["train"]
    assert few.tokens == pytest.approx(2 * 100_000, rel=1e-3)
    both = {**talks, "objective": {"next_token": 0.5, "sft": 0.5}}
    more = by_stage(make_recipe(train=both, tokenize=files), example_bytes={"sft": 420_000})["train"]
    assert more.tokens == pytest.approx(2 * (100_000 + 16e6 / 4.2), rel=1e-3)


def test_formats_rivals_and_corpus_cost() -> None:
    small = by_stage(make_recipe(package={"formats": ["q8_0"]}))
    large = by_stage(make_recipe(evaluate={"rivals": ["other"]}), corpus_bytes=160_000_000)
    assert large["package"].disk_bytes > 1.5 * small["package"].disk_bytes
    assert large["evaluate"].seconds > small["evaluate"].seconds
    assert large["curate"].seconds > small["curate"].seconds
    quality = {"leakage_documents": 0, "redacted_values": 0, "bias_sentences": 0}
    no_file, one_file, three_files = (
        by_stage(make_recipe(evaluate={**choice, **quality}))["evaluate"].tokens
        for choice in ({"quantised": False}, {}, {"all_formats": True})
    )
    assert three_files - one_file == pytest.approx(2 * (one_file - no_file))
    assert one_file > 1.4 * no_file
    assert large["tokenize"].tokens == 10 * small["tokenize"].tokens or large["tokenize"].tokens > 3e7


def test_the_probe_measures_something_plausible() -> None:
    assert 0.5 < measure_gflops(0.1, size=256) < 100_000


def tokens_of(train: dict[str, Any], **more: Any) -> float:
    given = {"budget": "10m", **train}
    if "distil" in given.get("objective", ()):
        given["distil"] = {"teacher": "bigger"}
    files = {"preferences": ["pairs.jsonl"]}
    row = by_stage(make_recipe(train=given, tokenize=files), **more)["train"]
    return float(row.tokens)


@pytest.mark.parametrize(
    ("train", "operations"),
    [
        ({}, 6),
        ({"trainable": "lora"}, 4),
        ({"activation_checkpointing": True}, 8),
        # A teacher of twice the size reads at 2 operations a parameter.
        ({"objective": "distil"}, 6 + 2 * 2),
        ({"objective": {"next_token": 0.5, "distil": 0.5}}, 6 + 2),
        ({"objective": "dpo"}, 8),
    ],
)
def test_what_is_trained_and_how_sets_the_operations(train: dict[str, Any], operations: float) -> None:
    expected = 600 * 80e9 / (operations * 134.5e6)
    assert tokens_of(train, teacher=2 * 134_500_000) == pytest.approx(expected, abs=1)


def test_adapters_take_a_quarter_of_the_memory_and_a_teacher_its_weights() -> None:
    whole, lora = (by_stage(make_recipe(train={"trainable": kind}))["train"] for kind in ("all", "lora"))
    assert whole.memory_bytes - lora.memory_bytes == pytest.approx(11.8 * 134.5e6, rel=1e-6)
    assert lora.disk_bytes < whole.disk_bytes / 3
    taught = by_stage(make_recipe(), teacher=10**9)["train"]
    assert taught.memory_bytes - whole.memory_bytes == pytest.approx(4e9)


def test_a_small_vocabulary_makes_more_tokens() -> None:
    own = by_stage(make_recipe(model={"scratch": "llama@15m", "tokenizer": "bpe@1k"}))["tokenize"].tokens
    base = by_stage(make_recipe())["tokenize"].tokens
    assert 1.4 < own / base < 1.7


# Builds on two cores: recipe, GFLOP/s, corpus bytes, parameters, and seconds and GB of each stage.
RECORDS: tuple[tuple[str, float, int, int, dict[str, tuple[float, float]]], ...] = (
    (
        "licences.toml",
        212.0,
        16_127_702,
        134_515_008,
        {
            "ingest": (4.3, 1.05),
            "curate": (17.5, 1.59),
            "split": (1.2, 1.54),
            "refine": (31.7, 1.55),
            "tokenize": (5.2, 1.58),
            "train": (273.6, 7.19),
            "examples": (15.1, 2.75),
            "learn": (520.5, 6.76),
            "package": (349.3, 9.24),
            "evaluate": (643.3, 8.42),
        },
    ),
    (
        "licences.toml",
        135.0,
        16_127_702,
        134_515_008,
        {
            "ingest": (7.4, 1.03),
            "curate": (33.1, 1.52),
            "split": (2.2, 1.46),
            "refine": (51.7, 1.47),
            "tokenize": (6.4, 1.51),
            "train": (269.2, 4.22),
            "examples": (11.4, 2.06),
            "learn": (441.5, 4.62),
            "package": (496.3, 7.34),
            "evaluate": (1150.2, 6.03),
        },
    ),
    (
        "smoke.toml",
        150.0,
        765_627,
        1_000_000,
        {
            "ingest": (0.9, 0.53),
            "curate": (5.6, 0.92),
            "split": (0.1, 0.93),
            "refine": (1.8, 0.93),
            "tokenize": (1.6, 0.94),
            "train": (13.7, 1.02),
            "package": (2.9, 1.14),
            "evaluate": (6.1, 1.06),
        },
    ),
)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: f"{record[0]} at {record[1]:g}")
def test_recorded_builds_were_as_near_their_plan_as_it_says(
    record: tuple[str, float, int, int, dict[str, tuple[float, float]]],
) -> None:
    name, gflops, corpus_bytes, parameters, stages = record
    recipe = load_recipe(Path(__file__).parents[2] / "recipes" / name)
    planned = by_stage(recipe, gflops=gflops, corpus_bytes=corpus_bytes, parameters=parameters)
    for stage, (seconds, gigabytes) in stages.items():
        if seconds > 2:
            assert 1 / TIME_FACTOR < planned[stage].seconds / seconds < TIME_FACTOR, stage
        assert 1 / MEMORY_FACTOR < planned[stage].memory_bytes / 1e9 / gigabytes < MEMORY_FACTOR, stage
