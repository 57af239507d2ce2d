"""Arrays on disk that go on where a crash left them, and the runs of sequences that they are computed by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinsmith.base.errors import TrainingError
from tinsmith.base.files import read_json
from tinsmith.base.progress import SilentProgress
from tinsmith.tokens.shards import ShardWriter, TokenSet
from tinsmith.train.resumable_arrays import ResumableArrays, digest, sequence_runs

COLUMNS = {"ids": ("<u4", 2), "values": ("<f2", 1)}
SIZES = (3, 1, 4)


def block(number: int) -> dict[str, np.ndarray]:
    ids = np.arange(SIZES[number] * 2) + 100 * number
    return {"ids": ids.reshape(-1, 2), "values": np.full(SIZES[number], number + 0.5)}


def filled(directory: Path, stop: int | None = None) -> tuple[list[int], dict[str, np.ndarray] | None]:
    """Return the blocks that were computed and, unless it stopped before one of them, the columns."""
    computed: list[int] = []

    def compute(number: int) -> dict[str, np.ndarray]:
        if number == stop:
            raise KeyboardInterrupt
        computed.append(number)
        return block(number)

    arrays = ResumableArrays(directory, COLUMNS, {"seed": 1})
    try:
        return computed, arrays.fill(SIZES, compute, "rows", SilentProgress())
    except KeyboardInterrupt:
        return computed, None


def test_what_is_there_is_not_computed_again(tmp_path: Path) -> None:
    computed, columns = filled(tmp_path / "whole")
    assert computed == [0, 1, 2]
    assert columns["ids"].tolist() == [row for number in range(3) for row in block(number)["ids"].tolist()]
    assert columns["values"].ravel().tolist() == [0.5] * 3 + [1.5] + [2.5] * 4
    assert (columns["ids"].dtype, columns["values"].dtype) == (np.dtype("<u4"), np.dtype("<f2"))
    assert filled(tmp_path / "whole")[0] == []
    assert filled(tmp_path / "stopped", stop=1)[0] == [0]
    assert ResumableArrays(tmp_path / "stopped", COLUMNS, {"seed": 1}).count() == 3
    assert filled(tmp_path / "stopped", stop=2)[0] == [1]
    computed, columns = filled(tmp_path / "stopped")
    assert computed == [2]
    for name in COLUMNS:
        whole, stopped = ((tmp_path / kind / f"{name}.bin").read_bytes() for kind in ("whole", "stopped"))
        assert whole == stopped


def test_a_block_that_a_crash_cut_off_is_computed_again(tmp_path: Path) -> None:
    filled(tmp_path / "arrays")
    whole = {name: (tmp_path / "arrays" / f"{name}.bin").read_bytes() for name in COLUMNS}
    # The second column lacks the end of the last block, so all of that block is missing.
    (tmp_path / "arrays" / "values.bin").write_bytes(whole["values"][:-3])
    assert ResumableArrays(tmp_path / "arrays", COLUMNS, {"seed": 1}).count() == 6
    assert filled(tmp_path / "arrays")[0] == [2]
    assert {name: (tmp_path / "arrays" / f"{name}.bin").read_bytes() for name in COLUMNS} == whole


def test_arrays_of_another_run_are_refused_and_those_of_none_removed(tmp_path: Path) -> None:
    filled(tmp_path / "arrays")
    assert read_json(tmp_path / "arrays" / "facts.json") == {
        "seed": 1,
        "columns": {"ids": ["<u4", 2], "values": ["<f2", 1]},
    }
    with pytest.raises(TrainingError, match=r"computed for another run: seed, teacher differ"):
        ResumableArrays(tmp_path / "arrays", COLUMNS, {"seed": 2, "teacher": "x"})
    with pytest.raises(TrainingError, match=r"another run: columns differ"):
        ResumableArrays(tmp_path / "arrays", {"ids": ("<u4", 2)}, {"seed": 1})
    # Without its facts nobody knows what the numbers are.
    (tmp_path / "arrays" / "facts.json").unlink()
    assert ResumableArrays(tmp_path / "arrays", COLUMNS, {"seed": 1}).count() == 0


def token_set(directory: Path, lengths: list[int], group: int = 1, **more: object) -> TokenSet:
    directory.mkdir()
    writer = ShardWriter(directory)
    for number, length in enumerate(lengths):
        writer.add(f"d{number}", 0, [3 + number] * length, [1] * length)
    facts = {"context": 8, "vocabulary": 50, **({"group": group} if group > 1 else {})}
    writer.close(more.get("order", range(len(lengths))), facts)
    return TokenSet(directory)


def test_runs_fill_a_context_and_never_part_a_group(tmp_path: Path) -> None:
    tokens = token_set(tmp_path / "one", [3, 5, 1, 8, 2, 7])
    assert sequence_runs(tokens) == [range(0, 2), range(2, 3), range(3, 4), range(4, 5), range(5, 6)]
    pairs = token_set(tmp_path / "two", [2, 2, 2, 2, 6, 6, 1, 1], group=2)
    assert sequence_runs(pairs) == [range(0, 2), range(2, 3), range(3, 4)]


def test_a_digest_is_of_the_tokens(tmp_path: Path) -> None:
    one, same = (token_set(tmp_path / name, [3, 5, 1]) for name in ("one", "same"))
    other = token_set(tmp_path / "other", [3, 1, 5])
    assert digest(one) == digest(same) != digest(other)
