"""The examples that the project makes itself: the same every time, right, and enough to learn and to be asked."""

import runpy
from collections import Counter

import pytest

from helpers import ROOT
from tinsmith.jobs.checks import Checks
from tinsmith.jobs.examples import Sides, divide
from tinsmith.jobs.records import read_records
from tinsmith.recipe.toml import load_recipe

NAMES = ("portfolio", "market_report")


def test_the_files_are_what_the_program_makes(tmp_path):
    runpy.run_path(str(ROOT / "recipes" / "make_examples.py"))["main"](tmp_path)
    for name in NAMES:
        made = (tmp_path / f"{name}.csv").read_bytes()
        assert made == (ROOT / "recipes" / "examples" / f"{name}.csv").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_every_example_keeps_the_recipes_checks(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    recipe = load_recipe(ROOT / "recipes" / f"{name}.toml")
    (job,) = recipe.jobs
    sides = Sides(job)
    for file in job.examples:
        sides.add(read_records(file), test=False)
    found = divide(sides, recipe.seed)
    assert (found.rejects, found.notes) == ([], [])
    assert len(found.learn) > 450
    assert len(found.test) > 80
    learnt = {row.group for row in (*found.learn, *found.validation)}
    assert not learnt & {row.group for row in found.test}
    # No answer is so common that it could be guessed, and other figures break the checks.
    assert max(Counter(row.answer for row in found.learn).values()) < len(found.learn) / 20
    checks = Checks(job)
    others = [
        checks.broken({"input": a.input, "record": a.record}, b.answer)
        for a, b in zip(found.learn, found.learn[1:])
    ]
    assert sum(map(bool, others)) > len(others) / 3
