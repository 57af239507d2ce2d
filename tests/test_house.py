"""The house keeps what it promises: shape of the code, language of the pages. See house.py for how each is measured."""

import ast
import re
import tomllib

import pytest

import house

LIMIT = 40


def names(offenders: list[str]) -> str:
    more = f"\n  and {len(offenders) - LIMIT} more" if len(offenders) > LIMIT else ""
    return f"{len(offenders)}:\n  " + "\n  ".join(offenders[:LIMIT]) + more


def none_of(offenders: list[str]) -> None:
    assert not offenders, names(offenders)


def test_print_the_figures():
    print()
    house.main()


# Tests


def test_tests_import_extras_behind_a_skip_alone():
    """An extra that is not installed skips the tests that need it; an import at the top would fail them all."""
    project = tomllib.loads((house.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [name for extra in project["optional-dependencies"].values() for name in extra]
    packages = {re.split(r"[^\w-]", name)[0].replace("-", "_") for name in extras} - {"pytest"}
    assert {"ray", "spacy", "lm_eval", "hypothesis", "openai", "rapidocr"} <= packages
    none_of(
        [
            f"{path.name}:{node.lineno}"
            for path in sorted((house.ROOT / "tests").rglob("*.py"))
            if path.name.startswith("test_") or path.name == "conftest.py"
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
            if (name or "").partition(".")[0] in packages
        ]
    )


# Code


def test_no_circle_of_imports():
    none_of(house.import_circles())


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that writes a module of a small package, which house then measures."""
    sources = tmp_path / "src" / "tinsmith"
    monkeypatch.setattr(house, "ROOT", tmp_path)
    monkeypatch.setattr(house, "SOURCES", sources)

    def write(name: str, text: str) -> None:
        path = sources / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    write("__init__.py", '"""A package."""\n')
    return write


def test_a_circle_through_a_lazy_import_is_found(package):
    package("a.py", "from tinsmith import b\n")
    package("b.py", "def late():\n    from tinsmith.a import something\n")
    package("c.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import tinsmith.d\n")
    package("d.py", "import tinsmith.c\n")
    assert house.import_circles() == ["tinsmith.a <-> tinsmith.b"]


def test_faults_of_shape_are_found(package):
    names = ", ".join("abcdefgh")
    package(
        "evaluate/rows.py", f"def crowded({names}, *, i): ...\nclass A:\n    def full(self, {names}): ...\n"
    )
    package(
        "report/names.py",
        "def f(row: dict[str, Any], metric: str):\n"
        '    return metric.startswith("loss"), row["name"].partition(":"), row["name"].split(",")\n',
    )
    assert house.crowded_functions() == ["src/tinsmith/evaluate/rows.py:1 crowded: 9 parameters"]
    assert house.loose_dictionaries() == ["src/tinsmith/report/names.py:1"]
    assert [found.split()[-1] for found in house.metric_name_tests()] == [
        "metric.startswith('loss')",
        "row['name'].partition(':')",
    ]
    assert len(house.unclear_first_lines()) == 2


def test_private_words_are_found(package):
    package(
        "words.py",
        "# It foretells, bears and begins anew.\n# There is no file; it is no longer here; this is no rule.",
    )
    assert [found.split("'")[1] for found in house.private_words(house.source_texts())] == [
        "foretells",
        "bears",
        "anew",
        "is no rule",
    ]


def test_rows_are_typed():
    found = house.loose_dictionaries()
    assert len(found) < house.MAX_ANY, names(found)


def test_no_metric_name_is_taken_apart():
    none_of(house.metric_name_tests())


def test_functions_take_few_parameters():
    none_of(house.crowded_functions())


def test_files_fit_in_one_sitting():
    none_of(
        [f"{file} {lines}" for file, lines in house.file_lengths().items() if lines > house.MAX_FILE_LINES]
    )


def test_functions_fit_on_a_screen():
    lengths = house.function_lengths()
    none_of(
        [f"{function} {lines}" for function, lines in lengths.items() if lines > house.MAX_FUNCTION_LINES]
    )


def test_every_module_says_in_one_line_what_it_is_for():
    none_of(house.unclear_first_lines())


def test_sources_use_plain_words():
    none_of(house.private_words(house.source_texts()))


# Prose


@pytest.mark.parametrize("page", house.PAGES, ids=house.place)
def test_sentences_are_short(page):
    lengths = house.sentence_lengths(page)
    longest = sorted(lengths, key=lambda sentence: -lengths[sentence])
    found = house.percentile(list(lengths.values()), 0.9)
    assert found <= house.MAX_WORDS, f"90th percentile {found} words; {names(longest)}"


@pytest.mark.parametrize("page", house.PAGES, ids=house.place)
def test_one_sentence_a_line(page):
    none_of(house.broken_lines(page))


def test_pages_use_plain_words():
    none_of(house.private_words(house.PAGES))


def test_the_readme_is_short():
    size = (house.ROOT / "README.md").stat().st_size
    assert size <= house.MAX_README_BYTES, f"{size} bytes"


def test_links_lead_somewhere():
    none_of(house.broken_links())


def test_what_counts_as_prose(tmp_path, monkeypatch):
    monkeypatch.setattr(house, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# A heading. Two.\n\nOne sentence.\nTwo here. And more.\nThis one\nruns on.\n\n"
        "| a table. | Not read. |\n\n    code. Not read.\n\n```\nNor this. No.\n```\n\n"
        "- An item\n- Another, from e.g. Here\n"
    )
    assert [number for number, _ in house.paragraphs(page)] == [3, 4, 5, 6, 16, 17]
    found = [line.split(" ", 1)[1] for line in house.broken_lines(page)]
    assert found == ["several sentences: Two here. And more.", "runs on: This one"]
    assert house.words("See [the page](docs/a_long-address.md), `two words` and 3 - more.") == 7
