import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tinsmith.base.files import (
    atomic_path,
    list_files,
    read_jsonl,
    sha256_file,
    sha256_json,
    write_atomic,
    write_jsonl,
)


def test_a_failed_write_leaves_the_old_file_and_no_remains(tmp_path):
    path = tmp_path / "facts.jsonl"
    write_jsonl(path, [{"a": 1}])
    with pytest.raises(ValueError, match="Out of range"):
        write_jsonl(path, [{"a": 2}, {"a": float("nan")}])
    assert list(read_jsonl(path)) == [{"a": 1}]
    assert list_files(tmp_path) == [path.relative_to(tmp_path)]


def test_write_atomic_replaces_whole(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "file.txt"
    write_atomic(path, "old")

    def full_disk(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert len(list_files(tmp_path)) == 1


def test_atomic_path_writes_a_whole_directory_or_keeps_the_old_one(tmp_path):
    target = tmp_path / "model"

    def write(name: str, error: type[BaseException] | None = None) -> None:
        with atomic_path(target) as temporary:
            temporary.mkdir()
            (temporary / name).write_text(name)
            if error:
                raise error

    write("old")
    write("new")
    with pytest.raises(KeyboardInterrupt):
        write("half", KeyboardInterrupt)
    assert [str(file) for file in list_files(tmp_path)] == ["model/new"]
    assert list(tmp_path.iterdir()) == [target]


def test_hash_of_json_ignores_order_of_keys_and_sees_values():
    assert sha256_json({"a": 1, "b": [2]}) == sha256_json(json.loads('{"b": [2], "a": 1}'))
    assert sha256_json({"a": 1}) != sha256_json({"a": 2})


def test_hash_of_a_file(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256_file(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_threads_that_write_the_same_file_leave_it_whole(tmp_path):
    path, text = tmp_path / "answer.json", "x" * 20_000

    def write(_):
        for _ in range(20):
            write_atomic(path, text)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]
