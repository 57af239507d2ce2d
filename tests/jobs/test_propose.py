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

    def run(kind, columns, count=120, name="My job!", identify=None, **options):
        rows = [{name: make(number, draw) for name, make in columns.items()} for number in range(count)]
        with (tmp_path / "rows.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(columns))
            writer.writeheader()
            writer.writerows(rows)
        path, proposal = propose(
            tmp_path / name, Wanted(kind, str(tmp_path / "rows.csv"), **options), identify
        )
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
    assert any("consider {year} as `group`" in warning for warning in proposal.warnings)
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


def test_labels_parted_by_commas_are_listed_and_read_apart(init):
    job, proposal, _ = init(
        "classify", {"text": text(), "tags": one_of("hr, it", "it", "hr", "law", "law, it, hr", "it,hr")}
    )
    assert (job.several, set(job.labels)) == (True, {"hr", "it", "law"})
    assert any(found.startswith("3 labels in tags") for found in proposal.found)
    job, _, _ = init(
        "classify", {"text": text(), "city": one_of("Bonn, Rhein", "Ulm, Donau", "Hof, Saale")}, name="2"
    )
    assert not job.several


def test_columns_of_yes_and_no_are_the_labels_of_a_text(init):
    columns = {"id": number_of, "text": text(), "hr": one_of(0, 1), "it": one_of(0, 1)}
    job, proposal, _ = init("classify", columns)
    assert (job.answer, job.several, job.input) == ("{hr}; {it}", True, "{text}")
    assert "2 labels in hr; it: " in "; ".join(proposal.found)


def test_labels_are_neither_their_numbers_nor_the_things_that_rows_are_of(init):
    names = {number: f"name {number}" for number in range(5)}
    columns = {
        "text": text(),
        "label": lambda number, _: number % 5,
        "label_text": lambda number, _: names[number % 5],
    }
    job, _, _ = init("classify", columns | {"meeting": lambda number, _: f"m{number // 5}"})
    assert (job.answer, job.group) == ("{label_text}", "{meeting}")


def test_types_of_fields_are_those_of_their_values(init):
    def invoice(number, draw):
        return {
            "total": f"{1000 + number:,}.50",
            "price": f"EUR {number}.20",
            "date": f"{number % 28 + 1} May 2024",
            "pieces": str(number % 7 + 2),
            "invoice_no": str(4000 + number),
        }

    rows = [invoice(number, None) for number in range(120)]
    columns = {name: lambda number, _, name=name: rows[number][name] for name in rows[0]}
    job, _, _ = init("extract", columns | {"text": lambda number, _: "; ".join(rows[number].values())})
    assert isinstance(job.json_schema, dict)
    kinds = {name: part.get("format", part["type"]) for name, part in job.json_schema["properties"].items()}
    assert kinds == {
        "total": "number",
        "price": "money",
        "date": "date",
        "pieces": "integer",
        "invoice_no": "string",
    }


def test_values_in_another_spelling_than_the_text_are_told_with_one(init):
    columns = {
        "text": lambda number, _: f"Paid by Foo{number} on 1 May 2024",
        "payer": lambda number, _: f"Foo{number}",
    }
    _, proposal, _ = init("extract", columns | {"date": one_of("2024-05-01")})
    assert "date (0%, such as 2024-05-01)" in "; ".join(proposal.warnings)


def test_what_a_figure_of_a_lopsided_or_small_set_is_worth_is_said(init):
    _, proposal, _ = init("classify", {"text": text(), "y": one_of(*["no"] * 19, "yes")})
    said = "; ".join(proposal.warnings)
    assert "of the examples are 'no': always answering it is right as often" in said
    assert "a test of 24 rows is too small" in said
    assert any("80% are right, the figure is known to within 16 points" in found for found in proposal.found)
    _, proposal, _ = init("classify", {"text": text(), "y": one_of("no", "yes")}, count=600, name="2")
    assert not proposal.warnings


def test_another_language_than_that_of_the_base_is_told(init):
    columns = {"text": text(), "y": one_of("a", "b")}
    _, proposal, _ = init("classify", columns, count=600, identify=lambda text: ("de", 1.0))
    [warning] = proposal.warnings
    assert warning.startswith(
        "the texts look like German, and the base smollm2-135m was trained almost only on English"
    )
    # Lists and forms look like rare languages.
    _, proposal, _ = init("classify", columns, count=600, identify=lambda text: ("vec", 1.0), name="2")
    assert not proposal.warnings


def test_long_inputs_get_a_longer_context_where_that_is_affordable(init):
    long = {"text": text(700), "y": one_of("a", "b")}
    job, proposal, _ = init("classify", long, count=60)
    assert job.context == 1024
    assert "`context` is 1024: learning and asking take up to 2 times as long" in "; ".join(proposal.warnings)
    job, proposal, written = init("classify", long, count=300, name="2")
    assert job.context == 512
    assert "100% of the inputs are longer than 512 tokens: their start is kept" in "; ".join(
        proposal.warnings
    )
    assert '# keep = "end"' in written
    assert "# context = 1024" in written


def test_a_group_is_taken_that_both_files_have_and_shared_ones_are_told(init, tmp_path):
    columns = {"text": text(), "y": one_of("a", "b"), "case": lambda number, _: f"c{number // 4}"}
    test = tmp_path / "test.csv"
    test.write_text("text,y,case\n" + "".join(f"new text {n},a,c{n}\n" for n in range(25, 35)))
    job, proposal, _ = init("classify", columns, test=str(test))
    assert job.group == "{case}"
    assert "5 of 10 rows of the test belong to 5 groups {case}" in "; ".join(proposal.warnings)
    test.write_text("text,y\n" + "".join(f"new text {n},a\n" for n in range(10)))
    job, _, _ = init("classify", columns, test=str(test), name="2")
    assert job.group == ""


def test_a_first_line_that_may_be_data_is_told(init):
    _, proposal, _ = init("classify", {"I am happy": text(), "good": one_of("good", "bad")})
    assert "'good' is also a value in its column" in proposal.warnings[0]


def test_numbers_of_written_texts_are_held_to_the_input_if_all_examples_are(init):
    columns = {"id": number_of, "sold": lambda number, _: 3 * number}
    job, _, _ = init(
        "write", columns | {"report": lambda number, _: f"We have sold {3 * number} of them this week."}
    )
    assert (job.checks, job.input) == (("numbers_in(output, input)",), "sold: {sold}")
    job, _, _ = init(
        "write", columns | {"report": lambda number, _: f"We sold {7 * number + 1} of them now."}, name="2"
    )
    assert job.checks == ()


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
    assert "party (string, 100% verbatim)" in proposal.found[1]


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
