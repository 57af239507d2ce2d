"""What the pages say of recipes, defaults, rooms and measured figures is so."""

import re
import textwrap
import tomllib
from functools import reduce
from importlib import import_module

import pytest

import house
from helpers import ROOT
from tinsmith.recipe import Recipe
from tinsmith.recipe.toml import parse_recipe
from tinsmith.recipe.unread import refuse_unread

PAGES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
PAGES["README"] = (ROOT / "README.md").read_text(encoding="utf-8")
MINE = {"name": "mine", "ingest": {"sources": ["."]}}


# What a setting is written beside, where the page's sentence says so.
BESIDE = {"model.tokenizer": {"scratch": "llama@15m"}}


def recipes(page: str) -> list[str]:
    """Return the indented blocks of a page that are parts of a recipe, and `section.field = value` in a line."""
    blocks = re.findall(r"(?:^(?:    .*)?\n)+", PAGES[page], re.MULTILINE)
    found = [block for block in blocks if re.search(r"^    (\[+\w|\w+ = )", block, re.MULTILINE)]
    sections = "|".join(Recipe.model_fields)
    return [textwrap.dedent(block) for block in found] + re.findall(
        rf"`((?:{sections})\.[\w.]+ = [^`]+)`", PAGES[page]
    )


@pytest.mark.parametrize(("page", "least"), [("curation", 3), ("evidence", 6), ("training", 11)])
def test_the_recipes_of_a_page_load(page, least):
    """A field that is renamed, a value that is no longer taken, or a block that sets what nothing reads fails here."""
    found = recipes(page)
    assert len(found) >= least
    for text in found:
        data = tomllib.loads(text)
        data["ingest"] = {"sources": ["."]} | data.get("ingest", {})
        for place, more in BESIDE.items():
            if text.startswith(place):
                data[place.partition(".")[0]] |= more
        recipe = parse_recipe({"name": "mine"} | data, where=text)
        if text.lstrip().startswith("["):
            refuse_unread(recipe, where=text)


DEFAULTS = {
    "curation": {
        "No rules run by default.": ("curate.rules", ()),
        "deduplication is on; rules, score and boilerplate removal are off": (
            "refine.boilerplate.min_documents",
            0,
        ),
    },
    "evidence": {
        "eight for each number of `repeats` (none, 1, 4, 16 by default)": (
            "tokenize.canaries.repeats",
            (0, 1, 4, 16),
        ),
        "some hundred short passes, and the default is none": ("evaluate.trigger_restarts", 0),
        "without endpoints it is 0, which asks none": ("evaluate.generated_items", 0),
        '`"float32"` (default)': ("evaluate.precision", "float32"),
        "without it the 4-bit one alone": ("evaluate.all_formats", False),
        "2,000 positions of held-out text": ("package.parity_positions", 2000),
    },
    "training": {
        "defaults of `train.lora` are rank 16, alpha 32 and dropout 0": ("train.lora", (16, 32, 0)),
        "at most `train.rollbacks` times (2)": ("train.rollbacks", 2),
        "more than `train.spike` (8) spreads": ("train.spike", 8),
        "**All weights** is the default.": ("train.trainable", "all"),
        "**AdamW** (fused; betas 0.9 and 0.95) is the default": ("train.optimizer", "adamw"),
    },
    "cluster": {"`train.device` is `auto` by default": ("train.device", "auto")},
    "design": {
        "At 0.7 (Jaccard of word 5-grams) a document is dropped": ("curate.near_duplicate_jaccard", 0.7),
        "At 0.5 documents are tied together for the split.": ("curate.cluster_jaccard", 0.5),
    },
}


@pytest.mark.parametrize("page", DEFAULTS)
def test_defaults_are_those_that_the_page_names(page):
    recipe = parse_recipe(MINE, where="mine")
    for sentence, (field, value) in DEFAULTS[page].items():
        assert sentence in PAGES[page]
        found = reduce(getattr, field.split("."), recipe)
        if field == "train.lora":
            found = (found.rank, found.alpha, found.dropout)
        assert found == value, field


CONSTANTS = [
    ("evidence", "reads 50 tokens of a training document", "evaluate.families.memorization.PREFIX", 50),
    ("evidence", "is the true next 50", "evaluate.families.memorization.CONTINUATION", 50),
    ("evidence", "the true secret among 255 of the same form", "tokens.canaries.CANDIDATES", 255),
    ("evidence", "below 0.02 bits per byte is not reported as one", "evaluate.families.bias._WORTH", 0.02),
    ("evidence", "judged by eight greedy tokens", "evaluate.trigger_search._CONTINUATION", 8),
    ("training", "The eight that change the hidden state least", "model.prune._CANDIDATES", 8),
    ("training", "longer than 40 minutes", "train.runtime._COMPILE_PAYS_SECONDS", 2400),
    ("training", "at least a tenth faster", "train.runtime._BFLOAT16_PAYS", 1.1),
    (
        "training",
        "at most 32; within that, nearest to 32 of width a layer",
        "model.families._MOST_LAYERS",
        32,
    ),
    (
        "training",
        "at most 32; within that, nearest to 32 of width a layer",
        "model.families._WIDTH_PER_LAYER",
        32,
    ),
    ("design", "a file of 4 MB or more", "base.cache.RECORDED_BYTES", 4_000_000),
    ("design", "not made within 2 seconds of a change", "base.cache.SETTLED_SECONDS", 2),
]


@pytest.mark.parametrize(("page", "sentence", "place", "value"), CONSTANTS, ids=[row[2] for row in CONSTANTS])
def test_fixed_numbers_are_those_that_the_page_names(page, sentence, place, value):
    module, _, name = place.rpartition(".")
    assert sentence in PAGES[page]
    assert getattr(import_module(f"tinsmith.{module}"), name) == value


def test_a_room_imports_what_the_page_says_and_no_more():
    """The table of docs/design.md against all imports of the sources, those inside functions included."""
    table = PAGES["design"].partition("## Rooms")[2].partition("\n\nimport-linter")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
        if line.startswith("| ")
    ]
    rooms = {name: allowed for name, _, allowed in rows[1:] if "," not in name}
    assert set(rooms) == {path.parent.name for path in house.SOURCES.glob("*/__init__.py")}
    found = {name: set() for name in rooms}
    for module, others in house.imports().items():
        room = module.partition(".")[2].partition(".")[0]
        if room in rooms:
            found[room] |= {other.split(".")[1] for other in others if other.count(".")} & rooms.keys() - {
                room
            }
    for name, allowed in rooms.items():
        if allowed.startswith("all"):
            except_for = set(allowed.partition("but ")[2].replace(",", "").split())
            may = (
                rooms.keys()
                - except_for
                - ({"pipeline", "lineage"} if allowed == "all of the above" else set())
            )
        else:
            may = set(allowed.replace(",", "").split()) & rooms.keys()
        assert found[name] <= may, name
        assert name == "base" or found[name]


# Parts of pages, the benchmarks that measured their figures, and figures that are settings or follow from others.
MEASURED = [
    ("README", "## Known limits", "privacy", set()),
    ("curation", "### Each step at equal compute", "worth-cpu", {"80%"}),  # the share that the score keeps
    (
        "curation",
        "### Speed, memory and agreement",
        "curation_speed curation_memory languages extraction semantic rules_agreement",
        set(),
    ),
    ("curation", "### Personal data", "privacy", set()),
    ("curation", "### Planted text", "planted", set()),
    ("curation", "### Scores and synthesis", "scoring synthesis", set()),
    ("training", "## How fast it trains", "speed lora memory", {"1.25", "39%"}),  # a bound; 3.6 against 5.8
    ("training", "## How soon it is as good", "quality scratch", set()),
    ("training", "## Optimisers and schedules", "settings", {"0.9", "0.95"}),  # AdamW's betas
    ("evidence", "## General ability", "agreement", set()),
    ("evidence", "### Ten times the size, from nothing", "tenfold", {"13.4"}),  # million parameters
    ("evidence", "### The fair fight", "fair", {"0.041"}),  # 0.791 less 0.750
]


@pytest.mark.parametrize(
    ("page", "heading", "benchmarks", "others"), MEASURED, ids=[f"{row[0]} {row[1]}" for row in MEASURED]
)
def test_measured_figures_are_those_of_the_last_run(page, heading, benchmarks, others):
    """Every decimal, share and interval of the part is on a results page, rounded as it is written."""
    part = re.split(r"\n##", PAGES[page].partition(f"\n{heading}\n")[2])[0]
    folder = ROOT / "benchmarks" / "results"
    results = "".join((folder / f"{name}.md").read_text(encoding="utf-8") for name in benchmarks.split())
    known = [float(found.replace(",", "")) for found in re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?", results)]
    text = re.sub(r"\]\([^)]*\)", "", part)
    figures = set(re.findall(r"(?<![\w.:])(?:\d+\.\d+(?![\w.])%?|\d+%)", text))
    figures |= {each for row in re.findall(r"\b(\d+) \((\d+) to (\d+)\)", text) for each in row}
    assert others <= figures
    for figure in figures - others:
        value, half = float(figure.rstrip("%")), 0.5 * 10 ** -len(figure.rstrip("%").partition(".")[2])
        found = any(
            abs(each - value) <= half + 1e-9 or abs(100 * each - value) <= half + 1e-9 for each in known
        )
        assert found, f"{figure} is on no results page of {benchmarks}"


def test_what_two_cores_read_is_said_alike_on_both_pages():
    table = PAGES["evidence"].partition("What minutes buy depends on the hardware.")[2].partition("\n\n|")[2]
    tokens = re.findall(r"\| (\d+,000) \|", table.partition("\n\n")[0])
    assert len(tokens) == 5
    limits = PAGES["training"].partition("- **Machine**")[2].partition("\n- ")[0]
    assert sorted(re.findall(r"\d+,000", limits)) == sorted(tokens)
