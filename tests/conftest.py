"""The smoke recipe, built once whole for all tests that look at a finished run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "recipes" / "smoke.toml"


def tinsmith(*arguments: str, **options) -> subprocess.CompletedProcess:
    """Run the command line as a person would."""
    command = [sys.executable, "-m", "tinsmith", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, **options)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Path:
    """Return the run directory of the smoke recipe, built from the first stage to the bundle."""
    runs = Path(os.environ.get("TINSMITH_TEST_RUNS") or tmp_path_factory.mktemp("runs"))
    result = tinsmith("build", SMOKE, "--set", f"runs={runs}")
    assert result.returncode == 0, result.stderr[-3000:]
    return runs / "smoke"
