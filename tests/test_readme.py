"""What the README says of rooms, versions, assets and figures is so, and its recipe is one that loads."""

import re
import statistics
import tomllib
from pathlib import Path

import pytest

from tinsmith.base.assets import KNOWN, Part
from tinsmith.base.files import read_json
from tinsmith.recipe.toml import load_recipe

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "tinsmith"


def block_after(lines: list[str], first: str) -> list[str]:
    """Return the indented block that begins with the line `first`, blank lines inside it included."""
    start = lines.index(first)
    end = next(n for n in range(start, len(lines)) if lines[n] and not lines[n].startswith("    "))
    return [line.removeprefix("    ") for line in lines[start:end]]


def test_every_room_is_listed():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    listed = [line.split(maxsplit=1) for line in block_after(lines, "    src/tinsmith/")[1:] if line]
    assert [name for name, _ in listed] == sorted(path.parent.name for path in SOURCES.glob("*/__init__.py"))
    assert all(purpose for _, purpose in listed)


def test_the_recipe_loads(tmp_path):
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    path = tmp_path / "recipe.toml"
    path.write_text("\n".join(block_after(lines, '    name = "mine"')), encoding="utf-8")
    recipe = load_recipe(path)
    assert (recipe.model.base, recipe.train.trainable, recipe.tasks[0].name) == (
        "smollm2-135m",
        "lora",
        "category",
    )


def test_the_draw_of_models_trained_alike_stands_beside_the_headline():
    """Wherever ours is called better than an untrained rival, the reader sees what equal minutes of training gave."""
    rows = read_json(ROOT / "benchmarks" / "results" / "fair.json")["comparisons"]
    (fair,) = [row for row in rows if (row["metric"], row["b"]) == ("bits_per_byte", "gemma-3-270m-trained")]
    assert fair["low"] < 0 < fair["high"]
    result = (ROOT / "README.md").read_text(encoding="utf-8").partition("## The result")[2].partition("##")[0]
    draw = "the two draw: {difference:.3f} apart ({low:.3f} to {high:.3f}).".format(**fair)
    assert result.index("than Gemma by") < result.index(draw) < result.index("than Gemma by") + 250
    shown = (
        (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8").partition("### What the demo shows")[2]
    )
    turned = "{:.3f} ({:.3f} to {:.3f})".format(-fair["difference"], -fair["high"], -fair["low"])
    assert turned in shown.partition("\n### ")[0]


def test_the_python_versions_are_those_of_the_package():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (named,) = re.findall(r"Both need Python (3\.\d+) or (3\.\d+)", readme)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    after = f"3.{int(named[1].partition('.')[2]) + 1}"
    assert project["requires-python"] == f">={named[0]},<{after}"


def test_the_demo_fetches_packages_only():
    """No account and no model hub: models and documents of the demo are files of published packages."""
    recipe = load_recipe(ROOT / "recipes" / "licences.toml")
    used = {recipe.model.base, *recipe.evaluate.rivals, *recipe.ingest.sources}
    assert used == {"smollm2-135m", "gemma-3-270m", "licence-agreements"}
    for name in used:
        assert KNOWN[name].parts
        assert all(isinstance(part, Part) and part.package and part.version for part in KNOWN[name].parts)


def rows_of(text: str) -> dict[str, list[str]]:
    """Return the cells behind the first of each row of a table, by the first without asides."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {re.sub(r" \(.*\)", "", first.replace("*", "")): row for first, *row in rows}


def result_section() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8").partition("## The result")[2].partition("## ")[0]


def test_the_figures_are_those_of_the_evidence_page():
    """The README repeats figures of the evidence page: a new run changes both pages or neither."""
    evidence = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    shown = re.findall(r"-?\d\.\d{3} \(-?\d\.\d{3} to \d\.\d{3}\)", result_section())
    assert len(shown) == 4
    assert all(figure in evidence for figure in shown)
    ours, linear, _, gemma = rows_of(result_section())["category of a licence, right of 100"]
    job = rows_of(evidence.partition("## The demo")[2].partition("The documents, ")[0])
    assert job["ours, 4 bits"][0] == ours
    assert job["TF-IDF with logistic regression"][0].partition(" ")[0] == linear.strip("*")
    assert job["Gemma-3-270M, without and with 3 examples"][0].partition(",")[0] == gemma
    bits = rows_of(evidence.partition("The documents, ")[2].partition("### ")[0])
    for name in ("ours", "SmolLM2-135M, its base", "Gemma-3-270M, twice its size"):
        assert bits[name][0].partition(" ")[0] in result_section()


@pytest.mark.parametrize(
    ("job", "row", "headline"),
    [
        ("stance", "stance of FOMC sentences, weighted F1", "job_weighted_f1:stance"),
        ("clauses", "clause of a contract, one of 37, right of 100", "job_accuracy:clauses"),
    ],
)
def test_the_figures_of_jobs_are_those_that_were_measured(job, row, headline):
    metrics = read_json(ROOT / "benchmarks" / "results" / f"jobs-{job}.json")["metrics"]
    ours, linear, gpt_4, gemma = rows_of(result_section())[row]

    def measured(*subjects: str) -> list[str]:
        """Return the mean over seeds of each subject's headline, as the README writes it."""
        means = [
            statistics.mean(
                found["value"]
                for one in metrics
                for found in one["metrics"]
                if (found["subject"], found["metric"]) == (subject, headline)
            )
            for subject in subjects
        ]
        return [f"{mean:.3f}" if "f1" in headline else f"{100 * mean:.0f}" for mean in means]

    assert [ours.split(" ")[0].strip("*"), linear.strip("*")] == measured("trained-4bit", "tfidf")
    assert gemma == max(measured("gemma-3-270m", "gemma-3-270m-3-shot"), key=float)
    if gpt_4 != "–":
        assert [gpt_4] == measured("gpt-4")


def test_what_is_found_of_personal_data_is_the_figure_on_unseen_templates():
    page = (ROOT / "docs" / "curation.md").read_text(encoding="utf-8").partition("### Personal data")[2]
    unseen = {name: float(row[0]) for name, row in rows_of(page).items() if row[0].startswith("0.")}
    ours, presidio = unseen["rules and spaCy's small model"], unseen["presidio-analyzer with the same model"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"F1 {ours:.2f} on unseen templates (presidio-analyzer {presidio:.2f})" in readme
