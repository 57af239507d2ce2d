"""Pages are read as a browser shows them: what stands apart, what is one word, what is hidden, and what is raised."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinsmith.corpus.read import REASONS, read_file
from tinsmith.corpus.readers.base import Piece
from tinsmith.corpus.readers.markup import is_drawing, read_html

PROLOG = "<?xml version='1.0'?>\n"
SPACE = "http://www.w3.org/1999/xhtml"


def words(text: str) -> list[str]:
    return text.split()


def shown(page: str, **options: bool) -> str:
    """Return the text of a page."""
    return read_html(page, **options)[0].text


def body(content: str, head: str = "") -> str:
    return f"<!DOCTYPE html><html><head><title>t</title>{head}</head><body>{content}</body></html>"


def losses(page: str) -> dict[str, tuple[str, int]]:
    """Return what a page loses, as part -> (detail, count)."""
    return {part.part: (part.detail, part.count) for part in read_html(page)[1]}


# XHTML


@pytest.mark.parametrize(
    "tag",
    words("script style title textarea iframe noscript object select a div p span td b i template video"),
)
@pytest.mark.parametrize(
    "head",
    [
        f"{PROLOG}<html>",
        f"<html xmlns='{SPACE}'>",
        f"<!-- saved --><!DOCTYPE html>\n<html lang='en' xmlns='{SPACE}'>",
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "x.dtd"><html>',
    ],
)
def test_an_empty_element_ends_there_by_the_rules_of_xml(tag: str, head: str) -> None:
    page = (
        f"{head}<head/><body><p>Before.<br/>On.<br></br>More.</p><{tag} id='a>b'/><p>After.</p></body></html>"
    )
    assert shown(page) == "Before.\nOn.\nMore.\n\nAfter."


def test_many_comments_before_a_page_do_not_hold_up() -> None:
    comments = "<!-- a -->\n" * 200
    assert shown(f"{comments}<p>Text.</p>") == "Text."
    assert not is_drawing(f"{comments}<p>Text.</p>")
    assert is_drawing(f"{PROLOG}{comments}<!DOCTYPE svg><svg/>")


def test_html_and_books_keep_their_rules() -> None:
    page = body("<p>Before.</p><script src='a.js'/><p>Code.</p></script><p>After.</p>")
    assert shown(page) == "Before.\n\nAfter."
    chapter = "<html><body><script src='a.js'/><p>A chapter.</p></body></html>"
    assert shown(chapter) == ""
    assert shown(chapter, is_xhtml=True) == "A chapter."


def test_prefixes_and_entities_of_a_page_are_resolved() -> None:
    start = f'{PROLOG}<!DOCTYPE html [<!ENTITY co "Harbour Ltd"><!ENTITY x SYSTEM "x">]><html xmlns="{SPACE}"'
    math = "<m:math><m:mfrac><m:mn>1</m:mn><m:mn>2</m:mn></m:mfrac></m:math>"
    page = f'{start} xmlns:m="http://www.w3.org/1998/Math/MathML"><body>&co; pays {math} &amp; &x;.</body></html>'
    assert shown(page) == "Harbour Ltd pays 1/2 & &x;."


def test_a_drawing_shows_its_text_and_not_its_name(tmp_path: Path) -> None:
    drawing = (
        "<svg xmlns='http://www.w3.org/2000/svg'><title>Name</title><style>a{}</style><desc>It is.</desc>"
    )
    drawing += (
        "<defs><text>Unused</text></defs><g><text>Rent</text><text>950 <tspan>euros</tspan></text></g></svg>"
    )
    page = body(f"<p>Fees:</p>{drawing}<p>End.</p>")
    assert shown(page) == "Fees:\n\nRent\n950 euros\n\nEnd."
    assert read_html(page.replace("<title>t</title>", ""))[0] == Piece("Fees:\n\nRent\n950 euros\n\nEnd.")
    (tmp_path / "a.svg").write_text(f"{PROLOG}<!-- by hand -->{drawing}")
    assert read_file(tmp_path / "a.svg").documents == [{"text": "Rent\n950 euros", "meta": {}}]


# What stands apart


@pytest.mark.parametrize(
    "tag",
    words(
        "p div dialog menu dd dt li details summary fieldset legend figure figcaption address article section hgroup "
        "search main nav aside header footer blockquote pre h1 h6 ul ol dl dir center optgroup"
    ),
)
def test_a_block_is_parted_from_its_neighbours_also_in_a_cell(tag: str) -> None:
    content = f"Alpha<{tag}>Beta</{tag}>Gamma"
    assert shown(body(content)).split() == ["Alpha", "Beta", "Gamma"]
    assert shown(body(f"<table><tr><td>{content}</td><td>x</td></tr></table>")) == "Alpha Beta Gamma\tx"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            "S<small>mall</small> P<span>rint</span>, re<wbr>nt, <b>1</b><sup>st</sup>",
            "Small Print, rent, 1st",
        ),
        ("<x-term>Ten</x-term>ant", "Tenant"),
        (
            "<span style='display:block'>Lessor</span><span style='DISPLAY : block'>Lessee</span>",
            "Lessor\nLessee",
        ),
        ("<div style='display:inline'>Small</div><div style='display:inline'>est</div>", "Smallest"),
        ("<div style='display:flex'><span>Rent</span><span>950</span></div>", "Rent 950"),
        ("<div style='display:grid'>Rent<span>950</span></div>", "Rent 950"),
        (
            "<label>Holder</label><input><label>Branch</label><input><button>Send</button>",
            "Holder Branch Send",
        ),
        ("Rent<img src=a>Due and <button>Go</button>.", "Rent Due and Go."),
        ("Alpha<hr>Beta<br>Gamma<br><br>Delta", "Alpha\n\nBeta\nGamma\n\nDelta"),
        ("<p style='white-space:pre-wrap'>One\n  two</p>", "One\n  two"),
        ("<p>He <q>may</q> go.</p>", "He “may” go."),
        ("<ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp>字<rt>ji</rt></ruby>", "漢(kan)字(ji)"),
        ("Pets <input type=checkbox checked>yes <input type=checkbox>no", "Pets [x] yes [ ] no"),
        (
            "Name <input value='Ada Quill'><input type=hidden value=x><input type=password value=x>",
            "Name Ada Quill",
        ),
        ("<textarea>First\n second</textarea>Next", "First\n second Next"),
        (
            "<b style='display:table-row'><i style='display:table-cell'>a</i><i style='display:table-cell'>b</i></b>",
            "a\tb",
        ),
    ],
)
def test_words_are_parted_as_in_a_browser(content: str, text: str) -> None:
    assert shown(body(content)) == text


def test_a_list_has_its_numbers_and_a_drop_down_its_choice() -> None:
    inner = "<ul><li>x</li></ul><ol type=a start=27><li><p>i</p></li><li value=30>j</li></ol>"
    content = f"<ol><li>One{inner}</li><li>Two</li></ol><ol reversed type=I><li>a</li><li>b</li></ol>"
    assert shown(body(content)).split() == words("1. One x aa. i ad. j 2. Two II. a I. b")
    assert shown(body("<ol style='list-style: none'><li>One</li></ol>")) == "One"
    month = "<select><option>May<option selected>June</select>"
    assert shown(body(f"Due{month}2024")) == "Due June 2024"
    assert losses(body(month)) == {"elements": ("<option>", 1)}
    assert shown(body(f"Due{month.replace('<select', '<select multiple')}2024")) == "Due\nMay\nJune\n2024"


def test_empty_cells_keep_the_columns_and_empty_rows_are_left_out() -> None:
    rows = ["<td><td>2023<td>2024", "<td> <td>", "<td>Rent<td><td>11", "<td><td><td>12"]
    table = "".join(f"<tr>{row}</tr>" for row in rows)
    assert (
        shown(body(f"<p>Fees:<table>{table}</table>End"))
        == "Fees:\n\n\t2023\t2024\nRent\t\t11\n\t\t12\n\nEnd"
    )


def test_a_cell_that_spans_rows_keeps_the_columns_below_it() -> None:
    rows = [
        "<th>Region<th>Year<th>Sales",
        "<td rowspan=3>North<td>2022<td>11",
        "<td>2023<td rowspan=2>12",
        "<td>2024",
        "<td colspan=2>Sum<td>23",
    ]
    table = "".join(f"<tr>{row}</tr>" for row in rows)
    expected = "Region\tYear\tSales\nNorth\t2022\t11\n\t2023\t12\n\t2024\nSum\t23"
    assert shown(body(f"<table>{table}</table>")) == expected


# What is hidden


@pytest.mark.parametrize(
    "style",
    [
        "display:none",
        "visibility:hidden",
        "DISPLAY: none !important; display: block",
        "font-size:0",
        "font: 0/0 a",
        "opacity:0",
        "opacity: 0.0",
        "color:#fff",
        "color: white",
        "color:rgba(10, 10, 10, 0)",
        "color:transparent",
        "color:#112233;background:#112233",
        "color:tomato;background-color:tomato",
        "position:absolute;left:-9999px",
        "position:absolute;top:-999em",
        "text-indent:-9999px",
        "position:absolute;clip:rect(0,0,0,0)",
        "clip-path: inset(50%)",
        "height:0;overflow:hidden",
        "transform:scale(0)",
        "content-visibility:hidden",
    ],
)
def test_what_a_style_hides_is_counted_and_not_read(style: str) -> None:
    content = "<p>The rent is {}due.</p>"
    inline = body(content.format(f"<span style='{style}'>SECRET</span> "))
    assert shown(inline) == "The rent is due."
    assert losses(inline)["elements"][1] == 1
    sheet = f"<style>/* a{{}} */ .a, .b {{ color: #123 }}\n@media screen {{ p .a{{ {style} }} }}</style>"
    assert shown(body(content.format("<span class='x a'>SECRET</span> "), sheet)) == "The rent is due."
    nested = body(content.format(f"<b style='{style}'>SE<i>CR<u>ET</u></i></b> "))
    assert shown(nested) == "The rent is due."


@pytest.mark.parametrize(
    "hidden",
    [
        "<div hidden>SECRET</div>",
        "<noscript>SECRET</noscript>",
        "<template><p>SECRET</p></template>",
        "<datalist><option>SECRET</datalist>",
        "<!-- SECRET -->",
        "<ix:header><ix:hidden><a:b>SECRET</a:b></ix:hidden></ix:header>",
        "<font color=#FFFFFF>SECRET</font>",
        "<table bgcolor=navy><tr><td><font color=NAVY>SECRET</font></table>",
        "<div style='visibility:hidden'><div style='display:none'></div>SECRET</div>",
    ],
)
def test_what_an_element_hides_is_counted_and_not_read(hidden: str) -> None:
    page = body(f"<p>Shown.</p>{hidden}<p>End.</p>")
    assert shown(page) == "Shown.\n\nEnd."
    assert losses(page)["elements"][1] == 1


def test_what_only_a_printer_shows_is_hidden() -> None:
    sheet = "<style>.a {display:none} @media print {.a {display:block}} @media not screen {.a {display:block}}</style>"
    page = body("<p>Shown.</p><p class=a>SECRET</p>", sheet)
    assert shown(page) == "Shown."
    assert losses(page) == {"elements": ("display", 1)}


@pytest.mark.parametrize(
    ("content", "head"),
    [
        ("<i aria-hidden=true>Seen.</i>", ""),
        ("<details><i>Seen.</i></details>", ""),
        ("<dialog>Seen.</dialog>", ""),
        ("<div style='visibility:hidden'><b style='visibility:visible'>Seen.</b></div>", ""),
        ("<div style='font-size:0'><b style='font-size:12px'>Seen.</b></div>", ""),
        ("<div style='background:#000'><b style='color:#fff'>Seen.</b></div>", ""),
        ("<div style='background:url(a.png)'><b style='color:#fff'>Seen.</b></div>", ""),
        ("<table bgcolor=#003366><tr><td><font color=white>Seen.</font></table>", ""),
        ("<b style='color:#fff'>Seen.</b>", "<link rel='stylesheet' href='a.css'>"),
        ("<div style='color:#fff'><a href=b>Seen.</a></div>", ""),
        ("<b class=a>Seen.</b>", "<style>@media print { .a {display:none} }</style>"),
        ("<b class=a>Seen.</b>", "<style media=print>.a {display:none}</style>"),
        ("<b class=a>Seen.</b>", "<style>@media (max-width: 9px) { .a {display:none} }</style>"),
        ("<b class='a b'>Seen.</b>", "<style>.a.b {display:inline} .a {display:none}</style>"),
        (
            "<b class='a b'>Seen.</b>",
            "<style>.a {display:none} @media (min-width: 9px) {.b {display:block}}</style>",
        ),
        (
            "<ul><li>Menu<ul><li>Seen.</ul></ul>",
            "<style>li ul {display:none} li:hover ul {display:block}</style>",
        ),
        ("<b id=a class=b style='display:inline'>Seen.</b>", "<style>#a {display:none}</style>"),
        (
            "<b class=a>Seen.</b>",
            "<style>.a::before {display:none} .a:unheard {display:none} @font-face {a:b}</style>",
        ),
        ("<div style='position:absolute;left:50%;margin-left:-500px'>Seen.</div>", ""),
        ("<b class=a>Seen.</b>", "<style>.a {color:red; .c {margin:0; display:none;}}</style>"),
        ("<b style='opacity:0.5;height:0;color:inherit'>Seen.</b>", ""),
    ],
)
def test_what_a_reader_sees_or_can_bring_up_is_text(content: str, head: str) -> None:
    page = body(f"<p>Shown.</p>{content}", head)
    assert shown(page).endswith("Seen.")
    assert losses(page) == {}


def test_what_shows_another_file_is_counted() -> None:
    page = body(
        "<p>See<iframe src=a></iframe>this<video src=b>No video</video>.</p><object data=c>x</object>"
    )
    assert shown(page) == "See this."
    assert losses(page) == {"<iframe>": ("", 1), "<object>": ("", 1), "<video>": ("", 1)}


# What is raised


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("10<sup>6</sup>, 10<sup>-6</sup>, x<sup>2</sup>, (a)<sup>2</sup>", "10^6, 10^-6, x^2, (a)^2"),
        ("x<sup>n+1</sup>, 10<sup>n</sup>, e<sup>x</sup>", "x^(n+1), 10^n, e^x"),
        (
            "1<sup>st</sup>, 2<sup>nd</sup>, 3<sup>e</sup>, N<sup>o</sup> 4, Acme<sup>TM</sup>",
            "1st, 2nd, 3e, No 4, AcmeTM",
        ),
        (
            "<sup>1</sup>&frasl;<sub>2</sub> of 3<sup>3</sup>/<sub>4</sub> and 5 <sup>1</sup>⁄8",
            "1/2 of 3 3/4 and 5 1/8",
        ),
        ("12,345<sup>1</sup>, 12,345<sup>(1)</sup>, rent.<sup>2</sup>", "12,345^1, 12,345^(1), rent.^2"),
        ("12,345<sup><a href='#n1'>1</a></sup> or 9<a href='b.html#n'><sup>2</sup></a>", "12,345[1] or 9[2]"),
        ("12,345<a epub:type='noteref' href='n.html'>1</a> and <sup>[2]</sup>", "12,345[1] and [2]"),
        ("<sup>1</sup>Includes, <sup>2</sup>2023, <sup>14</sup>C", "1 Includes, 2 2023, 14C"),
        (
            "H<sub>2</sub>O, log<sub>10</sub>100, 10<sub>2</sub>, x<sub>n+1</sub>",
            "H2O, log10 100, 10_2, x_(n+1)",
        ),
        (
            "10<span style='vertical-align:super'>6</span> and 5<i style='position:relative;top:-4pt'>2</i>",
            "10^6 and 5^2",
        ),
        ("<table><tr><td>10<sup>6</sup><td>1<sup>st</sup></table>", "10^6\t1st"),
    ],
)
def test_a_raised_figure_does_not_change_the_number_beside_it(content: str, text: str) -> None:
    assert shown(body(content)) == text


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("<mi>r</mi><mo>=</mo><mn>5</mn>", "r=5"),
        ("<mn>3</mn><mfrac><mn>1</mn><mn>2</mn></mfrac>", "3 1/2"),
        ("<mfrac><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mi>c</mi></mfrac>", "(a+b)/c"),
        ("<msup><mn>10</mn><mn>6</mn></msup><msub><mi>x</mi><mn>1</mn></msub>", "10^6x_1"),
        ("<msup><mi>x</mi><mrow><mi>n</mi><mo>+</mo><mn>1</mn></mrow></msup>", "x^(n+1)"),
        ("<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>", "x_i^2"),
        ("<munderover><mo>∑</mo><mi>i</mi><mi>n</mi></munderover>", "∑_i^n"),
        ("<msqrt><mn>16</mn></msqrt><mo>+</mo><msqrt><mi>a</mi><mi>b</mi></msqrt>", "√16+√(ab)"),
        ("<mroot><mn>8</mn><mn>3</mn></mroot>", "8^(1/3)"),
        ("<mover><mi>x</mi><mo>¯</mo></mover>", "x¯"),
        ("<semantics><mi>r</mi><annotation>x</annotation></semantics>", "r"),
    ],
)
def test_a_formula_is_written_in_a_line(formula: str, text: str) -> None:
    assert shown(body(f"<p>It is <math>{formula}</math> here.</p>")) == f"It is {text} here."


def test_every_detail_of_a_loss_is_known(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(body("<p hidden>All of it</p>"))
    result = read_file(tmp_path / "a.html")
    assert (result.reason, result.documents) == ("hidden", [])
    assert result.reason in REASONS


@pytest.mark.parametrize(
    ("markup", "shown"),
    [
        ("revenue<sup>a</sup> rose", "revenue^a rose"),
        ("2.5<sup>a</sup>", "2.5^a"),
        ("CO<sup>2-</sup>", "CO^(2-)"),
        ("1234<sup>o</sup> and 2<sup>o</sup>", "1234^o and 2o"),
    ],
)
def test_marks_of_notes_are_written_as_in_office_files(tmp_path: Path, markup: str, shown: str) -> None:
    (tmp_path / "a.html").write_text(f"<!DOCTYPE html><p>{markup}</p>")
    assert [each["text"] for each in read_file(tmp_path / "a.html").documents] == [shown]
