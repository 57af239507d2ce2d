"""The package exports five names, and the pages use no others."""

import re

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
