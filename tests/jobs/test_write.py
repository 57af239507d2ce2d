"""Kind write: grammars, JSON on one line, and texts that hold no number of their own."""

import json
from fractions import Fraction

import pytest

from tinsmith.base.errors import RecipeError
from tinsmith.base.numerals import missing_numbers, numerals
from tinsmith.jobs.asks import asks_of
from tinsmith.jobs.checks import Checks
from tinsmith.jobs.json_answer import check_schema, json_grammar, json_text, read_json_answer
from tinsmith.jobs.spec import Job
from tinsmith.jobs.write import agreement, grammar_of, numbers_grammar, one_line, several_lines
from tinsmith.recipe import JobConfig

SCHEMA = {
    "type": "object",
    "properties": {
        "share": {"type": "integer", "minimum": 0, "maximum": 100, "multipleOf": 5},
        "rate": {"type": "number", "minimum": 0, "maximum": 20},
        "names": {"type": "array", "items": {"type": "string", "maxLength": 5}, "minItems": 1, "maxItems": 2},
        "risk": {"enum": ["low", "high", 3]},
        "safe": {"type": "boolean"},
        "inner": {"type": "object", "properties": {"a": {"type": "null"}}},
        "more": {"type": "number"},
    },
    "required": ["share", "rate", "names", "risk", "safe", "inner"],
}
VALUE = {"share": 15, "rate": 2.5, "names": ["ä\n", 'b"'], "risk": 3, "safe": True, "inner": {"a": None}}
TEXT = '{"share": 15, "rate": 2.5, "names": ["ä\\n", "b\\""], "risk": 3, "safe": true, "inner": {"a": null}, '
TEXT += '"more": null}'


def test_json_is_one_line_in_the_schemas_order():
    shuffled = dict(reversed(VALUE.items()))
    assert json_text(shuffled, SCHEMA) == TEXT
    assert json_text(read_json_answer(json.dumps(shuffled, indent=2), SCHEMA), SCHEMA) == TEXT


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"share": 12}, "share is 12, not a multiple of 5"),
        ({"rate": -1}, "rate is -1, out of its bounds"),
        ({"names": []}, "names has 0 values"),
        ({"names": ["abcdef"]}, r"names\[0\] has 6 characters"),
        ({"risk": "mid"}, "risk is 'mid', none of low, high, 3"),
        ({"inner": {"b": 1}}, "inner.a is missing"),
        ({"other": 1}, "other is not a field"),
        ({"safe": 1}, "safe is 1, not of type boolean"),
    ],
)
def test_a_value_that_is_not_of_the_schema_is_refused(change, why):
    with pytest.raises(ValueError, match=why):
        read_json_answer(json.dumps(VALUE | change), SCHEMA)


@pytest.mark.parametrize(
    ("schema", "where"),
    [
        ({"type": "object"}, "s.properties: it names no field"),
        (
            {"type": "object", "properties": {"a": {"$ref": "#/b"}}},
            "s.properties.a.type: None is none of object",
        ),
        (
            {"type": "object", "properties": {"a": {"type": "string", "pattern": "x"}}},
            "s.properties.a.pattern: the grammar",
        ),
        ({"anyOf": [{"type": "string"}]}, "s.type"),
        ({"type": "object", "properties": {"a": 1}}, "s.properties.a: it is not a table"),
        ({"type": "array", "items": {"type": "tuple"}}, "s.items.type"),
        (
            {"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": True},
            "additionalProperties",
        ),
    ],
)
def test_a_schema_that_the_grammar_cannot_hold_is_refused_with_its_place(schema, where):
    with pytest.raises(RecipeError, match=where):
        check_schema(schema, "s")


def test_a_schema_that_is_nested_too_deep_is_refused():
    schema = {"type": "string"}
    for _ in range(20):
        schema = {"type": "array", "items": schema}
    with pytest.raises(RecipeError, match="nested more than"):
        check_schema(schema, "s")


def test_the_checks_choose_the_grammar():
    row = {"input": "up 1.2 to 1234.5", "record": {"open": "1200"}}
    facts = {"name": "mine", "kind": "write", "input": "{open}", "answer": "{a}"}
    free = grammar_of(Checks(JobConfig(**facts)), row)
    held = grammar_of(
        Checks(JobConfig(**facts, checks=("len(output) > 3 and numbers_in(output, [input, open])",))), row
    )
    assert "number" not in free
    assert '"1,234.5"' in held
    assert '"1200"' in held
    late = JobConfig(**facts, checks=("numbers_in(output, [input, len(output)])",))
    assert grammar_of(Checks(late), row) == free
    assert json_grammar(SCHEMA) == grammar_of(Checks(JobConfig(**facts, json_schema=SCHEMA)), row)


def test_an_answer_of_several_lines_is_learnt_as_one():
    job = Job(config=JobConfig(name="mine", kind="write", answer="{a}", question="In {month}:"))
    text = "First.\nSecond \\n kept.\n\nThird."
    row = {"input": "x", "answer": text, "record": {"month": "May"}}
    (ask,) = asks_of(job, row, None)
    assert "\n" not in ask.answer
    assert ask.question == "In May:"
    assert several_lines(ask.answer) == "First.\nSecond \\n kept.\nThird."
    assert several_lines(one_line("a\\\\n")) == "a\\\\n"


def test_agreement():
    assert agreement(None, "It rose 2%.", "it rose 2%") == 1
    assert agreement(SCHEMA, TEXT, TEXT.replace("15", "20")) == pytest.approx(6 / 7)
    assert agreement(SCHEMA, "x", TEXT) == 0


def test_llama_cpp_writes_what_the_schema_says(server):
    rest = {name: part for name, part in SCHEMA["properties"].items() if name not in ("rate", "names")}
    names = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2}
    schema = {"type": "object", "properties": {"rate": {"type": "number"}, "names": names, **rest}}
    grammar = json_grammar(schema)
    found = [text for seed in range(6) if (text := server(grammar, seed)).endswith("\n")]
    assert found
    for text in found:
        assert text.startswith(" {")
        assert json_text(read_json_answer(text.strip(), schema), schema)


def test_llama_cpp_writes_no_number_that_the_input_lacks(server):
    sources = ["close 1,234.5 (-2.75%) on 2026-03-04, 2.5 million", Fraction(7)]
    grammar = numbers_grammar(sources)
    texts = [server(grammar, seed) for seed in range(8)]
    figures = [
        numeral
        for text in texts
        for numeral in numerals(text)
        if any(c in "0123456789" for c in numeral.text)
    ]
    assert figures
    for text in texts:
        bare = text.replace("-", "").replace("−", "").replace("–", "")
        written = [
            number for number in missing_numbers(bare, [*sources, "2.5 1234.5"]) if number[0] in "0123456789."
        ]
        assert written == [], text
    assert not any(c.isdigit() for seed in range(3) for c in server(numbers_grammar(["no figures"]), seed))
