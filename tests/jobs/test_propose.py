"""A look at the examples finds text, label and fields, and writes a recipe that builds as it stands."""

import csv
import random

import pytest

from tinsmith.base.errors import TinsmithError
from tinsmith.jobs.propose import Wanted, propose
from tinsmith.recipe.toml import load_recipe

WORDS = "the cat sat on mat today markets fell after report rose in spring".split()  # noqa: SIM905


@pytest.fixture
def init(tmp_path):
    """Return a function that writes rows and proposes a recipe: the job, what was found, and the recipe's text."""
    draw = random.Random(1)

    def run(kind, columns, count=120, **options):
        rows = [{name: make(number, draw) for name, make in columns.items()} for number in range(count)]
        with (tmp_path / "rows.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(columns))
            writer.writeheader()
            writer.writerows(rows)
        path, proposal = propose(tmp_path / "My job!", Wanted(kind, str(tmp_path / "rows.csv"), **options))
        recipe = load_recipe(path)
        return recipe.jobs[0], proposal, path.read_text()

    return run


def text(words=8):
    return lambda number, draw: f"{' '.join(draw.choices(WORDS, k=words))} {number}"


def one_of(*values):
    return lambda number, draw: draw.choice(values)


def number_of(number, draw):
    return number


def test_text_and_label_are_found_and_what_was_found_is_said(init):
    job, proposal, written = init(
        "classify",
        {
            "id": number_of,
            "year": one_of(*range(1990, 2020)),
            "text": text(),
            "stance": one_of("hawk", "dove"),
        },
    )
    assert (job.name, job.input, job.answer, job.question) == ("my_job", "{text}", "{stance}", "Stance:")
    assert proposal.found[0] == "120 records with the columns id, year, text, stance"
    assert "2 labels in stance: " in proposal.found[1]
    assert '# group = "{year}"' in written
    assert any("`group` is {year}" in warning for warning in proposal.warnings)
    assert len(written.splitlines()) < 30


def test_all_columns_of_texts_are_read_and_what_was_written_afterwards_is_not(init):
    job, _, _ = init(
        "classify",
        {"premise": text(9), "hypothesis": text(4), "label": one_of("yes", "no"), "rationale": text(20)}
        | {"date written": text(3)},
    )
    assert job.input == "hypothesis: {hypothesis}\npremise: {premise}"


def test_names_that_templates_cannot_write_are_written_another_way(init):
    job, _, _ = init("classify", {"Sr. No.": number_of, "Text: full": text(), "Is it ok?": one_of("a", "b")})
    assert (job.input, job.answer, job.question) == ("{Text_ full}", "{Is it ok?}", "Is it ok?")


def test_of_two_labels_a_person_chooses(init):
    columns = {"text": text(), "topic": one_of("a", "b", "c"), "mood": one_of("good", "bad")}
    with pytest.raises(TinsmithError, match=r"2 columns may hold the label: mood \(2 values.*topic") as error:
        init("classify", columns)
    assert "--label" in str(error.value)
    job, _, _ = init("classify", columns, label="topic")
    assert job.answer == "{topic}"


def test_several_labels_in_a_cell_are_seen(init):
    job, proposal, _ = init("classify", {"text": text(), "tags": one_of("a;b", "b", "a;c", "c", "")})
    assert job.several
    assert "3 labels in tags" in proposal.found[1]


def test_fields_are_the_columns_that_the_text_holds(init):
    def contract(number, draw):
        return f"Agreement of Foo{number} Inc under the law of Ohio, 1 May"

    job, proposal, _ = init(
        "extract",
        {"file": text(1), "text": contract, "party": lambda number, _: f"Foo{number} Inc"}
        | {"Governing Law": one_of("Ohio", ""), "amount": one_of("", "")},
    )
    assert isinstance(job.json_schema, dict)
    assert job.json_schema["properties"] == {
        "party": {"type": "string", "title": "Party"},
        "Governing Law": {"type": "string", "title": "Governing Law"},
    }
    assert "party (100% verbatim)" in proposal.found[1]


def test_questions_and_passages_are_found_by_name(init):
    job, _, _ = init("answer", {"passage": text(30), "question": text(3), "answer": one_of("cat", "mat", "")})
    assert (job.input, job.question, job.answer) == ("{passage}", "{question}", "{answer}")


def test_the_longest_text_is_written_from_the_others(init):
    job, _, _ = init("write", {"region": one_of(*"NSEW"), "sales": number_of, "text": text(12)})
    assert (job.input, job.answer) == ("region: {region}\nsales: {sales}", "{text}")


def test_what_the_build_would_refuse_is_refused_and_nothing_is_written(init, tmp_path):
    for columns, options, said in (
        ({"text": text(), "y": one_of("a")}, {"label": "y"}, "one label, 'a'"),
        ({"text": text(), "y": one_of("a", "b")}, {"label": "z"}, r"no column 'z'\n.*use one of text, y"),
        ({"text": text(), "y": one_of("a", "b")}, {"input": "{body}"}, r"did you mean|uses \{body\}"),
        ({"text": text(), "y": one_of("a", "b")}, {"test": "none.csv"}, "none.csv"),
    ):
        with pytest.raises(TinsmithError, match=said):
            init("classify", columns, **options)
    with pytest.raises(TinsmithError, match="too few to learn from"):
        init("classify", {"text": text(), "y": one_of("a", "b")}, count=4)
    assert not (tmp_path / "My job!").exists()


def test_documents_may_be_read_before_the_job(init, tmp_path):
    (tmp_path / "docs").mkdir()
    job, _, written = init(
        "classify", {"text": text(), "y": one_of("a", "b")}, documents=str(tmp_path / "docs")
    )
    assert job.start == "documents"
    assert f'sources = ["{tmp_path / "docs"}"]' in written


@pytest.mark.parametrize("kind", ["classify", "write"])
def test_what_is_offered_in_comments_loads_once_it_is_uncommented(init, tmp_path, kind):
    columns = {"text": text(), "kind": one_of("a", "b"), "customer": one_of(*range(40))}
    _, proposal, written = init(kind, columns)
    assert proposal.offers
    lines = [
        line.removeprefix("# ")
        if any(line.startswith(f"# {offer.split(' =')[0]} =") for offer in proposal.offers)
        else line
        for line in written.splitlines()
    ]
    assert lines != written.splitlines()
    path = tmp_path / "offered.toml"
    path.write_text("\n".join(lines))
    load_recipe(path)
