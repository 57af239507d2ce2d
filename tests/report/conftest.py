"""A bundle made once from fake runs, for tests that only read it."""

from pathlib import Path

import pytest

from report.fake_runs import make_bundle
from tinsmith.base.files import JsonObject, read_json
from tinsmith.evaluate.families import families
from tinsmith.report.evidence import build_evidence
from tinsmith.report.schema import Evidence


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole bundle, not to be changed."""
    return make_bundle(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def evidence(bundle: Path) -> JsonObject:
    """What evidence.json of that bundle holds."""
    return dict(read_json(bundle / "evidence.json"))


@pytest.fixture(scope="session")
def built(bundle: Path) -> Evidence:
    """The evidence of that bundle, as the page is drawn from it."""
    return build_evidence(bundle, families())
