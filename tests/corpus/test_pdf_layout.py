"""A PDF is read by its layout: columns, headings, tables, and without what runs over all pages."""

from pathlib import Path

import pytest

from tinsmith.corpus.read import read_file

Line = tuple[float, float, float, str]  # x and y of its beginning, size, text


def write_pdf(path: Path, pages: list[list[Line]], rules: str = "") -> Path:
    """Write a PDF of lines of Helvetica; `rules` are drawing operators on every page."""
    objects = ["<</Type/Catalog/Pages 2 0 R>>", "", "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    kids = []
    for lines in pages:
        drawn = "".join(f"BT /F1 {size} Tf {x} {y} Td ({text}) Tj ET\n" for x, y, size, text in lines) + rules
        objects.append(f"<</Length {len(drawn)}>>stream\n{drawn}\nendstream")
        resources = f"/Contents {len(objects)} 0 R/Resources<</Font<</F1 3 0 R>>>>"
        objects.append(f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]{resources}>>")
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<</Type/Pages/Kids[{' '.join(kids)}]/Count {len(kids)}>>"
    body, offsets = "%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    end = f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{len(body)}\n%%EOF\n"
    path.write_text(f"{body}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}")
    return path


def read(path: Path) -> str:
    (document,) = read_file(path).documents
    return document["text"]


def test_columns_are_read_one_after_the_other(tmp_path: Path) -> None:
    left = [f"The first column of prose, line {word}," for word in ("one", "two", "three", "four", "five")]
    right = [line.replace("first", "second") for line in left]
    rows = zip(left, right, strict=True)
    # The file has them line by line, as they stand side by side.
    page = [
        line
        for n, (a, b) in enumerate(rows)
        for line in ((50, 700 - 14 * n, 10, a), (320, 700 - 14 * n, 10, b))
    ]
    text = " ".join(read(write_pdf(tmp_path / "a.pdf", [page])).split())
    assert text == " ".join([*left, *right])


def test_running_heads_and_page_numbers_go_and_headings_are_marked(tmp_path: Path) -> None:
    pages = []
    for number, word in enumerate(("Rent", "Repairs", "Notice", "Ending"), 1):
        body = [
            (50, 660 - 14 * n, 10, f"{word} is what clause {number} is about, and more is said here.")
            for n in range(12)
        ]
        heading = (50, 700, 16, f"{number}. {word}")
        head, foot = (50, 770, 9, "Lease of Harbour Street"), (290, 30, 9, f"Page {number} of 4")
        pages.append([head, heading, *body, foot])
    text = read(write_pdf(tmp_path / "a.pdf", pages))
    assert text.count("Lease of Harbour Street") <= 1  # it is said once, as the first of its kind
    assert "Page " not in text
    for number, word in enumerate(("Rent", "Repairs", "Notice", "Ending"), 1):
        assert f"# {number}. {word}\n" in text
        assert f"{word} is what clause {number}" in text


@pytest.mark.parametrize("ruled", [True, False], ids=["ruled", "aligned"])
def test_a_table_becomes_markdown(tmp_path: Path, ruled: bool) -> None:
    # Two rows between ruled lines, or four that are aligned alone.
    cells = [["Fee", "Sum"], ["Late", "5"], ["Lost", "70"], ["Torn", "8"]][: 2 if ruled else 4]
    page = [
        (60 + 100 * x, 655 - 30 * y, 10, cell) for y, row in enumerate(cells) for x, cell in enumerate(row)
    ]
    page.insert(0, (50, 700, 10, "The table below has all fees of this library, in euros."))
    page.append((50, 520, 10, "They are due at once."))
    upright = "".join(f"{x} 610 m {x} 670 l S\n" for x in (50, 150, 250))
    level = "".join(f"50 {y} m 250 {y} l S\n" for y in (610, 640, 670))
    text = read(write_pdf(tmp_path / "a.pdf", [page], upright + level if ruled else ""))
    rows = [f"| {fee} | {sum_} |" for fee, sum_ in cells]
    assert "\n".join([rows[0], "| --- | --- |", *rows[1:]]) in text
