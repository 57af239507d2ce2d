from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinsmith.base.errors import TrainingError
from tinsmith.tokens.shards import ShardWriter, TokenSet


def write(directory: Path) -> None:
    writer = ShardWriter(directory)
    writer.add("a", 0, [5, 6, 7], [1, 1, 0])
    writer.add("b", 0, [70_000, 9], [1, 1], "category")
    writer.close([1, 0], {"context": 32, "vocabulary": 80_000})


def test_sequences_come_back_in_order_of_visits_without_copies(tmp_path: Path) -> None:
    write(tmp_path)
    tokens = TokenSet(tmp_path)
    assert (len(tokens), tokens.tokens, tokens.context) == (2, 5, 32)
    ids, marks = tokens.sequence(0)
    assert ids.tolist() == [70_000, 9]
    assert marks.tolist() == [0, 1]
    assert isinstance(tokens.ids, np.memmap)
    assert [part.tolist() for part in tokens.sequence(1)] == [[5, 6, 7], [0, 1, 0]]


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    data = (tmp_path / "tokens.bin").read_bytes()
    (tmp_path / "tokens.bin").write_bytes(data[:-4])
    with pytest.raises(TrainingError, match="do not match their index"):
        TokenSet(tmp_path)


def test_empty_sets_are_refused(tmp_path: Path) -> None:
    ShardWriter(tmp_path).close([], {"context": 32, "vocabulary": 10})
    with pytest.raises(TrainingError, match="no tokens to train on"):
        TokenSet(tmp_path)
    writer = ShardWriter(tmp_path)
    writer.add("a", 0, [5], [1])
    writer.close([0], {"context": 32, "vocabulary": 10})
    with pytest.raises(TrainingError, match="no token is a target"):
        TokenSet(tmp_path)
