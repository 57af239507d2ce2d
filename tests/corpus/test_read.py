"""Texts, tables of records and bad files, written here by hand; then 236 real files."""

from __future__ import annotations

import datetime
import gzip
import json
import os
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from tinsmith.base.records import json_safe
from tinsmith.corpus.read import REASONS, ReadResult, read_file
from tinsmith.corpus.readers.plain import decode, split_front_matter

FIXTURES = Path(__file__).parents[2] / ".." / "shared" / "data" / "ingest-fixtures"


def read(path: Path, content: bytes | str, **options: Any) -> ReadResult:
    """Write a file and read it."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_file(path, **options)


def text_of(result: ReadResult) -> str:
    """Return the text of the only document."""
    assert result.reason == "", result
    assert len(result.documents) == 1
    return str(result.documents[0]["text"])


def zip_of(path: Path, members: dict[str, str | bytes]) -> bytes:
    """Write a ZIP file and return its bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path.read_bytes()


# Encodings


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
def test_any_encoding_gives_the_same_text(tmp_path: Path, encoding: str) -> None:
    text = "Der Käufer zahlt dem Verkäufer fünf Prozent über dem Basiszinssatz."
    assert text_of(read(tmp_path / "a.txt", text.encode(encoding))) == text


@pytest.mark.parametrize(
    "text",
    ["Der Mieter übergibt die Schlüssel für Köln.", "Договор аренды квартиры", "租赁合同自双方签字之日起"],
)
def test_utf8_with_a_stray_byte_or_cut_off_stays_utf8(text: str) -> None:
    stray = text.encode()[:9].decode("utf-8", "ignore").encode()
    assert decode(stray + b"\x96" + text.encode()).endswith(text)
    assert decode(text.encode() + "ü".encode()[:1]) == text + "\ufffd"
    assert decode("Grüße übers Jahr".encode("cp1252")) == "Grüße übers Jahr"


def test_cyrillic_without_a_mark_is_recognised() -> None:
    text = "Настоящее соглашение заключено между сторонами и вступает в силу со дня подписания. " * 5
    assert decode(text.encode("cp1251")) == text


def test_stray_nul_bytes_are_dropped_and_binary_is_refused(tmp_path: Path) -> None:
    assert text_of(read(tmp_path / "a.txt", b"A licence\0 to use the work." * 9)).startswith(
        "A licence to use"
    )
    assert read(tmp_path / "b.txt", bytes(range(256)) * 40).reason == "unsupported_format"


# Front matter


def test_front_matter_becomes_meta_and_leaves_the_text(tmp_path: Path) -> None:
    front = "---\nkey: mit\nlanguage: no\nversion: 1.10\nyear: 1998\nosi: true\ntags:\n  - a\n---\n"
    result = read(tmp_path / "mit.LICENSE", front + "Permission is hereby granted.\n")
    assert text_of(result) == "Permission is hereby granted."
    assert result.documents[0]["meta"] == {
        "key": "mit",
        "language": "no",
        "version": "1.10",
        "year": 1998,
        "osi": True,
        "tags": ["a"],
    }


@pytest.mark.parametrize(
    "text",
    ["---\nnot closed: yes\n", "---\njust prose\n---\nmore", "----\na: 1\n----\n", "---\na: [\n---\nbody"],
)
def test_what_is_no_front_matter_stays(text: str) -> None:
    assert split_front_matter(text) == ({}, text)


def test_alias_bomb_is_not_unrolled() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    text = "---\n" + "\n".join(lines) + "\n---\nbody"
    assert split_front_matter(text) == ({}, text)


def test_yaml_file_keeps_its_first_document(tmp_path: Path) -> None:
    assert "a: 1" in text_of(read(tmp_path / "a.yaml", "---\na: 1\n---\nb: 2\n"))


def test_meta_is_json() -> None:
    day = datetime.date(2024, 1, 2)
    safe = json_safe({1: day, "x": float("nan"), "y": b"abc", "z": ("\ud800", None)})
    assert json.loads(json.dumps(safe, allow_nan=False)) == {
        "1": "2024-01-02",
        "x": "nan",
        "y": "3 bytes",
        "z": ["?", None],
    }


# Markup


def test_html_says_what_a_reader_sees(tmp_path: Path) -> None:
    page = """<!DOCTYPE html><html><head><title>Terms</title><style>p{}</style></head><body><h1>Terms</h1>
    <script>var hidden = 1;</script><p>You <b>may</b> not&nbsp;copy<br>this page.</p>
    <table><tr><th>Fee</th><th></th><th><p>Due</p></th></tr><tr><td>10</td><td>EUR</td><td>May</td></tr></table>
    <ul><li>one</li><li>two</li></ul><img src="data:image/png;base64,AAAA" alt="x"></body></html>"""
    result = read(tmp_path / "page.txt", page)
    assert text_of(result) == "Terms\n\nYou may not copy\nthis page.\n\nFee\t\tDue\n10\tEUR\tMay\n\none\ntwo"
    assert result.documents[0]["meta"] == {"title": "Terms"}
    assert result.mime == "text/html"


def test_deep_html_does_not_overflow_the_stack(tmp_path: Path) -> None:
    page = "<html><body>" + "<div>" * 5_000 + "deep words" + "</div>" * 5_000
    assert text_of(read(tmp_path / "deep.html", page)) == "deep words"


def test_xml_keeps_sentences_whole_and_broken_xml_as_it_comes(tmp_path: Path) -> None:
    part = '<?xml version="1.0" encoding="utf-16"?><part><no>1</no><p>A <i>creditor</i> must\n disclose.</p>'
    part += "<!-- aside --></part>"
    assert text_of(read(tmp_path / "a.xml", part.encode("utf-16"))) == "1\nA creditor must disclose."
    assert text_of(read(tmp_path / "b.xml", "<?xml version='1.0'?><a>open")) == "<?xml version='1.0'?><a>open"


def test_entity_bomb_is_not_unrolled(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY e0 "x">{entities}]><r>&e11;</r>'
    assert len(text_of(read(tmp_path / "a.xml", bomb))) < 10_000


# Records


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv", "a.tsv", "a.parquet", "a.jsonl.gz"])
def test_records_with_the_text_field_are_documents(tmp_path: Path, name: str) -> None:
    rows = [
        {"body": "First, text", "kind": "x"},
        {"body": "", "kind": "y"},
        {"body": "Third\ntext", "kind": "z"},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    if name.endswith(".parquet"):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / name)
        content: bytes | str = (tmp_path / name).read_bytes()
    elif name == "a.json":
        content = json.dumps(rows)
    elif name.endswith("sv"):
        comma = "," if name == "a.csv" else "\t"
        content = f'kind{comma}body\nx{comma}"First, text"\ny{comma}\nz{comma}"Third\ntext"\n'
    else:
        content = gzip.compress(lines.encode()) if name.endswith(".gz") else lines
    result = read(tmp_path / name, content, text_field="body")
    assert result.documents == [
        {"text": "First, text", "meta": {"kind": "x"}},
        {"text": "Third\ntext", "meta": {"kind": "z"}},
    ]


def test_table_without_the_field_is_one_document_with_every_cell(tmp_path: Path) -> None:
    assert text_of(read(tmp_path / "a.csv", "Team,,Cups\nBlues,STL,1\n")) == "Team,,Cups\nBlues,STL,1"
    assert text_of(read(tmp_path / "a.json", '{"name": "Trowel"}')) == '{"name": "Trowel"}'
    assert text_of(read(tmp_path / "b.txt", '{"name": "cut o')) == '{"name": "cut o'
    prose = '[1] says:\n{"text": "x"}\nand no more.'
    assert text_of(read(tmp_path / "c.txt", prose)) == prose


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "body,n\nOne,1\n"),
        ("a.json", '{"body": "One", "n": 1}'),
        ("b.json", '[{"body": "One", "n": 1}, {"body": "Two"}]'),
        ("a.jsonl", '{"body": "One", "n": 1}\n'),
    ],
)
def test_records_without_the_field_that_a_recipe_names_are_refused_with_theirs(
    tmp_path: Path, name: str, content: str
) -> None:
    result = read(tmp_path / name, content, text_field="boddy")
    assert (result.reason, result.detail, result.documents) == ("no_text_field", "fields: body, n", [])
    assert result.reason in REASONS


def test_a_list_of_records_without_the_default_field_is_no_text(tmp_path: Path) -> None:
    for name, content in (("a.jsonl", '{"n": 1}\n{"n": 2}'), ("a.json", '[{"n": 1}]')):
        result = read(tmp_path / name, content)
        assert (result.reason, result.detail) == ("no_text_field", "fields: n")
    pyarrow.parquet.write_table(pyarrow.table({"n": [1]}), tmp_path / "a.parquet")
    assert read_file(tmp_path / "a.parquet").detail == "fields: n"


def test_every_record_that_is_not_read_is_a_loss_with_its_reason(tmp_path: Path) -> None:
    lines = [
        '{"text": "one"}',
        '{"text": ',
        "no JSON",
        "[1]",
        '{"text": ["a"]}',
        '{"body": "b"}',
        '{"text": " "}',
    ]
    result = read(tmp_path / "a.jsonl", "\n".join([*lines, "", '{"text": "two", "n": NaN}']))
    assert [document["text"] for document in result.documents] == ["one", "two"]
    assert result.documents[1]["meta"] == {"n": "nan"}
    assert {row["reason"]: (row["part"], row["count"]) for row in result.lost} == {
        "damaged_record": ("lines 2, 3, 4, 5", 4),
        "no_text_field": ("line 6", 1),
        "empty": ("line 7", 1),
    }
    assert set(REASONS) >= {row["reason"] for row in result.lost}
    assert len(lines) + 1 == len(result.documents) + sum(row["count"] for row in result.lost)
    many = read(tmp_path / "b.jsonl", '{"text": "one"}\n' + "no\n" * 40).lost
    assert [(row["part"], row["count"]) for row in many] == [("lines 2, 3, 4, 5, 6 and 35 more", 40)]
    assert read(tmp_path / "c.jsonl", "no\nno").reason == "damaged_record"
    unclosed = read(tmp_path / "a.csv", 'id,text\n1,"It is ""so"".\nAll of it."\n2,"never closed.\n3,plain\n')
    assert [document["text"] for document in unclosed.documents] == ['It is "so".\nAll of it.']
    assert [(row["part"], row["reason"]) for row in unclosed.lost] == [("lines 4, 5", "damaged_record")]
    rows = [{"text": "one"}, {"text": None}, {"text": ""}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert [(row["part"], row["reason"]) for row in read_file(tmp_path / "a.parquet").lost] == [
        ("rows 2, 3", "empty")
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("sep.csv", "sep=;\nid;text\n1;One, first.\n2;Two.\n"),
        ("blank.csv", 'id, text\n1, "One, first."\n2, Two.\n'),
        ("case.csv", 'id,Text\n1,"One, first."\n2,Two.\n'),
        ("header.csv", 'id;"name, first, last";text\n1;a;One, first.\n2;b;Two.\n'),
        ("line_end.csv", 'id,"two\nlines",text\n1,a,"One, first."\n2,b,Two.\n'),
        ("key.json", '{"version": 1, "data": [{"text": "One, first."}, {"text": "Two."}]}'),
        ("list.jsonl", '[{"text": "One, first."}, {"text": "Two."}]'),
        ("indented.jsonl", '{\n "text": "One, first."\n}\n{\n "text": "Two."\n}\n'),
        ("mac.jsonl", '{"text": "One, first."}\r{"text": "Two."}\r'),
        ("quoted_sep.csv", '"SEP=;"\r\n\r\nid;text\r\n1;One, first.\r\n2;Two.\r\n\x1a'),
        ("pipe.csv", "  \nid|text\n1|One, first.\n2|Two.\n"),
        ("caret.csv", "id^text\n1^One, first.\n2^Two.\n"),
        ("unquoted.csv", "id,text\n1,One, first.\n2,Two.\n"),
        ("alone.csv", "text\nOne, first.\nTwo.\n"),
        ("single.csv", "id,text\n1,'One, first.'\n2,'Two.'\n"),
        ("escaped.csv", "id,text\n1,One\\, first.\n2,Two.\n"),
        ("extra.csv", 'id,text,\n1,"One, first.",,\n2,Two.,\n'),
        ("case.jsonl", '{"Text": "One, first."}\n{"TEXT": "Two."}\n'),
        ("sequence.json", '\x1e{"text": "One, first."}\n\x1e{"text": "Two."}\n'),
        ("marks.jsonl", '\ufeff{"text": "One, first."}\r\n\ufeff{"text": "Two."}\r\n'),
        ("commas.jsonl", '{"text": "One, first."},\n{"text": "Two."},\n'),
        ("deep.json", '{"answer": {"data": [{"text": "One, first."}, {"text": "Two."}]}}'),
        ("parts.json", '{"train": [{"text": "One, first."}], "test": [{"text": "Two."}]}'),
        ("names.json", '{"a": {"text": "One, first."}, "b": {"text": "Two."}}'),
        ("key.jsonl", '{"version": 1, "data": [{"text": "One, first."}, {"text": "Two."}]}'),
    ],
)
def test_every_dialect_of_records_is_read(tmp_path: Path, name: str, content: str) -> None:
    result = read(tmp_path / name, content)
    assert [document["text"] for document in result.documents] == ["One, first.", "Two."]
    assert (result.lost, result.records) == ([], 2)
    assert not any("more" in document["meta"] for document in result.documents)
    if name.startswith("key"):
        assert result.documents[0]["meta"] == {"version": 1}


@pytest.mark.parametrize(
    ("name", "content", "texts", "lost"),
    [
        ("quote.csv", 'id,text\n1,"Say \\"yes, sir\\"\nand go."\n2,B\n', ['Say "yes, sir"\nand go.', "B"], []),
        ("path.csv", 'id,text\n1,"C:\\dir\\"\n2,B\n', ["C:\\dir\\", "B"], []),
        ("apostrophe.csv", "id,text\n1,'tis so\n2,B\n", ["'tis so", "B"], []),
        ("alone.csv", 'text\n"A, b"\nc "d", e, f\n', ["A, b", 'c "d", e, f'], []),
        ("inch.csv", 'id,text\n1,a 5" pipe\n2,"B, ""b"""\n', ['a 5" pipe', 'B, "b"'], []),
        ("line.csv", 'id,text\n1,a\u2028b\n2,c\x85d\n', ["a\u2028b", "c\x85d"], []),
        ("line.jsonl", '{"text": "a\u2028b"}\n{"text": "c\x85d"}\n', ["a\u2028b", "c\x85d"], []),
        ("tab.jsonl", '{"text": "a\tb"}\n', ["a\tb"], []),
        ("twice.jsonl", '{"text": "a", "text": "b"}\n', ["a"], []),
        ("title.csv", "# by hand\nReport\n\nid,text\n1,A\n9\n", ["A"], ["lines 1, 2", "line 6"]),
        ("swallow.csv", 'id,text\n1,A\n2,"open\n3,C\n4,D "d"\n5,E\n', ["A", "E"], ["lines 3, 4, 5"]),
        ("cut.json", '[{"text": "a"}, {"text": "b"}, {"text": "c', ["a", "b"], ["line 1"]),
        ("cut.jsonl", '{\n "text": "a"\n}\n{\n "text": b"\n}\n{\n "text": "c"\n}\n', ["a", "c"], ["line 4"]),
        ("beside.json", '{"data": [{"text": "a"}], "people": [{"name": "P"}]}', ["a"], ["key people"]),
    ],
)  # fmt: skip
def test_what_a_table_or_a_list_of_records_says_is_read_or_counted(
    tmp_path: Path, name: str, content: str, texts: list[str], lost: list[str]
) -> None:
    result = read(tmp_path / name, content)
    assert [document["text"] for document in result.documents] == texts
    assert sorted(row["part"] for row in result.lost) == sorted(lost)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "id,note\n1,a\n"),
        ("b.csv", 'id,"text\n1,a\n'),
        ("c.csv", "id,note\n1,text\n2,b\n"),
        ("a.json", '{"rows": [{"row": {"text": "a"}}]}'),
        ("b.json", '{"body": {"text": "a"}, "title": {"t": "b"}}'),
        ("c.json", '{"text": "cut o'),
    ],
)
def test_a_file_says_that_it_was_taken_as_one_text(tmp_path: Path, name: str, content: str) -> None:
    result = read(tmp_path / name, content)
    assert (text_of(result), result.records) == (content.strip(), 0)
    assert "taken as one text" in result.detail
    packed = zip_of(tmp_path / "z.zip", {name: content})
    assert read(tmp_path / "z.zip", packed).detail.startswith(f"{name}: taken as one text")


# Files that give nothing


def test_reasons(tmp_path: Path) -> None:
    png = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
    ole = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + "EncryptedPackage".encode("utf-16-le") + bytes(600)
    )
    locked = bytearray(zip_of(tmp_path / "x", {"a.txt": "secret"}))
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    cases = {
        "empty.txt": (b"", "empty"),
        "blank.txt": (b" \n\t", "empty"),
        "a.png": (png, "image"),
        "a.docx": (b"PK\x03\x04 cut off", "damaged"),
        "b.docx": (zip_of(tmp_path / "x", {"word/document.xml": "<w:p>"}), "damaged"),
        "a.xlsx": (ole, "encrypted"),
        "a.zip": (bytes(locked), "encrypted"),
        "a.gz": (b"\x1f\x8b\x08 cut off", "damaged"),
        "a.exe": (b"MZ" + bytes(5000), "unsupported_format"),
    }
    for name, (content, reason) in cases.items():
        result = read(tmp_path / name, content)
        assert (name, result.reason) == (name, reason)
        assert result.documents == []
        assert len(result.sha256) == 64
        assert reason in REASONS


def test_bombs_are_not_unpacked(tmp_path: Path) -> None:
    bomb = zip_of(tmp_path / "x", {"word/document.xml": b" " * 80_000_000})
    assert len(bomb) < 100_000
    assert read(tmp_path / "a.docx", bomb).reason == "unpacks_too_big"
    packed = gzip.compress(b"a" * 6_000_000)
    assert read(tmp_path / "a.txt.gz", packed, max_bytes=1_000_000).reason == "unpacks_too_big"
    assert read(tmp_path / "big.txt", b"a" * 1001, max_bytes=1000).reason == "too_big"


def test_missing_and_odd_files(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    assert read_file(tmp_path / "none").reason == "unreadable"
    assert read_file(tmp_path / "loop").reason == "unreadable"
    assert read_file(tmp_path / "pipe").reason == "not_a_file"


# Real files


def fold(text: str) -> str:
    """Join hyphenated line ends, fold white space and case."""
    text = re.sub(r"[-\u00ad\u2010]\s*\n\s*", "", text).replace("\u00ad", "")
    return re.sub(r"\s+", " ", text).strip().lower()


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="shared/data/ingest-fixtures is not beside the checkout")
def test_real_files_give_their_strings() -> None:
    rows = [json.loads(line) for line in (FIXTURES / "manifest.jsonl").read_text().splitlines()]
    scored: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    failed = []
    for row in rows:
        result = read_file(FIXTURES / row["path"])
        text = fold("\n\n".join(document["text"] for document in result.documents))
        assert bool(text) != bool(result.reason), row["path"]
        if row["expect"] != "text" and not row["expect"].startswith(("text", "no or tiny")):
            assert result.reason in ("encrypted", "image", "empty", "scanned", "no_text_layer"), row["path"]
        if row["expect"] == "text" and not row.get("doubtful") and row.get("must_contain"):
            scored[row["format"]] += 1
            missing = [string for string in row["must_contain"] if fold(string) not in text]
            whole[row["format"]] += not missing
            failed += [(row["path"], missing)] if missing else []
    assert scored.total() > 100
    assert whole.total() >= 0.92 * scored.total(), failed
    assert len(failed) <= 2, failed
