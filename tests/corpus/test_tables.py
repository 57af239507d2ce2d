import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tinsmith.corpus import tables
from tinsmith.corpus.steps.decisions import apply_decisions
from tinsmith.corpus.steps.result import DECISIONS
from tinsmith.corpus.tables import TableWriter, data_bytes, doc_id_ranges, sort_table


def names(count: int) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest()[:32] for number in range(count)]


def write(path: Path, ids: list[str], group: int = 7) -> Path:
    table = pa.table({"doc_id": ids, "text": [f"text of {name} é" for name in ids]})
    pq.write_table(table, path, row_group_size=group)
    return path


def decisions(path: Path, rows: list[tuple[str, str, str | None]]) -> Path:
    columns = [
        [name for name, _, _ in rows],
        [why for _, why, _ in rows],
        [""] * len(rows),
        [text for *_, text in rows],
    ]
    pq.write_table(pa.table(columns, schema=DECISIONS), path)
    return path


@pytest.fixture(params=[128_000_000, 400], ids=["one range", "many ranges"])
def small_ranges(request, monkeypatch):
    monkeypatch.setattr(tables, "_RANGE_BYTES", request.param)


def test_documents_go_change_and_stay_in_order(tmp_path, small_ranges):
    ids = names(60)
    source = write(tmp_path / "s.parquet", sorted(ids))
    decided = decisions(
        tmp_path / "d.parquet", [(ids[3], "poor", None), (ids[5], "poor", None), (ids[9], "cut", "short é")]
    )
    removed = apply_decisions(source, decided, tmp_path / "t.parquet")
    rows = {row["doc_id"]: row["text"] for row in pq.read_table(tmp_path / "t.parquet").to_pylist()}
    assert list(rows) == sorted(set(ids) - {ids[3], ids[5]})
    assert rows[ids[9]] == "short é"
    assert all(text == f"text of {name} é" for name, text in rows.items() if name != ids[9])
    size = len(f"text of {ids[0]} é".encode())
    assert [tuple(row) for row in removed] == [
        ("cut", 0, size - len("short é".encode())),
        ("poor", 2, 2 * size),
    ]


def test_no_decision_takes_the_table_over(tmp_path):
    source = write(tmp_path / "s.parquet", names(10))
    assert apply_decisions(source, decisions(tmp_path / "d.parquet", []), tmp_path / "t.parquet") == []
    assert (tmp_path / "t.parquet").read_bytes() == source.read_bytes()


def test_sorting_in_ranges_is_sorting(tmp_path, small_ranges):
    ids = names(200)
    source = write(tmp_path / "s.parquet", ids)
    sort_table(source, tmp_path / "t.parquet")
    assert pq.read_table(tmp_path / "t.parquet")["doc_id"].to_pylist() == sorted(ids)


def test_ranges_cover_every_name_once(tmp_path, small_ranges):
    ids = [*names(300), "", "plain", "ZZZ", "\U0010fffe"]
    source = write(tmp_path / "s.parquet", ids)
    ranges = doc_id_ranges(data_bytes(source))
    assert all(sum(low <= name < high for low, high in ranges) == 1 for name in ids)
    many = tables._RANGE_BYTES < 1000
    assert len(ranges) > 5 if many else len(ranges) == 1


def test_row_groups_are_bounded_by_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_GROUP_BYTES", 5000)
    with TableWriter(tmp_path / "t.parquet", pa.schema([("text", pa.string())])) as writer:
        for _ in range(15):
            writer.add(pa.table({"text": ["x" * 999] * 4}))
            for _ in range(4):
                writer.add_row({"text": "x" * 999})
        assert not (tmp_path / "t.parquet").exists()
    groups = pq.read_metadata(tmp_path / "t.parquet")
    rows = [groups.row_group(number).num_rows for number in range(groups.num_row_groups)]
    assert sum(rows) == 120
    assert max(rows) <= 8


def test_tables_and_rows_stay_in_order_and_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_GROUP_ROWS", 3)
    with TableWriter(tmp_path / "t.parquet", pa.schema([("n", pa.int64())])) as writer:
        for number in range(0, 20, 5):
            writer.add(pa.table({"other": ["-"], "n": [number]}))
            for more in range(1, 5):
                writer.add_row({"n": number + more})
        assert writer.rows == 20
    assert pq.read_table(tmp_path / "t.parquet")["n"].to_pylist() == list(range(20))


def test_an_error_leaves_no_file(tmp_path):
    schema = pa.schema([("n", pa.int64())])
    with pytest.raises(KeyError), TableWriter(tmp_path / "t.parquet", schema) as writer:
        writer.add(pa.table({"other": [1]}))
    assert list(tmp_path.iterdir()) == []
