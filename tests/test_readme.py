"""The README lists every room of src, and its recipe is one that loads."""

from pathlib import Path

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
