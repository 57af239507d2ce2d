"""Kinds extract and answer: from examples to asks, and from what a model wrote to results."""

import math
from dataclasses import dataclass, field, replace

import pytest

from small_models import byte_tokenizer
from tinsmith.base.errors import RecipeError
from tinsmith.jobs.ask import Ask, Reply
from tinsmith.jobs.asks import asks_of, how_right, prompt_of, results
from tinsmith.jobs.extract import _learnt, place_values
from tinsmith.jobs.grammar import LINE
from tinsmith.jobs.look import FieldLook, Look, fit_look
from tinsmith.jobs.none_scale import NoneScale
from tinsmith.jobs.prepare import prepare
from tinsmith.jobs.schema import fields_of
from tinsmith.jobs.spans import FoldedText
from tinsmith.jobs.spec import Calibration, Job, read_job
from tinsmith.recipe import JobConfig

TOKENIZER = byte_tokenizer()
SCHEMA = {
    "type": "object",
    "properties": {
        "law": {"type": "string", "title": "Governing law"},
        "signed": {"type": ["string", "null"], "format": "date"},
        "parties": {"type": "array", "items": {"type": "string"}},
    },
}
FILL = "The tenant pays the rent on the first day. " * 12


def example(number: int) -> dict:
    seller, buyer = f"Acme {number} Inc.", f"Bolt {number} LLC"
    law = ["Texas", "Ohio", "Utah"][number % 3]
    text = f"This is between {seller} and {buyer}, May {1 + number}, 2015.\n\n{FILL}\n\n"
    there = number % 4 > 0
    text += f"The laws of {law} govern.\n\n{FILL}" if there else FILL
    answer = {
        "law": [f"laws of {law}"] * there,
        "signed": [f"May {1 + number}, 2015"],
        "parties": [buyer, seller],
    }
    return {"id": str(number), "input": text, "answer": answer, "record": {}}


ROWS = [example(number) for number in range(12)]


@pytest.fixture(scope="module")
def job() -> Job:
    config = JobConfig(name="contract", kind="extract", json_schema=SCHEMA, context=300)
    prepared, statistics = prepare(Job(config=config), ROWS, TOKENIZER, seed=1)
    assert statistics == {"answers_too_long_to_be_learnt": 0, "values_in_no_passage": 0}
    return prepared


@dataclass
class Model:
    """A model that finds values by their first words, and says how likely none is."""

    chances: dict[str, float]  # of none, where the passage holds the words
    written: dict[str, str]
    tells: bool = True
    asked: list = field(default_factory=list)
    grammars: list = field(default_factory=list)

    def none_probabilities(self, asks):
        if not self.tells:
            return None
        return [
            min(
                [
                    chance
                    for words, chance in self.chances.items()
                    if words in ask.text and ask.field in words_of[words]
                ],
                default=0.99,
            )
            for ask in asks
        ]

    def replies(self, asks, grammars, *, seed=None):
        self.asked += asks
        self.grammars += grammars
        return [Reply(self.written.get(ask.field, "none"), 0.9) for ask in asks]


words_of = {"laws of": ["law"], "between": ["parties", "signed"]}


def test_examples_teach_each_field_where_it_stands_and_where_it_does_not(job):
    asks = asks_of(job, ROWS[1], TOKENIZER)
    found = {(ask.question, ask.answer) for ask in asks if ask.answer != "none"}
    assert found == {
        ("Governing law:", "laws of Ohio"),
        ("Signed:", "May 2, 2015"),
        ("Parties:", "Acme 1 Inc.; Bolt 1 LLC"),  # in the order of the text
    }
    assert {ask.field for ask in asks if ask.answer == "none"} == {"law", "signed", "parties"}
    for ask in asks:
        assert ROWS[1]["input"][ask.start :].startswith(ask.text)
        assert prompt_of(job, TOKENIZER, ask).left_out == 0
    starts = [ask.start for ask in asks]
    assert starts == sorted(starts)  # all fields of a passage follow each other
    assert {ask.field: ask.answer for ask in asks_of(job, ROWS[0], TOKENIZER)}["law"] == "none"


def test_passages_that_are_as_likely_keep_their_order_whatever_the_order_of_their_words():
    """Sets of words have another order in each process, and 0.1 + 0.2 + 0.3 another sum in another order."""
    weights = {f"word{n}": (0.1, 0.2, 0.3)[n % 3] for n in range(36)}
    look = Look(fields={"law": FieldLook(weights=weights, asked=1, recall=1.0)})
    texts = [f"word{n} x word{n + 1} x word{n + 2}" for n in range(0, 36, 3)]
    assert len(set(look.scores(texts)["law"])) == 1


def test_passages_without_a_value_are_read_for_another_field_where_there_are_such(job):
    fields = fields_of(job.config)
    names = [field.name for field in fields]
    texts = [FoldedText(text) for text in ("laws of Ohio", "between Acme Inc.", *["other words"] * 4)]
    row = {"id": "r", "answer": {"law": ["laws of Ohio"], "parties": ["Acme Inc."]}}

    def learnt_of(row: dict, *order: int) -> list:
        orders, most = dict.fromkeys(names, order), dict.fromkeys(names, len(order))
        return list(_learnt(row, fields, texts, orders, most))

    learnt = learnt_of(row, *range(6))
    without = {
        name: {at for at, field, spans in learnt if field.name == name and not spans} for name in names
    }
    # Each may stay with the two passages that hold a value, and none is read for one field alone.
    assert 1 in without["law"]
    assert 0 in without["parties"]
    assert {at for at, *_ in learnt} == {0, 1}
    # Where none is read anyway, one is.
    empty = learnt_of({"id": "r", "answer": {}}, 2, 3, 4)
    assert len({at for at, *_ in empty}) == 1
    assert {field.name for _, field, _ in empty} == set(names)


def test_an_input_is_asked_about_in_few_passages(job):
    asks = asks_of(job, {"input": ROWS[1]["input"]}, TOKENIZER)
    assert all(ask.answer is None for ask in asks)
    assert {name: look.asked for name, look in job.look.fields.items()} == {
        "law": 1,
        "signed": 1,
        "parties": 1,
    }
    assert sorted(ask.field for ask in asks) == ["law", "parties", "signed"]
    assert "laws of Ohio" in next(ask.text for ask in asks if ask.field == "law")
    assert all(look.recall == 1 for look in job.look.fields.values())


def test_values_have_their_place_in_the_input_and_what_they_say(job):
    model = Model(
        {"laws of": 0.2, "between": 0.1},
        {"law": "laws of Ohio", "signed": "May 2, 2015", "parties": "Acme 1 Inc.; Zed; Bolt 1 LLC"},
    )
    (result,) = results(job, [ROWS[1]], TOKENIZER, model)
    assert result.answer == {
        "law": ["laws of Ohio"],
        "signed": ["May 2, 2015"],
        "parties": ["Acme 1 Inc.", "Bolt 1 LLC"],
    }
    for values in result.fields.values():
        for value in values:
            assert ROWS[1]["input"][value.start : value.end] == value.text
    assert result.fields["signed"][0].normal == "2015-05-02"
    assert result.confidence == pytest.approx((0.8 * 0.9 + 2 * 0.9 * 0.9) / 3)
    assert result.notes == ("parties: not in the text: Zed",)
    assert model.grammars == [LINE] * 3


def test_values_and_none_are_as_sure_as_validation_says(job):
    calibration = Calibration(temperature=2.0, value_odds=(0.5, 1.0))
    calibrated = job.model_copy(update={"calibration": calibration})
    model = Model({"laws of": 0.2}, {"law": "laws of Ohio"})
    (result,) = results(calibrated, [ROWS[1]], TOKENIZER, model)
    (law,) = result.fields["law"]
    sure = 1 / (1 + math.exp(-(0.5 * math.log(0.8 * 0.9) + 1.0)))
    assert law.confidence == pytest.approx(sure)
    # The row is as sure as its fields on average; nothing was found for the other two.
    assert result.confidence == pytest.approx((sure + 2 * math.sqrt(0.99)) / 3)


def test_only_what_the_text_does_not_hold_is_written_again_under_its_grammar(job):
    written = {"law": "laws of Utah", "signed": "May 2, 2015", "parties": "Zed; Yve"}
    model = Model({"laws of": 0.2, "between": 0.1}, written)
    results(job, [ROWS[1]], TOKENIZER, model)
    assert [ask.field for ask in model.asked[3:]] == ["law", "parties"]
    assert model.grammars[:3] == [LINE] * 3
    assert '"Ohio"' in model.grammars[3]
    assert '"Acme"' in model.grammars[4]


def test_likely_absent_values_are_not_asked_for(job):
    names = [field.name for field in fields_of(job.config)]
    strict = job.model_copy(update={"calibration": Calibration(none_at=dict.fromkeys(names, 0.05))})
    model = Model({"laws of": 0.2, "between": 0.04}, {"law": "laws of Ohio", "signed": "May 2, 2015"})
    (result,) = results(strict, [ROWS[1]], TOKENIZER, model)
    assert result.answer["law"] == []
    assert result.answer["signed"] == ["May 2, 2015"]
    assert {ask.field for ask in model.asked} == {"signed", "parties"}


@pytest.mark.parametrize(("weight", "found"), [(0.0, False), (5.0, True)])
def test_the_first_look_counts_beside_a_model_that_cannot_tell(job, weight, found):
    looks = {name: look.model_copy(update={"asked": 3}) for name, look in job.look.fields.items()}
    fitted = Calibration(none_scale=NoneScale(look=weight))
    sees = job.model_copy(update={"look": Look(fields=looks), "calibration": fitted})
    model = Model({}, {})
    model.none_probabilities = lambda asks: [0.5] * len(asks)
    results(sees, [ROWS[1]], TOKENIZER, model)
    (asked,) = [ask.text for ask in model.asked[:3] if ask.field == "law"]
    assert ("laws of Ohio" in asked) == found


def test_what_the_text_does_not_hold_is_never_a_value(job):
    model = Model({"laws of": 0.2}, {"law": "laws of Spain"})
    (result,) = results(job, [ROWS[1]], TOKENIZER, model)
    assert result.answer == {"law": [], "signed": [], "parties": []}
    assert result.notes == ("law: not in the text: laws of Spain",)


def test_of_several_passages_the_likeliest_is_asked_and_a_list_takes_all():
    config = JobConfig(name="contract", kind="extract", json_schema=SCHEMA, context=300)
    text = f"Between Acme Inc. and others.\n\n{FILL}\n\nBetween Acme Inc. and Bolt LLC."
    row = {"input": text, "record": {}}

    class Both(Model):
        def none_probabilities(self, asks):
            return [(0.1 if "Bolt" in ask.text else 0.3) if "Acme" in ask.text else 0.9 for ask in asks]

        def replies(self, asks, grammars, *, seed=None):
            self.asked += asks
            return [
                Reply("Acme Inc.; Bolt LLC" if ask.field == "parties" and "Bolt" in ask.text else "Acme Inc.")
                for ask in asks
            ]

    model = Both({}, {})
    (result,) = results(Job(config=config), [row], TOKENIZER, model)
    assert [value.text for value in result.fields["parties"]] == ["Acme Inc.", "Bolt LLC"]
    assert [value.start for value in result.fields["law"]] == [text.rindex("Acme")]
    assert sorted(ask.field for ask in model.asked) == ["law", "parties", "parties", "signed"]


def test_a_model_without_probabilities_is_asked_everywhere(job):
    model = Model({}, {"law": "laws of Ohio"}, tells=False)
    (result,) = results(job, [ROWS[1]], TOKENIZER, model)
    assert result.answer == {"law": ["laws of Ohio"], "signed": [], "parties": []}


def test_values_are_placed_in_the_fewest_passages():
    texts = [FoldedText(text) for text in ("Acme", "Bolt and Acme", "Bolt", "Cat", "none of them")]
    placed = place_values(["Acme", "Bolt", "Cat", "Dog"], texts)
    assert placed.held == {1: ["Bolt", "Acme"], 3: ["Cat"]}
    assert placed.doubtful == {0, 2}
    assert placed.nowhere == ["Dog"]


def test_a_passage_that_repeats_a_value_is_not_taught_as_none():
    schema = {"properties": {"party": {"type": "string"}}}
    text = (
        f"Between Acme Inc. and others.\n\n{FILL}\n\nAcme Inc. pays again.\n\n{FILL}\n\nThen Acme Inc. signs."
    )
    asks = []
    for number in range(20):
        row = {"id": str(number), "input": text, "answer": {"party": ["Acme Inc."]}, "record": {}}
        asks += asks_of(
            Job(config=JobConfig(name="c", kind="extract", json_schema=schema, context=300)), row, TOKENIZER
        )
    assert any(ask.answer == "none" for ask in asks)
    assert all("Acme" not in ask.text for ask in asks if ask.answer == "none")


def test_the_look_is_part_of_the_job(job, tmp_path):
    job.write(tmp_path)
    assert read_job(tmp_path) == job
    assert fit_look([], ["law"], seed=1) is None


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"pattern": "x"}, "properties.a.pattern"),
        ({"type": "object"}, "properties.a.type"),
        ({"type": "array", "items": {"type": "array"}}, "properties.a.items.type"),
        ({"type": "array", "minItems": 1}, "properties.a.minItems"),
        ({"format": "email"}, "properties.a.format"),
        ({"enum": [True]}, "properties.a.enum"),
    ],
)
def test_a_schema_that_cannot_be_held_is_refused_with_its_place(change, where):
    config = JobConfig(name="x", kind="extract", json_schema={"properties": {"a": change}})
    with pytest.raises(RecipeError, match=f"jobs.x.json_schema.{where}"):
        fields_of(config)


def test_a_schema_may_be_a_file(tmp_path):
    (tmp_path / "s.json").write_text('{"properties": {"end_date": {"format": "date"}}}', "utf-8-sig")
    config = JobConfig(name="x", kind="extract", json_schema=str(tmp_path / "s.json"))
    assert [field.question for field in fields_of(config)] == ["End date:"]
    with pytest.raises(RecipeError, match="cannot be read"):
        fields_of(JobConfig(name="x", kind="extract", json_schema=str(tmp_path / "none.json")))
    with pytest.raises(RecipeError, match="it names no field"):
        fields_of(JobConfig(name="x", kind="extract", json_schema={"properties": {}}))


ANSWER = JobConfig(name="qa", kind="answer", question="{question}", answer="{answer}")


def answered(text: str, written: str, *, none: float = 0.1, verbatim: bool = True):
    model = Model({}, {})
    model.none_probabilities = lambda asks: [none] * len(asks)
    model.written = {"": written}
    row = {"input": text, "record": {"question": "How much?"}}
    (result,) = results(Job(config=ANSWER, verbatim=verbatim), [row], TOKENIZER, model)
    return result, model


def test_an_answer_stands_with_the_sentence_around_it():
    result, model = answered("It rains. The fee is 5 euros. It ends.", "5 euros")
    assert result.answer == {"answer": "5 euros", "quote": "The fee is 5 euros."}
    assert model.asked[0].question == "How much?"
    assert "<<" not in model.grammars[0]
    assert result.confidence == pytest.approx(0.81)


def test_an_answer_to_a_question_is_as_sure_as_validation_says():
    calibration = Calibration(temperature=2.0, value_odds=(1.0, 2.0))
    job = Job(config=ANSWER, verbatim=True, calibration=calibration)
    for none, sure in ((0.1, 1 / (1 + math.exp(-(math.log(0.81) + 2.0)))), (0.9, math.sqrt(0.9))):
        model = Model({}, {})
        model.none_probabilities = lambda asks, none=none: [none] * len(asks)
        model.written = {"": "5 euros"}
        row = {"input": "The fee is 5 euros.", "record": {"question": "How much?"}}
        assert results(job, [row], TOKENIZER, model)[0].confidence == pytest.approx(sure)


def test_how_right_is_a_written_answer(job):
    parties = Ask("", "", "Acme Inc.; Bolt LLC", "parties")
    assert how_right(job, parties, "Acme Inc.; Bolt LLC\nmore") == 1.0
    assert how_right(job, parties, "Acme Inc.") == pytest.approx(2 * 2 / 6)
    assert how_right(job, replace(parties, answer="none"), "Acme Inc.") == 0.0
    question = Job(config=ANSWER)
    assert how_right(question, Ask("", "", "5 euros << The fee is 5 euros."), "5 Euros << The fee") == 1.0
    assert how_right(question, Ask("", "", "5 euros"), "6 euros") == 0.0


def test_an_answer_in_other_words_needs_a_quote_of_the_text():
    text = "The plan is closed to new members."
    result, model = answered(text, "No << closed to new members", verbatim=False)
    assert result.answer == {"answer": "No", "quote": "closed to new members"}
    assert model.grammars == [LINE]
    for written in ("No", "No << open to all", "<< closed"):
        result, _ = answered(text, written, verbatim=False)
        assert result.answer is None
        assert result.withheld == f"the text does not hold it: {written}"


def test_not_in_the_text():
    result, model = answered("It rains.", "It", none=0.9)
    assert (result.answer, result.confidence, result.withheld, model.asked) == (None, 0.9, "", [])
    assert answered("It rains.", "none")[0].answer is None


def test_examples_of_answers_teach_spans_quotes_and_none():
    def learnt(answer):
        row = {"input": "The plan is closed.", "record": {"question": "Open?"}, "answer": answer}
        return asks_of(Job(config=ANSWER), row, TOKENIZER)[0].answer

    assert learnt(None) == "none"
    assert learnt({"answer": "closed", "quote": "is closed"}) == "closed"
    assert learnt({"answer": "No", "quote": "is closed"}) == "No << is closed"
    assert learnt({"answer": "No", "quote": ""}) == "No"
    rows = [
        {"input": "It is closed.", "record": {"question": "?"}, "answer": {"answer": "No", "quote": "closed"}}
    ]
    assert not prepare(Job(config=ANSWER), rows, TOKENIZER, seed=1)[0].verbatim
