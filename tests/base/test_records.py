"""Records of a broken file, read from one to the next."""

import pytest

from tinsmith.base import records


def test_much_of_a_broken_file_is_read_as_a_little_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(f'{{"text": "{number}"}}\n{{broken {number}}}\n' for number in range(40))
    whole = records._parse_stream(text)
    monkeypatch.setattr(records, "_LONG", 100)
    assert records._parse_stream(text) == whole
    assert [line for line, _ in whole] == list(range(1, 81))
