"""What a Word document shows outside of plain paragraphs is text, or counted."""

import zipfile

import pytest

from corpus.office_files import (
    alternatives,
    element,
    inside,
    paragraph,
    read_docx,
    read_members,
    relations,
    run,
)
from tinsmith.corpus.readers.ooxml.charts import write_value
from tinsmith.corpus.readers.ooxml.symbols import symbol

FIELD = '<w:r><w:fldChar w:fldCharType="{}"/></w:r>'.format


def field(code, result=None, data=""):
    """Return a field; `data` is that of a form."""
    begin = f'<w:r><w:fldChar w:fldCharType="begin"><w:ffData>{data}</w:ffData></w:fldChar></w:r>'
    shown = "" if result is None else FIELD("separate") + (result if result.startswith("<") else run(result))
    return f"{begin}<w:r><w:instrText>{code}</w:instrText></w:r>{shown}{FIELD('end')}"


def drawing(content):
    return inside("w:r/w:drawing/wp:inline/a:graphic/a:graphicData", content)


def rels(*rows):
    return {"_rels/document.xml.rels": relations(*rows)}


# Embedded documents


def docx_bytes(path, text, parts=()):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", element("w:document", f"<w:body>{text}</w:body>"))
        for name, content in parts:
            archive.writestr(f"word/{name}", content)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("afchunk.html", "<html><body><p>The tenant waters the plants.</p></body></html>"),
        ("afchunk.txt", "The tenant waters the plants."),
        ("afchunk.rtf", r"{\rtf1\ansi The tenant waters the plants.}"),
        (
            "afchunk.mht",
            "From: a@b.c\nMIME-Version: 1.0\nContent-Type: text/html\n\n<p>The tenant waters the plants.</p>",
        ),
    ],
)
def test_a_document_within_is_read_at_its_place(tmp_path, name, content):
    body = paragraph("Cover.") + '<w:altChunk r:id="x"/>' + paragraph("Signed.")
    reading = read_docx(tmp_path, body, rels(("x", "aFChunk", name)) | {name: content})
    assert reading.blocks == ["Cover.", "The tenant waters the plants.", "Signed."]
    assert reading.lost == []


def test_a_word_document_within_keeps_its_numbers_and_its_losses(tmp_path):
    inner = paragraph("Inner.") + paragraph(run("secret", "<w:vanish/>"))
    parts = rels(("x", "aFChunk", "in/afchunk1.docx")) | {
        "in/afchunk1.docx": docx_bytes(tmp_path / "i", inner)
    }
    reading = read_docx(tmp_path, '<w:altChunk r:id="x"/>', parts)
    assert reading.text == "Inner."
    assert reading.lost == [("word/in/afchunk1.docx: word/document.xml", "hidden", "hidden text", 1)]


def test_documents_within_that_are_not_read_are_counted(tmp_path):
    parts = rels(("x", "aFChunk", "a.bin"), ("y", "aFChunk", "none.html"), ("z", "aFChunk", "unused.html"))
    body = paragraph("Cover.") + '<w:altChunk r:id="x"/><w:altChunk r:id="y"/>'
    reading = read_docx(tmp_path, body, parts | {"a.bin": b"\0\1\2\3" * 99, "unused.html": "<p>No</p>"})
    assert reading.text == "Cover."
    assert [row[:2] for row in reading.lost] == [
        ("word/a.bin", "unsupported_format"), ("word/document.xml", "not_read"), ("word/unused.html", "not_read"),
    ]  # fmt: skip


def test_a_document_that_holds_itself_ends(tmp_path):
    chunk = [("_rels/document.xml.rels", relations(("x", "aFChunk", "a.docx")))]
    body = paragraph("Again.") + '<w:altChunk r:id="x"/>'
    data = b""
    for _ in range(5):
        data = docx_bytes(tmp_path / "i", body, [*chunk, ("a.docx", data)])
    reading = read_docx(tmp_path, body, {**dict(chunk), "a.docx": data})
    assert reading.text == "Again.\n\nAgain.\n\nAgain.\n\nAgain."
    assert [row[1] for row in reading.lost] == ["not_read"]


# Charts and diagrams


def points(*values):
    """Return stored points."""
    return "".join(inside(f"c:pt idx='{n}'/c:v", str(value)) for n, value in enumerate(values))


def series(name, code, *values):
    """Return a series over two years."""
    years = inside("c:cat/c:strRef/c:strCache", points(2023, 2024))
    cache = inside("c:val/c:numRef/c:numCache", inside("c:formatCode", code) + points(*values))
    return inside("c:ser", inside("c:tx/c:strRef/c:strCache", points(name)) + years + cache)


def title(text):
    return inside("c:title/c:tx/c:rich/a:p/a:r/a:t", text)


def test_a_chart_gives_titles_names_and_values(tmp_path):
    bars = series("Net margin", "0.0%", 0.125, 0.2) + series("Sales", "#,##0", 1234567, 2000.4)
    plot = inside("c:plotArea", inside("c:barChart", bars) + inside("c:valAx", title("in euros")))
    chart = element("c:chartSpace", f"<c:chart>{title('Results')}{plot}</c:chart>")
    body = paragraph(run("Below:") + drawing('<c:chart r:id="x"/>')) + paragraph("After.")
    rows = ("w", "package", "../embeddings/sheet.xlsx"), ("u", "chartUserShapes", "d.xml")
    parts = {
        "charts/chart1.xml": chart,
        "charts/_rels/chart1.xml.rels": relations(*rows),
        "charts/d.xml": element("c:userShapes", inside("a:sp/a:txBody/a:p/a:r/a:t", "record year")),
        "embeddings/sheet.xlsx": b"PK",
    }
    reading = read_docx(tmp_path, body, rels(("x", "chart", "charts/chart1.xml")) | parts)
    table = "\tNet margin\tSales\n2023\t12.5%\t1,234,567\n2024\t20.0%\t2,000"
    assert reading.blocks == ["Below:", "Results", "in euros", table, "record year", "After."]
    assert reading.lost == []


def test_categories_of_several_levels_and_points_of_a_scatter_chart(tmp_path):
    levels = inside("c:lvl", points("Q1", "Q2")) + inside("c:lvl", points("2024"))
    categories = inside("c:cat/c:multiLvlStrRef/c:multiLvlStrCache", levels)
    numbers = inside("c:numLit", points(1.5, 0.30000000000000004))
    bars = inside("c:barChart/c:ser", categories + inside("c:val", numbers))
    named = inside("c:tx/c:v", "Dots") + inside("c:xVal", numbers) + inside("c:yVal", numbers)
    dots = inside("c:scatterChart/c:ser", named)
    for plot, text in ((bars, "2024\tQ1\t1.5\n\tQ2\t0.3"), (dots, "Dots\n1.5\t1.5\n0.3\t0.3")):
        chart = element("c:chartSpace", inside("c:chart/c:plotArea", plot))
        parts = rels(("x", "chart", "charts/chart1.xml")) | {"charts/chart1.xml": chart}
        assert read_docx(tmp_path, paragraph(drawing('<c:chart r:id="x"/>')), parts).text == text


def test_charts_of_newer_kinds(tmp_path):
    def dimension(kind, code, *values):
        cells = "".join(inside(f"cx:pt idx='{n}'", str(value)) for n, value in enumerate(values))
        return inside(f"cx:{kind}Dim/cx:lvl formatCode='{code}'", cells)

    data = inside(
        "cx:chartData/cx:data", dimension("str", "", "Offers", "Leases") + dimension("num", "0", 90, 40)
    )
    whole = element("cx:chartSpace", data + inside("cx:chart/cx:title/cx:tx/cx:rich/a:p/a:r/a:t", "Funnel"))
    choice = alternatives("cx1", drawing('<cx:chart r:id="x"/>'), run("not available"))
    parts = rels(("x", "chartEx", "charts/chartEx1.xml")) | {"charts/chartEx1.xml": whole}
    assert read_docx(tmp_path, paragraph(choice), parts).blocks == ["Funnel", "Offers\t90\nLeases\t40"]


@pytest.mark.parametrize(
    ("text", "code", "shown"),
    [
        ("0.125", "General", "0.125"), ("1234.5", "#,##0.00", "1,234.50"), ("0.07", "0%", "7%"),
        ("45292", "m/d/yyyy", "2024-01-01"), ("45292.5", "d mmm yy h:mm", "2024-01-01 12:00:00"),
        ("5", '0" days"', "5"), ("0.5", "# ?/?", "0.5"), ("1200", "0.00E+00", "1200"), ("n/a", "0", "n/a"),
        ("12", '#,##0 "mdy";[Red]-0', "12"), ("-3", "[$-407]0.0", "-3.0"),
    ],
)  # fmt: skip
def test_values_in_their_formats(text, code, shown):
    assert write_value(text, code) == shown


def test_a_chart_that_cannot_be_read_is_a_loss(tmp_path):
    body = paragraph(run("A") + drawing('<c:chart r:id="x"/><c:chart r:id="y"/>'))
    parts = rels(("x", "chart", "charts/chart1.xml"), ("y", "chart", "charts/none.xml"))
    reading = read_docx(
        tmp_path, body, parts | {"charts/chart1.xml": "<c:broken", "charts/chart2.xml": "<c/>"}
    )
    assert reading.text == "A"
    assert [row[:2] for row in reading.lost] == [
        ("word/charts/chart1.xml", "damaged"),
        ("word/document.xml", "not_read"),
        ("word/charts/chart2.xml", "not_read"),
    ]  # fmt: skip


def test_a_diagram_gives_its_texts_in_the_order_of_its_tree(tmp_path):
    def point(identity, text, kind="node"):
        text = inside("dgm:t", "<a:bodyPr/>" + inside("a:p/a:r/a:t", text))
        return inside(f'dgm:pt modelId="{identity}" type="{kind}"', text)

    nodes = point("s", "yes", "sibTrans") + point(3, "Sign") + point(2, "Check") + point(1, "Apply")
    nodes += '<dgm:pt modelId="d" type="doc"/>'
    links = "".join(
        f'<dgm:cxn srcId="{source}" destId="{to}" srcOrd="{order}"/>'
        for source, to, order in (("d", 1, 0), ("d", 3, 1), (1, 2, 0))
    )
    model = element("dgm:dataModel", inside("dgm:ptLst", nodes) + inside("dgm:cxnLst", links))
    parts = rels(("x", "diagramData", "diagrams/data1.xml")) | {"diagrams/data1.xml": model}
    assert read_docx(tmp_path, paragraph(drawing('<dgm:relIds r:dm="x"/>')), parts).blocks == [
        "Apply",
        "Check",
        "Sign",
        "yes",
    ]


# Symbols and check boxes


@pytest.mark.parametrize(
    ("font", "code", "shown"),
    [
        ("Wingdings", "F0FE", "☑"), ("Wingdings", "F0A8", "☐"), ("Wingdings", "FD", "☒"), ("Wingdings", "F0FC", "✓"),
        ("Wingdings 2", "F052", "☑"), ("Wingdings 2", "F0A3", "☐"), ("Wingdings 3", "F070", "▲"),
        ("Webdings", "F061", "✔"),
        ("Symbol", "F062", "β"), ("Symbol", "F0A3", "≤"), ("Symbol", "F0A0", "€"), ("Symbol", "F0B7", "•"),
        ("Arial", "2264", "≤"), ("Segoe UI Symbol", "2610", "☐"),
    ],
)  # fmt: skip
def test_symbols_are_characters(tmp_path, font, code, shown):
    reading = read_docx(
        tmp_path, paragraph(f'<w:r><w:sym w:font="{font}" w:char="{code}"/></w:r>' + run(" Yes"))
    )
    assert (reading.text, reading.lost) == (f"{shown} Yes", [])


def test_text_in_a_font_of_symbols_is_what_the_font_shows(tmp_path):
    greek = '<w:rFonts w:ascii="Symbol" w:hAnsi="Symbol"/>'
    styles = inside('w:style w:type="character" w:styleId="Greek"/w:rPr', greek)
    fonts = '<w:rFonts w:ascii="Wingdings" w:hAnsi="Wingdings"/>'
    body = paragraph(run("\uf0fe", fonts) + run(" a ") + run("a \uf0a3 9", '<w:rStyle w:val="Greek"/>'))
    assert read_docx(tmp_path, body, {"styles.xml": styles}).text == "☑ a α ≤ 9"


def test_symbols_of_unknown_fonts_are_counted(tmp_path):
    body = paragraph('<w:r><w:sym w:font="Logo" w:char="F041"/></w:r>' + run("A\uf0c1\uf0c2B"))
    reading = read_docx(tmp_path, body)
    assert (reading.text, reading.lost) == ("AB", [("word/document.xml", "not_read", "symbols", 3)])


def test_every_symbol_has_one_character():
    for font in ("Symbol", "Wingdings", "Wingdings 2", "Wingdings 3", "Webdings"):
        assert all(len(symbol(font, code)) <= 1 for code in range(0x20, 0x100)), font
    assert [symbol("Wingdings", code) for code in (0x21, 0xB7, 0xC2, 0xFF)] == ["🖉", "🕐", "🕛", ""]
    assert [symbol("Symbol", code) for code in (0x41, 0x7A, 0xD6, 0xE5, 0xFE)] == ["Α", "ζ", "√", "∑", "⎭"]


@pytest.mark.parametrize(
    ("state", "shown"),
    [("<w:checked/>", "☒"), ('<w:checked w:val="0"/>', "☐"), ('<w:default w:val="1"/>', "☒"), ("", "☐"),
     ('<w:default w:val="1"/><w:checked w:val="false"/>', "☐")],
)  # fmt: skip
def test_check_boxes_of_old_forms(tmp_path, state, shown):
    body = paragraph(field(" FORMCHECKBOX ", data=f"<w:checkBox>{state}</w:checkBox>") + run(" Pets"))
    assert read_docx(tmp_path, body).text == f"{shown} Pets"


def test_fields_of_old_forms(tmp_path):
    entries = '<w:ddList><w:result w:val="1"/><w:listEntry w:val="monthly"/><w:listEntry w:val="yearly"/></w:ddList>'
    body = paragraph(
        run("Paid ") + field(" FORMDROPDOWN ", data=entries) + run(" by ") + field(" FORMTEXT ", "Ada Quill")
    )
    assert read_docx(tmp_path, body).text == "Paid yearly by Ada Quill"


def test_content_controls(tmp_path):
    state = '<w:sdtPr><w14:checkbox><w14:checked w14:val="{}"/></w14:checkbox></w:sdtPr>'
    box = "<w:sdt>" + state + "<w:sdtContent>{}</w:sdtContent></w:sdt>"
    entries = "<w:sdtPr><w:dropDownList><w:listItem w:value='no'/></w:dropDownList></w:sdtPr>"
    choice = "<w:sdt>" + entries + "<w:sdtContent>{}</w:sdtContent></w:sdt>"
    body = (
        paragraph(box.format(1, run("☒")) + run(" A ") + box.format(1, "") + run(" B ") + box.format(0, ""))
        + choice.format(paragraph(choice.format(run("In two controls"))))
    )  # fmt: skip
    assert read_docx(tmp_path, body).blocks == ["☒ A ☒ B ☐", "In two controls"]


# Fields


def test_fields_give_their_results(tmp_path):
    nested = field(" IF " + "", None)
    inner = field(" MERGEFIELD x ", "shown")
    code = FIELD("begin") + inside("w:r/w:instrText", " IF ") + inner
    whole = code + FIELD("separate") + run("result") + FIELD("end")
    simple = f'<w:fldSimple w:instr=" REF a ">{run("2.1")}</w:fldSimple>'
    body = (
        paragraph(run("See ") + field(" REF b \\r ", "clause 3") + run(" and ") + simple)
        + paragraph(whole + nested)
        + paragraph(run("Dated ") + field(" DATE ", "5 May 2024"))
        + paragraph(
            field(" MACROBUTTON NoMacro [Name of the tenant] ")
            + field(' SYMBOL 163 \\f "Symbol" ')
            + field(' TC "In the contents" ')
        )
    )
    reading = read_docx(tmp_path, body)
    assert reading.blocks == ["See clause 3 and 2.1", "result", "Dated 5 May 2024", "[Name of the tenant]≤"]
    assert reading.lost == []


def test_a_result_may_have_several_paragraphs(tmp_path):
    begin = FIELD("begin") + "<w:r><w:instrText> TOC </w:instrText></w:r>" + FIELD("separate")
    body = paragraph(begin + run("1. Rent")) + paragraph(run("2. Term") + FIELD("end")) + paragraph("Rent.")
    assert read_docx(tmp_path, body).blocks == ["1. Rent", "2. Term", "Rent."]


def test_fields_that_only_word_computes_are_counted(tmp_path):
    body = paragraph(field(" AUTONUM ") + run("A")) + paragraph(
        field(" LISTNUM ") + '<w:fldSimple w:instr="SEQ x"/>' + run("B")
    )
    reading = read_docx(tmp_path, body)
    assert reading.blocks == ["A", "B"]
    assert reading.lost == [("word/document.xml", "not_read", "fields without a stored result", 3)]


def test_a_field_without_an_end_is_counted(tmp_path):
    reading = read_docx(tmp_path, paragraph("A") + paragraph(FIELD("begin") + run("B")) + paragraph("C"))
    assert reading.text == "A"
    assert reading.lost == [("word/document.xml", "not_read", "text in fields without an end", 2)]


def test_a_deleted_end_of_a_field_ends_it(tmp_path):
    deleted = f'<w:del w:id="1">{FIELD("end")}</w:del>'
    assert read_docx(tmp_path, paragraph(FIELD("begin") + deleted + run("A"))).text == "A"


# Headers, footers, notes, comments


def margins(*rows, more=""):
    references = "".join(
        f'<w:{place}Reference w:type="{kind}" r:id="{identity}"/>' for place, kind, identity in rows
    )
    return f"<w:sectPr>{references}{more}</w:sectPr>"


def margin(name, *texts):
    return element(f"w:{name}", "".join(paragraph(text) for text in texts))


def test_headers_and_footers_are_read_once(tmp_path):
    parts = rels(
        *((f"h{n}", "header", f"header{n}.xml") for n in (1, 2, 3, 4)),
        ("f", "footer", "footer1.xml"),
        ("g", "footer", "footer2.xml"),
    )
    parts |= {
        f"header{n}.xml": margin("hdr", text)
        for n, text in (
            (1, "Contract No. 4711"),
            (2, "First page"),
            (3, "Even page"),
            (4, "Contract No. 4711"),
        )
    }
    parts["footer1.xml"] = margin("ftr", run("Quay Ltd, page ") + field("PAGE", "1"), "Confidential")
    parts["footer2.xml"] = margin("ftr", run("- ") + field("PAGE", "1") + run(" -"))
    rows = [
        ("header", "default", "h1"),
        ("header", "first", "h2"),
        ("header", "even", "h3"),
        ("footer", "default", "f"),
        ("footer", "first", "g"),
    ]
    parts["settings.xml"] = "<w:evenAndOddHeaders/>"
    body = (
        paragraph("Body.", margins(*rows, more="<w:titlePg/>"))
        + paragraph("More.")
        + margins(("header", "default", "h4"))
    )
    reading = read_docx(tmp_path, body, parts)
    assert reading.blocks == [
        "Contract No. 4711",
        "First page",
        "Even page",
        "Body.",
        "More.",
        "Quay Ltd, page 1",
        "Confidential",
    ]
    assert reading.lost == []


def test_headers_of_no_page_are_hidden(tmp_path):
    parts = rels(*((f"h{n}", "header", f"header{n}.xml") for n in (1, 2, 3, 4)))
    parts |= {f"header{n}.xml": margin("hdr", f"Header {n}") for n in (1, 2, 3)} | {
        "header4.xml": margin("hdr")
    }
    rows = [("header", "default", "h1"), ("header", "first", "h2"), ("header", "even", "h4")]
    reading = read_docx(tmp_path, paragraph("Body.") + margins(*rows), parts)
    assert reading.blocks == ["Header 1", "Body."]
    hidden = "headers or footers of no page"
    assert reading.lost == [
        ("word/header2.xml", "hidden", hidden, 1),
        ("word/header3.xml", "hidden", hidden, 1),
    ]


def test_headers_without_sections_are_read(tmp_path):
    parts = rels(("h", "header", "header1.xml")) | {"header1.xml": margin("hdr", "4711")}
    assert read_docx(tmp_path, paragraph("Body."), parts).blocks == ["4711", "Body."]


def test_a_watermark_is_text(tmp_path):
    mark = '<w:r><w:pict><v:shape style="visibility:visible"><v:textpath string="DRAFT"/></v:shape></w:pict></w:r>'
    parts = rels(("h", "header", "header1.xml")) | {"header1.xml": margin("hdr", mark)}
    assert read_docx(tmp_path, paragraph("Body."), parts).blocks == ["DRAFT", "Body."]


def note(identity, text, kind="footnote", more=""):
    return f'<w:{kind} w:id="{identity}"{more}>{paragraph(f"<w:r><w:{kind}Ref/></w:r>" + run(" " + text))}</w:{kind}>'


def refer(identity, kind="footnote", more=""):
    return f'<w:r><w:{kind}Reference w:id="{identity}"{more}/></w:r>'


def test_notes_have_marks_that_join_no_number(tmp_path):
    separator = (
        '<w:footnote w:id="0" w:type="separator"><w:p><w:r><w:t>(continued)</w:t></w:r></w:p></w:footnote>'
    )
    parts = {
        "footnotes.xml": element("w:footnotes", separator + note(5, "Second.") + note(4, "First.")),
        "endnotes.xml": element("w:endnotes", note(2, "Last.", "endnote")),
    }
    body = paragraph(
        run("Sales were 12,345") + refer(4) + run(" and costs") + refer(5) + refer(2, "endnote") + run(".")
    )
    reading = read_docx(tmp_path, body, parts)
    assert reading.blocks == [
        "Sales were 12,345[1] and costs[2][i].",
        "[1] First.",
        "[2] Second.",
        "[i] Last.",
    ]


def test_notes_are_numbered_as_the_document_says(tmp_path):
    parts = {
        "footnotes.xml": element(
            "w:footnotes", note(4, "First.") + note(5, "Own.").replace("<w:footnoteRef/>", "<w:t>*</w:t>")
        ),
        "settings.xml": '<w:footnotePr><w:numFmt w:val="lowerLetter"/><w:numStart w:val="3"/></w:footnotePr>',
    }
    own = refer(5, more=' w:customMarkFollows="1"') + run("*")
    reading = read_docx(tmp_path, paragraph(run("A") + refer(4) + run(" B") + own), parts)
    assert reading.blocks == ["A[c] B*", "[c] First.", "* Own."]


def test_notes_of_deleted_marks_are_hidden(tmp_path):
    parts = {
        "footnotes.xml": element("w:footnotes", note(4, "Gone.") + note(5, "Hidden.") + note(6, "Here."))
    }
    hidden = '<w:r><w:rPr><w:vanish/></w:rPr><w:footnoteReference w:id="5"/></w:r>'
    body = paragraph(run("A") + f'<w:del w:id="1">{refer(4)}</w:del>' + hidden + refer(6))
    reading = read_docx(tmp_path, body, parts)
    assert reading.blocks == ["A[1]", "[1] Here."]
    assert reading.lost == [("word/footnotes.xml", "hidden", "notes of deleted or hidden marks", 2)]


def test_comments_and_objects_are_counted(tmp_path):
    comments = element(
        "w:comments", '<w:comment w:id="1"><w:p/></w:comment><w:comment w:id="2"><w:p/></w:comment>'
    )
    shown = '<w:r><w:object><o:OLEObject Type="Embed" ProgID="Excel.Sheet.12" r:id="x"/></w:object></w:r>'
    parts = rels(("x", "package", "embeddings/sheet.xlsx")) | {
        "comments.xml": comments,
        "embeddings/sheet.xlsx": b"PK",
        "embeddings/other.bin": b"x",
    }
    reading = read_docx(tmp_path, paragraph(run("A") + shown + '<w:subDoc r:id="y"/>'), parts)
    assert reading.lost == [
        ("word/embeddings/sheet.xlsx", "not_read", "embedded objects", 1),
        ("word/document.xml", "not_read", "documents that are elsewhere", 1),
        ("word/comments.xml", "not_read", "comments", 2),
        ("word/embeddings/other.bin", "not_read", "", 1),
    ]


# Boxes, tables, alternatives


def test_alternatives_are_read_once(tmp_path):
    inner = f"<w:txbxContent>{paragraph('In a box.')}</w:txbxContent>"
    new, old = inside("w:drawing/wps:wsp/wps:txbx", inner), inside("w:pict/v:textbox", inner)
    box = inside("w:r", alternatives("wps", new, old))
    unknown = inside("w:r", alternatives("w99", "<w:t>new</w:t>", "<w:t>😊</w:t>"))
    body = paragraph(run("Before") + box + run(" after ") + unknown) + paragraph("Last.")
    assert read_docx(tmp_path, body).blocks == ["Before after 😊", "In a box.", "Last."]


def test_a_table_in_a_table_and_a_cell_that_lays_out_text(tmp_path):
    def table(*rows):
        return (
            "<w:tbl>"
            + "".join("<w:tr>" + "".join(f"<w:tc>{cell}</w:tc>" for cell in row) + "</w:tr>" for row in rows)
            + "</w:tbl>"
        )

    inner = table([paragraph("Rent"), paragraph("900")], [paragraph("Heat"), paragraph("80")])
    body = table(
        [paragraph("Sum"), paragraph("Due") + paragraph("in May")],
        [paragraph("Parts:") + inner + paragraph("Total")],
        [paragraph("First.") + paragraph("Second.")],
        [paragraph("980"), paragraph("1 May")],
    )
    assert read_docx(tmp_path, body).blocks == [
        "Sum\tDue in May",
        "Parts:",
        "Rent\t900\nHeat\t80",
        "Total",
        "First.",
        "Second.",
        "980\t1 May",
    ]


def test_drop_caps_and_readings(tmp_path):
    ruby = f"<w:r><w:ruby><w:rt>{run('かんじ')}</w:rt><w:rubyBase>{run('漢字')}</w:rubyBase></w:ruby></w:r>"
    body = paragraph("T", '<w:framePr w:dropCap="drop"/>') + paragraph("he tenant.") + paragraph(ruby)
    assert read_docx(tmp_path, body).blocks == ["The tenant.", "漢字(かんじ)"]


def test_the_main_part_is_the_one_that_the_package_names(tmp_path):
    members = {
        "_rels/.rels": relations(("a", "officeDocument", "/Word/Document2.xml")),
        "word/document2.xml": element("w:document", f"<w:body>{paragraph('A')}</w:body>"),
        "word/document.xml": element("w:document", f"<w:body>{paragraph('B')}</w:body>"),
    }
    assert read_members(tmp_path / "a.docx", members).text == "A"
