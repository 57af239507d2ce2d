"""Examples of a job are read, judged and divided by group; what is left out or doubtful is told with its rows."""

import csv
import json
import random
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tinsmith.base.errors import CorpusError, RecipeError
from tinsmith.base.files import read_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.jobs.spec import read_job
from tinsmith.pipeline.plan import check_recipe
from tinsmith.recipe import JobConfig
from tinsmith.recipe.toml import parse_recipe
from tinsmith.stages.examples import Settings
from tinsmith.stages.examples.run import examples
from tiny_model import write_trained

WORDS = ["rates", "rise", "fall", "prices", "wages", "growth", "risk", "outlook", "labour", "trade"]


def sentences(count, seed=1):
    """Return texts, no two of which are the same."""
    draw = random.Random(seed)
    return [f"{' '.join(draw.choices(WORDS, k=6))} {number}" for number in range(count)]


@pytest.fixture
def run(tmp_path):
    """Return a function that runs the stage on one job whose examples are rows, and returns what it wrote."""

    def write(rows, name):
        if isinstance(rows, str):
            return rows
        path = tmp_path / name
        names = list(dict.fromkeys(key for row in rows for key in row))
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(rows)
        return str(path)

    def run_stage(rows, test=None, seed=7, inputs=None, base="", **fields):
        out = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
        out.mkdir()
        files = {"examples": (write(rows, "a.csv"),)} if rows else {}
        files |= {"test": (write(test, "t.csv"),)} if test else {}
        job = JobConfig.model_validate({"name": "j", "kind": "classify", "answer": "{y}"} | files | fields)
        found = {
            "statistics": examples(
                (job,),
                settings=Settings(base),
                inputs=inputs or {},
                seed=seed,
                out=out,
                progress=SilentProgress(),
            )
        }
        for part in ("learn", "validation", "test"):
            found[part] = list(read_jsonl(out / "j" / f"{part}.jsonl"))
        found |= {name: list(read_jsonl(out / f"{name}.jsonl")) for name in ("rejects", "notes")}
        return found | {"labels": read_job(out / "j").labels}

    return run_stage


def labelled(count, labels="abb", **more):
    return [
        {"text": text, "y": labels[number % len(labels)]} | {key: f(number) for key, f in more.items()}
        for number, text in enumerate(sentences(count))
    ]


def note(found, kind):
    [row] = [row for row in found["notes"] if row["kind"] == kind]
    return row


def texts(rows):
    return {row["input"] for row in rows}


def test_every_row_is_in_one_part_with_its_share_of_each_label(run):
    found = run(labelled(300))
    assert [len(found[part]) for part in ("test", "validation", "learn")] == [60, 36, 204]
    assert len(texts(found["test"] + found["validation"] + found["learn"])) == 300
    assert Counter(row["answer"] for row in found["test"]) == {"b": 40, "a": 20}
    assert Counter(row["answer"] for row in found["validation"]) == {"b": 24, "a": 12}
    assert found["labels"] == ("b", "a")
    assert found["statistics"]["j_learn"] == 204
    row = found["learn"][0]
    assert row["id"] == f"a.csv:{row['row']}"
    assert row["record"] == {"text": row["input"], "y": row["answer"]}
    assert "shared" not in row


def test_the_division_does_not_depend_on_the_order_of_the_file(run):
    rows = labelled(200)
    before, again, other = run(rows), run(rows[::-1]), run(rows, seed=8)
    for part in ("learn", "validation", "test"):
        assert texts(before[part]) == texts(again[part])
        assert texts(before[part]) != texts(other[part])


def test_rows_of_one_group_are_on_one_side(run):
    found = run(labelled(240, meeting=lambda number: f"m{number % 24}"), group="{meeting}")
    parts = [{row["group"] for row in found[part]} for part in ("learn", "validation", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 24
    assert 40 <= len(found["test"]) <= 60
    assert found["validation"]


def test_the_same_text_is_on_one_side_whatever_its_case_and_white_space(run):
    rows = labelled(100)
    found = run(rows + [row | {"text": row["text"].upper().replace(" ", "  ")} for row in rows])
    for part in ("learn", "validation", "test"):
        assert set(Counter(row["input"].lower().replace("  ", " ") for row in found[part]).values()) == {2}
    assert note(found, "duplicate")["count"] == 80


def test_one_group_cannot_be_divided(run):
    with pytest.raises(CorpusError, match="one group"):
        run(labelled(40, meeting=lambda _: "m"), group="{meeting}")


def test_every_label_is_validated_on_where_it_has_enough_examples(run):
    labels = ["common"] * 96 + ["rare"] * 4
    found = run(labelled(300, labels), test=labelled(10, labels[90:]))
    assert Counter(row["answer"] for row in found["validation"])["rare"] >= 2
    found = run([*labelled(100, "ab"), {"text": "the only one", "y": "single"}])
    assert "the only one" in texts(found["learn"])
    assert note(found, "rare_label")["text"].endswith("single (1).")


def test_rows_of_the_test_that_stand_in_the_examples_are_marked_and_told(run):
    rows = labelled(100)
    found = run(rows, test=[*labelled(5, "a"), {"text": "new", "y": "b"}, rows[50] | {"y": "a"}])
    assert [row.get("shared", False) for row in found["test"]] == [True] * 5 + [False, True]
    assert note(found, "shared_with_test")["count"] == 6
    assert note(found, "shared_with_test")["rows"] == [f"t.csv:{line}" for line in (2, 3, 4, 5, 6, 8)]
    assert len(texts(found["learn"] + found["validation"])) == 100


def test_rows_of_the_test_whose_group_is_learnt_from_are_marked_and_told(run):
    rows = labelled(100, meeting=lambda number: f"m{number // 10}")
    test = [{"text": f"new {number}", "y": "a", "meeting": f"m{number + 7}"} for number in range(6)]
    found = run(rows, test=test, group="{meeting}")
    assert [row.get("shared", False) for row in found["test"]] == [True] * 3 + [False] * 3
    told = note(found, "groups_in_both")
    assert told["rows"] == ["t.csv:2", "t.csv:3", "t.csv:4"]
    assert (
        "3 of 6 rows of the test belong to 3 groups {meeting} that also stand in the examples" in told["text"]
    )
    assert "in 30 rows" in told["text"]
    # Without `group`, rows belong together only where their inputs are equal.
    assert not any(row.get("shared") for row in run(rows, test=test)["test"])


def test_a_few_rows_are_divided_with_each_label_to_learn_from(run):
    for count, labels in ((30, "abc"), (30, "abcdefghij"), (24, "aaaaaaaabc")):
        found = run(labelled(count, labels))
        assert {row["answer"] for row in found["learn"]} == set(labels)
        assert found["test"]
        assert note(found, "few_examples")


def test_examples_of_one_group_leave_none_for_validation_and_that_is_told(run):
    rows = labelled(40, meeting=lambda number: "m")
    found = run(rows, test=labelled(4, meeting=lambda number: "n"), group="{meeting}")
    assert (len(found["learn"]), found["validation"]) == (40, [])
    assert "confidence is not calibrated" in note(found, "no_validation")["text"]


def test_of_contradicting_examples_the_answer_of_most_is_kept(run):
    rows = labelled(60)
    tie = [{"text": "even odds", "y": "a"}, {"text": "Even odds", "y": "b"}]
    most = [{"text": "two to one", "y": y} for y in "aab"]
    found = run([*rows, *tie, *most], test=labelled(4))
    learnt = [row for row in found["learn"] + found["validation"] if "o" in row["input"][:2].lower()]
    kept = [row["answer"] for row in found["learn"] + found["validation"] if row["input"] == "two to one"]
    assert (kept, "even odds" in texts(learnt)) == (["a", "a"], False)
    assert note(found, "contradiction")["rows"] == ["a.csv:62", "a.csv:63", "a.csv:66"]
    assert [row["row"] for row in found["rejects"]] == [62, 63, 66]


def test_labels_that_differ_in_case_alone_are_one_and_told(run):
    rows = labelled(90, ["hawkish", "hawkish", "dovish"])
    rows[0]["y"], rows[3]["y"] = "Hawkish", " HAWKISH"
    found = run(rows)
    assert found["labels"] == ("hawkish", "dovish")
    assert "HAWKISH (1) as hawkish, Hawkish (1) as hawkish" in note(found, "alike_labels")["text"]
    assert note(found, "alike_labels")["count"] == 2


def test_labels_that_begin_alike_stay_apart(run):
    found = run(labelled(90, ["rise", "rise slowly", "ris"]))
    assert sorted(found["labels"]) == ["ris", "rise", "rise slowly"]
    assert not [row for row in found["notes"] if row["kind"] == "alike_labels"]


def test_labels_of_the_recipe_keep_their_order_and_other_answers_are_rejected(run):
    found = run(labelled(90, "abc"), labels=["b", "A", "none"])
    assert found["labels"] == ("b", "A", "none")
    assert {row["answer"] for row in found["learn"]} == {"b", "A"}
    assert [(row["reason"], row["detail"]) for row in found["rejects"]] == [
        ("not_a_label", "'c' is not one of the labels")
    ] * 30
    assert note(found, "rejected_not_a_label")["count"] == 30
    assert "none" in note(found, "unseen_label")["text"]


def test_several_labels_are_a_list_or_parted_by_marks(run):
    cells = ["a;b", '["b", "a"]', "a | c", "", "b"]
    found = run(labelled(100, cells), several=True)
    answers = {tuple(row["answer"]) for row in found["learn"]}
    assert answers == {("a", "b"), ("a", "c"), (), ("b",)}
    assert sorted(found["labels"]) == ["a", "b", "c"]


def test_rows_without_an_input_or_an_answer_are_rejected(run):
    rows = labelled(60)
    rows[3]["text"], rows[5]["y"] = "  ", ""
    found = run(rows)
    assert [(row["row"], row["reason"]) for row in found["rejects"]] == [(5, "empty_input"), (7, "no_answer")]


def test_a_field_without_a_value_is_empty_in_a_template(run):
    rows = labelled(40, title=lambda number: "Title" if number % 2 else "")
    found = run(rows, input="{title}: {text}")
    assert {row["input"].split(" ")[0] for row in found["learn"]} == {"Title:", ":"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"answer": "{lable}"},
            r"the answer uses \{lable\}, which no record of .*a\.csv has; did you mean \{label\}",
        ),
        (
            {"input": "{body}", "answer": "{label}"},
            r"the input uses \{body\}.*\n.*use one of the fields: \{text\}",
        ),
        ({"group": "{meeting}", "answer": "{label}"}, r"the group uses \{meeting\}"),
        ({"input": "{text.upper}", "answer": "{label}"}, "not supported"),
        ({"input": "the same", "answer": "{label}"}, "every input is the same"),
        ({"answer": "label"}, "every answer is the same"),
    ],
)
def test_a_field_that_no_record_has_is_refused(run, fields, said):
    rows = [{"text": row["text"], "label": row["y"]} for row in labelled(40)]
    with pytest.raises(RecipeError, match=said):
        run(rows, **fields)


def test_what_cannot_be_learnt_is_refused(run):
    with pytest.raises(CorpusError, match="all 40 examples have one label, 'a'"):
        run(labelled(40, "a"))
    with pytest.raises(CorpusError, match="5 usable examples are too few"):
        run(labelled(5))
    with pytest.raises(CorpusError, match=r"0 usable examples .*\(left out: 40 not_a_label\)"):
        run(labelled(40), labels=["x", "y"])
    with pytest.raises(CorpusError, match="40 different answers in 40 examples are not labels"):
        run(labelled(40, list(map(str, range(40)))))
    with pytest.raises(CorpusError, match="no row of the test is usable"):
        run(labelled(40), test=[{"text": "", "y": "a"}])


def test_documents_are_examples_where_no_file_is_named(run, tmp_path):
    rows = [
        {"doc_id": f"d{number}", "text": row["text"], "source": f"{number}.txt", "cluster": f"c{number // 2}"}
        | {"meta": json.dumps({"y": row["y"]}), "part": "held_out" if number < 20 else "train"}
        for number, row in enumerate(labelled(100))
    ]
    (tmp_path / "refine").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "refine" / "documents.parquet")
    found = run(None, inputs={"refine": tmp_path / "refine"})
    assert {row["id"] for row in found["test"]} == {f"d{number}" for number in range(20)}
    assert {row["group"] for row in found["test"]} == {f"c{number}" for number in range(10)}
    parts = [{row["group"] for row in found[part]} for part in ("learn", "validation")]
    assert parts[0].isdisjoint(parts[1])
    assert len(found["learn"]) + len(found["validation"]) == 80


def test_an_answer_may_be_absent_and_have_its_quote(run):
    rows = [
        {"text": text, "question": f"What {number}?", "y": "42" if number % 2 else "", "quote": text[:5]}
        for number, text in enumerate(sentences(40))
    ]
    found = run(rows, kind="answer", input="{text}\n\n{question}")
    answers = [row["answer"] for row in found["learn"]]
    assert {json.dumps(answer) for answer in answers} > {"null"}
    assert all(answer is None or (answer["answer"] == "42" and answer["quote"]) for answer in answers)


def test_a_text_is_written_for_each_record(run):
    rows = [{"a": number, "y": f"The value is {number}."} for number in range(40)]
    found = run(rows, kind="write", input="a is {a}")
    assert {row["answer"] for row in found["learn"]} < {f"The value is {number}." for number in range(40)}
    assert len(found["test"]) == 8


SCHEMA = {"type": "object", "properties": {"law": {"type": "string"}, "parties": {"type": "array"}}}


def contracts(count=40):
    return [
        {"text": f"Acme {number} and Bo Ltd agree.\n  The laws  of Texas\napply.", "law": "", "parties": ""}
        for number in range(count)
    ]


def test_fields_are_spans_as_the_text_writes_them(run):
    rows = contracts()
    for number, row in enumerate(rows):
        row["law"] = "the laws of Texas apply" if number % 2 else ""
        row["parties"] = f'["Acme {number}", "Bo Ltd"]' if number % 4 else "Bo Ltd"
    found = run(rows, kind="extract", answer="", json_schema=SCHEMA)
    row = found["learn"][0]
    number = row["row"] - 2
    assert {row["answer"]["law"][0] for row in found["learn"] if row["answer"]["law"]} == {
        "The laws  of Texas\napply"
    }
    assert [] in [row["answer"]["law"] for row in found["learn"]]
    assert row["answer"]["parties"] == (["Bo Ltd"] if number % 4 == 0 else [f"Acme {number}", "Bo Ltd"])
    assert found["rejects"] == []


def test_a_value_that_the_text_does_not_hold_is_rejected(run):
    rows = contracts()
    rows[3]["law"] = "Ohio"
    rows[5]["parties"] = '["Bo Ltd", "Acme"]'
    rows[6]["parties"] = '["Bo Ltd", "Nobody Inc"]'
    found = run(rows, kind="extract", answer="", json_schema=SCHEMA)
    assert [(row["row"], row["reason"], row["detail"]) for row in found["rejects"]] == [
        (11, "span_not_in_text", "law: Ohio"),
        (20, "span_left_out", "parties: Nobody Inc"),
    ]
    kept = {
        row["row"]: row["answer"]["parties"]
        for part in ("learn", "validation", "test")
        for row in found[part]
    }
    assert (kept[17], kept[20], 11 in kept) == (["Bo Ltd", "Acme"], ["Bo Ltd"], False)
    with pytest.raises(RecipeError, match=r"the schema uses \{parties\}, which no record"):
        run([{"text": row["text"], "law": ""} for row in rows], kind="extract", answer="", json_schema=SCHEMA)


def test_a_question_may_use_the_record(run):
    with pytest.raises(RecipeError, match=r"the question uses \{ask\}, which no record .* has"):
        run(labelled(40), kind="answer", question="{ask}")
    assert run(labelled(40, q=lambda number: f"What {number}?"), kind="answer", question="{q}")["learn"]
    found = run(labelled(40, q=lambda number: "Why?" if number else ""), kind="answer", question="{q}")
    assert [(row["row"], row["reason"]) for row in found["rejects"]] == [(2, "empty_question")]


def test_what_can_be_refused_before_anything_is_read(tmp_path):
    (tmp_path / "a.csv").write_text("text,y\n")
    job = {"name": "j", "kind": "classify", "answer": "{y}", "examples": [str(tmp_path / "a.csv")]}

    def check(**fields):
        check_recipe(parse_recipe({"name": "r", "jobs": [job | fields]}, where="r"))

    check()
    for said, fields in {
        r"jobs\.j\.test: .*none\.csv: no such file": {"test": [str(tmp_path / "none.csv")]},
        r"jobs\.j: the input is not a valid template": {"input": "{text"},
        r"two labels read 'A' but for case": {"labels": ["A", " a"]},
        "a label is empty": {"labels": ["A", " "]},
        "with one label, 'A'": {"labels": ["A"]},
        "cannot read the budget 'soon'": {"budget": "soon"},
        r"jobs\.j\.json_schema": {"kind": "extract", "answer": "", "json_schema": "none.json"},
    }.items():
        with pytest.raises(RecipeError, match=said):
            check(**fields)


def test_inputs_longer_than_the_context_are_counted(run, tmp_path):
    base = write_trained(tmp_path / "base")
    rows = labelled(60)
    for row in rows[:3]:
        row["text"] = f"{row['text'][-6:]} " + " ".join([row["text"]] * 30)
    found = run(rows, base=str(base), context=128, keep="end")
    assert (
        note(found, "cut")["text"]
        == "3 of 60 inputs are longer than the context of 128 tokens; their end is kept."
    )
    assert sorted(note(found, "cut")["rows"]) == ["a.csv:2", "a.csv:3", "a.csv:4"]


def test_questions_about_one_passage_are_no_duplicates(run):
    rows = [
        {"text": text, "q": question, "y": f"{number} {question}"}
        for number, text in enumerate(sentences(30))
        for question in ("Who?", "What?")
    ]
    found = run(rows, kind="answer", question="{q}")
    assert not [row for row in found["notes"] if row["kind"] in ("duplicate", "shared_with_test")]
    assert texts(found["test"]).isdisjoint(texts(found["learn"] + found["validation"]))
