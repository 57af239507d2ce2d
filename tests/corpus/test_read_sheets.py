"""Cells are text as a spreadsheet shows them; what it hides or never computed is counted."""

from __future__ import annotations

import datetime
import struct
from pathlib import Path

import openpyxl
import pytest
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from tinsmith.corpus.read import ReadResult, read_file
from tinsmith.corpus.readers.number_formats import show_number, show_text
from tinsmith.corpus.readers.sheets import hidden_sheets
from written_files import losses, only_text, read_packed

MONEY = '_-* #,##0.00\\ "€"_-;\\-* #,##0.00\\ "€"_-;_-* "-"??\\ "€"_-;_-@_-'


@pytest.mark.parametrize(
    ("value", "code", "shown"),
    [
        (0.75, "h:mm", "18:00"),
        (0.75, "h:mm:ss AM/PM", "18:00:00"),
        (1.5, "[h]:mm", "36:00"),
        (1.5, "[mm]:ss", "2160:00"),
        (-0.0625, "[h]:mm", "-1:30"),
        (45365, "yyyy\\-mm\\-dd", "2024-03-14"),
        (45365, "[$-407]d. mmmm yyyy", "2024-03-14"),
        (45365.5, "m/d/yy h:mm", "2024-03-14 12:00"),
        (45365, "mmm\\-yy", "2024-03"),
        (45365, "dddd", "Thursday"),
        (59, "yyyy-mm-dd", "1900-02-28"),
        (61, "yyyy-mm-dd", "1900-03-01"),
        (0.15, "0%", "15%"),
        (0.1234, "0.0%", "12.3%"),
        (42, "00000", "00042"),
        (123456789, "000-00-0000", "123-45-6789"),
        (5551234567, "(000) 000-0000", "(555) 123-4567"),
        (1234567.891, "#,##0.00", "1,234,567.89"),
        (1234.5, "[$€-407] #,##0.00", "€ 1,234.50"),
        (-1234.5, '"$"#,##0.00_);\\("$"#,##0.00\\)', "($1,234.50)"),
        (1234.567, MONEY, "1,234.57 €"),
        (-1234.567, MONEY, "-1,234.57 €"),
        (0, MONEY, "- €"),
        (1.25, "# ?/?", "1 1/4"),
        (0.375, "?/8", "3/8"),
        (12345, "0.00E+00", "1.23E+04"),
        (0.000123, "0.00E+00", "1.23E-04"),
        (1234567, '0.0,,"M"', "1.2M"),
        (-5, "0.00;[Red]-0.00", "-5.00"),
        (200, '[<100]"low";[>=100]"high"', "high"),
        (0, "0;-0;;@", ""),
        (7, 'General" kg"', "7 kg"),
        (0.1 + 0.2, "General", "0.3"),
        (1.005, "0.00", "1.01"),
        (-0.2, "0", "0"),
        (1e300, "0", "1" + "0" * 300),
    ],
)
def test_a_number_is_shown_as_its_format_does(value: float, code: str, shown: str) -> None:
    assert show_number(value, code) == shown


def test_a_text_has_a_format_too_and_dates_may_begin_in_1904() -> None:
    assert [show_text("x", code) for code in ("0.00", "@", '0;0;0;"<"@">"', ";;;")] == ["x", "x", "<x>", ""]
    assert show_number(45365 - 1462, "yyyy-mm-dd", from_1904=True) == "2024-03-14"


def sheet_of(path: Path, rows: str, **more: str) -> ReadResult:
    """Read a workbook with one sheet of these rows, whose styles 1 to 3 are 0%, [h]:mm and 0000."""
    codes = "".join(
        f"<numFmt numFmtId='{170 + n}' formatCode='{code}'/>" for n, code in enumerate(["[h]:mm", "0000"])
    )
    styles = "".join(f"<xf numFmtId='{each}'/>" for each in (0, 9, 170, 171))
    strings = "<si><r><t>rich </t></r><r><t>text</t></r><rPh><t>guide</t></rPh></si>"
    members = {
        "xl/workbook.xml": "<workbook xmlns:r='r'><sheets><sheet name='S' r:id='a'/></sheets></workbook>",
        "xl/_rels/workbook.xml.rels": "<R><r Id='a' Type='x/worksheet' Target='worksheets/s.xml'/></R>",
        "xl/worksheets/s.xml": f"<worksheet>{more.pop('columns', '')}<sheetData>{rows}</sheetData></worksheet>",
        "xl/styles.xml": f"<s><numFmts>{codes}</numFmts><cellXfs>{styles}</cellXfs></s>",
        "xl/sharedStrings.xml": f"<sst>{strings}</sst>",
        **more,
    }
    return read_packed(path / "a.xlsx", members)


def test_each_kind_of_cell_is_text(tmp_path: Path) -> None:
    cells = (
        "<c t='s'><v>0</v></c><c t='inlineStr'><is><t>two\nlines</t></is></c><c t='b'><v>1</v></c>"
        "<c t='e'><v>#DIV/0!</v></c><c s='1'><v>0.15</v></c><c s='2'><v>1.5</v></c><c s='3'><v>42</v></c>"
        "<c><v>1234567890123456</v></c><c t='d'><v>2024-03-14T00:00:00</v></c><c t='str'><f>A1</f><v>said</v></c>"
    )
    shown = [
        "rich text",
        "two lines",
        "TRUE",
        "#DIV/0!",
        "15%",
        "36:00",
        "0042",
        "1234567890123456",
        "2024-03-14",
        "said",
    ]
    result = sheet_of(tmp_path, f"<row>{cells}</row>")
    assert (only_text(result), result.lost) == ("\t".join(shown), [])


def test_the_days_of_a_workbook_may_begin_in_1904(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.epoch = CALENDAR_MAC_1904
    assert book.active is not None
    book.active.append([datetime.date(2024, 3, 14), datetime.time(18, 30)])
    book.save(tmp_path / "a.xlsx")
    assert only_text(read_file(tmp_path / "a.xlsx")) == "2024-03-14\t18:30:00"


def test_a_formula_without_its_value_is_a_loss(tmp_path: Path) -> None:
    cells = "<c><f>A1+A2</f><v>3</v></c><c><f>A3*2</f></c><c><f t='shared' si='0'/><v>1</v></c><c><f>A4</f><v/></c>"
    result = sheet_of(tmp_path, f"<row>{cells}<c t='str'><f>IF(1,\"\")</f><v></v></c></row>")
    assert only_text(result) == "3\t\t1"
    assert losses(result) == [("xl/worksheets/s.xml", "not_read", "formulas that were never computed", 2)]


def test_what_a_sheet_hides_is_a_loss(tmp_path: Path) -> None:
    row = "<row r='{0}' {1}><c r='A{0}'><v>1{0}</v></c><c r='B{0}'><v>2{0}</v></c><c r='C{0}'><v>3{0}</v></c></row>"
    rows = row.format(1, "") + row.format(2, "hidden='1'") + row.format(3, "ht='0'") + row.format(5, "")
    shapes = {"xl/drawings/drawing1.xml": "<d xmlns:a='a'><a:t>In a box</a:t><a:t> </a:t></d>"}
    result = sheet_of(tmp_path, rows, columns="<cols><col min='2' max='2' hidden='1'/></cols>", **shapes)
    assert only_text(result) == "11\t31\n\n15\t35"
    assert losses(result) == [
        ("xl/worksheets/s.xml", "hidden", "cells of hidden columns", 2),
        ("xl/worksheets/s.xml", "hidden", "hidden rows", 2),
        ("xl/drawings/drawing1.xml", "not_read", "text of shapes", 1),
    ]


def test_hidden_sheets_are_losses_and_a_book_of_them_has_no_text(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["seen"])
    for state in ("hidden", "veryHidden"):
        sheet = book.create_sheet(state)
        sheet.append(["secret"])
        sheet.sheet_state = state
    book.save(tmp_path / "a.xlsx")
    result = read_file(tmp_path / "a.xlsx")
    assert only_text(result) == "seen"
    assert losses(result) == [
        (f"sheet {each}", "hidden", "hidden sheet", 1) for each in ("hidden", "veryHidden")
    ]


def test_hidden_sheets_of_old_workbooks_are_found_by_their_record() -> None:
    def record(kind: int, data: bytes) -> bytes:
        return struct.pack("<HH", kind, len(data)) + data

    def sheet(name: str, state: int) -> bytes:
        return record(0x85, bytes(4) + bytes([state, 0, len(name), 1]) + name.encode("utf-16-le"))

    begin = record(0x809, b"\0\x06\x05\0" + bytes(12))
    data = (
        bytes(512)
        + begin
        + sheet("Seen", 0)
        + sheet("Größe", 1)
        + sheet("Deep", 2)
        + record(10, b"")
        + sheet("X", 1)
    )
    assert hidden_sheets(data) == ["Größe", "Deep"]
    assert hidden_sheets(data[:560]) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_not_a_number_is_shown_and_ends_nothing(value: float) -> None:
    assert show_number(value, "0.00") == str(value)
