"""Office documents, books, PDF and mail, written here by hand, to text."""

from __future__ import annotations

import datetime
import zipfile
from pathlib import Path

import openpyxl
import pytest

from tinsmith.corpus.read import ReadResult, read_file
from tinsmith.corpus.readers.paragraphs import join_hyphens
from tinsmith.corpus.readers.pdf_page import restore_ligatures


def read(path: Path, content: bytes | str) -> ReadResult:
    """Write a file and read it."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_file(path)


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


def pdf_of(text: str, extra: str = "") -> bytes:
    """Return a PDF of one page with one line; `extra` goes into the trailer."""
    stream = f"BT /F1 12 Tf 50 700 Td ({text}) Tj ET"
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        f"<</Length {len(stream)}>>stream\n{stream}\nendstream",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    body = "%PDF-1.4\n"
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    start = len(body)
    body += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    return (
        f"{body}trailer<</Size {len(objects) + 1}/Root 1 0 R{extra}>>\nstartxref\n{start}\n%%EOF\n".encode()
    )


WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
MIXED = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'


def word(body: str) -> str:
    """Return the XML of a Word document."""
    return f'<?xml version="1.0"?><w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>'


# Office


def test_docx_gives_body_tables_boxes_and_notes(tmp_path: Path) -> None:
    inner = "<w:txbxContent><w:p><w:r><w:t>In a box</w:t></w:r></w:p></w:txbxContent>"
    # Word writes each box twice: for itself, and for programs that do not know its shapes.
    both = f'<mc:Choice Requires="wps">{inner}</mc:Choice><mc:Fallback>{inner}</mc:Fallback>'
    box = f"<w:r><w:pict><mc:AlternateContent {MIXED}>{both}</mc:AlternateContent></w:pict></w:r>"
    cell = "<w:tc><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc>"
    body = (
        "<w:p><w:pPr><w:tabs><w:tab/></w:tabs></w:pPr><w:r><w:t>A</w:t><w:tab/><w:t>clause</w:t></w:r>"
        "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del>"
        f"<w:ins><w:r><w:t> new</w:t></w:r></w:ins>{box}</w:p>"
        f"<w:tbl><w:tr>{cell.format('x')}{cell.format('')}{cell.format('y')}</w:tr></w:tbl>"
    )
    note = word("<w:p><w:r><w:t>A note.</w:t></w:r></w:p>")
    content = zip_of(tmp_path / "x", {"word/document.xml": word(body), "word/footnotes.xml": note})
    # The name lies; the content counts.
    result = read(tmp_path / "letter.doc", content)
    assert text_of(result) == "A\tclause new\n\nIn a box\n\nx\t\ty\n\nA note."
    assert result.mime.endswith("wordprocessingml.document")


def test_pptx_gives_slides_in_order_of_the_show(tmp_path: Path) -> None:
    drawing = "http://schemas.openxmlformats.org/drawingml/2006/main"
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    slides = '<p:sldId id="1" r:id="r2"/><p:sldId id="2" r:id="r1"/>'
    show = f'<p:show xmlns:p="p" xmlns:r="{relation}"><p:sldIdLst>{slides}</p:sldIdLst></p:show>'
    rels = "<Relationships>" + "".join(
        f'<Relationship Id="r{n}" Type="{relation}/slide" Target="slides/slide{n}.xml"/>' for n in (1, 2)
    )
    shape = "<p:sp><p:txBody><a:p><a:r><a:t>Slide %d</a:t></a:r></a:p></p:txBody></p:sp>"
    tree = f"<p:cSld><p:spTree>{shape}</p:spTree></p:cSld>"
    slide = f'<p:sld xmlns:p="p" xmlns:a="{drawing}">{tree}</p:sld>'
    members = {
        "ppt/presentation.xml": show,
        "ppt/_rels/presentation.xml.rels": rels + "</Relationships>",
        "ppt/slides/slide1.xml": slide % 1,
        "ppt/slides/slide2.xml": slide % 2,
    }
    assert text_of(read(tmp_path / "a.pptx", zip_of(tmp_path / "x", members))) == "Slide 2\n\nSlide 1"


def test_xlsx_keeps_empty_cells_and_names_of_sheets(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Fees"
    sheet.append(["Fee", None, "Due"])
    sheet.append([10.5, "EUR", datetime.date(2024, 5, 1)])
    book.create_sheet("Nothing")
    book.create_sheet("Names").append(["Ann"])
    book.save(tmp_path / "a.xlsx")
    assert text_of(read_file(tmp_path / "a.xlsx")) == "Fees\nFee\t\tDue\n10.5\tEUR\t2024-05-01\n\nNames\nAnn"


def test_epub_follows_its_spine(tmp_path: Path) -> None:
    items = '<item id="a" href="a.xhtml"/><item id="b" href="b%20.xhtml"/>'
    members = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container><rootfile full-path="o/b.opf"/></container>',
        "o/b.opf": f'<package xmlns:dc="d"><dc:title>Book</dc:title><manifest>{items}</manifest>'
        '<spine><itemref idref="b"/><itemref idref="a"/></spine></package>',
        "o/a.xhtml": "<html><body><p>The end.</p></body></html>",
        "o/b .xhtml": "<html><body><p>The beginning.</p></body></html>",
    }
    result = read(tmp_path / "a.epub", zip_of(tmp_path / "x", members))
    assert text_of(result) == "The beginning.\n\nThe end."
    assert result.documents[0]["meta"] == {"title": "Book"}


@pytest.mark.parametrize(
    "tag",
    ["<script src='a>b.js'/>", "<style/>", "<noscript/>", "<textarea/>", "<title/>", "<object data='x'/>"],
)
def test_an_empty_element_of_xhtml_ends_there(tmp_path: Path, tag: str) -> None:
    page = f"<?xml version='1.0'?>\n<html><head/><body><p>Before.<br/>On.</p>{tag}<p>After.</p></body></html>"
    assert text_of(read(tmp_path / "a.xhtml", page)) == "Before.\nOn.\n\nAfter."
    named = page.partition("\n")[2].replace("<html>", "<html xmlns='http://www.w3.org/1999/xhtml'>")
    assert text_of(read(tmp_path / "a.html", named.replace("After.", "<![CDATA[A & B]]>"))).endswith("A & B")


def test_odt_gives_spans_links_spaces_tables_and_notes(tmp_path: Path) -> None:
    body = (
        "<t:h>Lease</t:h><t:p>Text with <t:span>spans<t:span> in spans</t:span></t:span>\n  and"
        "<t:s t:c='2'/><t:a>a link</t:a>"
        "<t:note><t:note-citation>1</t:note-citation><t:note-body><t:p>A note.</t:p></t:note-body></t:note> ends.</t:p>"
        "<t:list><t:list-item><t:p>One<t:tab/>two<t:line-break/>three</t:p></t:list-item></t:list>"
        "<t:p><d:frame><d:text-box><t:p>In a box.</t:p></d:text-box></d:frame></t:p>"
        "<o:annotation><t:p>A comment.</t:p></o:annotation><t:tracked-changes><t:p>Gone.</t:p></t:tracked-changes>"
        "<b:table><b:table-header-rows><b:table-row><b:table-cell><t:p>Due</t:p></b:table-cell></b:table-row>"
        "</b:table-header-rows><b:table-row><b:table-cell><t:p>May</t:p><t:p>1</t:p></b:table-cell>"
        "<b:table-cell><t:p>950</t:p></b:table-cell></b:table-row></b:table>"
    )
    spaces = "xmlns:o='office' xmlns:t='text' xmlns:d='drawing' xmlns:b='table'"
    content = f"<o:document-content {spaces}><o:body><o:text>{body}</o:text></o:body></o:document-content>"
    members: dict[str, str | bytes] = {
        "mimetype": "application/vnd.oasis.opendocument.text",
        "META-INF/manifest.xml": "<m/>",
        "content.xml": content,
    }
    result = read(tmp_path / "a.odt", zip_of(tmp_path / "x", members))
    assert text_of(result).split("\n\n") == [
        "Lease",
        "Text with spans in spans and  a link ends.",
        "A note.",
        "One\ttwo\nthree",
        "In a box.",
        "Due\nMay 1\t950",
    ]
    assert [(row["reason"], row["detail"], row["count"]) for row in result.lost] == [
        ("not_read", "comments", 1)
    ]


def test_what_stands_apart_in_a_browser_stays_apart(tmp_path: Path) -> None:
    cells = (
        "<td>CO<sub>2</sub> intensity<br>per unit</td><td>1<sup>st</sup></td><td>Signed<hr>Dated</td>"
        "<td><dl><dt>Lessor</dt><dd>Quay</dd></dl></td><td>Pay<noscript>Enable</noscript></td>"
    )
    page = (
        f"<html><body><table><tr>{cells}</tr></table><details><summary>Who pays?</summary>The tenant.</details>"
        "The rate <math><mi>r</mi><mo>=</mo><mn>5</mn><annotation>r=5</annotation></math> applies.</body></html>"
    )
    assert text_of(read(tmp_path / "a.html", page)).split("\n\n") == [
        "CO2 intensity per unit\t1st\tSigned Dated\tLessor Quay\tPay",
        "Who pays?\nThe tenant.",
        "The rate r=5 applies.",
    ]


def test_a_raised_or_stacked_figure_does_not_join_the_number_before_it(tmp_path: Path) -> None:
    page = "<html><p>10<sup>6</sup> of 12,345<sup>1</sup>, H<sub>2</sub>O, 1<sup>st</sup></p></html>"
    assert text_of(read(tmp_path / "a.html", page)) == "10^6 of 12,345^1, H2O, 1st"

    def run(text: str, properties: str = "") -> str:
        return f"<w:r><w:rPr>{properties}</w:rPr><w:t>{text}</w:t></w:r>"

    raised = '<w:vertAlign w:val="superscript"/>'
    part = "<w:{0}><w:r><w:t>{1}</w:t></w:r></w:{0}>".format
    body = (
        f"<w:p>{run('10')}{run('6', raised)}{run(' units, 1')}{run('st', raised)}</w:p>"
        f"<w:p>{run('Pay 3')}<w:oMath><w:f>{part('num', 3)}{part('den', 4)}</w:f></w:oMath>{run(' percent')}</w:p>"
        f"<w:p><w:oMath><w:sSup>{part('e', 'x')}{part('sup', 2)}</w:sSup>"
        f"<w:rad>{part('deg', '')}{part('e', 16)}</w:rad></w:oMath></w:p>"
    )
    content = zip_of(tmp_path / "x", {"word/document.xml": word(body)})
    assert text_of(read(tmp_path / "a.docx", content)) == "10^6 units, 1st\n\nPay 3 3/4 percent\n\nx^2√16"


def test_zip_gives_a_document_per_member(tmp_path: Path) -> None:
    content = zip_of(
        tmp_path / "x",
        {
            "b/two.html": "<html><p>Two</p></html>",
            "a.txt": "One",
            "blank.txt": " ",
            "c.bin": b"\0\1\2\3" * 99,
            "cut.pdf": "%PDF-1.4",
            "in.zip": zip_of(tmp_path / "y", {"x.txt": "x"}),
            "r.jsonl": '{"text": "Three"}\n{',
        },
    )
    result = read(tmp_path / "a.zip", content)
    assert [(d["text"], d["meta"]["member"]) for d in result.documents] == [
        ("One", "a.txt"),
        ("Two", "b/two.html"),
        ("Three", "r.jsonl"),
    ]
    assert [(row["part"], row["reason"]) for row in result.lost] == [
        ("blank.txt", "empty"),
        ("c.bin", "unsupported_format"),
        ("cut.pdf", "damaged"),
        ("in.zip", "unsupported_format"),
        ("r.jsonl: line 2", "damaged_record"),
    ]
    assert all(row["detail"] for row in result.lost if row["reason"] in ("damaged", "unsupported_format"))


# PDF


def test_pdf_text_and_its_absence(tmp_path: Path) -> None:
    result = read(tmp_path / "a.txt", pdf_of("This agreement is governed by the law of Delaware"))
    assert text_of(result) == "This agreement is governed by the law of Delaware"
    assert result.documents[0]["meta"] == {"pages": 1}
    assert read(tmp_path / "b.pdf", pdf_of("")).reason == "no_text_layer"
    assert read(tmp_path / "c.pdf", b"%PDF-1.4\nnothing more").reason == "damaged"


def test_what_was_filled_into_a_form_is_text(tmp_path: Path) -> None:
    fields = (
        "<</Type/Annot/Subtype/Widget/FT/Tx/T(tenant)/V(Ada Quill of Harbour Street)/Rect[9 80 90 90]>>"
        "<</Type/Annot/Subtype/Widget/FT/Btn/T(pets)/V/Off/Rect[9 50 19 60]>>"
        "<</Type/Annot/Subtype/FreeText/Contents(By hand.)/Rect[9 20 90 30]>>"
    )
    form = (
        "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj "
        f"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Annots[{fields}]>>endobj trailer<</Root 1 0 R>>"
    )
    text = text_of(read(tmp_path / "a.pdf", form))
    assert text.split() == ["Ada", "Quill", "of", "Harbour", "Street", "[", "]", "By", "hand."]


def test_encrypted_pdf(tmp_path: Path) -> None:
    keys = f"<</Filter/Standard/V 1/R 2/P -4/O<{'00' * 32}>/U<{'11' * 32}>>>"
    content = pdf_of("secret words of a contract", f"/Encrypt {keys}/ID[<00><00>]")
    assert read(tmp_path / "a.pdf", content).reason == "encrypted"


def test_line_end_hyphens_join_unless_the_document_says_otherwise() -> None:
    text = "under\x02standing, Lucene\x02BM25, a d\x02dimensional, risk\x02based and a risk-based"
    assert join_hyphens(text) == "understanding, Lucene-BM25, a d-dimensional, risk-based and a risk-based"


def test_lost_ligatures_come_back() -> None:
    given, wanted = "a di\0cult ba\0e, an a\0iction; 1 \0 2", "a difficult baffle, an affliction; 1 \0 2"
    assert restore_ligatures(given) == wanted


# Mail

MAIL = "From: Ann <ann@example.org>\nTo: bob@example.org\nSubject: =?utf-8?q?Caf=C3=A9?=\nMIME-Version: 1.0\n"


def test_only_a_line_end_ends_a_header_of_mail(tmp_path: Path) -> None:
    head = "From: a@b.example\nSubject: one\u2028two\x85three\nDate: Mon, 1 Jan 2024 10:00:00 +0000"
    result = read(tmp_path / "a", f"{head}\n\nBody".encode())
    assert (result.mime, result.documents[0]["text"][-4:]) == ("message/rfc822", "Body")


def test_mail_prefers_the_plain_body(tmp_path: Path) -> None:
    parts = (
        "--x\nContent-Type: text/html\n\n<p>page</p>\n--x\nContent-Type: text/plain; charset=nonsense\n\n"
        "Plain caf\u00e9.\n--x--\n"
    )
    result = read(tmp_path / "mail", f'{MAIL}Content-Type: multipart/alternative; boundary="x"\n\n{parts}')
    assert text_of(result) == "Subject: Café\n\nPlain café."
    assert result.documents[0]["meta"] == {"from": "Ann <ann@example.org>", "to": "bob@example.org"}


def letter(subject: str, rest: str) -> str:
    return f"From: a@b.c\nSubject: {subject}\nMessage-ID: <{subject}>\n{rest}\n"


def test_every_message_of_a_mailbox_is_a_document_or_a_loss(tmp_path: Path) -> None:
    parts = "Content-Type: multipart/mixed; boundary=X\n\n--X\nContent-Type: text/plain\n\nAlpha.\n--X--\n"
    locked = "Content-Type: multipart/encrypted; boundary=X\n\n--X\n\nx\n--X--\n"
    letters = [letter("One", parts), letter("Two", locked), letter("Three", "\nFrom here on.\n")]
    line = "From a@b.c Thu Mar 14 10:00:00 2024\n"
    result = read(tmp_path / "a.mbox", "".join(line + each for each in letters))
    assert [document["text"] for document in result.documents] == [
        "Subject: One\n\nAlpha.",
        "Subject: Three\n\nFrom here on.",
    ]
    assert [(row["part"], row["reason"]) for row in result.lost] == [("message 2", "encrypted")]


def test_a_plain_alternative_that_only_points_to_the_other_is_not_the_letter(tmp_path: Path) -> None:
    kinds = {
        "plain": "Use an HTML reader.",
        "html": f"<p>{'The tenant pays. ' * 9}</p>",
        "calendar": "BEGIN " * 99,
    }
    bodies = "".join(f"--X\nContent-Type: text/{kind}\n\n{body}\n" for kind, body in kinds.items())
    mail = letter("S", f"Content-Type: multipart/alternative; boundary=X\n\n{bodies}--X--\n")
    assert text_of(read(tmp_path / "a.eml", mail)).startswith("Subject: S\n\nThe tenant pays.")


@pytest.mark.parametrize(
    ("charset", "codec", "text"), [("shift_jis", "cp932", "①髙"), ("iso-8859-8-i", "iso-8859-8", "חוזה")]
)
def test_a_charset_is_read_as_the_one_that_holds_it(
    tmp_path: Path, charset: str, codec: str, text: str
) -> None:
    head = f"From: a@b.c\nMessage-ID: <1>\nContent-Type: text/plain; charset={charset}\n\n"
    assert text_of(read(tmp_path / "a.eml", head.encode() + text.encode(codec))) == text


def test_attachments_are_named_and_not_taken_for_text(tmp_path: Path) -> None:
    parts = (
        "--x\nContent-Type: text/html\n\n<p>See <i>there</i>.</p>\n--x\nContent-Type: image/png; name=a.png\n"
        "Content-Transfer-Encoding: base64\n\nAAAA\n--x--\n"
    )
    result = read(tmp_path / "a.eml", f'{MAIL}Content-Type: multipart/mixed; boundary="x"\n\n{parts}')
    assert text_of(result) == "Subject: Café\n\nSee there."
    assert result.documents[0]["meta"]["attachments"] == ["a.png"]


@pytest.mark.parametrize(
    "rest",
    [
        "Content-Type: multipart/encrypted; boundary=x\n\n--x\n\nVersion: 1\n--x--\n",
        "Content-Type: application/pkcs7-mime; smime-type=enveloped-data\n\nMIIB\n",
        "\n-----BEGIN PGP MESSAGE-----\nhIwD\n-----END PGP MESSAGE-----\n",
    ],
)
def test_encrypted_mail_is_no_text(tmp_path: Path, rest: str) -> None:
    assert read(tmp_path / "a.eml", MAIL + rest).reason == "encrypted"
