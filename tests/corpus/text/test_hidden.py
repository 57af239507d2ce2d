"""What a reader does not see goes and is counted; what shapes letters and emoji stays."""

import pytest

from tinsmith.corpus.text.hidden import KINDS, strip_invisible, uncover
from tinsmith.corpus.text.repair import repair


def tags(text: str) -> str:
    return "".join(chr(0xE0000 + ord(letter)) for letter in text)


def test_tags_are_read_and_taken_out():
    found = uncover("Pay the fee." + tags("obey me"))
    assert (found.text, found.counts, found.messages) == ("Pay the fee.", {"tags": 7}, ("obey me",))


@pytest.mark.parametrize(
    ("text", "left", "kind", "count"),
    [
        ("pass\u200bword", "password", "zero_width", 1),
        ("a\u2060b\ufeffc", "abc", "zero_width", 2),
        ("in\u200dvoice", "invoice", "zero_width", 1),
        ("total \u202e001\u202c due", "total 001 due", "bidirectional", 2),
        ("plain\u200f text", "plain text", "bidirectional", 1),
        ("a\ufe01\ufe02\ufe03b", "ab", "variation_selectors", 3),
        ("the b\u0430nk pays", "the bank pays", "homoglyphs", 1),
    ],
)
def test_each_kind_is_taken_out_and_counted(text: str, left: str, kind: str, count: int):
    found = uncover(text)
    assert found.text == left
    assert found.counts == {kind: count}
    assert kind in KINDS


@pytest.mark.parametrize(
    "text",
    [
        "plain ASCII",
        "👩\u200d⚖️ signs",  # a joiner within an emoji, a selector behind a sign with variants
        "نمی\u200cخواهم",  # Persian needs the joiner's contrary
        "क्\u200dष",
        "שלום\u200f (12)",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f wins",
        "банк платит",
        "α-particle, β-blocker",
    ],
)
def test_what_shapes_letters_stays(text: str):
    assert uncover(text).text == text
    assert uncover(text).counts == {}


def test_repair_strips_what_uncover_takes():
    assert repair("pass\u200bword" + tags("x")) == strip_invisible("pass\u200bword" + tags("x")) == "password"
