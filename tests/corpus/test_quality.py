import itertools

import pytest

from tinsmith.corpus.quality import REASONS, duplicate_line_share, judge, top_ngram_share
from tinsmith.recipe import CurateConfig


def words(count: int, letters: int = 5) -> list[str]:
    """Distinct words of a fixed length: nothing in them breaks a rule by itself."""
    return ["".join(word) for word in itertools.islice(itertools.product("abcdefgh", repeat=letters), count)]


def prose(tokens: list[str], per_line: int = 8) -> str:
    return "\n".join(" ".join(tokens[i : i + per_line]) for i in range(0, len(tokens), per_line))


def planted(phrase: str, copies: int, total: int = 200) -> str:
    """A text of so many words that holds a phrase so often, each time among other words."""
    repeated, others = phrase.split(), words(total)
    fill = total - copies * len(repeated)
    cuts = [fill * copy // copies for copy in range(copies + 1)]
    return prose([word for a, b in itertools.pairwise(cuts) for word in repeated + others[a:b]], 7)


GOOD = prose(words(200))
# For each reason a text that breaks this rule and no other, with the rule's published threshold.
BREAKERS = {
    "too_few_words": prose(words(49)),
    "too_many_words": prose(words(100_001, 6)),
    "short_words": prose(["".join(pair) for pair in itertools.product("abcdefghijk", repeat=2)]),
    "long_words": prose(words(100, 11)),
    "symbols": GOOD + "\n" + "#" * 22,
    "bullet_lines": "\n".join(f"• {line}" for line in GOOD.splitlines()),
    "ellipsis_lines": "\n".join(
        line + ("..." if i % 3 == 0 else "") for i, line in enumerate(prose(words(200), 9).splitlines())
    ),
    "few_alphabetic_words": prose(words(150) + [f"{i:05}" for i in range(45)]),
    "duplicate_lines": GOOD + "\n" + "\n".join([GOOD.splitlines()[0]] * 8),
    "top_bigram": planted("alpha omega", 22),
    "top_trigram": planted("alpha kappa omega", 14),
    "top_fourgram": planted("alpha kappa sigma omega", 10),
}
OFF = {
    "min_words": 0,
    "max_words": 10**9,
    "min_mean_word_length": 0,
    "max_mean_word_length": 1e9,
    "max_symbol_word_ratio": 1e9,
    "min_alphabetic_words": 0,
    "max_bullet_lines": 1,
    "max_ellipsis_lines": 1,
    "max_duplicate_line_characters": 1,
    "max_top_bigram": 1,
    "max_top_trigram": 1,
    "max_top_fourgram": 1,
}


def test_a_plain_text_stays():
    assert judge(GOOD, CurateConfig()) is None


def test_every_rule_has_its_breaker():
    assert set(BREAKERS) == set(REASONS)
    assert set(OFF) == set(REASONS.values())


@pytest.mark.parametrize("reason", REASONS)
def test_a_rule_alone_drops_its_breaker(reason: str):
    drop = judge(BREAKERS[reason], CurateConfig())
    assert drop is not None
    assert drop.reason == reason
    assert any(map(str.isdigit, drop.detail))
    field = REASONS[reason]
    assert judge(BREAKERS[reason], CurateConfig(**{field: OFF[field]})) is None, "another rule drops it too"


def test_a_text_without_words_is_empty_whatever_the_thresholds():
    for text in ("", " \n\t"):
        assert judge(text, CurateConfig(**OFF)).reason == "empty"


def test_words_are_what_has_a_letter_or_digit():
    ruler = GOOD.splitlines()[0] + "\n" + "= " * 100
    assert judge(ruler, CurateConfig()).reason == "too_few_words"


def test_shares_by_hand():
    assert duplicate_line_share(["aa", "bbbb", "aa", "aa"]) == pytest.approx(4 / 10)
    assert duplicate_line_share([]) == 0
    assert top_ngram_share(["a", "bb", "a", "bb", "ccc", "ccc"], 2) == pytest.approx(6 / 12)
    assert top_ngram_share(["to", "be", "or", "not"], 2) == 0  # once is no repetition
    assert top_ngram_share(["x", "x", "x", "x"], 2) == 1
