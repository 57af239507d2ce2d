"""OpenDocument and RTF: what a page shows is text, what it hides or what is not read is counted."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tinsmith.corpus.read import ReadResult, read_file
from written_files import losses, only_text, read_packed

SPACES = "xmlns:o='office' xmlns:t='text' xmlns:d='draw' xmlns:b='table' xmlns:p='presentation'"
STYLES = (
    "<s:style s:name='secret'><s:text-properties t:display='none'/></s:style>"
    "<s:style s:name='child' s:parent-style-name='secret'/>"
    "<s:style s:name='shown' s:parent-style-name='secret'><s:text-properties t:display='true'/></s:style>"
    "<s:style s:name='away'><s:table-properties b:display='false'/></s:style>"
    "<s:style s:name='skip'><s:drawing-page-properties p:visibility='hidden'/></s:style>"
)


def opendocument(path: Path, kind: str, body: str, **more: str) -> ReadResult:
    """Read a document of this kind, `text`, `spreadsheet` or `presentation`."""
    content = f"<o:c {SPACES} xmlns:s='style'><o:a>{STYLES}</o:a><o:body><o:x>{body}</o:x></o:body></o:c>"
    members = {
        "mimetype": f"application/vnd.oasis.opendocument.{kind}",
        "META-INF/manifest.xml": "<m/>",
        "content.xml": content,
        **more,
    }
    return read_packed(path / "a.odf", members)


def test_hidden_text_of_a_document_is_a_loss(tmp_path: Path) -> None:
    body = (
        "<t:p>Seen<t:span t:style-name='child'> not</t:span><t:span t:style-name='shown'> too</t:span>.</t:p>"
        "<t:p t:style-name='secret'>Hidden.</t:p><t:p t:style-name='secret'> </t:p>"
        "<t:p>Hidden<t:hidden-paragraph t:is-hidden='true'/>.</t:p>"
        "<t:p>Open<t:hidden-paragraph t:is-hidden='false'/>.</t:p>"
        "<t:p>A<t:hidden-text t:string-value='x'/><t:hidden-text t:is-hidden='false'>B</t:hidden-text></t:p>"
        "<t:section t:display='none'><t:p>Hidden.</t:p></t:section><t:section><t:p>Section.</t:p></t:section>"
        "<t:tracked-changes><t:deletion><t:p>Gone.</t:p></t:deletion></t:tracked-changes>"
        "<t:p><t:ruby><t:ruby-base>漢字</t:ruby-base><t:ruby-text>かんじ</t:ruby-text></t:ruby></t:p>"
    )
    result = opendocument(tmp_path, "text", body, **{"Object 1/content.xml": "<chart/>"})
    assert only_text(result).split("\n\n") == ["Seen too.", "Open.", "AB", "Section.", "漢字"]
    assert losses(result) == [
        ("Object 1/content.xml", "not_read", "embedded object", 1),
        ("content.xml", "hidden", "deleted text", 1),
        ("content.xml", "hidden", "hidden paragraphs", 2),
        ("content.xml", "hidden", "hidden sections", 1),
        ("content.xml", "hidden", "hidden text", 2),
    ]


def test_a_sheet_shows_its_cells_and_counts_what_it_hides(tmp_path: Path) -> None:
    def cell(text: str, more: str = "") -> str:
        return f"<b:table-cell {more}><t:p>{text}</t:p></b:table-cell>"

    empty = "<b:table-cell b:number-columns-repeated='2'/>"
    covered = "<b:covered-table-cell><t:p>under</t:p></b:covered-table-cell>"
    formula = "<b:table-cell b:formula='of:=1'/>"
    twice = cell("x", "b:number-columns-repeated='2'")
    rows = (
        f"<b:table-row><b:table-cell/>{cell('15%')}{cell('secret')}{cell('0042')}</b:table-row>"
        f"<b:table-row b:visibility='filter'>{cell('hidden')}</b:table-row>"
        f"<b:table-row>{empty}</b:table-row><b:table-row>{empty}</b:table-row>"
        f"<b:table-row b:number-rows-repeated='2'>{empty}{empty}{cell('18:00')}</b:table-row>"
        f"<b:table-row><b:table-cell/>{twice}{covered}{formula}</b:table-row>"
        f"<b:table-row b:number-rows-repeated='1048570'>{empty}</b:table-row>"
    )
    columns = (
        "<b:table-column b:number-columns-repeated='2'/><b:table-columns>"
        "<b:table-column b:visibility='collapse'/></b:table-columns><b:table-column/>"
    )
    tables = (
        f"<b:table b:name='One'>{columns}{rows}</b:table>"
        f"<b:table b:name='Two' b:style-name='away'><b:table-row>{cell('z')}</b:table-row></b:table>"
    )
    result = opendocument(tmp_path, "spreadsheet", tables)
    assert only_text(result) == "15%\t0042\n\n\t\t18:00\n\t\t18:00\nx"
    assert losses(result) == [
        ("content.xml", "hidden", "cells of hidden columns", 2),
        ("content.xml", "hidden", "cells under merged ones", 1),
        ("content.xml", "hidden", "hidden rows", 1),
        ("content.xml", "not_read", "formulas that were never computed", 1),
        ("sheet Two", "hidden", "hidden sheet", 1),
    ]


def test_a_sheet_that_unpacks_too_far_is_refused(tmp_path: Path) -> None:
    cell = "<b:table-cell b:number-columns-repeated='16384'><t:p>x</t:p></b:table-cell>"
    rows = f"<b:table><b:table-row b:number-rows-repeated='1048576'>{cell}</b:table-row></b:table>"
    assert opendocument(tmp_path, "spreadsheet", rows).reason == "unpacks_too_big"


def test_slides_give_boxes_and_notes_and_hidden_ones_are_losses(tmp_path: Path) -> None:
    def box(text: str) -> str:
        return f"<d:frame><d:text-box><t:p>{text}<t:span>, all</t:span></t:p></d:text-box></d:frame>"

    slides = (
        f"<d:page>{box('One')}<p:notes>{box('Say it')}</p:notes></d:page>"
        f"<d:page d:style-name='skip'>{box('Two')}</d:page><d:page>{box('Three')}</d:page>"
    )
    result = opendocument(tmp_path, "presentation", slides)
    assert only_text(result).split("\n\n") == ["One, all", "Say it, all", "Three, all"]
    assert losses(result) == [("slide 2", "hidden", "hidden slide", 1)]


FONTS = r"{\fonttbl{\f0\fcharset204 A;}{\f1\fcharset0 B;}{\f2\fcharset128 C;}{\f3\fcharset2 D;}{\f4 E;}}"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (r"A \b bold\b0  clause.\par Next.", "A bold clause.\n\nNext."),
        (FONTS + r"\f0\'c4\'ee\'e3\f1 caf\'e9 \f2\'83e\'83X\'83g \f4\'c4", "Догcafé テスト Ä"),
        (r"\ansicpg1251\'c4\'ee {\b\'e3}", "До г"),
        (r"a\u-10179?\u-8704? b\u8364\'80c\uc2\u26085\'93\'fad{\uc0\u233e}", "a😀 b€c日dée"),
        (FONTS + r"{\listtext\pard\f3\'b7\tab}Item {\listtext\f3\u-3913?\tab}", "•\tItem •"),
        (r"{\*\unknown x}{\info{\title T}}{\header H}{\pict\bin2 {{}{\field{\*\fldinst I}{\fldrslt link}}", "link"),
        (r"\trowd\intbl a\cell b\par c\cell\row\intbl d\cell e\cell\row\pard After", "a\tb c\nd\te\n\nAfter"),
        (r"One{\footnote A note.\par More.} ends.\par Two", "One ends.\n\nTwo\n\nA note.\n\nMore."),
        (r"See{\shp{\*\shpinst{\sp{\sn n}{\sv v}}{\shptxt In a box}}{\shprslt again}}.", "See.\n\nIn a box"),
        (r"{\upr{ol\'64}{\*\ud{new \u1076?}}}", "new д"),
        (r"10{\super 6} x{\super 2} 3/4\line a\~b\_c\-d \endash  \{x\}", "10^6 x^2 3/4\na\xa0b-cd – {x}"),
        (r"cut {\b off \u233", "cut off é"),
    ],
)  # fmt: skip
def test_rtf_shows_the_text_of_its_page(tmp_path: Path, body: str, text: str) -> None:
    (tmp_path / "a.rtf").write_bytes(rb"{\rtf1\ansi\deff1 " + body.encode() + b"}")
    result = read_file(tmp_path / "a.rtf")
    assert (only_text(result), result.lost) == (text, [])


def test_hidden_and_unread_text_of_rtf_is_a_loss(tmp_path: Path) -> None:
    body = (
        r"{\v one \b run\plain}open{\v .\plain  up}{\v0 .}\v\par still\v0{\deleted gone}\par{\*\annotation com}"
        r"\f3\'61\'62\f1{\object{\*\objdata 00}{\result shown}}"
    )
    (tmp_path / "a.rtf").write_bytes((r"{\rtf1\ansi\deff1" + FONTS + body + "}").encode())
    result = read_file(tmp_path / "a.rtf")
    assert only_text(result) == "open up.\n\nshown"
    assert losses(result) == [
        ("document", "hidden", "deleted text", 1),
        ("document", "hidden", "hidden text", 3),
        ("document", "not_read", "comments", 1),
        ("document", "not_read", "embedded objects", 1),
        ("document", "not_read", "symbols", 2),
    ]


def test_a_title_in_two_forms_stays_out_of_the_text_of_rtf(tmp_path: Path) -> None:
    title = r"{\info{\upr{\title r?sum?}{\*\ud\uc0{\title r{\uc1\u233?}sum{\uc1\u233?}}}}}"
    (tmp_path / "a.rtf").write_text(r"{\rtf1\ansi" + title + "Body}")
    assert [each["text"] for each in read_file(tmp_path / "a.rtf").documents] == ["Body"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (r"10{\super 6} cells", "10^6 cells"),
        (r"m{\super 2}", "m^2"),
        (r"10{\super 1}{\super 2}", "10^12"),
        (r"H{\sub 2}O and 1{\super st}", "H2O and 1st"),
        (r"{\up6 1}/{\dn4 2} of it", "1/2 of it"),
    ],
)
def test_a_raised_figure_of_rtf_changes_no_number(tmp_path: Path, text: str, shown: str) -> None:
    (tmp_path / "a.rtf").write_text(r"{\rtf1\ansi " + text + "}")
    assert [each["text"] for each in read_file(tmp_path / "a.rtf").documents] == [shown]


@pytest.mark.parametrize(
    ("position", "shown"), [("super 58%", "10^6 cells"), ("33% 58%", "10^6 cells"), ("0% 100%", "106 cells")]
)
def test_a_raised_figure_of_odt_changes_no_number(tmp_path: Path, position: str, shown: str) -> None:
    style = f"<s:style s:name='up'><s:text-properties s:text-position='{position}'/></s:style>"
    body = "<t:p>10<t:span t:style-name='up'>6</t:span> cells</t:p>"
    names = "xmlns:o='office' xmlns:t='text' xmlns:s='style'"
    content = (
        f"<o:document-content {names}>{style}<o:body><o:text>{body}</o:text></o:body></o:document-content>"
    )
    with zipfile.ZipFile(tmp_path / "a.odt", "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        archive.writestr("content.xml", content)
    assert [each["text"] for each in read_file(tmp_path / "a.odt").documents] == [shown]
