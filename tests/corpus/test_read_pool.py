"""Reader processes that hang, die or are slow; the order of results; what the sources name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tinsmith.base import assets
from tinsmith.base.errors import CorpusError
from tinsmith.corpus.readers.pool import COMMAND, FileLimits, read_files
from tinsmith.corpus.readers.sources import find_files

# A reader that does what a file's name says.
ODD_READER = """
import os, signal, sys, time
from tinsmith.corpus.read import read_file
from tinsmith.corpus.readers.worker import serve

def read(path, **options):
    if "hang" in path.name:
        time.sleep(60)
    if "segfault" in path.name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "quit" in path.name:
        sys.exit("no more")
    if "slow" in path.name:
        time.sleep(0.3)
    print("noise that must not spoil the answers", flush=True)
    return read_file(path, **options)

serve(read)
"""


@pytest.fixture
def odd_reader(tmp_path: Path) -> tuple[str, ...]:
    """Return the command of a reader process that misbehaves where a name asks for it."""
    script = tmp_path / "odd_reader.py"
    script.write_text(ODD_READER)
    return (sys.executable, "-P", str(script))


def write_all(folder: Path, names: list[str]) -> list[Path]:
    """Write files that hold their own name."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(f"I am {name}")
    return [folder / name for name in names]


def test_hang_death_and_exit_cost_one_file_each(tmp_path: Path, odd_reader: tuple[str, ...]) -> None:
    names = ["a", "b-hang", "c", "d-segfault", "e-quit", "f", "g-segfault", "h", "i", "j"]
    paths = write_all(tmp_path / "docs", names)
    start = time.monotonic()
    results = [
        result for result, _ in read_files(paths, FileLimits(seconds=1.5), workers=2, command=odd_reader)
    ]
    assert time.monotonic() - start < 20
    told = {name: (result.reason, result.detail) for name, result in zip(names, results) if result.reason}
    assert told == {
        "b-hang": ("timeout", "1.5 s"),
        "d-segfault": ("crashed", "SIGSEGV"),
        "e-quit": ("crashed", "exit code 1: no more"),
        "g-segfault": ("crashed", "SIGSEGV"),
    }
    assert all(result.bytes == len(f"I am {name}") and result.sha256 for name, result in zip(names, results))
    texts = [result.documents[0]["text"] for result in results if not result.reason]
    assert texts == [f"I am {name}" for name in names if name not in told]


def test_results_come_in_order_whatever_the_timing(tmp_path: Path, odd_reader: tuple[str, ...]) -> None:
    paths = write_all(tmp_path / "docs", ["a-slow", *[f"n{n:03d}" for n in range(300)], "z-slow"])
    one = [result for result, _ in read_files(paths, FileLimits(), workers=1, command=odd_reader)]
    four = [result for result, _ in read_files(paths, FileLimits(), workers=4, command=odd_reader)]
    assert one == four
    assert [result.documents[0]["text"] for result in one] == [f"I am {path.name}" for path in paths]


def test_no_process_outlives_its_reading(tmp_path: Path, odd_reader: tuple[str, ...]) -> None:
    paths = write_all(tmp_path / "docs", ["a", "b-hang", "c"])
    before = psutil.Process().children()
    reading = read_files(paths, FileLimits(), workers=2, command=odd_reader)
    next(reading)
    readers = [child for child in psutil.Process().children() if child not in before]
    assert len(readers) >= 2
    reading.close()  # type: ignore[attr-defined]
    assert [reader for reader in readers if reader.is_running()] == []


def test_reader_ends_when_its_parent_is_killed() -> None:
    reader = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert reader.stdout is not None
    assert reader.stdin is not None
    assert reader.stdout.readline() == b"ready\n"
    reader.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert reader.poll() is None, "Ctrl-C is the parent's to handle"
    reader.stdin.close()
    assert reader.wait(10) == 0
    reader.stdout.close()


def test_reader_that_does_not_start_is_an_error(tmp_path: Path) -> None:
    paths = write_all(tmp_path / "docs", ["a"])
    with pytest.raises(CorpusError, match=r"does not start: .*No module named 'nowhere'"):
        list(read_files(paths, FileLimits(), command=(sys.executable, "-c", "import nowhere")))


def test_reader_imports_nothing_heavy() -> None:
    code = "import sys, tinsmith.corpus.readers.worker; print(sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "daft", "transformers", "pyarrow", "numpy", "kreuzberg", "pydantic"}
    assert not [name for name in heavy if f"'{name}'" in shown.stdout]


# Sources


def test_each_file_once_in_order_and_loops_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_all(tmp_path / "docs", ["b.txt", "a.txt", ".hidden"])
    write_all(tmp_path / "docs" / "sub", ["c.md"])
    write_all(tmp_path / "docs" / ".git", ["config"])
    (tmp_path / "docs" / "sub" / "up").symlink_to(tmp_path / "docs")
    (tmp_path / "docs" / "z.txt").symlink_to(tmp_path / "docs" / "a.txt")
    found = find_files(["docs", "docs/*.txt", "docs/**/*.md", "docs/a.txt"])
    assert [file.source for file in found.files] == ["docs/a.txt", "docs/b.txt", "docs/sub/c.md"]


def test_exclude_matches_any_tail_of_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_all(tmp_path / "docs", ["a.txt", "a.tmp"])
    write_all(tmp_path / "docs" / "drafts", ["b.txt"])
    found = find_files(["docs"], ["*.tmp", "drafts/*"])
    assert [file.source for file in found.files] == ["docs/a.txt"]
    assert found.excluded == 2


def test_named_corpus_brings_its_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_all(tmp_path / "corpus", ["mit.LICENSE"])
    monkeypatch.setattr(
        assets, "resolve_corpus", lambda name: tmp_path / "corpus" if name == "demo" else None
    )
    monkeypatch.setattr(assets, "corpus_licence", lambda name: "CC-BY-4.0")
    (file,) = find_files(["demo"]).files
    assert (file.source, file.licence) == ("demo:mit.LICENSE", "CC-BY-4.0")


@pytest.mark.parametrize("source", ["nowhere", "none/*.txt", "empty"])
def test_source_without_files_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError) as caught:
        find_files([source])
    assert caught.value.where == source


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_closed_folder(tmp_path: Path) -> None:
    write_all(tmp_path / "docs", ["a.txt"])
    (tmp_path / "docs" / "shut").mkdir(mode=0)
    assert find_files([str(tmp_path / "docs")]).closed == ((tmp_path / "docs" / "shut").as_posix(),)
    with pytest.raises(CorpusError, match="cannot be listed"):
        find_files([str(tmp_path / "docs" / "shut")])
