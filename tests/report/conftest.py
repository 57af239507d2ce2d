"""A bundle made once from fake runs, for tests that only read it."""

from pathlib import Path
from typing import Any

import pytest

from report.fake_runs import make_bundle
from tinsmith.base.files import read_json


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole bundle, not to be changed."""
    return make_bundle(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def evidence(bundle: Path) -> dict[str, Any]:
    """The evidence of that bundle."""
    return dict(read_json(bundle / "evidence.json"))
