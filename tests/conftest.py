"""What the whole suite shares: two processes beside each other, two lengths of a proof, one finished run."""

import fcntl
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from helpers import SMOKE, cut_off, tinsmith
from tinsmith.base.assets import resolve_corpus

Length = TypeVar("Length")

try:
    from hypothesis import settings
except ModuleNotFoundError:
    pass  # tests that need it are skipped
else:
    # The same examples in every run, so that a failure repeats and the suite's time is stable.
    settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
    settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run each proof at its full length")


def pytest_configure(config: pytest.Config) -> None:
    """Keep each of several test processes to its own, equal share of the cores.

    What one process measures then depends little on what the others do. And since libraries take as many threads
    as there are cores, results that depend on the number of threads are the same in each.
    """
    # A shell lets what it starts in the background ignore Ctrl-C, and tests send it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    worker = getattr(config, "workerinput", None)
    if worker and hasattr(os, "sched_setaffinity"):
        cores, processes = sorted(os.sched_getaffinity(0)), worker["workercount"]
        place, share = int(re.sub(r"\D", "", worker["workerid"])) % processes, len(cores) // processes
        if share:
            os.sched_setaffinity(0, cores[place * share : (place + 1) * share])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first, so that no process is left alone with one in the end, and mark proofs of two lengths."""
    tests = Counter(item.path for item in items)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.name != "test_whole.py", item.path not in slow, -tests[item.path]))
    for item in items:
        if "at_length" in getattr(item, "fixturenames", ()):
            item.add_marker("proof")


@pytest.fixture(scope="session")
def at_length(request: pytest.FixtureRequest) -> Callable[[Length, Length], Length]:
    """Return a function of (short, full) that picks by --full: `make test` is short, `make prove` is full."""
    full = request.config.getoption("--full")
    return lambda short, long: long if full else short


@pytest.fixture(scope="session")
def shared_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory that all processes of this session share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def smoke(shared_directory: Path) -> Path:
    """Return the run directory of the smoke recipe, built once from the first stage to the bundle.

    Where the machine allows it there is no network meanwhile, and `smoke.network` in the shared directory says
    what was tried.
    """
    # A run kept from earlier saves a minute while a test is written.
    runs = Path(os.environ.get("TINSMITH_TEST_RUNS") or shared_directory / "smoke-runs")
    said = shared_directory / "smoke.network"
    with (shared_directory / "smoke.lock").open("w") as lock:
        # The first process that comes builds, the others wait and find it done.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            # On a fresh machine the corpus has yet to come, and cut off it cannot.
            resolve_corpus("licence-agreements")
            arguments = ("build", SMOKE, "--set", f"runs={runs}")
            alone = cut_off("-m", "tinsmith", *arguments)
            result = alone or tinsmith(*arguments)
            assert result.returncode == 0, result.stderr[-3000:]
            said.write_text(alone.stdout if alone else "")
    return runs / "smoke"


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Compute on one thread for the time of a file of tests: tiny models train fastest so, and always alike."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
