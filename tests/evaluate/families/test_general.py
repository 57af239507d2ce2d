"""General ability: rows as they are read, answers as lm-eval's own model gives them, and what training forgot."""

import csv
import json
import random
import sys
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from small_models import byte_tokenizer, plain_log_probs, tiny_model
from tinsmith.base.errors import RecipeError
from tinsmith.base.files import list_files, read_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.evaluate.families.general import ask, choose_general, harness, measure_general, run
from tinsmith.evaluate.families.general_files import draw, general_stamps, read_general
from tinsmith.evaluate.families.general_table import different_answer, general_rows, same_answer
from tinsmith.evaluate.models import Subject
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.recipe import EvaluateConfig, GeneralConfig

WORDS = ("the thief", "a moth", "them", "the path", "growth", "a lathe", "the", "other")


def choices(number, count=4):
    return [f"{WORDS[(number * 3 + place) % 8]} {place}" for place in range(count)]


def labelled(field, number):
    texts = {"text": choices(number), "label": ["A", "B", "C", "D"]}
    return {field: f"Which {WORDS[number % 8]} is it?", "choices": texts, "answerKey": "ABCD"[number % 4]}


ROWS = {
    "arc": lambda n: labelled("question", n),
    "openbookqa": lambda n: labelled("question_stem", n),
    "boolq": lambda n: {
        "passage": f"It is {WORDS[n % 8]}.",
        "question": f"is it {WORDS[n % 5]}",
        "label": n % 2,
    },
    "mmlu": lambda n: {"question": f"What is {WORDS[n % 8]}?", "choices": choices(n), "answer": n % 4},
    "blimp": lambda n: {
        "sentence_good": f"Then {WORDS[n % 8]} went {n}.",
        "sentence_bad": f"Then {WORDS[n % 8]} {n} went there.",
    },
}


ROWS["legalbench"] = lambda n: {
    "text": f"The mark {WORDS[n % 8]} {n}.",
    "answer": ("generic", "fanciful")[n % 2],
}


def write(path, rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return str(path)


@pytest.fixture
def tests_of_all_kinds(tmp_path):
    return tuple(
        GeneralConfig(
            name=f"small_{kind}", kind=kind, path=write(tmp_path / f"{kind}.jsonl", map(make, range(6)))
        )
        for kind, make in ROWS.items()
    )


def one(tmp_path, kind, rows, name="rows.jsonl"):
    return read_general((GeneralConfig(name="t", kind=kind, path=write(tmp_path / name, rows)),))["t"]


def test_rows_in_every_form_give_the_same_items(tmp_path):
    rows = [ROWS["mmlu"](number) for number in range(3)]
    (tmp_path / "many").mkdir()
    expected = one(tmp_path / "many", "mmlu", rows)
    assert expected[1].question.splitlines()[:2] == ["What is a moth?", "A. the path 0"]
    assert (expected[1].choices, expected[1].answer) == (("A", "B", "C", "D"), 1)
    flat = [
        {"question": row["question"], "answer": row["answer"]}
        | {f"choice{place}": text for place, text in enumerate(row["choices"])}
        for row in rows
    ]
    with open(tmp_path / "many" / "rows.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, flat[0])
        writer.writeheader()
        writer.writerows(flat)
    (tmp_path / "many" / "rows.json").write_text(json.dumps(rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "many" / "rows.parquet")
    found = read_general((GeneralConfig(name="t", kind="mmlu", path=str(tmp_path / "many")),))["t"]
    assert [(item.question, item.choices, item.answer) for item in found] == 4 * [
        (item.question, item.choices, item.answer) for item in expected
    ]


def test_the_answers_of_a_legalbench_file_are_its_choices(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_text('index\tanswer\ttext\tquestion\n0\tYes\t"A ""b"" c"\tIs it?\n1\tNo\tD\t\n')
    found = read_general((GeneralConfig(name="t", kind="legalbench", path=str(path)),))["t"]
    assert [(item.question, item.choices, item.answer) for item in found] == [
        ('A "b" c\nQuestion: Is it?', ("No", "Yes"), 1),
        ("D", ("No", "Yes"), 0),
    ]
    path.write_text("answer\ttext\nYes\tA\nYes\tB\n")
    with pytest.raises(RecipeError, match="has 1 different answers"):
        read_general((GeneralConfig(name="t", kind="legalbench", path=str(path)),))
    path.write_text("answer\ttext\nYes\tA\nNo\tB\n\tC\n")
    with pytest.raises(RecipeError, match=r"train.tsv, line 4"):
        read_general((GeneralConfig(name="t", kind="legalbench", path=str(path)),))


def test_rows_written_as_instructions_are_taken_apart(tmp_path):
    asked = (
        "Please choose the correct answer to the question: Why?\n\nAnswer1: It is. Answer2: It is not.\n\n"
        "Answer format: answer1/answer2"
    )
    (first, _) = one(tmp_path, "arc", [{"instruction": asked, "answer": "answer2"}] * 2)
    assert (first.question, first.choices, first.answer) == ("Why?", ("It is.", "It is not."), 1)
    asked = "Please answer the following question with true or false, question: is it so?\n\nAnswer format: true/false"
    (first, _) = one(tmp_path, "boolq", [{"instruction": asked, "answer": "true"}] * 2)
    assert (first.question, first.choices, first.answer) == ("is it so", ("no", "yes"), 1)


@pytest.mark.parametrize(
    ("kind", "damaged", "said"),
    [
        ("arc", "{not json", "is no JSON"),
        ("arc", {"question": "Why?"}, "no field 'choices'"),
        ("arc", ROWS["arc"](0) | {"answerKey": "E"}, "'E' is not in list"),
        ("boolq", ROWS["boolq"](0) | {"label": 3}, "not in"),
        ("mmlu", ROWS["mmlu"](0) | {"answer": 4}, "answer 5 of 4"),
        ("mmlu", ROWS["mmlu"](0) | {"choices": ["a"]}, "1 choices"),
        ("blimp", ROWS["blimp"](0) | {"sentence_bad": ""}, "must be text"),
        ("blimp", "[]", "no row of blimp"),
    ],
)
def test_a_damaged_row_is_named_by_file_and_line(tmp_path, kind, damaged, said):
    with pytest.raises(RecipeError, match=said) as caught:
        one(tmp_path, kind, [ROWS[kind](0), damaged, ROWS[kind](1)])
    assert caught.value.where == f"{tmp_path / 'rows.jsonl'}, line 2"
    assert caught.value.next_step


def test_missing_files_few_rows_and_one_name_twice_are_refused(tmp_path):
    nowhere = GeneralConfig(name="t", kind="arc", path=str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(RecipeError, match="not there"):
        read_general((nowhere,))
    with pytest.raises(RecipeError, match="no interval"):
        one(tmp_path, "arc", [ROWS["arc"](0)])
    there = GeneralConfig(name="t", kind="arc", path=write(tmp_path / "r.jsonl", map(ROWS["arc"], range(3))))
    with pytest.raises(RecipeError, match="two tests"):
        read_general((there, there))


def test_without_lm_eval_it_is_said_before_anything_is_built(tests_of_all_kinds, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RecipeError, match="not installed") as caught:
        general_stamps(tests_of_all_kinds)
    assert "tinsmith[general]" in caught.value.next_step
    assert general_stamps(()) == []


def test_a_draw_is_the_same_for_a_seed_and_spread_over_the_rows(tmp_path):
    items = one(tmp_path, "blimp", map(ROWS["blimp"], range(60)))
    drawn = draw(items, 20, seed=3)
    assert drawn == draw(items, 20, seed=3) != draw(items, 20, seed=4)
    assert [item for item in items if item in drawn] == drawn
    assert {item in items[20:] for item in drawn} == {True, False}


@pytest.mark.parametrize(("family", "bos"), [("llama", False), ("gemma3", True), ("bloom", False)])
def test_it_answers_to_the_item_as_lm_evals_own_model_does(tests_of_all_kinds, family, bos):
    model, tokenizer = tiny_model(family), byte_tokenizer(bos=bos)
    asked = choose_general(EvaluateConfig(general=tests_of_all_kinds), 3)
    ours = ask(Scorer(model, name=family), tokenizer, asked)
    with harness():
        from lm_eval.models.huggingface import HFLM

        peer = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=3, device="cpu")
        theirs = run(peer, asked)
    assert len(ours) == 6 * len(ROWS)
    for own, other in zip(ours, theirs, strict=True):
        assert own["scores"] == pytest.approx(other["scores"], abs=1e-3)
        assert own | {"scores": ()} == other | {"scores": ()}
        assert same_answer(own)
    assert {row["correct"] for row in ours} == {True, False}


def test_what_is_too_long_loses_its_beginning_as_in_lm_eval():
    model, tokenizer = tiny_model(), byte_tokenizer()
    model.config.max_position_embeddings = 16
    requests = [
        SimpleNamespace(args=("a" * 15 + "b" * size, " the end"), task_name="t", doc_id=size)
        for size in range(14)
    ]
    with harness():
        from lm_eval.models.huggingface import HFLM

        from tinsmith.evaluate.families.harness_model import ScorerLM

        ours = ScorerLM(Scorer(model, name="short"), tokenizer).loglikelihood(requests)
        theirs = HFLM(pretrained=model, tokenizer=tokenizer, device="cpu").loglikelihood(
            requests, disable_tqdm=True
        )
    assert [nats for nats, _ in ours] == pytest.approx([nats for nats, _ in theirs], abs=1e-3)


def test_a_whole_text_is_read_in_windows():
    model, tokenizer = tiny_model(), byte_tokenizer()
    text = "the thief went there"
    with harness():
        from tinsmith.evaluate.families.harness_model import ScorerLM

        lm = ScorerLM(Scorer(model, name="tiny"), tokenizer)
        (found,) = lm.loglikelihood_rolling([SimpleNamespace(args=(text,))])
    tokens = [lm.prefix_token_id, *tokenizer.encode(text)]
    assert found == pytest.approx(sum(plain_log_probs(model, tokens)), abs=1e-3)


def test_a_model_damaged_on_purpose_has_forgotten(tmp_path):
    model, tokenizer = tiny_model(seed=1), byte_tokenizer()
    draw_letters = random.Random(5)
    letters = ["".join(draw_letters.sample("abcdfgijkl", 6)) for _ in range(40)]
    rows = [{"sentence_good": f"{word[:3]}.", "sentence_bad": f"{word[3:]}."} for word in letters]
    path = write(tmp_path / "p.jsonl", _known_to(model, tokenizer, rows))
    test = GeneralConfig(name="pairs", kind="blimp", path=path)
    config = EvaluateConfig(general=(test,), bootstrap=200)
    asked = choose_general(config, 3)
    found = {"base": ask(Scorer(model, name="base"), tokenizer, asked)}
    with torch.no_grad():
        torch.manual_seed(2)
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 3 * weight.std())
    found["trained"] = ask(Scorer(model, name="trained"), tokenizer, asked)
    metrics, (row,) = general_rows(found, config, 3)
    shares = {row["subject"]: row["value"] for row in metrics}
    assert shares["base"] == 1.0
    assert row["metric"] == "forgetting:pairs"
    assert row["difference"] == pytest.approx(shares["trained"] - shares["base"])
    assert row["high"] < 0
    assert row["p"] < 0.01
    _, (same,) = general_rows({"trained": found["base"], "base": found["base"]}, config, 3)
    assert same["low"] == same["difference"] == same["high"] == 0


def _known_to(model, tokenizer, rows):
    """Put the likelier sentence of each pair first, so that the model gets all of them right."""

    def nats(text):
        return sum(plain_log_probs(model, [tokenizer.bos_token_id, *tokenizer.encode(f" {text}")]))

    return [
        {"sentence_good": best, "sentence_bad": worst}
        for row in rows
        for worst, best in [sorted(row.values(), key=nats)]
    ]


def test_what_was_asked_before_is_not_asked_again(tests_of_all_kinds, tmp_path, monkeypatch):
    tiny_model().save_pretrained(tmp_path / "model")
    byte_tokenizer().save_pretrained(tmp_path / "model")
    subject, items = Subject("base", "base", tmp_path / "model", ""), tmp_path / "items"
    asked = choose_general(EvaluateConfig(general=tests_of_all_kinds), 3)
    rest = {"items": items, "progress": SilentProgress()}
    first = measure_general(subject, byte_tokenizer(), asked, **rest)
    assert first == list(read_jsonl(items / "general-base.jsonl"))
    assert [str(name) for name in list_files(items)] == ["general-base.json", "general-base.jsonl"]
    monkeypatch.setattr("tinsmith.evaluate.families.general.ask", lambda *_: [])
    assert measure_general(subject, byte_tokenizer(), asked, **rest) == first
    asked.popitem()
    assert measure_general(subject, byte_tokenizer(), asked, **rest) == []


def test_a_forged_answer_is_found():
    row = {"item": "a", "answer": 1, "prediction": 1, "correct": True, "scores": [-2.0, -1.0]}
    assert same_answer(row)
    assert not same_answer(row | {"scores": [-1.0, -2.0]})
    assert not same_answer(row | {"answer": 0})
    assert different_answer([[row], [row]]) == different_answer([]) == ""
    assert different_answer([[row], [row | {"answer": 0}]]) == "a"
    assert different_answer([[row], [row, row | {"item": "b"}]]) == "b"
