"""What Word and PowerPoint hide from a reader is not text, and is counted."""

import pytest

from corpus.office_files import (
    element,
    inside,
    line,
    paragraph,
    read_docx,
    read_members,
    read_pptx,
    relations,
    run,
    shape,
    slide,
)

VANISH = "<w:vanish/>"
STYLES = (
    '<w:style w:type="character" w:styleId="Secret"><w:rPr><w:vanish/></w:rPr></w:style>'
    '<w:style w:type="character" w:styleId="Deep"><w:basedOn w:val="Secret"/></w:style>'
    '<w:style w:type="character" w:styleId="Open"><w:basedOn w:val="Secret"/>'
    '<w:rPr><w:vanish w:val="0"/></w:rPr></w:style>'
    '<w:style w:type="paragraph" w:styleId="Draft"><w:rPr><w:vanish/></w:rPr></w:style>'
    '<w:style w:type="paragraph" w:styleId="Dark"><w:pPr><w:shd w:val="clear" w:fill="000000"/></w:pPr></w:style>'
)


@pytest.mark.parametrize(
    ("properties", "style", "shown"),
    [
        (VANISH, "", False),
        ('<w:vanish w:val="true"/>', "", False),
        ('<w:vanish w:val="0"/>', "", True),
        ('<w:rStyle w:val="Secret"/>', "", False),
        ('<w:rStyle w:val="Deep"/>', "", False),
        ('<w:rStyle w:val="Open"/>', "", True),
        ('<w:rStyle w:val="Secret"/><w:vanish w:val="0"/>', "", True),
        ("", "Draft", False),
        ('<w:vanish w:val="0"/>', "Draft", True),
        ('<w:rStyle w:val="Secret"/>', "Draft", True),  # the property toggles
        ("<w:webHidden/>", "", True),  # hidden on the web alone, as page numbers of contents are
        (f"<w:rPrChange><w:rPr>{VANISH}</w:rPr></w:rPrChange>", "", True),  # hidden once
        ('<w:color w:val="FFFFFF"/>', "", False),
        ('<w:color w:val="FFFFFF"/>', "Dark", True),
        ('<w:color w:val="FFFFFF"/><w:shd w:val="clear" w:fill="1F497D"/>', "", True),
        ('<w:color w:val="FFFFFF"/><w:highlight w:val="black"/>', "", True),
        ('<w:color w:val="D9D9D9" w:themeColor="background1" w:themeShade="D9"/>', "", True),
        ('<w:color w:val="auto"/>', "", True),
        ('<w:sz w:val="2"/>', "", False),
        ('<w:sz w:val="12"/>', "", True),
    ],
)
def test_runs_that_are_hidden(tmp_path, properties, style, shown):
    body = paragraph(run("Seen. ") + run("A clause.", properties), f'<w:pStyle w:val="{style}"/>')
    if style == "Draft":
        body = paragraph("Seen.") + paragraph(run("A clause.", properties), '<w:pStyle w:val="Draft"/>')
    reading = read_docx(tmp_path, body, {"styles.xml": STYLES})
    assert ("A clause." in reading.text) == shown
    assert "Seen." in reading.text
    assert reading.lost == ([] if shown else [("word/document.xml", "hidden", "hidden text", 1)])


def test_white_text_is_seen_in_tables_and_boxes_and_on_coloured_pages(tmp_path):
    white = run("Head", '<w:color w:val="FFFFFF"/>')
    table = f"<w:tbl><w:tr><w:tc>{paragraph(white)}</w:tc></w:tr></w:tbl>"
    box = f"<w:r><w:pict><v:textbox><w:txbxContent>{paragraph(white)}</w:txbxContent></v:textbox></w:pict></w:r>"
    assert read_docx(tmp_path, table + paragraph(box)).blocks == ["Head", "Head"]
    assert read_docx(tmp_path, paragraph(white, '<w:shd w:val="clear" w:fill="000000"/>')).text == "Head"
    page = element("w:document", '<w:background w:color="000000"/>' + inside("w:body", paragraph(white)))
    assert read_members(tmp_path / "a.docx", {"word/document.xml": page}).text == "Head"


def test_a_document_whose_text_is_all_hidden_says_so(tmp_path):
    reading = read_docx(tmp_path, paragraph(run("A clause.", VANISH)))
    assert (reading.text, reading.lost) == ("", [("word/document.xml", "hidden", "hidden text", 1)])


def test_a_hidden_mark_joins_its_paragraph_to_the_next(tmp_path):
    hidden = f"<w:rPr>{VANISH}</w:rPr>"
    body = paragraph("Term.", hidden) + paragraph(" It ends.") + paragraph("A", hidden) + paragraph("B")
    body += paragraph(run("X", VANISH), hidden) + paragraph("C") + paragraph("D", hidden)
    assert read_docx(tmp_path, body).blocks == ["Term. It ends.", "A B", "C", "D"]


def test_tracked_changes_read_as_accepted(tmp_path):
    def deleted(text):
        return f'<w:del w:id="1"><w:r><w:delText>{text}</w:delText></w:r></w:del>'

    gone = '<w:rPr><w:del w:id="2"/></w:rPr>'
    row = "<w:tr><w:trPr>{}</w:trPr><w:tc>{}</w:tc></w:tr>"
    moved = (
        f'<w:moveFrom w:id="3">{run("Moved.")}</w:moveFrom>',
        f'<w:moveTo w:id="3">{run("Moved.")}</w:moveTo>',
    )
    body = (
        paragraph(run("The rent is ") + deleted("900") + f'<w:ins w:id="4">{run("950")}</w:ins>')
        + paragraph(run("One ") + deleted("x"), gone)
        + paragraph("paragraph.")
        + paragraph(moved[0], '<w:rPr><w:moveFrom w:id="5"/></w:rPr>')
        + inside(
            "w:tbl", row.format("", paragraph("Kept")) + row.format("<w:del/>", paragraph(deleted("Row")))
        )
        + paragraph(moved[1])
    )
    reading = read_docx(tmp_path, body)
    assert reading.blocks == ["The rent is 950", "One paragraph.", "Kept", "Moved."]
    assert reading.lost == [("word/document.xml", "hidden", "deleted text", 3)]


def test_hidden_rows_and_shapes(tmp_path):
    row = "<w:tr><w:trPr>{}</w:trPr><w:tc>{}</w:tc></w:tr>"
    inner = f"<w:txbxContent>{paragraph('Boxed')}</w:txbxContent>"
    old = "<w:r><w:pict><v:shape style='{}'><v:textbox>" + inner + "</v:textbox></v:shape></w:pict></w:r>"
    new = (
        "<w:r><w:drawing><wp:anchor><wp:docPr id='1' name='' hidden='{}'/>"
        + inner
        + "</wp:anchor></w:drawing></w:r>"
    )
    body = (
        inside("w:tbl", row.format("<w:hidden/>", paragraph("Secret")) + row.format("", paragraph("Seen")))
        + paragraph(old.format("width:9pt;visibility:hidden") + new.format(1))
        + paragraph(old.format("width:9pt") + new.format(0))
    )
    reading = read_docx(tmp_path, body)
    assert reading.blocks == ["Seen", "Boxed", "Boxed"]
    assert reading.lost == [
        ("word/document.xml", "hidden", "hidden rows", 1), ("word/document.xml", "hidden", "hidden shapes", 2),
    ]  # fmt: skip


def test_hidden_slides_and_shapes(tmp_path):
    hidden = "<p:cNvPr id='1' name='' hidden='1'/><p:cNvSpPr/><p:nvPr/>"
    named = inside("p:nvGrpSpPr", hidden.replace("cNvSpPr", "cNvGrpSpPr"))
    group = inside("p:grpSp", named + shape(line("In a group")))
    picture = "<p:pic><p:nvPicPr><p:cNvPr id='2' name='' hidden='1'/></p:nvPicPr></p:pic>"
    slides = [
        slide(shape(line("Seen")) + shape(line("Secret"), hidden) + group + picture),
        slide(shape(line("Not shown")), 'show="0"'),
    ]
    notes = slide(shape(line("Notes of it")))
    parts = {
        "slides/_rels/slide2.xml.rels": relations(
            ("n", "notesSlide", "../notesSlides/n.xml"), ("c", "chart", "../charts/chart1.xml")
        ),
        "notesSlides/n.xml": notes,
        "charts/chart1.xml": "<c/>",
    }
    reading = read_pptx(tmp_path, slides, parts)
    assert reading.text == "Seen"
    assert reading.lost == [
        ("ppt/slides/slide1.xml", "hidden", "hidden shapes", 2),
        ("ppt/slides/slide2.xml", "hidden", "hidden slides", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("x", "y", "shown"),
    [(0, 0, True), (8999, 0, True), (9000, 0, False), (-1000, 0, False), (-999, 0, True), (0, 6000, False)],
)
def test_shapes_beside_the_slide_are_hidden(tmp_path, x, y, shown):
    frame = f'<a:xfrm><a:off x="{x}" y="{y}"/><a:ext cx="1000" cy="1000"/></a:xfrm>'
    reading = read_pptx(tmp_path, [slide(shape(line("On it")) + shape(line("Aside"), frame=frame))])
    assert ("Aside" in reading.blocks) == shown
    assert [row[1] for row in reading.lost] == [] if shown else ["hidden"]


def test_a_shape_that_moves_in_is_seen(tmp_path):
    frame = '<a:xfrm><a:off x="9000" y="0"/><a:ext cx="1000" cy="1000"/></a:xfrm>'
    moving = slide(shape(line("Aside"), frame=frame)).replace(
        "</p:sld>", "<p:timing><p:animMotion/></p:timing></p:sld>"
    )
    assert read_pptx(tmp_path, [moving]).text == "Aside"
