"""Small documents of each format that is read, with a known word in every place that the format has."""

from __future__ import annotations

import gzip
import io
import zipfile
from dataclasses import dataclass

import openpyxl
from openpyxl.comments import Comment

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"


@dataclass(frozen=True)
class SmallDocument:
    """A document, with the words that it shows, each once, those that it hides, and the losses that are counted."""

    data: bytes
    shown: str
    hidden: str = ""
    lost: tuple[str, ...] = ()  # reasons in files.jsonl


def zip_of(members: dict[str, str | bytes]) -> bytes:
    """Return a ZIP file of these members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def _relations(*targets: tuple[str, str]) -> str:
    rows = "".join(
        f"<Relationship Id='r{number}' Type='{RELATION}/{kind}' Target='{target}'/>"
        for number, (kind, target) in enumerate(targets, 1)
    )
    return f"<Relationships xmlns='{PACKAGE}'>{rows}</Relationships>"


def _run(text: str, properties: str = "") -> str:
    return f"<w:r>{f'<w:rPr>{properties}</w:rPr>' if properties else ''}<w:t>{text}</w:t></w:r>"


def _docx() -> SmallDocument:
    def paragraph(*runs: str, properties: str = "") -> str:
        return f"<w:p>{f'<w:pPr>{properties}</w:pPr>' if properties else ''}{''.join(runs)}</w:p>"

    def table(*cells: str) -> str:
        return f"<w:tbl><w:tr>{''.join(f'<w:tc>{cell}<w:p/></w:tc>' for cell in cells)}</w:tr></w:tbl>"

    box = f"<w:txbxContent>{paragraph(_run('boxword'))}</w:txbxContent>"
    # Word writes a box twice: for itself, and for programs that do not know its shapes.
    shape = f"<w:drawing><wps:wsp><wps:txbx>{box}</wps:txbx></wps:wsp></w:drawing>"
    older = f"<w:pict><v:shape><v:textbox>{box}</v:textbox></v:shape></w:pict>"
    alternatives = (
        f"<mc:AlternateContent><mc:Choice Requires='wps'>{shape}</mc:Choice><mc:Fallback>{older}</mc:Fallback>"
        "</mc:AlternateContent>"
    )
    body = (
        paragraph(
            _run("numberedword"), properties="<w:numPr><w:ilvl w:val='0'/><w:numId w:val='1'/></w:numPr>"
        )
        + paragraph(_run("plainword"), _run("2", "<w:vertAlign w:val='superscript'/>"))
        + table(paragraph(_run("cellword")), table(paragraph(_run("innerword"))))
        + paragraph(f"<w:r>{alternatives}</w:r>")
        + f"<w:sdt><w:sdtContent>{paragraph(_run('controlword'))}</w:sdtContent></w:sdt>"
        + paragraph(
            f"<w:ins>{_run('insertedword')}</w:ins><w:del><w:r><w:delText>deletedword</w:delText></w:r></w:del>"
        )
        + paragraph(f"<w:fldSimple w:instr='REF x'>{_run('fieldword')}</w:fldSimple>")
        + paragraph(f"<w:hyperlink>{_run('linkword')}</w:hyperlink>", _run("vanishedword", "<w:vanish/>"))
        + paragraph(_run("notedword"), "<w:r><w:footnoteReference w:id='2'/></w:r>")
        + "<w:sectPr><w:headerReference w:type='default' r:id='r1'/></w:sectPr>"
    )
    names = (
        f"xmlns:w='{WORD}' xmlns:r='{RELATION}' xmlns:v='urn:schemas-microsoft-com:vml' "
        "xmlns:wps='http://schemas.microsoft.com/office/word/2010/wordprocessingShape' "
        "xmlns:mc='http://schemas.openxmlformats.org/markup-compatibility/2006'"
    )
    level = "<w:lvl w:ilvl='0'><w:start w:val='7'/><w:numFmt w:val='decimal'/><w:lvlText w:val='Clause %1'/></w:lvl>"
    scheme = f"<w:abstractNum w:abstractNumId='0'>{level}</w:abstractNum>"
    numbers = f"{scheme}<w:num w:numId='1'><w:abstractNumId w:val='0'/></w:num>"
    note = f"<w:footnote w:id='2'>{paragraph(_run('footword'))}</w:footnote>"
    comment = f"<w:comment w:id='0'>{paragraph(_run('commentword'))}</w:comment>"
    related = (
        ("header", "header1.xml"),
        ("footnotes", "footnotes.xml"),
        ("numbering", "numbering.xml"),
        ("comments", "comments.xml"),
    )
    data = zip_of(
        {
            "word/document.xml": f"<w:document {names}><w:body>{body}</w:body></w:document>",
            "word/_rels/document.xml.rels": _relations(*related),
            "word/header1.xml": f"<w:hdr {names}>{paragraph(_run('headerword'))}</w:hdr>",
            "word/footnotes.xml": f"<w:footnotes {names}>{note}</w:footnotes>",
            "word/comments.xml": f"<w:comments {names}>{comment}</w:comments>",
            "word/numbering.xml": f"<w:numbering {names}>{numbers}</w:numbering>",
        }
    )
    shown = (
        "Clause 7 numberedword plainword^2 cellword innerword boxword controlword insertedword fieldword linkword "
        "notedword[1] footword headerword"
    )
    return SmallDocument(data, shown, "deletedword vanishedword commentword", ("hidden", "not_read"))


def _pptx() -> SmallDocument:
    def slide(word: str, more: str = "", settings: str = "") -> str:
        text = f"<p:sp><p:txBody><a:p><a:r><a:t>{word}</a:t></a:r></a:p></p:txBody></p:sp>"
        names = f"xmlns:p='http://schemas.openxmlformats.org/presentationml/2006/main' xmlns:a='{DRAWING}'"
        return f"<p:sld {names} {settings}><p:cSld><p:spTree>{text}{more}</p:spTree></p:cSld></p:sld>"

    cell = "<a:tc><a:txBody><a:p><a:r><a:t>cellword</a:t></a:r></a:p></a:txBody></a:tc>"
    table = (
        f"<p:graphicFrame><a:graphic><a:graphicData><a:tbl><a:tr>{cell}</a:tr></a:tbl></a:graphicData></a:graphic>"
        "</p:graphicFrame>"
    )
    ids = "<p:sldId id='256' r:id='r1'/><p:sldId id='257' r:id='r2'/>"
    names = f"xmlns:p='http://schemas.openxmlformats.org/presentationml/2006/main' xmlns:r='{RELATION}'"
    data = zip_of(
        {
            "ppt/presentation.xml": f"<p:presentation {names}><p:sldIdLst>{ids}</p:sldIdLst></p:presentation>",
            "ppt/_rels/presentation.xml.rels": _relations(
                ("slide", "slides/slide1.xml"), ("slide", "slides/slide2.xml")
            ),
            "ppt/slides/slide1.xml": slide("slideword", table),
            "ppt/slides/_rels/slide1.xml.rels": _relations(("notesSlide", "../notesSlides/notesSlide1.xml")),
            "ppt/notesSlides/notesSlide1.xml": slide("speakerword"),
            "ppt/slides/slide2.xml": slide("skippedword", settings="show='0'"),
        }
    )
    return SmallDocument(data, "slideword cellword speakerword", "skippedword", ("hidden",))


def _xlsx() -> SmallDocument:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Feesheet"
    sheet.append(["Feeword", "Shareword", "Codeword", "columnword"])
    sheet.append([10.5, 0.25, 7, "columnvalue"])
    sheet["B2"].number_format, sheet["C2"].number_format = "0%", "000"
    sheet["A1"].comment = Comment("remarkword", "Ann")
    sheet.column_dimensions["D"].hidden = True
    book.create_sheet("Namesheet").append(["annword"])
    secret = book.create_sheet("Secretsheet")
    secret.append(["secretword"])
    secret.sheet_state = "hidden"
    out = io.BytesIO()
    book.save(out)
    shown = "Feesheet Feeword Shareword Codeword 10.5 25% 007 Namesheet annword"
    hidden = "Secretsheet secretword columnword columnvalue remarkword"
    return SmallDocument(out.getvalue(), shown, hidden, ("hidden", "not_read"))


def _odt() -> SmallDocument:
    cell = "<b:table-cell><t:p>cellword</t:p></b:table-cell>"
    body = (
        "<t:h>headword</t:h><t:p>outer <t:span>in<t:span>nestedword</t:span></t:span> <t:line-break/>brokenword"
        "<t:note><t:note-citation>1</t:note-citation><t:note-body><t:p>footword</t:p></t:note-body></t:note></t:p>"
        f"<b:table><b:table-row>{cell}</b:table-row></b:table>"
        "<t:p><d:frame><d:text-box><t:p>boxword</t:p></d:text-box></d:frame></t:p>"
        "<t:section t:display='none'><t:p>sectionword</t:p></t:section>"
        "<o:annotation><t:p>remarkword</t:p></o:annotation>"
    )
    names = "xmlns:o='office' xmlns:t='text' xmlns:b='table' xmlns:d='drawing'"
    content = f"<o:document-content {names}><o:body><o:text>{body}</o:text></o:body></o:document-content>"
    data = zip_of({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": content})
    shown = "headword outer innestedword brokenword footword cellword boxword"
    return SmallDocument(data, shown, "sectionword remarkword", ("hidden", "not_read"))


def _epub() -> SmallDocument:
    package = "<package><manifest><item id='a' href='a.xhtml'/></manifest><spine><itemref idref='a'/></spine></package>"
    data = zip_of(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": "<container><rootfile full-path='b.opf'/></container>",
            "b.opf": package,
            "a.xhtml": "<html xmlns='http://www.w3.org/1999/xhtml'><head><title/><script/></head><body>"
            "<p>chapterword</p><p style='display:none'>maskedword</p></body></html>",
        }
    )
    return SmallDocument(data, "chapterword", "maskedword")


def _pdf() -> SmallDocument:
    stream = (
        "BT /F1 12 Tf 50 700 Td (This agreement is governed by plainword) Tj 3 Tr 0 -40 Td (ghostword) Tj ET"
    )
    field = "<</Type/Annot/Subtype/Widget/FT/Tx/T(tenant)/V(fieldword)/Rect[50 600 250 620]>>"
    parts = (
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Annots[{field}]"
        "/Resources<</Font<</F1 5 0 R>>>>>>",
        f"<</Length {len(stream)}>>stream\n{stream}\nendstream",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    )
    body = "".join(f"{number} 0 obj\n{part}\nendobj\n" for number, part in enumerate(parts, 1))
    return SmallDocument(
        f"%PDF-1.4\n{body}trailer<</Root 1 0 R>>\n%%EOF\n".encode(),
        "plainword fieldword",
        "ghostword",
        ("hidden",),
    )


def _html(*, strict: bool = False) -> SmallDocument:
    page = (
        "<head><title>titleword</title><style>.x {display: none}</style></head><body><h1>headword</h1>"
        "<p>one<b>bold</b>word</p><dialog open='open'>dialogword</dialog><details><summary>sumword</summary>"
        "<p>openedword</p></details><table><tr><td>cellword</td><td>nextword</td></tr></table>"
        "<p hidden='hidden'>attributeword</p><p class='x'>styledword</p><p>10<sup>6</sup></p>"
        "<select><option>optionword</option></select><textarea>areaword</textarea></body>"
    )
    head = (
        "<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'>"
        if strict
        else "<!DOCTYPE html><html>"
    )
    page = page.replace("<head>", "<head><script/>") if strict else page
    shown = "headword oneboldword dialogword sumword openedword cellword nextword 10^6 areaword"
    return SmallDocument(f"{head}{page}</html>".encode(), shown, "attributeword styledword", ("hidden",))


def _letter() -> bytes:
    return (
        b"From: Ann <ann@example.org>\nTo: bob@example.org\nSubject: =?utf-8?q?Caf=C3=A9word?=\nMIME-Version: 1.0\n"
        b'Content-Type: multipart/mixed; boundary="x"\n\n--x\nContent-Type: text/plain; charset=utf-8\n'
        b"Content-Transfer-Encoding: quoted-printable\n\nThe plain=\nword is due.\n--x\n"
        b"Content-Type: application/pdf; name=lease.pdf\nContent-Disposition: attachment\n\n%PDF-1.4\n--x--\n"
    )


def small_documents() -> dict[str, SmallDocument]:
    """Return a document of each format by its file name."""
    rows = '{"text": "firstword", "id": 1}\n{"text": "second\\u2028word", "id": 2}\n{"text": ["listword"]}\n'
    letter = _letter()
    line = b"From a@b.c Thu Mar 14 10:00:00 2024\n"
    rtf = (
        r"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}\f0 plainword \u8364?950\par {\v ghostword}"
        r"{\footnote footword}}"
    )
    texts = {
        "plain.txt": (
            "---\ntitle: Lease\n---\nThe tenant pays — everyword.\n\nlastword\n",
            "everyword lastword —",
        ),
        "notes.md": (
            "# headword\n\n- itemword\n\n| a | cellword |\n|---|---|\n",
            "headword itemword cellword",
        ),
        "table.csv": (
            'text;"due date"\n"The ""rentword""";2024-05-01\notherword;2024-06-01\n',
            "rentword otherword",
        ),
        "rows.json": ('{"data": [{"text": "oneword"}, {"text": "twoword"}]}', "oneword twoword"),
        "act.xml": (
            "<act><section num='1'><p>Whoever <i>shallword</i> pay.</p></section></act>",
            "shallword",
        ),
        "list.yaml": ("title: Lease\ntext: valueword\n", "valueword"),
    }
    records = SmallDocument(rows.encode(), "firstword", "listword", ("damaged_record",))
    return {name: SmallDocument(text.encode(), shown) for name, (text, shown) in texts.items()} | {
        "page.html": _html(),
        "page.xhtml": _html(strict=True),
        "rows.jsonl": records,
        "rows.jsonl.gz": SmallDocument(
            gzip.compress(rows.encode(), mtime=0), "firstword", "listword", ("damaged_record",)
        ),
        "letter.eml": SmallDocument(letter, "Caféword plainword", "", ("not_read",)),
        "box.mbox": SmallDocument((line + letter + b"\n") * 2, "", "", ("not_read", "not_read")),
        "letter.rtf": SmallDocument(rtf.encode(), "plainword €950 footword", "ghostword", ("hidden",)),
        "a.docx": _docx(),
        "a.pptx": _pptx(),
        "a.xlsx": _xlsx(),
        "a.odt": _odt(),
        "a.epub": _epub(),
        "a.pdf": _pdf(),
        "all.zip": SmallDocument(
            zip_of({name: text for name, (text, _) in texts.items()}), "everyword oneword"
        ),
    }
