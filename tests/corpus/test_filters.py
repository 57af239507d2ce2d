"""Each rule drops what breaks it and nothing else; what is measured is what plain Python measures."""

import itertools
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from tinsmith.corpus.filters import REASONS, Filters, gopher, gopher_quality
from tinsmith.corpus.filters.characters import SPACE, flags
from tinsmith.corpus.filters.repeats import ngram_repeats, repeated_items
from tinsmith.corpus.filters.scan import _read_token, scan_text
from tinsmith.corpus.text.kernels import codes
from tinsmith.recipe import CurateConfig

ALL = ("gopher", "c4", "fineweb")
SAMPLES: dict[str, list[str]] = json.loads(
    (Path(__file__).parents[2] / "benchmarks" / "languages.json").read_text(encoding="utf-8")
)


def words(count: int, letters: int = 5) -> list[str]:
    """Distinct words of a fixed length: nothing in them breaks a rule by itself."""
    return ["".join(word) for word in itertools.islice(itertools.product("abcdefgh", repeat=letters), count)]


def prose(tokens: list[str], per_line: int = 8) -> str:
    return "\n".join(" ".join(tokens[i : i + per_line]) + "." for i in range(0, len(tokens), per_line))


def planted(phrase: str, copies: int, total: int = 200) -> str:
    """A text of so many words that holds a phrase so often, each time among other words."""
    repeated, others = phrase.split(), words(total)
    fill = total - copies * len(repeated)
    cuts = [fill * copy // copies for copy in range(copies + 1)]
    return prose([word for a, b in itertools.pairwise(cuts) for word in repeated + others[a:b]], 7)


def repeated_run(length: int, copies: int) -> str:
    return planted(" ".join(word + "x" for word in words(length)), copies, 400)


GOOD = prose(["the", "and", *words(198)])
LINES = GOOD.splitlines()
# For each reason a text that breaks the rule with its published threshold.
BREAKERS = {
    "too_few_words": prose(words(49)),
    "too_many_words": prose(words(100_001, 6)),
    "short_words": prose(["".join(pair) for pair in itertools.product("abcdefghijk", repeat=2)]),
    "long_words": prose(words(100, 11)),
    "symbols": GOOD + "\n" + "#" * 30,
    "bullet_lines": "\n".join(f"• {line}" for line in LINES),
    "ellipsis_lines": "\n".join(line + (".." if i % 3 == 0 else "") for i, line in enumerate(LINES[:-1])),
    "few_alphabetic_words": prose(words(150) + [f"{i:05}" for i in range(45)]),
    "few_stop_words": prose(["the", *words(200)]),
    "duplicate_paragraphs": "\n\n".join([*LINES[:10], *["abc."] * 6]),
    "duplicate_paragraph_characters": "\n\n".join([*LINES, *[LINES[0]] * 8]),
    "duplicate_lines": "\n".join([*LINES[:10], *["abc."] * 6]),
    "duplicate_line_characters": "\n".join([*LINES, *[LINES[0]] * 8]),
    "top_bigram": planted("alpha omega", 40),
    "top_trigram": planted("alpha kappa omega", 14),
    "top_fourgram": planted("alpha kappa sigma omega", 14),
    **{f"duplicate_{n}grams": repeated_run(n, 1 + 400 // (3 * n)) for n in range(5, 11)},
    "bad_words": GOOD + "\nThe Gribble was here.",
    "lorem_ipsum": GOOD + "\nThen Lorem Ipsum was here.",
    "curly_bracket": GOOD + "\nThen if (a) { b } was here.",
    "too_few_sentences": prose(words(200), 50),
    "few_punctuated_lines": GOOD.replace(".\n", "\n"),
    "short_lines": prose(words(200), 4),
    "repeated_lines": "\n".join([*LINES, *[LINES[0]] * 4]),
    "many_line_breaks": GOOD.replace("\n", "\n\n\n\n"),
}
OFF = {
    "gopher": {
        "min_words": 0,
        "max_words": 10**9,
        "min_mean_word_length": 0,
        "max_mean_word_length": 1e9,
        "max_symbol_word_ratio": 1e9,
        "min_alphabetic_words": 0,
        "min_stop_words": 0,
    },
    "c4": {
        "terminal_punctuation": False,
        "citations": False,
        "min_words_per_line": 0,
        "max_word_length": 10**9,
        "javascript": False,
        "policies": False,
        "lorem_ipsum": False,
        "curly_bracket": False,
        "min_sentences": 0,
        "bad_words": (),
    },
    "fineweb": {"min_punctuated_lines": 0, "max_line_breaks_per_word": 1e9},
}
for _name, _field in (path.split(".") for path in REASONS.values()):
    OFF[_name].setdefault(_field, 1.0)
PUBLISHED = {
    "gopher": (
        50,
        100000,
        3,
        10,
        0.1,
        0.9,
        0.3,
        0.8,
        2,
        0.3,
        0.3,
        0.2,
        0.2,
        0.2,
        0.18,
        0.16,
        0.15,
        0.14,
        0.13,
        0.12,
        0.11,
        0.1,
    ),
    "c4": (True, True, 3, 1000, True, True, True, True, 5, ()),
    "fineweb": (0.12, 0.67, 30, 0.1, 0.3),
}


def filters(*names: str, off: bool = False, **sections: dict[str, object]) -> Filters:
    """Filters with some fields set, the others as published or switched off."""
    given = {name: (OFF[name] if off else {}) | sections.get(name, {}) for name in ALL}
    return Filters(CurateConfig.model_validate({"rules": names or ALL, **given}))


def tokens(text: str) -> list[str]:
    characters, place, found = codes(text), 0, []
    while place < len(characters):
        if flags()[characters[place]] & SPACE:
            place += 1
            continue
        end = _read_token(characters, flags(), place)[0]
        found.append(text[place:end])
        place = end
    return found


def test_defaults_are_those_published():
    config = CurateConfig()
    assert config.rules == ()  # a measurement says so, see docs/curation.md
    for name in ALL:
        assert tuple(getattr(config, name).model_dump().values()) == PUBLISHED[name]


def test_gophers_rules_about_words_let_repetition_pass():
    whole, words_alone = filters("gopher"), filters("gopher_quality")
    repetitive = {f"duplicate_{n}grams" for n in range(5, 11)} | {"duplicate_lines", "duplicate_paragraphs"}
    assert repetitive <= set(gopher.REPETITION)
    for reason in repetitive:
        assert whole.apply(BREAKERS[reason])[1].reason not in gopher_quality.REASONS
        assert words_alone.apply(BREAKERS[reason])[1] is None
    for reason in gopher_quality.REASONS:
        assert words_alone.apply(BREAKERS[reason], "en")[1].reason == reason
    assert words_alone.reasons == set(gopher_quality.REASONS)


def test_a_plain_text_stays_as_it_is():
    assert filters().apply(GOOD, "en") == (GOOD, None)


def test_every_rule_has_its_breaker():
    assert set(BREAKERS) == set(REASONS)


@pytest.mark.parametrize("reason", REASONS)
def test_a_rule_alone_drops_its_breaker(reason: str):
    name, field = REASONS[reason].split(".")
    published = ("gribble",) if reason == "bad_words" else getattr(getattr(CurateConfig(), name), field)
    alone = filters(off=True, **{name: {field: published}})
    drop = alone.apply(BREAKERS[reason], "en")[1]
    assert drop is not None
    assert drop.reason == reason
    assert any(map(str.isalnum, drop.detail))
    assert alone.apply(GOOD, "en")[1] is None
    assert filters(off=True).apply(BREAKERS[reason], "en")[1] is None


def test_only_the_named_sets_are_asked():
    assert filters("gopher").apply(BREAKERS["few_punctuated_lines"])[1] is None
    assert filters("fineweb").apply(BREAKERS["too_few_words"])[1] is None
    assert filters("c4").apply(BREAKERS["few_alphabetic_words"])[1] is None


def test_a_text_without_words_is_empty_whatever_the_thresholds():
    for text in ("", " \n\t"):
        assert filters(off=True).apply(text)[1].reason == "empty"


def test_stop_words_are_asked_of_english():
    text = BREAKERS["few_stop_words"]
    assert filters("gopher").apply(text, "en")[1].reason == "few_stop_words"
    assert filters("gopher").apply(text, "fr")[1] is None


def test_a_ruler_of_marks_is_no_word():
    ruler = LINES[0] + "\n" + "= " * 100
    assert filters("gopher").apply(ruler)[1].reason == "too_few_words"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop, it's well-known.", "Don|'t|stop|,|it|'s|well|-|known|."),
        ("The U.S. paid $1,000.50 on 10-K forms (see J. Doe's).", None),
        ("a@b.com and/or 1/2 end.Next", "a@b.com|and|/|or|1/2|end|.|Next"),
        ("___ ... ??", "___|...|??"),
        ("état 第一章 ไทย", "état|第一|章|ไทย"),
    ],
)
def test_tokens_by_hand(text: str, expected: str | None):
    expected = expected or "The|U.S.|paid|$|1,000.50|on|10-K|forms|(|see|J.|Doe|'s|)|."
    assert tokens(text) == expected.split("|")


def test_repeats_are_those_of_plain_python():
    for seed in range(30):
        source = random.Random(seed)
        text = " ".join(source.choice(["to", "be", "or", "not", "é", "tobe"]) for _ in range(seed * 4))
        found, parts = scan_text(text), tokens(text)
        repeats = ngram_repeats(found.tokens, found.token_sizes, 10)
        for n in range(2, min(10, len(parts)) + 1):
            grams = [tuple(parts[i : i + n]) for i in range(len(parts) - n + 1)]
            counts = Counter(grams)
            most = max(counts.values())
            longest = max(len(" ".join(gram)) for gram, count in counts.items() if count == most)
            size, place, known = 0, 0, set()
            while place < len(grams):
                step = n if grams[place] in known else 1
                size += len("".join(grams[place])) if step == n else 0
                known.add(grams[place])
                place += step
            assert repeats[n] == ((most * longest if most > 1 else 0) if n <= 4 else size)


def test_lines_and_paragraphs_by_hand():
    found = scan_text("one two\n  one  two \n\nthree\n \t\n\nfour.\n\none two\none two")
    assert found.line_sizes.tolist() == [7, 8, 5, 5, 7, 7]
    assert repeated_items(found.lines, found.line_sizes) == (3, 22)
    assert len(found.paragraphs) == 4
    assert repeated_items(found.paragraphs, found.paragraph_sizes) == (1, 15)


def test_c4_takes_lines_out_and_keeps_the_rest():
    text = "\n".join(
        [
            *LINES[:5],
            "Menu",
            "No end here at all",
            "Too short.",
            "It trails off here...",
            "Please enable JavaScript to go on.",
            "We use cookies on these pages.",
            "x" * 1001 + " is no word.",
            "  The claim is proven.[12]  ",
            "He said “so be it.”",
        ]
    )
    kept, drop = filters("c4").apply(text)
    assert drop is None
    assert kept.splitlines() == [*LINES[:5], "The claim is proven.", "He said “so be it.”"]


def test_c4_looks_for_phrases_only_in_lines_that_stay():
    assert filters("c4").apply(GOOD + "\nfunction () {")[1] is None


def test_later_sets_judge_what_c4_left():
    menu = "\n".join(f"{word}" for word in words(100, 4))
    assert filters("fineweb").apply(GOOD + "\n" + menu)[1].reason == "short_lines"
    text, drop = filters("c4", "fineweb").apply(GOOD + "\n" + menu)
    assert (text, drop) == (GOOD, None)


@pytest.mark.parametrize("code", SAMPLES)
def test_plain_texts_of_many_scripts_stay(code: str):
    text = "\n".join(SAMPLES[code])
    # Thai ends its sentences with a space; C4 counts words between spaces, of which Chinese and Japanese have none.
    names = ("gopher",) if code in ("th", "zh", "ja") else ALL
    kept, drop = filters(
        *names, gopher={"min_words": 15, "min_mean_word_length": 2}, c4={"min_sentences": 3}
    ).apply(text, code)
    assert (kept, drop) == (text, None)
