"""The README's list of rooms is what the rooms say of themselves."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "tinsmith"


def first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]


def test_every_room_and_top_module_is_listed_by_its_own_first_line():
    rooms = {
        str(path.parent.relative_to(SOURCES)): path
        for path in SOURCES.rglob("__init__.py")
        if path.parent != SOURCES
    }
    modules = {path.name: path for path in SOURCES.glob("*.py") if path.name != "__init__.py"}
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    listed = lines[lines.index("    src/tinsmith/") + 1 :]
    listed = [line.split(maxsplit=1) for line in listed[: listed.index("")]]
    assert listed == [[name, first_line(path)] for name, path in sorted((rooms | modules).items())]
