"""Regulations and statutes as XML are read by their structure."""

import re
from pathlib import Path

import pytest

from tinsmith.corpus.readers.markup import read_xml

EREGS = """<regulation xmlns="eregs"><fdsys><date>2012-01-01</date><title>FAIR TRADE ACT</title></fdsys>
<preamble><cfr><title>12</title><section>1900</section></cfr><effectiveDate>2013-02-03</effectiveDate></preamble>
<part label="1900"><tableOfContents><tocSecEntry><sectionSubject>Listed only</sectionSubject></tocSecEntry></tableOfContents>
<content><subpart><title>General</title><content><section><subject>§ 1900.1 Scope.</subject>
<paragraph marker="(a)"><content/><paragraph marker="(1)"><title type="keyterm">Reach.</title><content>A <ref>creditor</ref> may act.</content>
<paragraph marker="(i)"><content>Always; or</content></paragraph></paragraph></paragraph>
<paragraph marker=""><content><table><header><columnHeaderRow><column>Fee</column><column>Sum</column></columnHeaderRow></header>
<row><cell>Late</cell><cell>$5</cell></row></table></content></paragraph>
<paragraph marker=""><content><graphic><altText/><text>![](G)</text><url>http://x</url></graphic></content></paragraph>
</section></content></subpart>
<appendix><appendixTitle>Appendix A to Part 1900</appendixTitle><appendixSection><subject/><paragraph marker="1."><content>Banks.</content></paragraph></appendixSection></appendix>
</content></part><analysis><p>Not law.</p></analysis></regulation>"""

USLM = """<?xml version="1.0" encoding="UTF-8"?><uscDoc xmlns="http://xml.house.gov/schemas/uslm/1.0" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:dcterms="http://purl.org/dc/terms/" identifier="/us/usc/t9"><meta><dc:title>Title 9</dc:title><dcterms:created>2024-05-06T00:00:00</dcterms:created></meta>
<main><title><num value="9">Title 9—</num><heading>ARBITRATION</heading><toc><tocItem>Listed only</tocItem></toc>
<chapter><num>CHAPTER 1—</num><heading>GENERAL PROVISIONS</heading><section><num>§ 1.</num><heading> Maritime matters</heading>
<chapeau>An agreement—</chapeau><subsection><num>(a)</num><heading> In general</heading><content><p>shall be <ref>valid</ref>.</p></content></subsection>
<subsection><num>(b)</num><chapeau>if—</chapeau><paragraph><num>(1)</num><content>written;</content></paragraph><continuation>and no other.</continuation></subsection>
<sourceCredit>(July 30, 1947)</sourceCredit><notes><note><p>Editors wrote this.</p></note></notes></section></chapter></title></main></uscDoc>"""

ECFR = """<ECFR><AMDDATE>2021-03-04</AMDDATE><DIV5 N="7" TYPE="PART"><HEAD>PART 7—BANK ACTIVITIES</HEAD><AUTH><P>12 U.S.C. 1.</P></AUTH>
<DIV6 N="A" TYPE="SUBPART"><HEAD>Subpart A—Powers</HEAD><DIV8 N="7.1" TYPE="SECTION"><HEAD>§ 7.1 Real estate.</HEAD>
<P>(a) A bank <I>may</I> hold land.</P><P>(b) Not for long.</P><GPOTABLE><BOXHD><CHED>Kind</CHED><CHED>Years</CHED></BOXHD>
<ROW><ENT>House</ENT><ENT>5</ENT></ROW></GPOTABLE><CITA>[61 FR 4862]</CITA></DIV8></DIV6></DIV5></ECFR>"""
# What a schema allows within a sentence, and what stands around a table.
BILL = """<bill xmlns="http://schemas.gpo.gov/xml/uslm"><meta/><main><section><num value="2">SEC. 2.</num><heading> DEFINITION.</heading>
<content> A <i>bank</i> is one that<ref class="footnoteRef">1</ref> lends; and<quotedContent><section><num>§ 9.</num><content>Quoted <b>law</b>.</content></section></quotedContent></content>
<proviso>Provided, That <i>so</i>.</proviso><layout><header>Fees</header><row><column>Kind</column><column>Sum</column></row><row><column>Late</column><column>5</column></row></layout>
</section></main></bill>"""
YEARLY = """<CFRDOC><PART><EAR>Pt. 9</EAR><HD SOURCE="HED">PART 9—TRUSTS</HD><SECTION><SECTNO>§ 9.1</SECTNO><SUBJECT>Scope.</SUBJECT>
<P>(a) <E T="03">Reach.</E> All banks.<SU>1</SU></P><MATH><I>x</I> = 2</MATH><GPOTABLE><TTITLE>Rates</TTITLE><BOXHD><CHED>Kind</CHED><CHED>Rate</CHED></BOXHD>
<ROW><ENT>Loan</ENT><ENT>3</ENT></ROW><TNOTE>In hundredths.</TNOTE></GPOTABLE><FTNT><P><SU>1</SU> Branches too.</P></FTNT></SECTION></PART></CFRDOC>"""
REGULATIONS = Path(__file__).parents[2] / ".." / "shared" / "data" / "cfpb-regs" / "regulation" / "1002"


def test_eregs():
    piece = read_xml(EREGS)
    assert piece.meta == {"title": "FAIR TRADE ACT", "number": "12 CFR 1900", "date": "2013-02-03"}
    assert piece.text.split("\n\n") == [
        "# FAIR TRADE ACT",
        "## General",
        "### § 1900.1 Scope.",
        "(a) (1) Reach. A creditor may act.",
        "(i) Always; or",
        "| Fee | Sum |\n| --- | --- |\n| Late | $5 |",
        "## Appendix A to Part 1900",
        "1. Banks.",
    ]


def test_an_unknown_element_around_a_paragraph_begins_one():
    law = read_xml("<ECFR><DIV1><P>One <WRAP>two<P>three</P></WRAP> four.</P></DIV1></ECFR>")
    assert law.text.split("\n\n") == ["One", "two", "three", "four."]


def test_uslm():
    piece = read_xml(USLM)
    assert piece.meta == {"title": "Title 9", "number": "us/usc/t9", "date": "2024-05-06"}
    assert piece.text.split("\n\n") == [
        "# Title 9— ARBITRATION",
        "### CHAPTER 1— GENERAL PROVISIONS",
        "##### § 1. Maritime matters",
        "An agreement—",
        "(a) In general shall be valid.",
        "(b) if—",
        "(1) written;",
        "and no other.",
    ]


def test_ecfr():
    piece = read_xml(ECFR)
    assert piece.meta == {"title": "PART 7—BANK ACTIVITIES", "date": "2021-03-04"}
    assert piece.text.split("\n\n") == [
        "##### PART 7—BANK ACTIVITIES",
        "###### Subpart A—Powers",
        "###### § 7.1 Real estate.",
        "(a) A bank may hold land.",
        "(b) Not for long.",
        "| Kind | Years |\n| --- | --- |\n| House | 5 |",
    ]


def test_a_sentence_keeps_its_words_and_its_order_around_what_is_quoted():
    assert read_xml(BILL).text.split("\n\n") == [
        "##### SEC. 2. DEFINITION.",
        "A bank is one that lends; and",
        "##### § 9.",
        "Quoted law.",
        "Provided, That so.",
        "Fees",
        "| Kind | Sum |\n| --- | --- |\n| Late | 5 |",
    ]


def test_yearly_cfr():
    piece = read_xml(YEARLY)
    assert piece.meta == {"title": "PART 9—TRUSTS"}
    assert piece.text.split("\n\n") == [
        "### PART 9—TRUSTS",
        "##### § 9.1 Scope.",
        "(a) Reach. All banks.[1]",
        "x = 2",
        "Rates",
        "| Kind | Rate |\n| --- | --- |\n| Loan | 3 |",
        "In hundredths.",
        "[1] Branches too.",
    ]


@pytest.mark.parametrize(
    "text", ["<regulation><a>One.</a><b>Two.</b></regulation>", "<DIV1/>", "<note>Hello.</note>"]
)
def test_other_xml_is_read_as_before(text: str):
    assert not read_xml(text).meta
    assert re.sub(r"<[^>]*>", " ", text).split() == read_xml(text).text.split()


def test_deep_nesting_does_not_overflow_the_stack():
    deep = "<paragraph marker='(a)'>" * 3000 + "<content>Deep.</content>" + "</paragraph>" * 3000
    assert read_xml(EREGS.replace("<content>Always; or</content>", deep)).text.count("Deep.") == 1


@pytest.mark.skipif(not REGULATIONS.is_dir(), reason="shared/data/cfpb-regs is not beside the checkout")
def test_a_real_regulation():
    path = sorted(REGULATIONS.iterdir())[0]
    piece = read_xml(path.read_text(encoding="utf-8"))
    assert piece.meta["number"] == "12 CFR 1002"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", piece.meta["date"])
    assert "\n### § 1002.2 Definitions.\n" in piece.text
    assert not re.search(r"</?\w+>|!\[\]", piece.text)
    # Each word of a provision is there once: what its paragraphs hold is what the text holds.
    words = re.findall(r"<content>([^<]{200,})</content>", path.read_text(encoding="utf-8"))
    assert len(words) > 10
    for said in words:
        assert piece.text.count(" ".join(said.split()).replace("&amp;", "&")) == 1
