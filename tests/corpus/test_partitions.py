"""Every row is in the file of its partition, in the order in which it came, however small the buffer."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tinsmith.corpus import partitions
from tinsmith.corpus.partitions import PartitionWriter, partition_doc_ids, partition_file

SCHEMA = pa.schema([("row", pa.int64())])


@pytest.mark.parametrize("buffer", [64_000_000, 1], ids=["one flush", "many flushes"])
def test_rows_go_to_their_partition_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buffer: int):
    monkeypatch.setattr(partitions, "_PENDING_BYTES", buffer)
    numbers = np.random.default_rng(1).integers(0, 5, 200)
    with PartitionWriter(tmp_path / "parts", SCHEMA) as writer:
        for start in range(0, 200, 50):
            rows = pa.table({"other": ["-"] * 50, "row": range(start, start + 50)})
            writer.add(rows, numbers[start : start + 50])
    for number in range(5):
        rows = pq.read_table(partition_file(tmp_path / "parts", number))["row"].to_pylist()
        assert rows == np.flatnonzero(numbers == number).tolist()


def test_doc_ids_fall_into_equal_ranges_in_order():
    ids = [f"{number:07x}{'0' * 25}" for number in (0, 16**7 // 3, 16**7 // 2, 16**7 - 1)]
    assert partition_doc_ids(pa.chunked_array([ids]), 3).tolist() == [0, 0, 1, 2]
    assert partition_doc_ids(pa.chunked_array([ids]), 1).tolist() == [0, 0, 0, 0]
