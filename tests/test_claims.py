"""docs/claims.md has every part of README and docs, and each promise names a proof that is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from helpers import ROOT

CLAIMS = ROOT / "docs" / "claims.md"
ROW = re.compile(r"^\| (?P<promise>.+?) \| \[[^\]]+\]\((?P<where>[^)]+)\) \| (?P<proof>.+) \|$")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
BENCHMARK = re.compile(r"\[benchmark ([\w-]+)\]\(\.\./benchmarks/results/([\w-]+)\.md\)")
COMMAND = re.compile(r"`make (\w+)`")
RECIPE = re.compile(r"\[recipe (\w+)\]\(\.\./recipes/\1\.toml\)")
RECORD = re.compile(r"\[log\]\(log/[\w-]+\.md\)")
PAGES = (
    "README.md",
    *(
        f"docs/{name}.md"
        for name in ("evidence", "curation", "jobs", "training", "speed", "cluster", "bases")
    ),
)
PAGES += ("docs/extending.md", "docs/design.md", "docs/serving.md")
# Headings below which nothing is promised: what was not tried, and where one finds what.
NO_PROMISE = {"docs/cluster.md#what-was-not-tried", "docs/speed.md#what-is-left"}


def rows() -> list[re.Match[str]]:
    lines = CLAIMS.read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if line.startswith("| ") and line != "| promise | where | proof |"]
    found = [ROW.match(line) for line in table]
    assert all(found), [line for line, match in zip(table, found, strict=True) if match is None]
    return [match for match in found if match]


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@cache
def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_proof_is_there():
    """A test by file and name, a benchmark by its results page, a command, a recipe to run, or the log."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for row in rows():
        proof = row["proof"]
        for path, name in TEST.findall(proof):
            assert (ROOT / path).exists(), row[0]
            assert name in functions(path), row[0]
        for name, page in BENCHMARK.findall(proof):
            assert name == page, row[0]
            assert (ROOT / "benchmarks" / "results" / f"{page}.md").exists(), row[0]
        for target in COMMAND.findall(proof):
            assert f"\n{target}:" in makefile, row[0]
        rest = proof
        for kind in (TEST, BENCHMARK, COMMAND, RECIPE, RECORD):
            rest = kind.sub("", rest)
        assert rest.strip(", ") == "", f"names neither test, benchmark, command, recipe nor log: {rest}"


def test_every_promise_stands_once():
    promises = [(row["promise"], row["where"]) for row in rows()]
    assert len(promises) == len(set(promises))


@pytest.mark.parametrize("page", PAGES)
def test_every_part_of_a_page_has_its_promises(page):
    """Each part below `##` has a row that leads to it, and no row leads to a part that is gone."""
    headings = re.findall(r"^#{2,} (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    parts = re.findall(r"^## (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    link = f"../{page}" if page == "README.md" else Path(page).name
    places = {row["where"].partition("#")[2] for row in rows() if row["where"].partition("#")[0] == link}
    assert places - {""} <= {slug(heading) for heading in headings}
    missing = [
        part for part in parts if slug(part) not in places and f"{page}#{slug(part)}" not in NO_PROMISE
    ]
    assert missing == []
