"""Hashes of large files are recorded with a stamp, and a change is seen by the stamp or by the bytes."""

import os
from pathlib import Path

import pytest

from tinsmith.base import cache
from tinsmith.base.cache import recorded_sha256
from tinsmith.base.files import list_files, sha256_file


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the list of files that are read; every file is large, and settled at once."""
    files: list[Path] = []
    monkeypatch.setenv("TINSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "RECORDED_BYTES", 1)
    monkeypatch.setattr(cache, "SETTLED_SECONDS", -1.0)
    monkeypatch.setattr(cache, "sha256_file", lambda path: files.append(path) or sha256_file(path))
    return files


def test_a_recorded_file_is_read_again_only_after_a_change(tmp_path: Path, read: list[Path]) -> None:
    file = tmp_path / "tokens.bin"
    file.write_bytes(b"a" * 1000)
    before = recorded_sha256(file)
    assert (recorded_sha256(file), read) == (before, [file])
    status = file.stat()
    with file.open("r+b") as opened:
        opened.write(bytes(200))
    # The time of the content can be set back, that of the last change of status cannot.
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert recorded_sha256(file) == sha256_file(file) != before
    assert read == [file, file]


def test_a_file_that_changed_a_moment_ago_is_not_recorded(
    tmp_path: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "SETTLED_SECONDS", 60.0)
    (tmp_path / "young").write_bytes(b"a")
    assert recorded_sha256(tmp_path / "young") == recorded_sha256(tmp_path / "young")
    assert len(read) == 2


def test_small_files_and_an_unwritable_cache_leave_no_record(
    tmp_path: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "small"
    file.write_bytes(b"a")
    monkeypatch.setenv("TINSMITH_CACHE", str(file / "no folder"))
    assert recorded_sha256(file) == sha256_file(file)
    monkeypatch.setenv("TINSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "RECORDED_BYTES", 2)
    assert recorded_sha256(file) == sha256_file(file)
    assert not (tmp_path / "cache").exists()


def test_damaged_records_are_ignored_and_those_of_lost_files_go(tmp_path: Path, read: list[Path]) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode())
        recorded_sha256(tmp_path / name)
    records = [tmp_path / "cache" / name for name in list_files(tmp_path / "cache")]
    assert len(records) == 2
    for record in records:
        record.write_text("[")
    assert recorded_sha256(tmp_path / "a") == sha256_file(tmp_path / "a")
    (tmp_path / "a").unlink()
    recorded_sha256(tmp_path / "b")
    (record,) = [path for path in (tmp_path / "cache" / "hashes").iterdir() if path.read_text() != "["]
    assert str(tmp_path / "b") in record.read_text()
