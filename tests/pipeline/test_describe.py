"""What `tinsmith plan` says about a recipe's model, and which size it assumes."""

from typing import Any

import pytest

from tinsmith.base.errors import RecipeError
from tinsmith.pipeline.describe import (
    describe_job,
    describe_leaving,
    describe_model,
    describe_plan,
    describe_power,
    parameters,
    teacher_parameters,
)
from tinsmith.pipeline.plan import Step, plan
from tinsmith.recipe import Recipe
from tinsmith.recipe.toml import parse_recipe
from tinsmith.stages import STAGES


def make_recipe(**sections: Any) -> Recipe:
    return parse_recipe({"name": "plan", "ingest": {"sources": ["docs"]}, **sections}, where="test")


def test_a_default_recipe_takes_three_lines() -> None:
    assert describe_model(make_recipe()) == [
        "start      smollm2-135m, about 135M parameters",
        "learns     the next token of documents",
        "trains     all weights, with adamw over 8m",
    ]


def test_a_plan_says_what_its_documents_could_show() -> None:
    few = describe_power(make_recipe(evaluate={"documents": 50, "exam_items": 50}).evaluate)
    assert "about 0.05 bits per byte on 50 held-out documents and of 17% in an exam of 50" in few
    many = describe_power(make_recipe(evaluate={"documents": 800, "exam_items": 200}).evaluate)
    assert "about 0.01 bits per byte on 800 held-out documents and of 8% in an exam of 200" in many


def test_a_job_takes_a_line_and_alone_nothing_is_said_of_documents(tmp_path) -> None:
    (tmp_path / "a.csv").write_text("x" * 4000)
    job = {"name": "stance", "kind": "classify", "answer": "{y}", "examples": [str(tmp_path / "a.csv")]}
    alone = parse_recipe({"name": "r", "runs": str(tmp_path), "jobs": [job | {"group": "{m}"}]}, where="r")
    said = describe_plan(alone).splitlines()
    assert said[:3] == [
        "start      smollm2-135m, about 135M parameters",
        "job        stance: classify, learnt from a.csv (4 kB), examined on 20% of them, held out, by {m}; 20m, from "
        "the base",
        "leaves     no text: every model that is asked runs here",
    ]
    stages = [line.split()[0] for line in said[5:] if line and not line.startswith("to run")]
    assert stages == ["examples", "learn", "package", "evaluate", "report"]
    [text] = describe_plan(alone, "examples").splitlines()[-1:]
    assert "about 0 minutes" in text
    both = make_recipe(jobs=[job | {"examples": [], "start": "documents"}])
    assert describe_job(both.jobs[0]).endswith(
        "learnt from the documents and their metadata, examined on the held-out documents; 20m, from the model of "
        "the documents"
    )
    with pytest.raises(RecipeError, match="this recipe has no stage 'train'"):
        plan(alone, "train")


def test_a_plan_counts_the_rows_of_a_job_and_what_asking_them_takes(tmp_path) -> None:
    def said(rows: int, words: int, **fields: Any) -> list[str]:
        path = tmp_path / f"{rows}-{words}.csv"
        text = "word " * words
        path.write_text("text,y\n" + "".join(f"{text}{row},{'ab'[row % 2]}\n" for row in range(rows)))
        job = {"name": "stance", "kind": "classify", "answer": "{y}", "examples": [str(path)], **fields}
        recipe = parse_recipe({"name": "r", "runs": str(tmp_path), "jobs": [job]}, where="r")
        return describe_plan(recipe).splitlines()

    def minutes(lines: list[str], stage: str) -> float:
        [row] = [line for line in lines if line.startswith(f"{stage} ")]
        return float(row.split()[3])

    few, many = said(50, 10), said(1000, 300, context=128)
    assert few[2].strip().startswith("40 rows to learn from, 10 to be asked, of about ")
    assert (
        many[2]
        .strip()
        .startswith("800 rows to learn from, 200 to be asked, of about 128 tokens each; 20m are")
    )
    assert minutes(many, "evaluate") > 3 * minutes(few, "evaluate")
    assert "too few to learn well; give `budget` at least " in said(100, 3000, budget="1s", context=4096)[2]


def test_what_differs_from_the_defaults_is_said() -> None:
    train = {
        "objective": {"next_token": 3, "sft": 1},
        "trainable": "lora",
        "lora": {"rank": 4, "targets": ["q_proj", "v_proj"]},
        "streamline": {"vocabulary": 16000, "layers": 20},
        "optimizer": "muon",
    }
    said = "\n".join(describe_model(make_recipe(train=train, tokenize={"conversations": ["a.jsonl"]})))
    for words in (
        "pruned     to 16,000 tokens, 20 layers",
        "75% the next token of documents, 25% answers in conversations",
        "adapters of rank 4 on q_proj and v_proj (LoRA), with muon",
    ):
        assert words in said, words


def test_fresh_weights_and_a_tokenizer_of_their_own_are_said() -> None:
    said = describe_model(make_recipe(model={"scratch": "qwen3@2m", "tokenizer": "bpe@1k"}))
    assert said[:2] == [
        "start      fresh weights, qwen3@2m, about 2M parameters",
        "tokenizer  byte-level BPE of 1k tokens, trained on the training documents",
    ]


def test_a_teacher_and_the_tokenizer_of_a_base_are_named() -> None:
    train = {"objective": "distil", "distil": {"teacher": "gemma-3-270m"}}
    said = "\n".join(describe_model(make_recipe(model={"scratch": "llama@15m"}, train=train)))
    assert "distributions beside the next token; the teacher is gemma-3-270m" in said
    assert "that of smollm2-135m" in said


@pytest.mark.parametrize(
    ("scratch", "count"), [("llama@15m", 15e6), ("qwen3@1.5b", 1.5e9), ("gpt2@900k", 9e5), ("gpt2", 124e6)]
)
def test_sizes_of_fresh_models(scratch: str, count: float) -> None:
    assert parameters(make_recipe(model={"scratch": scratch})) == pytest.approx(count, rel=0.01)


def test_an_unknown_shape_is_named_with_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"(?s)'phi-3'.*llama@15m.*phi-2"):
        parameters(make_recipe(model={"scratch": "phi-3"}))


def test_teachers_count_where_they_teach() -> None:
    named = {"teacher": "gemma-3-270m"}
    assert teacher_parameters(make_recipe()) == 0
    assert teacher_parameters(make_recipe(train={"objective": "distil", "distil": named})) == 268_098_176
    alone = make_recipe(train={"objective": "distil", "streamline": {"layers": 20}})
    assert teacher_parameters(alone) == parameters(alone)


def test_what_would_leave_is_said_with_the_host_and_the_most_that_it_gets() -> None:
    away = {"model": "m", "kind": "openai"}
    recipe = make_recipe(
        may_leave=["public", "unknown"],
        refine={"score": {"kind": "teacher", "sample": 50, "teacher": away}},
        evaluate={
            "endpoints": [
                {"name": "a", "model": "m", "kind": "anthropic"},
                {"name": "b", "model": "m", "url": "http://127.0.0.1:1"},
            ],
            "generated_items": 10,
        },
    )
    steps = [Step(stage, cached=False, why="") for stage in STAGES]
    assert describe_leaving(recipe, steps) == [
        "leaves     at most 50 documents and 750 kB of requests to api.openai.com (refine.score.teacher), of "
        "documents labelled public or unknown",
        "           at most 80 documents and 320 kB of requests to api.anthropic.com (evaluate.endpoints.0), of "
        "documents labelled public or unknown",
    ]
    cached = [Step(stage, cached=True, why="") for stage in STAGES]
    nothing = ["leaves     no text: every model that is asked runs here"]
    assert describe_leaving(recipe, cached) == describe_leaving(make_recipe(), steps) == nothing


def test_of_a_job_rows_may_leave_too() -> None:
    recipe = make_recipe(
        may_leave=["public"],
        jobs=[{"name": "stance", "kind": "classify", "answer": "{stance}", "examples": ["train.csv"]}],
        evaluate={"endpoints": [{"name": "a", "model": "m", "kind": "anthropic"}], "generated_items": 10},
    )
    (line,) = describe_leaving(recipe, [Step(stage, cached=False, why="") for stage in STAGES])
    assert " documents or rows of jobs and " in line
    assert line.endswith("of documents or rows of jobs labelled public")
