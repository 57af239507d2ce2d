"""The smoke recipe, built once whole for all tests that look at a finished run."""

import os
from pathlib import Path

import pytest

from helpers import SMOKE, tinsmith


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Path:
    """Return the run directory of the smoke recipe, built from the first stage to the bundle."""
    # A run kept from earlier saves a minute while a test is written.
    runs = Path(os.environ.get("TINSMITH_TEST_RUNS") or tmp_path_factory.mktemp("runs"))
    result = tinsmith("build", SMOKE, "--set", f"runs={runs}")
    assert result.returncode == 0, result.stderr[-3000:]
    return runs / "smoke"
