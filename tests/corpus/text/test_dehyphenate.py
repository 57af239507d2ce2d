"""Broken words are made whole where the document says them whole, and nothing else is touched."""

import time
from pathlib import Path

import pytest

from tinsmith.corpus.text.dehyphenate import dehyphenate
from tinsmith.corpus.text.repair import repair

WHOLE = "The jurisdiction of the court. The jurisdiction is wide, and jurisdiction it has. "
OPINIONS = Path(__file__).parents[3] / ".." / "shared" / "data" / "scotus-opinions" / "opinions"


@pytest.mark.parametrize("before", ["", "§ “quoted” — İ ", "Plain. "])
def test_a_word_broken_by_a_space_is_joined_where_the_text_says_it_whole(before: str):
    broken = f"{before}{WHOLE}It lacks juris diction here."
    assert dehyphenate(broken) == (f"{before}{WHOLE}It lacks jurisdiction here.", 1)


@pytest.mark.parametrize(
    "text",
    [
        "It lacks juris diction here.",  # nowhere whole
        f"{WHOLE}The juris was wrong. The diction was fine. It lacks juris diction.",  # both are words here
        f"{WHOLE}Juris Diction is a name.",
        f"{WHOLE}It lacks juris  diction, juris, diction; juris\ndiction.",  # other signs than one space
        "He went into it, into that, into all of it, in to dinner, to and in.",
        "Whatever may be, maybe, maybe, maybe it may be. It may, and be it so.",
        "The 2019 20 numbers 201920 201920 201920.",
        "ab c abc abc abc",
    ],
)
def test_what_is_doubtful_stays(text: str):
    assert dehyphenate(text) == (text, 0)


def test_line_ends_join_as_the_text_writes_the_word():
    text = "An examination. An anti-trust law. The exami-\nnation of anti-\n trust by no-\nbody and of New-\nYork."
    mended = dehyphenate(text)
    assert mended.text == (
        "An examination. An anti-trust law. The examination of anti-trust by no-\nbody and of New-\nYork."
    )
    assert mended.words == 2


def test_mending_again_changes_nothing_and_a_whole_text_is_not_copied():
    once = dehyphenate(f"{WHOLE}It lacks juris diction. {WHOLE}").text
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
