"""Raised and stacked figures of Word and PowerPoint do not change the numbers beside them."""

import pytest

from corpus.office_files import alternatives, line, paragraph, read_docx, read_pptx, run, shape, slide

UP = '<w:vertAlign w:val="superscript"/>'
DOWN = '<w:vertAlign w:val="subscript"/>'


def typed(*runs: str) -> str:
    """Return runs, raised where they begin with ^ and lowered where they begin with _."""
    looks = {"^": UP, "_": DOWN}
    return "".join(run(text.lstrip("^_"), looks.get(text[:1], "")) for text in runs)


@pytest.mark.parametrize(
    ("runs", "text"),
    [
        (("about 10", "^6", " units"), "about 10^6 units"),
        (("10", "^-6", " m"), "10^-6 m"),
        (("10", "^1", "^2", " units"), "10^12 units"),  # one exponent in two runs
        (("x", "^n+1", "y"), "x^(n+1)y"),
        (("e", "^x", ""), "e^x"),
        (("10", "^6", "5"), "10^6 5"),
        (("25 m", "^2", " of floor"), "25 m^2 of floor"),
        (("(a+b)", "^2", ""), "(a+b)^2"),
        (("sales of 12,345", "^1", " and"), "sales of 12,345^1 and"),
        (("sales of 12,345", "^1,2", " and"), "sales of 12,345^(1,2) and"),
        (("sales of 12,345", "^a", ""), "sales of 12,345^a"),
        (("sales of 12,345", "^(1)", ""), "sales of 12,345^(1)"),
        (("sales of 12,345", "^*", ""), "sales of 12,345*"),
        (("sales of 12,345 ", "^1", ""), "sales of 12,345 ^1"),
        (("the rent.", "^1", " The"), "the rent.^1 The"),
        (("the 1", "^st", " day, the 22", "^nd ", "day"), "the 1st day, the 22nd day"),
        (("le 20", "^e", " siècle, M", "^me", " Roy, 14", "^h", "30"), "le 20e siècle, Mme Roy, 14h30"),
        (("Tinsmith", "^TM", " works"), "TinsmithTM works"),
        (("H", "_2", "O and CO", "_2", ""), "H2O and CO2"),
        (("log", "_10", "5"), "log10 5"),
        (("101", "_2", ""), "101_2"),
        (("x", "_n+1", ""), "x_(n+1)"),
        (("3", "^1", "/", "_2", " percent"), "3 1/2 percent"),
        (("3", "^1/", "_2", " percent"), "3 1/2 percent"),
        (("3", "^1", "⁄", "_2", " percent"), "3 1/2 percent"),
        (("7", "^3/4", "%"), "7 3/4%"),
        (("4", "^3/2", " is 8"), "4^(3/2) is 8"),
        (("the ", "^1", "/", "_2", "0"), "the 1/2 0"),
        (("^1", "Unaudited."), "1 Unaudited."),
        (("10 ", "^", "6"), "10 6"),
    ],
)
def test_raised_and_lowered_runs(tmp_path, runs, text):
    assert read_docx(tmp_path, paragraph(typed(*runs))).text == text


def test_what_styles_and_positions_raise_is_raised(tmp_path):
    styles = (
        f'<w:style w:type="character" w:styleId="Note"><w:rPr>{UP}</w:rPr></w:style>'
        '<w:style w:type="character" w:styleId="Own" ><w:basedOn w:val="Note"/></w:style>'
        f'<w:style w:type="paragraph" w:styleId="Up"><w:rPr>{UP}</w:rPr></w:style>'
    )
    level = '<w:vertAlign w:val="baseline"/>'
    body = (
        paragraph(run("10") + run("6", '<w:rStyle w:val="Own"/>'))
        + paragraph(run("10") + run("6", '<w:position w:val="8"/>'))
        + paragraph(run("10") + run("6", '<w:position w:val="2"/>'))
        + paragraph(run("10") + run("6", '<w:rStyle w:val="Own"/>' + level))
        + paragraph(run("10", level) + run("6"), '<w:pStyle w:val="Up"/>')
    )
    assert read_docx(tmp_path, body, {"styles.xml": styles}).blocks == ["10^6", "10^6", "106", "106", "10^6"]


def part(name, *content):
    """Return an element of an equation; text is a run."""
    inner = "".join(each if each.startswith("<") else f"<m:r><m:t>{each}</m:t></m:r>" for each in content)
    return f"<m:{name}>{inner}</m:{name}>"


def stated(name, **values):
    """Return the properties of an element of an equation."""
    return (
        f"<m:{name}>"
        + "".join(f'<m:{key} m:val="{value}"/>' for key, value in values.items())
        + f"</m:{name}>"
    )


def fraction(above, below, kind="bar"):
    return f"<m:f>{stated('fPr', type=kind)}{part('num', above)}{part('den', below)}</m:f>"


EQUATIONS = [
    (fraction("1", "2"), "1/2"),
    (("3", fraction("1", "2")), "3 1/2"),
    ((fraction("1", "2"), "5"), "1/2 5"),
    ((fraction("1", "2"), "x"), "1/2 x"),
    (("x", fraction("1", "2")), "x 1/2"),
    (fraction("a+b", "2c"), "(a+b)/(2c)"),
    (fraction("net income", "sales"), "(net income)/sales"),
    (fraction(fraction("1", "2"), "3"), "(1/2)/3"),
    (part("d", part("e", fraction("n", "k", "noBar"))), "(n¦k)"),
    (part("sSup", part("e", "10"), part("sup", "6")), "10^6"),
    (part("sSup", part("e", "10"), part("sup", "-6")), "10^-6"),
    (part("sSup", part("e", "e"), part("sup", "x+1")), "e^(x+1)"),
    (part("sSup", part("e", part("d", part("e", "1+r"))), part("sup", "12")), "(1+r)^12"),
    (part("sSup", part("e", "1+r"), part("sup", "2")), "(1+r)^2"),
    (("2", part("sSup", part("e", "10"), part("sup", "6"))), "2 10^6"),
    ((part("sSub", part("e", "x"), part("sub", "1")), "2"), "x_1 2"),
    (part("sSubSup", part("e", "x"), part("sub", "i"), part("sup", "2")), "x_i^2"),
    (part("sPre", part("sub", "6"), part("sup", "14"), part("e", "C")), "_6^14 C"),
    (f"<m:rad>{stated('radPr', degHide='1')}<m:deg/>{part('e', '16')}</m:rad>", "√16"),
    (part("rad", part("deg", "3"), part("e", "8")), "∛8"),
    (part("rad", part("deg", "n"), part("e", "a+b")), "(a+b)^(1/n)"),
    (part("rad", part("deg"), part("e", "a+b")), "√(a+b)"),
    (
        f"<m:nary>{stated('naryPr', chr='∑')}{part('sub', 'i=1')}{part('sup', 'n')}{part('e', 'i')}</m:nary>",
        "∑_(i=1)^n i",
    ),
    (part("nary", part("sub", "0"), part("sup", "1"), part("e", "x dx")), "∫_0^1 x dx"),
    (f"<m:nary>{stated('naryPr', chr='∑', subHide='1', supHide='1')}<m:sub/><m:sup/>{part('e', 'x')}</m:nary>", "∑ x"),
    (part("func", part("fName", "sin"), part("e", "x")), "sin x"),
    (part("func", part("fName", part("limLow", part("e", "lim"), part("lim", "x→0"))), part("e", "x")), "lim_(x→0) x"),
    (f"<m:d>{stated('dPr', begChr='[', endChr=']', sepChr=';')}{part('e', 'a')}{part('e', 'b')}</m:d>", "[a;b]"),
    (
        f"<m:d>{stated('dPr', begChr='{', endChr='')}"
        + part("e", part("eqArr", part("e", "a&amp;=1"), part("e", "b&amp;=2")))
        + "</m:d>",
        "{a=1\nb=2",
    ),
    (
        part("d", part("e", part("m", *(part("mr", part("e", a), part("e", b)) for a, b in ("12", "34"))))),
        "(1, 2; 3, 4)",
    ),
    (part("acc", part("e", "x")), "x\u0302"),
    (f"<m:bar>{stated('barPr', pos='top')}{part('e', 'x')}</m:bar>", "x\u0305"),
    ((f"<m:phant>{stated('phantPr', show='0')}{part('e', 'x')}</m:phant>", "=1"), "=1"),
    (("1", "2"), "12"),
    ("𝑥=𝟐", "x=2"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "text"), EQUATIONS, ids=[text for _, text in EQUATIONS])
def test_equations_in_linear_form(tmp_path, content, text):
    equation = part("oMath", *([content] if isinstance(content, str) else content))
    body = paragraph(run("It is ") + equation + run(" here."))
    assert read_docx(tmp_path, body).text == f"It is {text} here."


def test_figures_beside_an_equation_stay_apart(tmp_path):
    body = paragraph(run("Pay 3") + part("oMath", fraction("3", "4")) + run("5"))
    several = paragraph(f"<m:oMathPara>{part('oMath', 'a=1')}{part('oMath', 'b=2')}</m:oMathPara>")
    assert read_docx(tmp_path, body + several).blocks == ["Pay 3 3/4 5", "a=1\nb=2"]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (r" EQ \f(1,2) ", "Pay 3 1/2."),
        (r" EQ \f(1;2) ", "Pay 3 1/2."),
        (r" EQ \r(16) ", "Pay 3√16."),
        (r" EQ \r(3,\f(1,8)) ", "Pay 3∛(1/8)."),
        (r" EQ \s\up6(2) ", "Pay 3^2."),
        (r" EQ \b(\f(a+b,2)) ", "Pay 3((a+b)/2)."),
    ],
)
def test_fields_that_are_equations(tmp_path, code, text):
    marks = '<w:r><w:fldChar w:fldCharType="{}"/></w:r>'.format
    field = f"{marks('begin')}<w:r><w:instrText>{code}</w:instrText></w:r>{marks('end')}"
    assert read_docx(tmp_path, paragraph(run("Pay 3") + field + run("."))).text == text


def test_raised_runs_and_equations_of_powerpoint(tmp_path):
    def raised(text, shift):
        return f'<a:r><a:rPr baseline="{shift}"/><a:t>{text}</a:t></a:r>'

    plain = "<a:r><a:t>{}</a:t></a:r>".format
    equation = f"<a14:m>{part('oMath', fraction('1', '2'))}</a14:m>"
    choice = alternatives("a14", equation, plain(12))
    body = (
        f"<a:p>{plain('Sales were 12,345')}{raised(1, 30000)}</a:p>"
        f"<a:p>{plain('the 1')}{raised('st', '30%')}{plain(' of H')}{raised(2, -25000)}{plain('O')}</a:p>"
        f"<a:p>{plain('Pay 3')}{choice}</a:p>"
    )
    reading = read_pptx(tmp_path, [slide(shape(body) + shape(line("10")))])
    assert reading.blocks == ["Sales were 12,345^1", "the 1st of H2O", "Pay 3 1/2", "10"]
