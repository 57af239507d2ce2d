"""The package exports five names, and the pages use no others; importing it sets how threads wait."""

import os
import re
import subprocess
import sys

import pytest

import tinsmith
from helpers import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_public_names_are_these():
    assert tinsmith.__all__ == ["Recipe", "build", "load_recipe", "plan", "verify"]
    for name in tinsmith.__all__:
        exported = getattr(tinsmith, name)
        assert exported.__name__ == name
        assert exported.__module__.startswith("tinsmith.")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = tinsmith.nonsense


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_import_public_names_only(page):
    imported = re.findall(r"^\s*from tinsmith import (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    names = {name.strip() for line in imported for name in line.split(",")}
    names |= set(re.findall(r"\btinsmith\.(\w+)\(", page.read_text(encoding="utf-8")))
    assert names <= set(tinsmith.__all__)


@pytest.mark.parametrize(("chosen", "spins"), [(None, "20000"), ("0", "0")])
def test_threads_spin_briefly_unless_the_person_chose(chosen, spins):
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    environment |= {"GOMP_SPINCOUNT": chosen} if chosen else {}
    code = "import tinsmith, os, sys; print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == [spins, "False"]
