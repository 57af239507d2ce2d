import random
import unicodedata

import ftfy
import numpy as np
import pytest

from tinsmith.corpus.text import repair as text_module
from tinsmith.corpus.text.char_scan import CLOSERS, OPENERS, _classes, scan_characters
from tinsmith.corpus.text.hidden import strip_invisible, uncover
from tinsmith.corpus.text.repair import document_id, repair
from tinsmith.corpus.text.words import WordHasher, fold, hash_ngrams


@pytest.mark.parametrize(
    ("damaged", "whole"),
    [
        ("The parties agree.\n\tAnd sign.", "The parties agree.\n\tAnd sign."),
        ("l\u00c3\u00a9gal \u00e2\u20ac\u0153terms\u00e2\u20ac\u009d", "l\u00e9gal \u201cterms\u201d"),
        ("cafe\u0301", "caf\u00e9"),
        ("one\r\ntwo\rthree\u2028four\x0cfive\x85six", "one\ntwo\nthree\nfour\nfive\nsix"),
        ("nul\x00 bell\x07 delete\x7f c1\x9d", "nul bell delete c1"),
        (
            "zero\u200bwidth, so\u00adft hyphen, \ufeffmark, jo\u2060iner",
            "zerowidth, soft hyphen, mark, joiner",
        ),
        ("hidden\U000e0041\U000e0042 tags", "hidden tags"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("ef\ufb01cient", "efficient"),
        ("stray\u200d joiner", "stray joiner"),
        # What an author may have meant stays as it is.
        ("\u201ccurly\u201d &amp; \uff0c", "\u201ccurly\u201d &amp; \uff0c"),
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
    ],
)
def test_repair(damaged: str, whole: str):
    assert repair(damaged) == whole
    assert repair(whole) == whole


def test_document_id_is_the_hash_of_the_text():
    assert document_id("") == "e3b0c44298fc1c149afbf4c8996fb924"
    assert document_id("a") != document_id("b")


def test_fold_forgets_case_punctuation_and_compatibility_forms():
    assert fold("The LICENSOR\u2019s \u201cWork\u201d_v2 -- \ufb01le; STRASSE") == fold(
        "the licensor s work v2 file stra\u00dfe"
    )
    assert fold("--- ___ ...") == []


def test_hashes_of_ngrams_agree_where_the_words_do():
    hasher = WordHasher()
    text = hasher.hash_words(list("abcxabcybac"))
    hashes = hash_ngrams(text, 3)
    assert len(hashes) == 9
    assert hashes[0] == hashes[4]
    assert len(np.unique(hashes)) == 8  # the order of words counts
    assert len(hash_ngrams(text, 12)) == 0
    assert np.array_equal(WordHasher().hash_words(["a"]), text[:1])  # no matter who hashes, or after what


def test_what_is_spared_is_what_ftfy_would_leave():
    classes = _classes()
    plain = [chr(code) for code in range(0x100, 0x10000) if classes[code] == 3]
    assert len(plain) > 40_000
    source = random.Random(3)
    for _ in range(4000):
        signs = f"{OPENERS}{CLOSERS}ab .,{''.join(source.choices(plain, k=6))}"
        line = "".join(source.choice(signs) for _ in range(source.randrange(1, 9)))
        if scan_characters(line).is_plain:
            assert ftfy.fix_text(line, text_module._FTFY) == line, ascii(line)
            assert uncover(line) == (line, {}, ()), ascii(line)
        assert repair(line) == _slowly(line), ascii(line)


def _slowly(line: str) -> str:
    """Repair without sparing anything."""
    fixed = ftfy.fix_text(line, text_module._FTFY)
    return unicodedata.normalize(
        "NFC", strip_invisible(text_module._CONTROLS.sub("", fixed).replace("\u00ad", ""))
    )


def test_a_scan_characters_names_what_is_unusual():
    assert scan_characters("Plain \u201ctext\u201d \u00a7 5.") == ("", False)
    assert scan_characters("\u2014\u00a9") == ("", True)  # so Mac OS Roman reads a Cyrillic letter
    assert scan_characters("caf\u00e9 \u200b \U000e0041 \x07") == ("\x07\u00e9\u200b\U000e0041", False)
