"""The driver of `make prove` that changes code: what it changes, what it leaves alone, what it calls a survivor."""

import subprocess
import sys

import mutate
from mutants import draw, mutants_of

SOURCE = '''
"""A docstring of the module."""
LIMIT: int = 3
def judge(rows: list[int], strict: bool = True) -> "str":
    """Return a word."""
    if strict and not rows:
        raise ValueError("no rows", 1)
    print("rows", 2)
    total = 0
    for row in rows:
        if row < LIMIT:  # < is a comment too
            continue
        total += row
    assert total
    note = f"{total + 1} rows"
    return "many" if total == len(rows) else describe(note, low="a few words", unit=None)
'''


def test_what_is_changed_and_what_is_left_alone(tmp_path):
    (tmp_path / "rows.py").write_text(SOURCE)
    assert [(found.number, found.change) for found in mutants_of(tmp_path, "rows.py")] == [
        (3, "3 -> 4"),
        (4, "True -> False"),
        (6, "and -> or"),
        (6, "not rows -> (rows)"),
        (7, 'raise ValueError("no rows", 1) -> pass'),
        (9, "0 -> 1"),
        (11, "< -> <="),
        (12, "continue -> break"),
        (13, "+= -> ="),
        (
            16,
            'return "many" if total == len(rows) else describe(note, low="a few words", unit=None) -> return None',
        ),
        (16, "== -> !="),
        (16, "\"many\" -> 'XXmanyXX'"),
        (16, 'low="a few words", ->'),
        (16, ", unit=None ->"),
    ]


def test_a_change_stands_where_it_says(tmp_path):
    (tmp_path / "rows.py").write_text("total = (1  # é <\n         < 2)\n")
    changed = {found.apply((tmp_path / "rows.py").read_bytes()) for found in mutants_of(tmp_path, "rows.py")}
    assert "total = (1  # é <\n         <= 2)\n".encode() in changed


def test_a_sample_stays_when_other_lines_move(tmp_path):
    (tmp_path / "rows.py").write_text(SOURCE)
    before = [found.key for found in draw(tmp_path, mutants_of(tmp_path, "rows.py"), 7, seed=1)]
    (tmp_path / "rows.py").write_text("\n\nFIRST = 1\n" + SOURCE)
    after = [found.key for found in draw(tmp_path, mutants_of(tmp_path, "rows.py"), 8, seed=1)]
    assert set(before) - set(after) <= {before[-1]}


def test_listed_mutants_are_in_the_code_and_have_a_reason():
    listed = mutate.equivalents()
    assert not mutate.stale(listed, mutate.all_mutants())
    assert all(len(reason.split()) > 2 for reason in listed.values())
    assert mutate.stale([("src/tinsmith/train/loop.py", "fit", "gone", "1 -> 2")], {"train": []})


def test_survivors_of_a_small_project(tmp_path):
    room = tmp_path / "project" / "src" / "tinsmith" / "evidence"
    tests = tmp_path / "project" / "tests"
    room.mkdir(parents=True)
    tests.mkdir()
    for package in (room, room.parent):
        (package / "__init__.py").touch()
    (room / "rows.py").write_text(
        "def held(a):\n    return a + 1\n\ndef loose(a):\n    return a * 1\n\ndef child(a):\n    return a - 1\n\n"
        "def early(a):\n    return a**1\n"
    )
    (tests / "mutation_coverage.py").write_text((mutate.ROOT / "tests" / "mutation_coverage.py").read_text())
    (tests / "test_rows.py").write_text(
        "import subprocess, sys\nimport pytest\nfrom tinsmith.evidence.rows import early, held, loose\n\n"
        "@pytest.fixture(scope='module')\ndef found():\n    return held(1)\n\n"
        "@pytest.mark.parametrize('found', [early(1)])\ndef test_of_import(found):\n    assert found == 1\n\n"
        "def test_first(found):\n    assert loose(0) == 0\n\n"
        "def test_second(found):\n    assert found == 2\n\n"
        "def test_third():\n    command = 'from tinsmith.evidence.rows import child; print(child(1))'\n"
        "    assert subprocess.check_output([sys.executable, '-c', command]) == b'0\\n'\n"
    )
    (tests.parent / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['tests']\n")
    (tests / "equivalent_mutants.toml").write_text(
        '[[mutant]]\nfile = "evidence/rows.py"\nfunction = "loose"\ncode = "return a * 1"\n'
        'change = "* -> /"\nreason = "the same for one"\n'
    )
    script = (
        "import sys, mutate; from pathlib import Path; mutate.ROOT = Path(sys.argv.pop(1)); "
        "mutate.EQUIVALENT = mutate.ROOT / 'tests' / 'equivalent_mutants.toml'; "
        "mutate.HEAVY, mutate.ROOMS, mutate.TESTS = ('pytest',), {'evidence': ('evidence',)}, ('test_rows.py',); "
        "sys.exit(mutate.main())"
    )
    command = [
        sys.executable,
        "-c",
        script,
        tests.parent,
        "--processes",
        "1",
        "--sample",
        "4",
        "--seed",
        "294",
    ]
    environment = {
        "PYTHONPATH": str(mutate.ROOT / "tests"),
        "PATH": "",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    survivors = [line.split(": ", 1)[1] for line in result.stdout.splitlines() if line.startswith("survived")]
    assert survivors == ["src/tinsmith/evidence/rows.py:5 loose: 1 -> 2"], result.stdout + result.stderr
    assert "evidence: 1 of 4 survived, drawn from 12; 0 noticed by running out of time" in result.stdout
    assert result.returncode == 1
