"""Numbers that Word computes are text."""

import pytest

from corpus.office_files import alternatives, element, paragraph, read_docx, run
from tinsmith.corpus.readers.numerals import write_number


def level(index, pattern, style="decimal", start=1, more=""):
    return (
        f'<w:lvl w:ilvl="{index}"><w:start w:val="{start}"/><w:numFmt w:val="{style}"/>{more}'
        f'<w:lvlText w:val="{pattern}"/></w:lvl>'
    )


def definition(identity, *levels, more=""):
    return f'<w:abstractNum w:abstractNumId="{identity}">{more}{"".join(levels)}</w:abstractNum>'


def listed(identity, source, more=""):
    return f'<w:num w:numId="{identity}"><w:abstractNumId w:val="{source}"/>{more}</w:num>'


def override(index, start=None, more=""):
    state = "" if start is None else f'<w:startOverride w:val="{start}"/>'
    return f'<w:lvlOverride w:ilvl="{index}">{state}{more}</w:lvlOverride>'


def numbered(text, identity=1, index=0, more=""):
    ilvl = "" if index is None else f'<w:ilvl w:val="{index}"/>'
    return paragraph(text, f'{more}<w:numPr>{ilvl}<w:numId w:val="{identity}"/></w:numPr>')


def style(identity, content="", based_on="", more=""):
    base = f'<w:basedOn w:val="{based_on}"/>' if based_on else ""
    return (
        f'<w:style w:type="paragraph" w:styleId="{identity}"{more}>{base}<w:pPr>{content}</w:pPr></w:style>'
    )


def num_pr(identity=None, index=None):
    inner = "" if index is None else f'<w:ilvl w:val="{index}"/>'
    return f"<w:numPr>{inner}" + ("" if identity is None else f'<w:numId w:val="{identity}"/>') + "</w:numPr>"


CLAUSES = (
    level(0, "%1."),
    level(1, "%1.%2"),
    level(2, "(%3)", "lowerLetter"),
    level(3, "(%4)", "lowerRoman"),
)


def blocks(folder, body, numbering, styles=""):
    return read_docx(folder, body, {"numbering.xml": numbering, "styles.xml": styles}).blocks


def test_levels_count_and_start_again_below_a_higher_one(tmp_path):
    places = [
        (0, "A"),
        (1, "B"),
        (1, "C"),
        (2, "D"),
        (2, "E"),
        (3, "F"),
        (1, "G"),
        (2, "H"),
        (0, "I"),
        (1, "J"),
    ]
    body = "".join(numbered(text, index=index) for index, text in places)
    assert blocks(tmp_path, body, definition(0, *CLAUSES) + listed(1, 0)) == [
        "1. A", "1.1 B", "1.2 C", "(a) D", "(b) E", "(i) F", "1.3 G", "(a) H", "2. I", "2.1 J",
    ]  # fmt: skip


def test_plain_paragraphs_and_other_lists_do_not_interrupt(tmp_path):
    numbering = definition(0, *CLAUSES) + definition(5, level(0, "%1)")) + listed(1, 0) + listed(2, 5)
    body = numbered("A") + paragraph("Between.") + numbered("B", 2) + numbered("C") + numbered("D", 2)
    assert blocks(tmp_path, body, numbering) == ["1. A", "Between.", "1) B", "2. C", "2) D"]


def test_numbers_refer_to_levels_in_their_own_formats(tmp_path):
    levels = (
        level(0, "Article %1.", "upperRoman", 4),
        level(1, "%1.%2(%3)", "lowerLetter"),
        level(2, "%1.%2(%3)", "lowerRoman", 2),
    )
    body = numbered("A") + numbered("B", index=2) + numbered("C", index=2) + numbered("D", index=1)
    expected = ["Article IV. A", "IV.a(ii) B", "IV.a(iii) C", "IV.a() D"]
    assert blocks(tmp_path, body, definition(0, *levels) + listed(1, 0)) == expected


def test_legal_numbers_are_plain_figures(tmp_path):
    levels = (
        level(0, "Article %1", "upperRoman"),
        level(1, "Section %1.%2", "decimalZero", more="<w:isLgl/>"),
    )
    body = numbered("A") + numbered("B") + numbered("C", index=1)
    assert blocks(tmp_path, body, definition(0, *levels) + listed(1, 0)) == [
        "Article I A",
        "Article II B",
        "Section 2.1 C",
    ]


def test_lists_of_one_definition_share_their_numbers_and_an_override_starts_once(tmp_path):
    numbering = (
        definition(0, *CLAUSES)
        + listed(1, 0)
        + listed(2, 0)
        + listed(3, 0, override(0, 8))
        + listed(4, 0, override(1, 5))
        + listed(5, 0, override(0, more=level(0, "Annex %1", "upperLetter", 1)))
    )
    body = numbered("A", 1) + numbered("B", 2) + numbered("C", 3) + numbered("D", 3) + numbered("E", 1)
    body += numbered("F", 4, 1) + numbered("G", 4, 1) + numbered("H", 5)
    assert blocks(tmp_path, body, numbering) == [
        "1. A", "2. B", "8. C", "9. D", "10. E", "10.5 F", "10.6 G", "Annex K H",
    ]  # fmt: skip


@pytest.mark.parametrize(("restart", "expected"), [(0, "(c) E"), (1, "(c) E"), (2, "(a) E")])
def test_a_level_may_restart_after_some_levels_only(tmp_path, restart, expected):
    levels = (
        level(0, "%1."),
        level(1, "%1.%2"),
        level(2, "(%3)", "lowerLetter", more=f'<w:lvlRestart w:val="{restart}"/>'),
    )
    places = [(0, "A"), (1, "B"), (2, "C"), (2, "D"), (1, "X"), (2, "E")]
    body = "".join(numbered(text, index=index) for index, text in places)
    assert blocks(tmp_path, body, definition(0, *levels) + listed(1, 0))[-1] == expected


def test_styles_number_paragraphs(tmp_path):
    levels = (
        level(0, "%1.", more='<w:pStyle w:val="Heading1"/>'),
        level(1, "%1.%2", more='<w:pStyle w:val="Heading2"/>'),
        level(2, "(%3)", "lowerLetter"),
    )
    styles = (
        style("Heading1", num_pr(1))
        + style("Heading2", num_pr(1), based_on="Heading1")
        + style("Mine", based_on="Heading2")
        + style("Deeper", num_pr(index=2), based_on="Heading1")
        + style("Without", num_pr(0), based_on="Heading1")
        + style("Body")
    )

    def styled(text, name, more=""):
        return paragraph(text, f'<w:pStyle w:val="{name}"/>{more}')

    body = (
        styled("A", "Heading1") + styled("B", "Heading2") + styled("C", "Mine") + styled("D", "Without")
        + styled("E", "Heading1", num_pr(0)) + styled("F", "Body") + styled("G", "Heading1", num_pr(index=1))
        + styled("H", "Heading1", num_pr(2)) + styled("I", "Missing")
    )  # fmt: skip
    numbering = definition(0, *levels) + definition(7, level(0, "§ %1")) + listed(1, 0) + listed(2, 7)
    assert blocks(tmp_path, body, numbering, styles) == [
        "1. A",
        "1.1 B",
        "1.2 C",
        "D",
        "E",
        "F",
        "1.3 G",
        "§ 1 H",
        "I",
    ]


def test_a_style_that_states_only_its_level_inherits_the_list(tmp_path):
    styles = style("Base", num_pr(1, 1)) + style("Deeper", num_pr(index=2), based_on="Base")
    body = paragraph("A", '<w:pStyle w:val="Deeper"/>') + paragraph("B", '<w:pStyle w:val="Base"/>')
    assert blocks(tmp_path, body, definition(0, *CLAUSES) + listed(1, 0), styles) == ["(a) A", "1.1 B"]


def test_the_default_style_numbers_paragraphs_without_one(tmp_path):
    styles = style("Normal", num_pr(1), more=' w:default="1"')
    assert blocks(tmp_path, paragraph("A"), definition(0, *CLAUSES) + listed(1, 0), styles) == ["1. A"]


def test_a_definition_may_only_name_a_style_of_lists(tmp_path):
    numbering = (
        definition(3, more='<w:numStyleLink w:val="Legal"/>')
        + definition(4, *CLAUSES, more='<w:styleLink w:val="Legal"/>')
        + listed(1, 3)
        + listed(2, 4)
    )
    styles = f'<w:style w:type="numbering" w:styleId="Legal"><w:pPr>{num_pr(2)}</w:pPr></w:style>'
    assert blocks(tmp_path, numbered("A", 1) + numbered("B", 2), numbering, styles) == ["1. A", "2. B"]


@pytest.mark.parametrize(("suffix", "expected"), [("tab", "(1) A"), ("space", "(1) A"), ("nothing", "(1)A")])
def test_what_follows_a_number(tmp_path, suffix, expected):
    levels = level(0, "(%1)", more=f'<w:suff w:val="{suffix}"/>')
    assert blocks(tmp_path, numbered("A"), definition(0, levels) + listed(1, 0)) == [expected]


def test_a_number_without_a_space_after_it_does_not_join_figures(tmp_path):
    levels = level(0, "Article %1", more='<w:suff w:val="nothing"/>')
    assert blocks(tmp_path, numbered("2 rooms"), definition(0, levels) + listed(1, 0)) == [
        "Article 1 2 rooms"
    ]


@pytest.mark.parametrize(
    ("sign", "font", "expected"),
    [("\uf0b7", "Symbol", "•"), ("\uf0a7", "Wingdings", "▪"), ("o", "Courier New", "○"), ("–", "Arial", "–"),
     ("\uf0a8", "Wingdings", "☐"), ("\uf0fe", "Nobody Knows", "•")],
)  # fmt: skip
def test_bullets_are_signs_and_not_numbers(tmp_path, sign, font, expected):
    fonts = f'<w:rPr><w:rFonts w:ascii="{font}" w:hAnsi="{font}"/></w:rPr>'
    levels = (
        level(0, "%1."),
        f'<w:lvl w:ilvl="1"><w:numFmt w:val="bullet"/><w:lvlText w:val="{sign}"/>{fonts}</w:lvl>',
        level(2, "%1%2(%3)", "lowerLetter"),
    )
    body = numbered("A") + numbered("B", index=1) + numbered("C", index=1) + numbered("D", index=2)
    expected_blocks = ["1. A", f"{expected} B", f"{expected} C", "1(a) D"]
    assert blocks(tmp_path, body, definition(0, *levels) + listed(1, 0)) == expected_blocks


def test_formats_written_out_or_unknown(tmp_path):
    written_out = '<w:numFmt w:val="custom" w:format="001, 002, 003, ..."/>'
    custom = alternatives("w14", written_out, '<w:numFmt w:val="decimal"/>')
    first = f'<w:lvl w:ilvl="0"><w:start w:val="7"/>{custom}<w:lvlText w:val="No. %1"/></w:lvl>'
    numbering = {"numbering.xml": definition(0, first, level(1, "%2", "koreanLegal")) + listed(1, 0)}
    reading = read_docx(tmp_path, numbered("A") + numbered("B", index=1), numbering)
    assert reading.blocks == ["No. 007 A", "1 B"]
    assert reading.lost == [
        ("word/document.xml", "not_read", "numbers in the format koreanLegal, written as figures", 1)
    ]


def test_number_words_are_for_english_documents(tmp_path):
    numbering = {"numbering.xml": definition(0, level(0, "%1:", "ordinalText")) + listed(1, 0)}
    german = (
        '<w:docDefaults><w:rPrDefault><w:rPr><w:lang w:val="de-DE"/></w:rPr></w:rPrDefault></w:docDefaults>'
    )
    assert read_docx(tmp_path, numbered("A"), numbering).text == "First: A"
    reading = read_docx(tmp_path, numbered("A"), numbering | {"styles.xml": german})
    assert (reading.text, reading.lost[0][1]) == ("1: A", "not_read")


def test_numbers_in_tables_and_of_empty_paragraphs(tmp_path):
    cell = "<w:tc>{}</w:tc>".format
    rows = "".join(
        f"<w:tr>{cell(numbered(''))}{cell(paragraph(text))}</w:tr>" for text in ("Rent", "Deposit")
    )
    body = f"<w:tbl>{rows}</w:tbl>{numbered('')}{numbered('After')}"
    expected = ["1.\tRent\n2.\tDeposit", "3.", "4. After"]
    assert blocks(tmp_path, body, definition(0, *CLAUSES) + listed(1, 0)) == expected


def test_hidden_paragraphs_count_and_deleted_ones_do_not(tmp_path):
    numbering = definition(0, *CLAUSES) + listed(1, 0)
    hidden = "<w:rPr><w:vanish/></w:rPr>"
    gone = '<w:rPr><w:del w:id="1"/></w:rPr>'
    deleted = '<w:del w:id="2"><w:r><w:delText>X</w:delText></w:r></w:del>'
    body = (
        numbered("A")
        + paragraph(run("S", "<w:vanish/>"), num_pr(1, 0) + hidden)
        + paragraph(deleted, num_pr(1, 0) + gone)
        + paragraph("Plain")
        + numbered("B")
    )
    reading = read_docx(tmp_path, body, {"numbering.xml": numbering})
    assert reading.blocks == ["1. A", "Plain", "3. B"]
    assert sorted(detail for _, _, detail, _ in reading.lost) == ["deleted text", "hidden text"]


def test_a_paragraph_that_its_style_hides_shows_no_number(tmp_path):
    styles = '<w:style w:type="paragraph" w:styleId="Draft"><w:rPr><w:vanish/></w:rPr></w:style>'
    body = numbered("A") + numbered("S", more='<w:pStyle w:val="Draft"/>') + numbered("B")
    assert blocks(tmp_path, body, definition(0, *CLAUSES) + listed(1, 0), styles) == ["1. A", "3. B"]


def test_a_hidden_number_counts_and_is_a_loss(tmp_path):
    levels = (level(0, "%1.", more="<w:rPr><w:vanish/></w:rPr>"), level(1, "%1.%2"))
    numbering = {"numbering.xml": definition(0, *levels) + listed(1, 0)}
    reading = read_docx(tmp_path, numbered("A") + numbered("B", index=1), numbering)
    assert reading.blocks == ["A", "1.1 B"]
    assert reading.lost == [("word/document.xml", "hidden", "hidden numbers of paragraphs", 1)]


def test_a_heading_that_runs_on_has_one_number(tmp_path):
    mark = "<w:rPr><w:vanish/><w:specVanish/></w:rPr>"
    body = paragraph("Term.", num_pr(1, 0) + mark) + numbered(" It ends in May.") + numbered("Rent.")
    assert blocks(tmp_path, body, definition(0, *CLAUSES) + listed(1, 0)) == [
        "1. Term. It ends in May.",
        "2. Rent.",
    ]


def test_notes_and_boxes_count_for_themselves(tmp_path):
    numbering = definition(0, *CLAUSES) + listed(1, 0)
    notes = element("w:footnotes", f'<w:footnote w:id="2">{numbered("N")}</w:footnote>')
    box = "<w:r><w:pict><v:textbox><w:txbxContent>{}</w:txbxContent></v:textbox></w:pict></w:r>".format
    body = numbered("A") + paragraph('<w:r><w:footnoteReference w:id="2"/></w:r>') + numbered("B")
    body += paragraph(run("Boxes:") + box(numbered("X")) + box(numbered("Y"))) + numbered("C")
    reading = read_docx(tmp_path, body, {"numbering.xml": numbering, "footnotes.xml": notes})
    assert reading.blocks == ["1. A", "[1]", "2. B", "Boxes:", "1. X", "2. Y", "3. C", "1. N"]


def test_lists_that_are_not_there_give_no_number(tmp_path):
    body = numbered("A", 9) + numbered("B", 0) + numbered("C", 1, 5) + numbered("D", 1)
    numbering = definition(0, level(0, "%1.")) + listed(1, 0) + listed(0, 0)
    assert blocks(tmp_path, body, numbering) == ["A", "B", "C", "1. D"]


def test_a_list_without_a_start_begins_at_zero(tmp_path):
    bare = '<w:lvl w:ilvl="0"><w:lvlText w:val="%1."/></w:lvl>'
    assert blocks(tmp_path, numbered("A"), definition(0, bare) + listed(1, 0)) == ["0. A"]


@pytest.mark.parametrize(
    ("style", "written"),
    [
        ("decimal", {1: "1", 12: "12"}),
        ("decimalZero", {1: "01", 12: "12"}),
        ("lowerLetter", {1: "a", 26: "z", 27: "aa", 53: "aaa"}),
        ("upperLetter", {2: "B", 28: "BB"}),
        ("lowerRoman", {4: "iv", 9: "ix", 14: "xiv", 1994: "mcmxciv"}),
        ("upperRoman", {40: "XL"}),
        ("ordinal", {1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 21: "21st", 112: "112th"}),
        ("cardinalText", {1: "One", 21: "Twenty-one", 105: "One hundred five"}),
        (
            "ordinalText",
            {1: "First", 12: "Twelfth", 20: "Twentieth", 23: "Twenty-third", 100: "One hundredth"},
        ),
        ("numberInDash", {3: "- 3 -"}),
        ("decimalEnclosedCircle", {1: "①", 20: "⑳", 21: "21"}),
        ("chicago", {1: "*", 2: "†", 5: "**"}),
        ("russianLower", {1: "а", 28: "я"}),
        ("japaneseCounting", {3: "三", 10: "十", 21: "二十一"}),
        ("decimalFullWidth", {12: "１２"}),
        ("none", {1: ""}),
    ],
)
def test_formats(style, written):
    assert {number: write_number(number, style) for number in written} == written
