"""What PowerPoint shows is text: numbers, bullets, notes, tables, charts, and once what all slides show."""

import pytest

from corpus.office_files import alternatives, element, inside, line, read_pptx, relations, shape, slide


def item(text, level=0, bullet='<a:buAutoNum type="arabicPeriod"/>'):
    return line(text, f'<a:pPr lvl="{level}">{bullet}</a:pPr>')


def test_automatic_numbers_are_text(tmp_path):
    letters = '<a:buAutoNum type="alphaLcParenBoth"/>'
    body = (
        item("A") + item("B") + item("C", 1, letters) + item("", 1, letters) + item("D", 1, letters) + item("E")
        + item("F", 1, letters) + item("G", 0, "<a:buNone/>") + item("H")
    )  # fmt: skip
    reading = read_pptx(tmp_path, [slide(shape(body) + shape(item("I")))])
    expected = ["1. A", "2. B", "(a) C", "(b) D", "3. E", "(a) F", "G", "1. H", "1. I"]
    assert [block for block in reading.blocks if block] == expected


@pytest.mark.parametrize(
    ("scheme", "start", "shown"),
    [
        ("arabicParenR", 4, "4) A"), ("romanUcPeriod", 9, "IX. A"), ("romanLcParenBoth", 2, "(ii) A"),
        ("alphaUcPeriod", 3, "C. A"), ("arabicPlain", 1, "1 A"), ("circleNumDbPlain", 2, "② A"),
    ],
)  # fmt: skip
def test_schemes_of_numbers(tmp_path, scheme, start, shown):
    body = item("A", 0, f'<a:buAutoNum type="{scheme}" startAt="{start}"/>')
    assert read_pptx(tmp_path, [slide(shape(body))]).text == shown


def test_another_scheme_or_start_begins_again(tmp_path):
    scheme = '<a:buAutoNum type="{}" startAt="{}"/>'.format
    kinds = (
        ("arabicPeriod", 1),
        ("arabicPeriod", 1),
        ("arabicParenR", 1),
        ("arabicParenR", 5),
        ("arabicParenR", 5),
    )
    body = "".join(item("A", 0, scheme(*kind)) for kind in kinds)
    assert read_pptx(tmp_path, [slide(shape(body))]).blocks == ["1. A", "2. A", "1) A", "5) A", "6) A"]


def place(kind, index=""):
    number = f'idx="{index}"' if index else ""
    return f"<p:cNvPr id='1' name=''/><p:cNvSpPr/><p:nvPr><p:ph type='{kind}' {number}/></p:nvPr>"


def styled(kind, bullet, index="", text="Click to edit"):
    """Return the place of a layout or master, with the bullet of its first level."""
    style = f"<a:lstStyle><a:lvl1pPr>{bullet}</a:lvl1pPr></a:lstStyle>" if bullet else ""
    return shape(style + line(text), place(kind, index))


def deck(layout, master, more=""):
    return {
        "slides/_rels/slide1.xml.rels": relations(("l", "slideLayout", "../slideLayouts/l.xml")),
        "slideLayouts/l.xml": element("p:sldLayout", f"<p:cSld><p:spTree>{layout}</p:spTree></p:cSld>"),
        "slideLayouts/_rels/l.xml.rels": relations(("m", "slideMaster", "../slideMasters/m.xml")),
        "slideMasters/m.xml": element("p:sldMaster", f"<p:cSld><p:spTree>{master}</p:spTree></p:cSld>{more}"),
    }


def test_bullets_come_from_the_nearest_that_states_one(tmp_path):
    sign = '<a:buFont typeface="{}"/><a:buChar char="{}"/>'.format
    styles = (
        f"<p:txStyles><p:bodyStyle><a:lvl1pPr>{sign('Arial', '•')}</a:lvl1pPr></p:bodyStyle></p:txStyles>"
    )
    layout = styled("body", '<a:buAutoNum type="arabicPeriod"/>', "7") + styled("body", "", "8")
    slides = [
        slide(
            shape(line("Head"), place("title"))
            + shape(line("A") + line("B"), place("", "7"))
            + shape(
                line("C") + item("D", 0, sign("Wingdings", "ü")) + item("E", 0, "<a:buNone/>"),
                place("body", "8"),
            )
            + shape(line("Free"))
        )
    ]
    reading = read_pptx(tmp_path, slides, deck(layout, styled("body", "", "1"), styles))
    assert reading.blocks == ["Head", "1. A", "2. B", "• C", "✓ D", "E", "Free"]


def test_what_layout_and_master_show_is_read_once(tmp_path):
    layout = shape(line("Quay Ltd")) + styled("title", "")
    parts = deck(layout, shape(line("Confidential")) + styled("body", ""))
    parts["slides/_rels/slide2.xml.rels"] = parts["slides/_rels/slide1.xml.rels"]
    footer = shape(line("May 2024"), place("ftr")) + shape(line("7"), place("sldNum"))
    slides = [slide(shape(line("One")) + footer), slide(shape(line("Two")) + footer)]
    assert read_pptx(tmp_path, slides, parts).blocks == ["One", "Two", "Quay Ltd", "Confidential", "May 2024"]
    off = [slide(shape(line("One")), 'showMasterSp="0"')]
    assert read_pptx(tmp_path, off, parts).blocks == ["One"]
    parts["slideLayouts/l.xml"] = parts["slideLayouts/l.xml"].replace(" ", ' showMasterSp="0" ', 1)
    assert read_pptx(tmp_path, [slide(shape(line("One")))], parts).blocks == ["One", "Quay Ltd"]


def test_notes_tables_fields_and_line_breaks(tmp_path):
    cell = "<a:tc><a:txBody>{}</a:txBody></a:tc>".format
    table = f"<a:tbl><a:tr>{cell(line('Rent'))}{cell(line('900') + line('net'))}</a:tr></a:tbl>"
    named = "<p:nvGraphicFramePr><p:cNvPr id='3' name=''/></p:nvGraphicFramePr>"
    frame = inside("p:graphicFrame", named + inside("a:graphic/a:graphicData", table))
    dated = "<a:p><a:r><a:t>Dated</a:t></a:r><a:br/><a:fld type='datetime1'><a:t>5 May</a:t></a:fld></a:p>"
    group = inside("p:grpSp/p:grpSp", shape(line("In two groups")))
    notes = slide(
        shape("", place("sldImg"))
        + shape(line("Say it."), place("body", "1"))
        + shape(line("3"), place("sldNum"))
    )
    parts = {
        "slides/_rels/slide1.xml.rels": relations(("n", "notesSlide", "../notesSlides/n1.xml")),
        "notesSlides/n1.xml": notes,
    }
    reading = read_pptx(tmp_path, [slide(shape(dated) + frame + group)], parts)
    assert reading.blocks == ["Dated\n5 May", "Rent\t900 net", "In two groups", "Say it."]


def test_charts_diagrams_objects_and_comments(tmp_path):
    title = "<c:title><c:tx><c:rich><a:p><a:r><a:t>Net margin</a:t></a:r></a:p></c:rich></c:tx></c:title>"
    model = "<dgm:ptLst><dgm:pt modelId='1'><dgm:t><a:p><a:r><a:t>Check</a:t></a:r></a:p></dgm:t></dgm:pt></dgm:ptLst>"
    frame = "<p:graphicFrame><a:graphic><a:graphicData>{}</a:graphicData></a:graphic></p:graphicFrame>".format
    old = alternatives("v", '<p:oleObj r:id="o"/>', '<p:oleObj r:id="o"/>')
    shapes = "".join(
        map(frame, ('<c:chart r:id="c"/>', '<dgm:relIds r:dm="d"/>', old, '<c:chart r:id="none"/>'))
    )
    rows = (
        ("c", "chart", "../charts/chart1.xml"),
        ("d", "diagramData", "../diagrams/data1.xml"),
        ("o", "oleObject", "../embeddings/o.bin"),
    )
    parts = {
        "slides/_rels/slide1.xml.rels": relations(*rows),
        "charts/chart1.xml": element("c:chartSpace", f"<c:chart>{title}</c:chart>"),
        "diagrams/data1.xml": element("dgm:dataModel", model),
        "embeddings/o.bin": "x",
        "comments/comment1.xml": element("p:cmLst", "<p:cm/><p:cm/>"),
    }
    reading = read_pptx(tmp_path, [slide(shape(line("Sales")) + shapes)], parts)
    assert reading.blocks == ["Sales", "Net margin", "Check"]
    assert reading.lost == [
        ("ppt/embeddings/o.bin", "not_read", "embedded objects", 1),
        ("ppt/slides/slide1.xml", "not_read", "charts that are elsewhere", 1),
        ("ppt/comments/comment1.xml", "not_read", "comments", 2),
    ]


def test_a_slide_that_is_missing_or_damaged_is_a_loss(tmp_path):
    reading = read_pptx(tmp_path, [slide(shape(line("Seen"))), "<p:sld"])
    assert reading.text == "Seen"
    assert [row[:2] for row in reading.lost] == [("ppt/slides/slide2.xml", "damaged")]


def test_fonts_of_symbols(tmp_path):
    def shown(text, font):
        return f'<a:r><a:rPr><a:{font} typeface="Wingdings"/></a:rPr><a:t>{text}</a:t></a:r>'

    body = inside("a:p", shown("ü", "latin") + shown(" Yes ü", "sym") + shown("\uf0a8", "sym"))
    assert read_pptx(tmp_path, [slide(shape(body))]).text == "✓ Yes ü☐"
