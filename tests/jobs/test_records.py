"""Records are read in order from any table, and what is not a record is named with its line."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tinsmith.base.errors import RecipeError
from tinsmith.jobs.records import Record, Reject, read_records


@pytest.fixture
def read(tmp_path):
    """Return a function that writes a file and reads it: records as (row, fields), rejects as (row, reason)."""

    def write_and_read(data, name="a.csv"):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        found = list(read_records(str(path)))
        assert {each.source for each in found} <= {str(path)}
        return [
            (each.row, each.fields if isinstance(each, Record) else each.reason)
            for each in found
            if isinstance(each, Record | Reject)
        ]

    return write_and_read


TWO = [(2, {"text": "Ä, b", "label": "x"}), (3, {"text": "c", "label": "y"})]


@pytest.mark.parametrize(
    "data",
    [
        'text,label\n"Ä, b",x\nc,y\n',
        '\ufefftext,label\r\n"Ä, b",x\r\nc,y',
        'text;label\n"Ä, b";x\nc;y\n',
        "text\tlabel\nÄ, b\tx\nc\ty\n",
        ' text , label \n"Ä, b", x\nc, y\n',
        'text,label\n"Ä, b",x\nc,y\n'.encode("utf-16"),
        'text,label\n"Ä, b",x\nc,y\n'.encode("cp1252"),
        gzip.compress('text,label\n"Ä, b",x\nc,y\n'.encode(), mtime=0),
    ],
)
def test_a_table_is_read_whatever_its_dialect_and_encoding(read, data):
    assert read(data) == TWO


def test_lines_before_the_header_count(read):
    assert read('sep=;\ntext;label\n"Ä, b";x\n\nc;y\n') == [(3, TWO[0][1]), (5, TWO[1][1])]


def test_a_row_keeps_the_line_on_which_it_begins(read):
    assert [row for row, _ in read('text,label\n"a\nb",x\nc,y\n')] == [2, 4]


def test_names_in_a_header_are_never_empty_or_given_twice(read):
    assert read("text,,text,\na,b,c,d\n")[0][1] == {
        "text": "a",
        "column_2": "b",
        "text_2": "c",
        "column_4": "d",
    }


def test_uneven_rows_and_repeated_headers_are_named(read):
    rows = read("text,label\na,x\nb,c,y\ntext,label\nd\ne,y\n")
    assert [row if isinstance(row, str) else row["text"] for _, row in rows] == [
        "a",
        "uneven_row",
        "repeated_header",
        "d",
        "e",
    ]
    assert rows[1][0] == 3


def test_a_quote_that_is_never_closed_swallows_no_row_in_silence(read):
    assert read('text,label\na,x\n"b,y\nc,x\n') == [
        (2, {"text": "a", "label": "x"}),
        (3, "damaged_record"),
        (4, "damaged_record"),
    ]


@pytest.mark.parametrize(
    "first",
    [
        "0.5,x",
        "A sentence that is far too long to be the name of any column here.,x",
        "The parcel came late once more,x",
    ],
)
def test_a_table_without_a_header_is_refused(read, first):
    with pytest.raises(RecipeError, match=r"has no header: its first line holds \"x\"[\s\S]*write the names"):
        read(f"{first}\nshort,y\nother,x\n")
    long_name = "How content are you, all in all, with the service that you have been given?"
    assert len(read(f"{long_name},x\nshort,y\n")) == 1


def test_json_in_all_its_forms(read):
    rows = [{"text": "a", "n": 1}, {"text": "b", "n": None}]
    by_column = {"text": {"0": "a", "7": "b"}, "n": {"0": 1, "7": None}}
    assert read(json.dumps(by_column), "a.json") == [(1, rows[0]), (2, rows[1])]
    lines = "\n".join(map(json.dumps, rows))
    for data in (json.dumps(rows), json.dumps({"version": 1, "data": rows}), json.dumps(rows, indent=1)):
        assert read(data, "a.json") == [(1, rows[0]), (2, rows[1])]
    assert read(lines + '\n{"text": \n[1]\n', "a.jsonl") == [
        (1, rows[0]),
        (2, rows[1]),
        (3, "damaged_record"),
        (4, "damaged_record"),
    ]
    joined = f"{lines}\n\ufeff{lines}"  # two files in one, with the mark of the second
    assert read(f"\x1e{joined}", "a.jsonl") == [(1, rows[0]), (2, rows[1]), (3, rows[0]), (4, rows[1])]
    assert read('{"text": "a"}', "one.jsonl") == [(1, {"text": "a"})]


def test_parquet_keeps_types_and_missing_values(read, tmp_path):
    table = pa.table({"text": ["a", None], "n": [1, 2], "x": [0.5, float("nan")], "tags": [["p", "q"], []]})
    pq.write_table(table, tmp_path / "t.parquet")
    assert read((tmp_path / "t.parquet").read_bytes(), "u.parquet") == [
        (1, {"text": "a", "n": 1, "x": 0.5, "tags": ["p", "q"]}),
        (2, {"text": None, "n": 2, "x": None, "tags": []}),
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"PK\x03\x04rest", "workbook"),
        (b"PAR1 and nothing else", "is damaged"),
        (bytes(range(32)) * 8, "neither text nor Parquet"),
    ],
)
def test_what_holds_no_table_is_refused_by_name(read, data, said):
    with pytest.raises(RecipeError, match=said) as error:
        read(data)
    assert "a.csv" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"none\.csv: cannot be read \(No such file or directory\)"):
        next(read_records(str(tmp_path / "none.csv")))


def test_a_quote_in_a_line_of_tabs_is_part_of_the_text(read):
    rows = read('label\ttext\nx\t"so" he\ny\t"open\nx\t"a ""b"" c"\n')
    assert [(row, fields["text"]) for row, fields in rows] == [(2, '"so" he'), (3, '"open'), (4, 'a "b" c')]
