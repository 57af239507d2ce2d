"""What several tests need: the project's root, its smoke recipe, the command line, a machine without network."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "recipes" / "smoke.toml"


def tinsmith(*arguments: object, **options) -> subprocess.CompletedProcess:
    """Run the command line as a person would."""
    command = [sys.executable, "-m", "tinsmith", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, **options)


def cut_off(*arguments: object) -> subprocess.CompletedProcess | None:
    """Run Python where there is no network; its output ends in what was tried. None where this machine allows none."""
    unshare = ["unshare", "--user", "--net", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], check=False).returncode:
        return None
    command = [*unshare, sys.executable, ROOT / "tests" / "cut_off.py", sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def shared_data(name: str) -> Path:
    """Return a folder of real documents that lie beside the project, or skip the test with a word."""
    path = ROOT.parent / "shared" / "data" / name
    if not path.exists():
        pytest.skip(f"the real documents {name} are not on this machine")
    return path
