"""Print the small wrong changes to load-bearing code that no quick test notices: `python tests/mutate.py`.

1. Every test file of the rooms runs once, without slow tests and proofs of two lengths. It is recorded which test runs
   which line, in its child processes as well.
2. A seeded sample of each room's mutants (see mutants.py) is tried: a copy of the project is changed in one spot, and
   the tests that run it go, quickest first, until one fails, dies or is out of time.
3. Survivors are printed; more than a twentieth is a failure. A line that no test runs survives.

All tests run in processes forked from this one, which has imported the large libraries and computed nothing.
Mutants that change nothing a test could see are listed, with the reason, in equivalent_mutants.toml, and not drawn.
"""

import argparse
import compileall
import contextlib
import hashlib
import importlib
import itertools
import json
import os
import py_compile
import re
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mutants import Mutant, draw, mutants_of

ROOT = Path(__file__).resolve().parents[1]
SOURCES = "src/tinsmith"
EQUIVALENT = ROOT / "tests" / "equivalent_mutants.toml"
ROOMS = {
    "train": ("train",),
    "evaluate": ("evaluate",),
    "evidence": ("evidence",),
    "parity": ("parity",),
    "split": ("corpus/split.py", "stages/split"),
}
TESTS = (
    "train",
    "evaluate",
    "evidence",
    "parity",
    "report",
    "stages/test_train.py",
    "stages/test_evaluate.py",
    "stages/evaluate",
    "stages/test_package.py",
    "stages/test_split.py",
    "stages/test_stage.py",
    "corpus/test_split.py",
    "meter/test_planner.py",
    "test_bundle.py",
    "test_old_bundle.py",
    "test_lineage.py",
)
HEAVY = (
    "torch",
    "transformers",
    "peft",
    "daft",
    "pyarrow.parquet",
    "pydantic",
    "scipy.stats",
    "sklearn",
    "pytest",
)
MOST_SURVIVORS = 0.05
LEFT_OUT = {".git", ".venv", "runs", "__pycache__", ".hypothesis", ".mypy_cache", ".ruff_cache"}


@dataclass
class Covered:
    """What the tests run: seconds of each, and by file and line which tests come there."""

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, dict[int, set[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(set))
    )
    failed: set[str] = field(default_factory=set)

    def add(self, record: dict) -> None:
        self.seconds |= record["seconds"]
        self.failed |= set(record["failed"])
        for path, lines in record["lines"].items():
            for line, tests in lines.items():
                self.lines[path][int(line)] |= set(tests)

    def tests(self, mutant: Mutant, limit: float) -> list[str]:
        """Return the tests that run a mutant, quickest first, as many as fit into the limit in seconds.

        After them come the tests of files that run it at import, within a limit of their own.
        """
        found = self._of_import(mutant) if mutant.defines else self._of_lines(mutant.path, mutant.lines)
        direct = found & self.seconds.keys() - self.failed
        files = found - self.seconds.keys()
        others = {test for test in self.seconds.keys() - self.failed - direct if test.split("::")[0] in files}
        chosen = []
        for tests in (direct, others):
            spent = 0.0
            for test in sorted(tests, key=lambda test: (self.seconds[test], test)):
                spent += self.seconds[test]
                if chosen and spent > limit:
                    break
                chosen.append(test)
        return chosen

    def _of_lines(self, path: str, lines: Iterable[int]) -> set[str]:
        return set[str]().union(*(self.lines[path].get(line, ()) for line in lines))

    def _of_import(self, mutant: Mutant) -> set[str]:
        """Return the tests that run a line with the name that is defined, or any line of the file."""
        name = re.compile(rf"\b{mutant.defines}\b")
        found = self._of_lines(mutant.path, self.lines[mutant.path])
        for path in list(self.lines):
            text = (ROOT / path).read_text(encoding="utf-8").splitlines()
            found |= self._of_lines(
                path, (number for number, line in enumerate(text, 1) if name.search(line))
            )
        return found


@dataclass
class Job:
    """A pytest run in a child process, and what is done with its exit status (None: out of time)."""

    arguments: list[str]
    environment: dict[str, str]
    seconds: float
    done: Callable[[int | None, str], None]
    mutant: Mutant | None = None


def run_all(jobs: Iterable[Job], copies: list[Path]) -> None:
    """Run jobs in forks of this process, one in each copy of the project at a time."""
    waiting, free = iter(jobs), list(copies)
    running: dict[int, tuple[Job, Path, float]] = {}
    while True:
        while free and (job := next(waiting, None)):
            copy = free.pop()
            if job.mutant:
                path = copy / job.mutant.path
                path.write_bytes(job.mutant.apply((ROOT / job.mutant.path).read_bytes()))
            running[_fork(job, copy)] = job, copy, time.monotonic() + job.seconds
        if not running:
            return
        time.sleep(0.02)
        for child, (job, copy, end) in list(running.items()):
            ended, status = os.waitpid(child, os.WNOHANG)
            if not ended and time.monotonic() < end:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # what the tests left running as well
            if not ended:
                os.waitpid(child, 0)
            del running[child]
            free.append(copy)
            if job.mutant:
                shutil.copyfile(ROOT / job.mutant.path, copy / job.mutant.path)
            output = (copy / "output.txt").read_text(encoding="utf-8", errors="replace")
            job.done(os.waitstatus_to_exitcode(status) if ended else None, output)


def _fork(job: Job, copy: Path) -> int:
    if child := os.fork():
        with contextlib.suppress(OSError):
            os.setpgid(child, child)
        return child
    code = 70
    try:
        os.setpgid(0, 0)
        os.chdir(copy)
        output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ |= {"PYTHONPATH": f"{copy}/src", "PYTHONDONTWRITEBYTECODE": "1"} | job.environment
        sys.dont_write_bytecode = True
        sys.path[:] = [
            f"{copy}/src",
            *(path for path in sys.path if not Path(path).is_relative_to(ROOT / "tests")),
        ]
        shutil.rmtree(copy / "temporary", ignore_errors=True)
        import pytest

        code = int(
            pytest.main(
                [
                    "-q",
                    "--disable-warnings",
                    "-p",
                    "no:cacheprovider",
                    f"--basetemp={copy}/temporary",
                    *job.arguments,
                ]
            )
        )
        sys.stdout.flush()
    finally:
        os._exit(code)


def make_copies(directory: Path, count: int) -> list[Path]:
    """Copy the project, with bytecode that is checked by hash: mutants come and go within one second."""
    copies = []
    for number in range(count):
        copy = directory / str(number) / ROOT.name
        shutil.copytree(ROOT, copy, ignore=lambda _, names: LEFT_OUT & set(names))
        if (ROOT.parent / "shared").exists():
            (copy.parent / "shared").symlink_to(ROOT.parent / "shared")
        mode = py_compile.PycInvalidationMode.CHECKED_HASH
        compileall.compile_dir(copy / "src", quiet=1, invalidation_mode=mode)
        copies.append(copy)
    return copies


def _digest(path: str) -> str:
    file = ROOT / path
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else ""


def _is_current(record: Path, test: str) -> bool:
    """Tell whether a record of coverage is that of this test file and of the sources that it ran."""
    if not record.exists():
        return False
    hashes = json.loads(record.read_text())["hashes"]
    return hashes.get(test) == _digest(test) and all(_digest(path) == value for path, value in hashes.items())


def measure_coverage(copies: list[Path], kept: Path) -> Covered:
    """Run every test file once, unless a record of it is kept, and return what the tests run."""
    files = [
        str(path.relative_to(ROOT)) for name in TESTS for path in _files(ROOT / "tests" / name, "test_*.py")
    ]
    records = {test: kept / (test.replace("/", "-") + ".json") for test in files}

    def job(test: str) -> Job:
        record = records[test]

        def done(code: int | None, output: str) -> None:
            print(f"{test}: {output.splitlines()[-1] if output else code}", flush=True)
            if code not in (0, 1, 5) or not record.exists():  # passed, failed, all deselected
                sys.exit(f"{test} cannot be measured (exit status {code}):\n{output[-3000:]}")

        record.unlink(missing_ok=True)
        arguments = ["-m", "not slow and not proof", "-p", "mutation_coverage", test]
        return Job(arguments, {"MUTATION_RECORD": str(record)}, 1200, done)

    run_all([job(test) for test in files if not _is_current(records[test], test)], copies)
    covered = Covered()
    for record in records.values():
        covered.add(json.loads(record.read_text()))
    return covered


def equivalents() -> dict[tuple[str, ...], str]:
    """Return the keys of the mutants that are not drawn, with the reason for each."""
    entries = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["mutant"]
    return {
        (f"{SOURCES}/{entry['file']}", entry["function"], entry["code"], entry["change"]): entry["reason"]
        for entry in entries
    }


def stale(listed: Iterable[tuple[str, ...]], mutants: dict[str, list[Mutant]]) -> list[str]:
    """Return the listed mutants that the code no longer has."""
    known = {mutant.key for room in mutants.values() for mutant in room}
    return [" | ".join(key) for key in listed if key not in known]


def all_mutants() -> dict[str, list[Mutant]]:
    """Return the mutants of each room, those that are equivalent too."""
    return {
        room: [
            mutant
            for name in names
            for path in _files(ROOT / SOURCES / name, "*.py")
            for mutant in mutants_of(ROOT, str(path.relative_to(ROOT)))
        ]
        for room, names in ROOMS.items()
    }


def _files(path: Path, pattern: str) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob(pattern))


@dataclass
class Score:
    """What became of a room's sample."""

    drawn: int
    survivors: list[Mutant] = field(default_factory=list)
    late: int = 0  # whose tests ran out of time, as an endless loop makes them: noticed


def attack(
    samples: dict[str, list[Mutant]], covered: Covered, copies: list[Path], limit: float
) -> dict[str, Score]:
    """Try every mutant and return the scores by room."""
    scores = {room: Score(len(sample)) for room, sample in samples.items()}
    total, tried = sum(map(len, samples.values())), itertools.count(1)

    def survived(room: str, mutant: Mutant, why: str) -> None:
        scores[room].survivors.append(mutant)
        print(f"survived ({why}): {mutant}", flush=True)

    def job(room: str, mutant: Mutant, tests: list[str]) -> Job:
        def done(code: int | None, output: str) -> None:
            if (number := next(tried)) % 20 == 0:
                print(f"{number} of {total} tried", flush=True)
            scores[room].late += code is None
            if code in (0, 5):  # passed, or no test is left
                survived(room, mutant, f"{len(tests)} tests run it")

        return Job(*run(tests), done, mutant)

    def run(tests: list[str]) -> tuple[list[str], dict[str, str], float]:
        seconds = 60 + 5 * sum(covered.seconds[test] for test in tests)
        files = dict.fromkeys(test.split("::")[0] for test in tests)
        return ["-x", "-p", "mutation_coverage", *files], {"MUTATION_ORDER": json.dumps(tests)}, seconds

    def control(code: int | None, output: str) -> None:
        if code:
            sys.exit(f"tests that passed fail without any change, so nothing was measured:\n{output[-3000:]}")

    def jobs() -> Iterator[Job]:
        for room, sample in samples.items():
            yield Job(*run(max((covered.tests(mutant, limit) for mutant in sample), key=len)), control)
            for mutant in sample:
                if tests := covered.tests(mutant, limit):
                    yield job(room, mutant, tests)
                else:
                    survived(room, mutant, "no test runs it")

    run_all(jobs(), copies)
    return scores


def main() -> int:
    parser = argparse.ArgumentParser(description="Print the small wrong changes that no quick test notices.")
    parser.add_argument("rooms", nargs="*", help=f"of {', '.join(ROOMS)}; all by default")
    parser.add_argument("--sample", type=int, default=60, help="mutants of each room")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--limit", type=float, default=15, help="seconds of tests for each mutant")
    parser.add_argument("--keep", type=Path, help="directory in which records of coverage are kept")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    for name in HEAVY:
        importlib.import_module(name)
    listed, mutants = equivalents(), all_mutants()
    if left := stale(listed, mutants):
        sys.exit(f"no longer in the code, so take them out of {EQUIVALENT.name}:\n" + "\n".join(left))
    samples = {
        room: draw(
            ROOT, (one for one in mutants[room] if one.key not in listed), options.sample, options.seed
        )
        for room in options.rooms or ROOMS
    }
    with tempfile.TemporaryDirectory(prefix="mutation-") as temporary:
        kept = (options.keep or Path(temporary) / "coverage").resolve()
        kept.mkdir(parents=True, exist_ok=True)
        copies = make_copies(Path(temporary), options.processes)
        start = time.monotonic()
        covered = measure_coverage(copies, kept)
        print(f"coverage of {len(covered.seconds)} tests in {time.monotonic() - start:.0f} s")
        for test in sorted(covered.failed):
            print(f"left out, since it does not pass here: {test}")
        scores = attack(samples, covered, copies, options.limit)
    drawn = sum(score.drawn for score in scores.values())
    survived = sum(len(score.survivors) for score in scores.values())
    for room, score in scores.items():
        print(
            f"{room}: {len(score.survivors)} of {score.drawn} survived, drawn from {len(mutants[room])}; "
            f"{score.late} noticed by running out of time"
        )
    print(
        f"all: {survived} of {drawn} survived with seed {options.seed}; {len(listed)} listed as equivalent; "
        f"{time.monotonic() - start:.0f} s"
    )
    return int(survived > MOST_SURVIVORS * drawn)


if __name__ == "__main__":
    sys.exit(main())
