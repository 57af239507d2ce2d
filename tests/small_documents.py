"""Small sound documents of each format that is read, for tests that damage them."""

from __future__ import annotations

import gzip
import io
import zipfile

import openpyxl

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
LETTER = (
    "From: Ann <ann@example.org>\nTo: bob@example.org\nSubject: =?utf-8?q?Caf=C3=A9?=\nMIME-Version: 1.0\n"
    'Content-Type: multipart/mixed; boundary="x"\n\n--x\nContent-Type: text/plain; charset=utf-8\n'
    "Content-Transfer-Encoding: quoted-printable\n\nThe rent=\n is due.\n--x\nContent-Type: text/html\n\n"
    "<p>It is <b>950</b> euros.</p>\n--x\nContent-Type: application/pdf; name=lease.pdf\n\n%PDF-1.4\n--x--\n"
)


def zip_of(members: dict[str, str | bytes]) -> bytes:
    """Return a ZIP file of these members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def _docx() -> bytes:
    cell = "<w:tc><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc>"
    body = (
        "<w:p><w:pPr><w:numPr><w:ilvl w:val='0'/><w:numId w:val='1'/></w:numPr></w:pPr><w:r><w:t>The tenant pays ½"
        "</w:t></w:r><w:r><w:rPr><w:vertAlign w:val='superscript'/></w:rPr><w:t>2</w:t></w:r></w:p>"
        f"<w:tbl><w:tr>{cell.format('Due')}{cell.format('1 May')}</w:tr></w:tbl>"
        "<w:p><w:r><w:rPr><w:vanish/></w:rPr><w:t>Hidden</w:t></w:r><w:r><w:footnoteReference w:id='1'/></w:r></w:p>"
    )
    note = f"<w:footnotes xmlns:w='{WORD}'><w:footnote w:id='1'><w:p><w:r><w:t>A note.</w:t></w:r></w:p></w:footnote>"
    level = (
        "<w:lvl w:ilvl='0'><w:start w:val='1'/><w:numFmt w:val='decimal'/><w:lvlText w:val='%1.'/></w:lvl>"
    )
    scheme = f"<w:abstractNum w:abstractNumId='0'>{level}</w:abstractNum>"
    numbers = f"{scheme}<w:num w:numId='1'><w:abstractNumId w:val='0'/>"
    return zip_of(
        {
            "word/document.xml": f"<w:document xmlns:w='{WORD}'><w:body>{body}</w:body></w:document>",
            "word/footnotes.xml": f"{note}</w:footnotes>",
            "word/numbering.xml": f"<w:numbering xmlns:w='{WORD}'>{numbers}</w:num></w:numbering>",
        }
    )


def _pptx() -> bytes:
    rels = f"<Relationships><Relationship Id='r1' Type='{RELATION}/slide' Target='slides/slide1.xml'/></Relationships>"
    slide = f"<p:sld xmlns:p='p' xmlns:a='{DRAWING}'><a:p><a:r><a:t>The first slide</a:t></a:r></a:p></p:sld>"
    show = f"<p:show xmlns:p='p' xmlns:r='{RELATION}'><p:sldIdLst><p:sldId id='1' r:id='r1'/></p:sldIdLst></p:show>"
    return zip_of(
        {
            "ppt/presentation.xml": show,
            "ppt/_rels/presentation.xml.rels": rels,
            "ppt/slides/slide1.xml": slide,
        }
    )


def _xlsx() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["Fee", "Share", "Code"])
    sheet.append([10.5, 0.25, "007"])
    sheet["B2"].number_format = "0%"
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _odt() -> bytes:
    body = "<t:h>Lease</t:h><t:p>Text with <t:span>spans</t:span><t:line-break/>and a break.</t:p>"
    names = "xmlns:o='office' xmlns:t='text'"
    content = f"<o:document-content {names}><o:body><o:text>{body}</o:text></o:body></o:document-content>"
    return zip_of({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": content})


def _epub() -> bytes:
    package = "<package><manifest><item id='a' href='a.xhtml'/></manifest><spine><itemref idref='a'/></spine></package>"
    return zip_of(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": "<container><rootfile full-path='b.opf'/></container>",
            "b.opf": package,
            "a.xhtml": "<html><head><title/></head><body><p>The chapter.</p></body></html>",
        }
    )


def _pdf() -> bytes:
    stream = "BT /F1 12 Tf 50 700 Td (This agreement is governed by the law of Delaware) Tj ET"
    field = "<</Type/Annot/Subtype/Widget/FT/Tx/T(tenant)/V(Ada Quill)/Rect[0 0 9 9]>>"
    parts = (
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Annots[{field}]"
        "/Resources<</Font<</F1 5 0 R>>>>>>",
        f"<</Length {len(stream)}>>stream\n{stream}\nendstream",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    )
    body = "".join(f"{number} 0 obj\n{part}\nendobj\n" for number, part in enumerate(parts, 1))
    return f"%PDF-1.4\n{body}trailer<</Root 1 0 R>>\n%%EOF\n".encode()


def small_documents() -> dict[str, bytes]:
    """Return a sound document of each format by its file name."""
    page = "<!DOCTYPE html><title>Lease</title><h1>Lease</h1><p>Rent: 10<sup>6</sup></p><p hidden>No</p>"
    rows = '{"text": "First record.", "id": 1}\n{"text": "Second\\u2028record.", "id": 2}\n'
    mailbox = "".join(f"From a@b.c Thu Mar 14 10:00:00 2024\n{LETTER}\n" for _ in range(2))
    pages = {
        "page.html": page,
        "page.xhtml": f"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><script/>{page[15:]}</html>",
        "plain.txt": "---\ntitle: Lease\n---\nThe tenant pays — every month.\n\nSecond paragraph.\n",
        "notes.md": "# Lease\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
        "table.csv": 'text;"due date"\n"The ""rent""";2024-05-01\nOther;2024-06-01\n',
        "rows.jsonl": rows,
        "rows.json": '{"data": [{"text": "One."}, {"text": "Two."}]}',
        "act.xml": "<act><section num='1'><p>Whoever <i>shall</i> pay.</p></section></act>",
        "letter.eml": LETTER,
        "box.mbox": mailbox,
        "letter.rtf": r"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}\f0 The rent is \u8364?950\par Second.}",
        "list.yaml": "title: Lease\ntext: The tenant pays.\n",
    }
    made = {
        "a.docx": _docx(),
        "a.pptx": _pptx(),
        "a.xlsx": _xlsx(),
        "a.odt": _odt(),
        "a.epub": _epub(),
        "a.pdf": _pdf(),
    }
    texts = {name: text.encode() for name, text in pages.items()}
    packed = {"all.zip": zip_of({**texts}), "rows.jsonl.gz": gzip.compress(rows.encode(), mtime=0)}
    return {**texts, **made, **packed}
