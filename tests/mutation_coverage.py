"""A plugin of pytest for mutate.py: it records which test runs which line, or keeps some tests in an order.

What a fixture runs counts for every test that uses it, and what a file runs at import for the whole file.
A child process counts for the test that started it, through `sitecustomize.py`, which the plugin writes and puts on
PYTHONPATH.
"""

import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path

import coverage
import pytest

CHILD = """
import os
if "MUTATION_CONTEXT" in os.environ:
    import coverage
    _measured = coverage.Coverage(
        data_file=os.path.join(os.environ["MUTATION_DATA"], "child"), data_suffix=True, config_file=False,
        include=[os.environ["MUTATION_SOURCES"]], context=os.environ["MUTATION_CONTEXT"],
    )
    _measured.start()
    import atexit
    atexit.register(lambda: (_measured.stop(), _measured.save()))
"""


class Recorder:
    """Measure the tests of one file and write them as a record."""

    def __init__(self, root: Path, record: Path) -> None:
        self.root, self.record = root, record
        self.data = root / "coverage"
        self.data.mkdir(exist_ok=True)
        for left in self.data.iterdir():
            left.unlink()
        (self.data / "sitecustomize.py").write_text(CHILD, encoding="utf-8")
        sources = str(root / "src" / "tinsmith" / "*")
        os.environ["PYTHONPATH"] += os.pathsep + str(self.data)
        os.environ |= {"MUTATION_DATA": str(self.data), "MUTATION_SOURCES": sources}
        tests = str(root / "tests" / "*")  # lines of tests name what is defined at import
        self.measured = coverage.Coverage(data_file=None, include=[sources, tests], config_file=False)
        self.fixtures: dict[str, list[str]] = {}
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: set[str] = set()
        self.contexts: list[str] = [""]
        self.measured.start()

    def enter(self, context: str) -> None:
        self.contexts.append(context)
        self._switch()

    def leave(self) -> None:
        self.contexts.pop()
        self._switch()

    def _switch(self) -> None:
        os.environ["MUTATION_CONTEXT"] = self.contexts[-1]
        self.measured.switch_context(self.contexts[-1])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        # The plan of fixtures: what a fixture of the module ran is wanted by every test that uses it.
        definitions = getattr(item, "_fixtureinfo").name2fixturedefs  # noqa: B009
        self.fixtures[item.nodeid] = [_name(one) for some in definitions.values() for one in some]
        self.enter(item.nodeid)
        try:
            return (yield)
        finally:
            self.leave()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef) -> Generator[None, object, object]:
        self.enter(_name(fixturedef))
        try:
            return (yield)
        finally:
            self.leave()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.outcome != "passed":  # skipped ones notice nothing
            self.failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self.measured.stop()
        tests = {re.sub(r"::.*", "", test) for test in self.fixtures}
        users = defaultdict(
            set, {"": tests}
        )  # what ran while the file was imported, as parameters of tests do
        for test, names in self.fixtures.items():
            for name in (test, *names):
                users[name].add(test)
        lines: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        children = [coverage.CoverageData(str(path)) for path in self.data.glob("child.*")]
        for child in children:
            child.read()
        for data in (self.measured.get_data(), *children):
            for file in data.measured_files():
                for line, contexts in data.contexts_by_lineno(file).items():
                    for context in contexts:
                        lines[str(Path(file).relative_to(self.root))][line] |= users.get(context, set())
        record = {
            "hashes": {
                path: hashlib.sha256((self.root / path).read_bytes()).hexdigest() for path in {*lines, *tests}
            },
            "seconds": self.seconds,
            "failed": sorted(self.failed),
            "lines": {
                path: {line: sorted(found) for line, found in by_line.items() if found}
                for path, by_line in lines.items()
            },
        }
        self.record.write_text(json.dumps(record), encoding="utf-8")


def _name(fixture: pytest.FixtureDef) -> str:
    return f"fixture {fixture.baseid}::{fixture.argname}"


def pytest_configure(config: pytest.Config) -> None:
    if record := os.environ.get("MUTATION_RECORD"):
        config.pluginmanager.register(Recorder(config.rootpath, Path(record)))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests that are wanted, in their order; those of a file stay together, so that fixtures are set up once.

    Where a mutant changes the name of a parameter, all parameters of that test are kept.
    """
    if order := os.environ.get("MUTATION_ORDER"):
        places = {test: place for place, test in enumerate(json.loads(order))}
        renamed = {_function(test): places[test] for test in places.keys() - {item.nodeid for item in items}}
        place = {item: places.get(item.nodeid, renamed.get(_function(item.nodeid))) for item in items}
        kept = sorted((item for item in items if place[item] is not None), key=place.__getitem__)
        first: dict[Path, int] = {}
        for item in kept:
            first.setdefault(item.path, len(first))
        items[:] = sorted(kept, key=lambda item: first[item.path])


def _function(test: str) -> str:
    return test.partition("[")[0]
