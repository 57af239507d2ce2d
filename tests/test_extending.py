"""The examples of docs/extending.md work as written, and each touches no more files than the page says."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^([^\n]+):\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WHERE = re.compile(
    r"(?P<new>New file|In) `(?P<path>[^`]+)`(?:, (?P<how>after|before|instead of) `(?P<anchor>.+)`)?"
)
MOST = {
    "a rival": 0,
    "a filter": 2,
    "an objective": 2,
    "a metric": 3,
    "a refine step": 2,
    "a baseline": 2,
}


@dataclass
class Edit:
    path: str
    text: str
    how: str | None = None  # None: a new file
    anchor: str = ""

    def apply(self, folder: Path) -> None:
        """Write the new file, or put the text after, before or instead of the one line that begins with the anchor."""
        path = folder / self.path
        if self.how is None:
            assert not path.exists(), f"{self.path} is there already"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.text, encoding="utf-8")
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        found = [n for n, line in enumerate(lines) if line.strip().startswith(self.anchor)]
        assert len(found) == 1, f"{self.path} has {len(found)} lines that begin with: {self.anchor}"
        start = found[0] + (self.how == "after")
        lines[start : found[0] + (self.how != "before")] = [self.text]
        path.write_text("".join(lines), encoding="utf-8")


@dataclass
class Example:
    name: str
    edits: list[Edit] = field(default_factory=list)
    recipe: str = ""
    check: str = ""


def read_examples() -> list[Example]:
    """Return the page's sections, each with its blocks of code. An unknown introduction of a block is an error."""
    found = []
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        example = Example(title[0].lower() + title[1:])
        for before, code in BLOCK.findall(text):
            where = WHERE.fullmatch(before)
            if before == "Try it":
                example.check = code
            elif before == "In `recipe.toml`":
                example.recipe = code
            elif where and (where["new"] == "New file") == (where["how"] is None):
                example.edits.append(Edit(where["path"], code, where["how"], where["anchor"] or ""))
            else:
                raise AssertionError(f"a block of '{title}' says nothing of where it goes: {before}")
        assert text.count("\n```") == 2 * len(BLOCK.findall(text)), (
            f"a block of '{title}' has no line before it"
        )
        found.append(example)
    return found


EXAMPLES = read_examples()


def test_the_table_counts_every_example():
    listed = re.findall(r"^\| \[([^\]]+)\]\(#[\w-]+\) \| (\d+) \|$", PAGE, re.MULTILINE)
    assert [name for name, _ in listed] == [example.name for example in EXAMPLES]
    assert len({example.name for example in EXAMPLES}) == len(EXAMPLES)
    for (name, count), example in zip(listed, EXAMPLES, strict=True):
        assert int(count) == len({edit.path for edit in example.edits}), name
        assert int(count) <= MOST[name], name


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_works(example, tmp_path):
    copy = tmp_path / "src"
    shutil.copytree(
        ROOT / "src" / "tinsmith", copy / "tinsmith", ignore=shutil.ignore_patterns("__pycache__")
    )
    for edit in example.edits:
        edit.apply(copy / "tinsmith")
    (tmp_path / "recipe.toml").write_text(example.recipe, encoding="utf-8")
    (tmp_path / "check.py").write_text(example.check, encoding="utf-8")
    assert "assert" in example.check
    ran = subprocess.run(
        [sys.executable, "check.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr


def test_an_example_fails_without_its_edits(tmp_path):
    """The checks are sharp: what they assert is not so in the sources as they are."""
    for example in EXAMPLES:
        if not example.edits:
            continue
        (tmp_path / "recipe.toml").write_text(example.recipe, encoding="utf-8")
        (tmp_path / "check.py").write_text(example.check, encoding="utf-8")
        ran = subprocess.run(
            [sys.executable, "check.py"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
        )
        assert ran.returncode != 0, example.name
