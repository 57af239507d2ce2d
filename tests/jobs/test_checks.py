"""Checks of a job: what they read, what an answer breaks, and that a broken answer is never given."""

import json
from dataclasses import dataclass, field

import pytest

from tinsmith.base.errors import RecipeError
from tinsmith.base.progress import SilentProgress
from tinsmith.jobs.ask import Ask, Reply
from tinsmith.jobs.asks import results
from tinsmith.jobs.checks import Checks
from tinsmith.jobs.examples import Sides, divide
from tinsmith.jobs.records import Record
from tinsmith.jobs.spec import Job, read_job
from tinsmith.recipe import JobConfig
from tinsmith.stages.examples import Settings
from tinsmith.stages.examples.run import examples

WEIGHTS = {name: {"type": "integer", "minimum": 0, "maximum": 100} for name in ("equities", "bonds", "cash")}
SCHEMA = {
    "type": "object",
    "properties": {
        "weights": {"type": "object", "properties": WEIGHTS},
        "note": {"type": "string"},
    },
    "required": ["weights"],
}
GOOD = '{"weights": {"equities": 40, "bonds": 40, "cash": 20}, "note": null}'
ROW = {
    "input": "risk high, cap 45, gold excluded",
    "record": {"cap": "45", "excluded": "gold", "weights": GOOD},
}


def portfolio(*checks: str, **facts) -> JobConfig:
    return JobConfig(
        name="portfolio",
        kind="write",
        input="{text}",
        answer="{weights}",
        checks=checks,
        json_schema=SCHEMA,
        **facts,
    )


@dataclass
class Planted:
    """A model that gives the planted texts, the first without a seed, the next with the seeds 1, 2, ..."""

    texts: list[str]
    asked: list[tuple[int | None, int]] = field(default_factory=list)
    grammars: list[str] = field(default_factory=list)
    ended: bool = True

    def none_probabilities(self, asks: list[Ask]) -> None:
        return None

    def replies(self, asks, grammars, *, seed=None):
        self.asked.append((seed, len(asks)))
        self.grammars += grammars
        return [Reply(self.texts[min(seed or 0, len(self.texts) - 1)], ended=self.ended) for _ in asks]


@pytest.mark.parametrize(
    "check",
    [
        "sum(weights) == 100",
        "all(w <= 40)",
        "all(w <= cap for w in weights)",
        "weights['cash'] >= 20 and excluded == 'gold'",
        "not any(name in excluded and weights[name] > 0 for name in names(weights))",
        "note is None or len(words(note)) < 9",
        "answer['weights'] == weights and record['cap'] == 45",
        "len(input) > 3 and 'equities' in output",
    ],
)
def test_an_answer_in_json_is_judged_by_its_fields_and_the_records(check):
    assert Checks(portfolio(check)).broken(ROW, GOOD) == ""


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            GOOD.replace("40", "45"),
            "sum(weights) == 100 does not hold: sum(weights) is 110; all(w <= 40) does not hold: w is 45",
        ),
        ("not JSON", "the answer cannot be read: Expecting value"),
        (GOOD.replace("40", "140"), "weights.equities is 140, out of its bounds"),
        (GOOD.replace('"cash": 20', '"gold": 20'), "weights.cash is missing"),
        (GOOD.replace("40", "NaN"), "NaN is not a number of JSON"),
        (GOOD[:-1] + ', "note": "a"}', "a field stands twice"),
        (GOOD.replace("40", "40.5"), "weights.equities is 40.5, not of type integer"),
        (GOOD.replace("40", "true"), "weights.equities is true, not of type integer"),
        ("[" * 10_000, "the answer cannot be read"),
        ("1", "it is 1, not of type object"),
    ],
)
def test_a_broken_answer_is_told_with_its_reason(answer, why):
    assert why in Checks(portfolio("sum(weights) == 100", "all(w <= 40)")).broken(ROW, answer)


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("sum(wieghts) == 100", r"'wieghts' is not known\n  -> use .*bonus.*note.*weights"),
        ("bonus > 1 and sum(reference) == 1", "'reference' is the right answer, which new records lack"),
    ],
)
def test_an_unknown_name_is_refused_with_those_that_are_known(check, said):
    config = portfolio(check).model_copy(update={"answer": "{reference}"})
    with pytest.raises(RecipeError, match=said):
        Checks(config).check_names(["text", "bonus", "reference"])
    Checks(portfolio("bonus > 1 and sum(weights) == 100")).check_names(["text", "bonus", "weights"])


def test_a_short_form_without_a_list_is_refused_with_what_to_write():
    with pytest.raises(
        RecipeError, match=r"jobs.portfolio.checks: 'all\(x <= 40\)'.*write all\(x <= 40 for x in weights\)"
    ):
        Checks(portfolio("all(x <= 40)"))


def test_a_check_that_never_holds_is_refused():
    checks = Checks(portfolio("sum(weights) == 100", "all(w < 40)"))
    assert [checks.broken(ROW, GOOD) != "" for _ in range(3)] == [True] * 3
    with pytest.raises(RecipeError, match=r"'all\(w < 40\)' holds for none of the 3 examples"):
        checks.refuse_never_held()


@pytest.mark.parametrize(
    ("config", "answer", "check"),
    [
        ({"kind": "classify", "answer": "{a}"}, "hawkish", "output == 'hawkish' and answer == output"),
        ({"kind": "classify", "answer": "{a}", "several": True}, ["a", "b"], "output == 'a, b'"),
        (
            {"kind": "answer", "answer": "{a}"},
            {"answer": "12", "quote": "of 12 months"},
            "12 in quote and output == '12'",
        ),
        ({"kind": "answer", "answer": "{a}"}, None, "output == '' and quote is None"),
        (
            {
                "kind": "extract",
                "json_schema": {"properties": {"fee": {}, "law": {}, "parties": {"type": "array"}}},
            },
            {"fee": ["1,200"], "law": [], "parties": ["A", "B"]},
            "fee == 1200 and law is None and len(parties) == 2 and all(p != 'C')",
        ),
    ],
)
def test_every_kind_may_have_checks(config, answer, check):
    checks = Checks(JobConfig(name="mine", checks=(check,), **config))
    assert checks.broken({"input": "x", "record": {}}, answer) == ""


def test_a_broken_answer_is_asked_again_and_then_given():
    model = Planted([GOOD.replace("20", "30"), GOOD.replace("20", "10"), GOOD])
    job = Job(config=portfolio("sum(weights) == 100", tries=3))
    (result,) = results(job, [ROW], None, model)
    assert (result.answer, result.withheld, result.tries) == (GOOD, "", 3)
    assert model.asked == [(None, 1), (1, 1), (2, 1)]


def test_an_answer_that_breaks_a_check_is_never_given():
    """Whatever a model writes, what is given keeps every check; the rest is withheld with its reason."""
    texts = [GOOD.replace("20", "30"), "", "not JSON", GOOD.replace("40", "41", 1)]
    for planted in (texts, texts[::-1], [texts[1]], [GOOD, texts[0]]):
        model = Planted(planted)
        given = results(Job(config=portfolio("sum(weights) == 100", tries=4)), [ROW, ROW], None, model)
        for result in given:
            assert (result.answer is None) == bool(result.withheld)
            assert result.answer in (None, GOOD)
            if not result.answer:
                assert any(
                    said in result.withheld for said in ("sum(weights) is", "cannot be read", "is empty")
                )


def test_only_broken_rows_are_asked_again():
    class ByInput(Planted):
        def replies(self, asks, grammars, *, seed=None):
            self.asked.append((seed, len(asks)))
            return [Reply(GOOD if seed or "good" in ask.text else "{}") for ask in asks]

    model = ByInput([])
    rows = [{"input": f"good {number}" if number % 2 else "bad", "record": {}} for number in range(6)]
    found = results(Job(config=portfolio(tries=2)), rows, None, model)
    assert [result.tries for result in found] == [2, 1, 2, 1, 2, 1]
    assert model.asked == [(None, 6), (1, 3)]


def test_an_answer_of_another_kind_that_breaks_a_check_is_withheld():
    config = JobConfig(
        name="mine", kind="answer", answer="{a}", checks=("numbers(output) == [] or 12 in output",), tries=2
    )
    row = {"input": "The term is 24 months, or 12 months.", "record": {}}
    (given,) = results(Job(config=config, verbatim=True), [row], None, Planted(["24 months", "12 months"]))
    (withheld,) = results(Job(config=config, verbatim=True), [row], None, Planted(["24 months"]))
    assert (given.answer["answer"], given.tries) == ("12 months", 2)
    assert withheld.answer is None
    assert "does not hold" in withheld.withheld


def test_a_text_that_was_cut_is_withheld():
    model = Planted(["It rose to"], ended=False)
    (result,) = results(Job(config=JobConfig(name="mine", kind="write", answer="{a}")), [ROW], None, model)
    assert (result.answer, result.withheld, result.tries) == (None, "the text has no end", 3)


def records(*weights: str, test: bool = False) -> list[Record]:
    name = "test.csv" if test else "learn.csv"
    return [
        Record(
            name, number, {"text": f"{name} client {number}", "cap": "45", "Max each": "40", "weights": text}
        )
        for number, text in enumerate(weights, 1)
    ]


def test_examples_that_break_a_check_are_left_out_and_told():
    bad, unreadable = GOOD.replace("20", "30"), "{}"
    sides = Sides(portfolio("sum(weights) == 100", "all(w <= record['Max each'] for w in weights)"))
    sides.add(records(*[GOOD] * 10, bad, unreadable), test=False)
    sides.add(records(GOOD, bad, test=True), test=True)
    found = divide(sides, seed=1)
    assert len(found.learn) + len(found.validation) == 10
    assert {(reject.row, reject.reason) for reject in found.rejects} == {
        (11, "breaks_check"),
        (12, "not_of_the_schema"),
    }
    assert "sum(weights) is 110" in found.rejects[0].detail
    assert len(found.test) == 2
    notes = {note.kind: note for note in found.notes}
    assert (notes["breaks_check"].count, notes["breaks_check"].rows) == (1, ("learn.csv:11",))
    assert notes["test_breaks_check"].rows == ("test.csv:2",)


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("sum(weights) == 1", "'sum.weights. == 1' holds for none of the 10 examples"),
        ("sum(weights) == limit", "'limit' is not known"),
        ("weights['gold'] == 0", "holds for none of the 10 examples: there is no 'gold'; there are equities"),
        ("cap == '45'", "45 is a number, '45' is a text"),
    ],
)
def test_a_check_that_cannot_hold_is_told_before_training(check, said):
    def divided():
        sides = Sides(portfolio("all(w <= 100)", check))
        sides.add(records(*[GOOD] * 10), test=False)
        divide(sides, seed=1)

    with pytest.raises(RecipeError, match=said):
        divided()


def test_the_schema_is_kept_as_a_table(tmp_path):
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA))
    (tmp_path / "rows.jsonl").write_text(
        "\n".join(json.dumps({"text": f"client {number}", "weights": GOOD}) for number in range(20))
    )
    config = portfolio(examples=(str(tmp_path / "rows.jsonl"),)).model_copy(update={"json_schema": str(file)})
    examples((config,), settings=Settings(""), inputs={}, seed=1, out=tmp_path, progress=SilentProgress())
    file.unlink()
    assert Checks(read_job(tmp_path / "portfolio").config).schema == SCHEMA
