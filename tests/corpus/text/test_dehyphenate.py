"""Broken words are made whole where the document says them whole, and nothing else is touched."""

import time
from pathlib import Path

import pytest

from tinsmith.corpus.readers.paragraphs import join_hyphens
from tinsmith.corpus.text.dehyphenate import dehyphenate
from tinsmith.corpus.text.repair import repair

WHOLE = "The jurisdiction of the court. The jurisdiction is wide, and jurisdiction it has. Its judgment is a judgment. "
OPINIONS = Path(__file__).parents[3] / ".." / "shared" / "data" / "scotus-opinions" / "opinions"


@pytest.mark.parametrize("before", ["", "§ “quoted” — İ ", "Plain. "])
def test_a_word_broken_by_a_space_is_joined_where_the_text_says_it_whole(before: str):
    broken = f"{before}{WHOLE}It lacks juris diction here, and the judg ment of the court."
    mended = f"{before}{WHOLE}It lacks jurisdiction here, and the judgment of the court."
    assert dehyphenate(broken) == (mended, 2)


@pytest.mark.parametrize(
    "text",
    [
        "It lacks juris diction here, and judg ment.",  # nowhere whole
        f"{WHOLE}It lacks juris diction here.",  # one break is no damage
        f"{WHOLE}The juris was wrong. The diction was fine. It lacks juris diction. A judg, a ment, a judg ment.",
        f"{WHOLE}Juris Diction is a name, and Judg Ment.",
        f"{WHOLE}It lacks juris  diction, juris, diction; juris\ndiction. The judg  ment of a judg\nment.",
        "He went into it, into that, into all of it, in to dinner, to and in.",
        "Whatever may be, maybe, maybe, maybe it may be. It may, and be it so.",
        "The 2019 20 numbers 201920 201920 201920.",
        "ab c abc abc abc",
    ],
)
def test_what_is_doubtful_stays(text: str):
    assert dehyphenate(text) == (text, 0)


def test_a_verb_and_its_noun_stay_two_words_and_one():
    pairs = (
        "take over,log in,back up,set up,pay out,sign off,lay off,check in,break down,turn over,stand by,buy out,"
        "follow up,web site,data base,health care,share holder,work place,time frame,pay roll,over time,any one"
    )
    both = [(pair, pair.replace(" ", "")) for pair in pairs.split(",")]
    text = " ".join(
        f"They may {apart} the firm. The {whole} is a {whole}; {whole}s are rare." for apart, whole in both
    )
    assert dehyphenate(text) == (text, 0)
    assert dehyphenate(f"{text} {WHOLE}The wh ich which which, juris diction, judg ment.").words == 3


@pytest.mark.parametrize("word", ["and", "or", "to", "und", "oder", "bis", "sowie", "och"])
def test_a_hyphen_that_stands_for_the_next_word_stays(word: str):
    text = f"Haus-\n{word} Gartenarbeit. Haus{word} Haus{word}"
    assert dehyphenate(text) == (text, 0)
    # The marks of a PDF's line ends are resolved even where the text has the word nowhere else.
    assert join_hyphens(f"short-term, Haus\x02{word} more") == f"short-term, Haus- {word} more"
    assert join_hyphens(f"thous{word} thous\x02{word}") == f"thous{word} thous{word}"


def test_line_ends_join_as_the_text_writes_the_word():
    text = "An examination. An anti-trust law. The exami-\nnation of anti-\n trust by no-\nbody and of New-\nYork."
    mended = dehyphenate(text)
    assert mended.text == (
        "An examination. An anti-trust law. The examination of anti-trust by no-\nbody and of New-\nYork."
    )
    assert mended.words == 2


def test_mending_again_changes_nothing_and_a_whole_text_is_not_copied():
    once = dehyphenate(f"{WHOLE}It lacks juris diction, a judg ment. {WHOLE}").text
    assert once != f"{WHOLE}It lacks juris diction, a judg ment. {WHOLE}"
    assert dehyphenate(once) == (once, 0)
    assert dehyphenate(once).text is once
    assert dehyphenate("") == ("", 0)


def test_time_grows_with_the_text_alone():
    def seconds(size: int) -> float:
        text = "ab cd abcd " * (size // 11)
        began = time.perf_counter()
        dehyphenate(text)
        return time.perf_counter() - began

    seconds(1000)
    assert seconds(1_600_000) < 100 * max(seconds(100_000), 0.001)


@pytest.mark.skipif(not OPINIONS.is_dir(), reason="shared/data/scotus-opinions is not beside the checkout")
def test_real_opinions_lose_their_breaks():
    path = sorted(OPINIONS.rglob("*.txt"))[0]
    text = repair(path.read_text(encoding="utf-8", errors="replace"))
    mended = dehyphenate(text)
    assert mended.words > 20
    assert mended.text.replace(" ", "").replace("-\n", "") == text.replace(" ", "").replace("-\n", "")
