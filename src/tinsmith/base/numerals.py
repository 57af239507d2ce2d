"""Numbers as text writes them: read their values, and tell which of one text do not stand in another."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

_SCALES = {
    100: "hundred hundreds",
    10**3: "thousand thousands k",
    10**5: "lakh lakhs",
    10**6: "million millions mn mln mio m",
    10**7: "crore crores",
    10**9: "billion billions bn",
    10**12: "trillion trillions tn",
}
_SCALE_OF = {word: scale for scale, words in _SCALES.items() for word in words.split()}
_LETTERS = ("k", "m")  # a scale only where they follow the digits at once: 5 m is a length
_LONG_SCALES = "|".join(word for word in _SCALE_OF if word not in _LETTERS)
_SPACES = "\u00a0\u2009\u202f"  # that part thousands
_SOME = r"\d{1,100}+"  # possessive: figures are taken whole, or not at all
# Figures parted by commas, apostrophes or narrow spaces in threes; by points in threes; with a decimal point or comma.
# Three parts, as in a date or a version, are numbers of their own.
_DIGITS = (
    rf"(?<!\d[.,])\d{{1,3}}(?P<mark>[,'’{_SPACES}])\d{{3}}(?:(?P=mark)\d{{3}}){{0,9}}+(?:\.{_SOME})?(?!\d|(?P=mark)\d)"
    rf"|(?<!\d[.,])\d{{1,3}}(?:\.\d{{3}}){{2,9}}+(?:,{_SOME})?(?![\d.]\d)"
    rf"|(?<!\d[.,])\d{{1,3}}(?:\.\d{{3}}){{1,9}}+,{_SOME}(?![.,]?\d)"
    rf"|(?<!\d[.,]){_SOME}[.,]{_SOME}(?![.,]\d)|{_SOME}|(?<![\d.,])\.{_SOME}"
)
_FIGURES = re.compile(
    rf"(?P<minus>(?<![\w.,)%])[-−–](?=[$€£¥\d.]))?(?P<open>\()?\s?[$€£¥]?\s?(?P<inner>[-−–](?<=[$€£¥][-−–]))?(?P<digits>{_DIGITS})"
    rf"(?:(?P<letter>[km])\b|[\s-]?(?P<scale>{_LONG_SCALES})\b)?(?P<close>\s?%?\))?",
    re.IGNORECASE,
)
_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
_ONES += ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORD_VALUES = {word: value for value, word in enumerate(_ONES)}
_WORD_VALUES |= {word: 20 + 10 * place for place, word in enumerate(_TENS)}
_SMALL = rf"(?:{'|'.join(_TENS)})(?:[-\s](?:{'|'.join(_ONES[1:10])})(?!\w))?|{'|'.join(reversed(_ONES))}"
_WORDS = re.compile(
    rf"(?<!\w)(?P<first>{_SMALL})(?!\w)(?P<hundred>[-\s]hundred(?!\w)(?:\s(?:and\s)?(?P<rest>{_SMALL})(?!\w))?)?"
    r"(?:[-\s](?P<scale>thousand|million|billion|trillion)(?!\w))?",
    re.IGNORECASE,
)
_SIGNS = re.compile(r"[^\W\d_]?[²³¹⁰⁴-⁹₀-₉¼-¾⅐-⅞]")
_YEARS = range(1000, 3000)


@dataclass(frozen=True)
class Numeral:
    """A number in a text: its value with sign and scale, and the figures alone."""

    text: str
    value: Fraction
    figures: Fraction  # without sign and scale: 1.2 of "-1.2 million"
    scale: int = 1
    minus: bool = False  # a minus sign stands before it; brackets alone are none
    start: int = 0


def numerals(text: str) -> list[Numeral]:
    """Return the numbers of a text in order: 1,234.5 and 1.234,5; 1.2 million, 5k; 12%; (1,234); twenty-five.

    A percent sign is a unit: 12% has the value 12. Brackets make a number negative, unless it looks like a year. The
    parts of a date are numbers of their own. "One" alone is a word, as are ordinals and fractions in words. Words of
    numbers are English.
    """
    return sorted((*_in_figures(text), *_in_words(text), *_in_signs(text)), key=lambda numeral: numeral.start)


def number_of(text: str) -> Fraction | None:
    """Return the value of a text that is one number and nothing else, such as "40", "12.5%" or "(1,234)".

    Figures with a leading zero, such as 007, are a code: None.
    """
    text = text.strip()
    match = _FIGURES.fullmatch(text.removesuffix("%").rstrip())
    if match is None or re.match(r"\D*0\d", text):
        return None
    return next(_in_figures(text)).value


def missing_numbers(text: str, sources: Iterable[str | Fraction]) -> list[str]:
    """Return the numbers of a text, as written there, that stand in none of the sources.

    A number stands in a source in any spelling: 12.50 is 12.5, 1.2 million is 1,200,000. Without a sign it also stands
    for a negative one, as in "fell 1.2%". A scale may be said once, as in "revenue in millions".
    """
    values: set[Fraction] = set()
    scales: set[int] = set()
    for source in sources:
        if isinstance(source, Fraction):
            values.add(source)
            continue
        for numeral in numerals(source):
            values |= {numeral.value, *_as_list(numeral)}
            if not numeral.minus:
                values.add(abs(numeral.value))
        scales |= {_SCALE_OF[word] for word in re.findall(r"[^\W\d_]+", source.lower()) if word in _SCALE_OF}
    unsigned = {abs(value) for value in values}

    def stands(numeral: Numeral) -> bool:
        if numeral.minus:
            return numeral.value in values
        bare = numeral.figures if numeral.scale in scales else numeral.value
        return abs(numeral.value) in unsigned or bare in unsigned

    return [numeral.text for numeral in numerals(text) if not stands(numeral)]


def _as_list(numeral: Numeral) -> Iterator[Fraction]:
    """Yield the parts of figures that may be a list without spaces, as in a table with commas: 101,4."""
    parts = numeral.text.split(",")
    if len(parts) == 2 and all(part.isdecimal() for part in parts) and numeral.figures.denominator != 1:
        yield from map(Fraction, parts)


def _in_figures(text: str) -> Iterator[Numeral]:
    for match in _FIGURES.finditer(text):
        digits = match["digits"]
        figures = Fraction(_plain(digits))
        word = (match["letter"] or match["scale"] or "").lower()
        scale = _SCALE_OF.get(word, 1)
        minus = bool(match["minus"] or match["inner"])
        bracketed = bool(match["open"] and match["close"])
        is_year = digits.isdecimal() and len(digits) == 4 and int(digits) in _YEARS
        negative = minus or (bracketed and not is_year)
        value = -figures * scale if negative else figures * scale
        begin = next(match.start(part) for part in ("minus", "inner", "digits") if match[part])
        written = text[begin : match.start("close") if match["close"] else match.end()]
        yield Numeral(written, value, figures, scale, minus, match.start("digits"))


def _plain(digits: str) -> str:
    """Return figures with a decimal point and without marks between thousands."""
    digits = re.sub(f"['’{_SPACES}]", "", digits)
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", digits):
        return digits.replace(",", "")
    if digits.count(".") > 1 or re.search(r"\..*,", digits):
        digits = digits.replace(".", "")
    return digits.replace(",", ".")


def _in_words(text: str) -> Iterator[Numeral]:
    for match in _WORDS.finditer(text):
        if match[0].lower() == "one":
            continue
        figures = _small(match["first"]) * (100 if match["hundred"] else 1)
        figures += _small(match["rest"]) if match["rest"] else 0
        scale = _SCALE_OF[match["scale"].lower()] if match["scale"] else 1
        yield Numeral(match[0], Fraction(figures * scale), Fraction(figures), scale, start=match.start())


def _small(words: str) -> int:
    return sum(_WORD_VALUES[word] for word in re.split(r"[-\s]", words.lower()))


def _in_signs(text: str) -> Iterator[Numeral]:
    for match in _SIGNS.finditer(text):
        value = Fraction(unicodedata.numeric(match[0][-1])).limit_denominator(100)
        yield Numeral(match[0][-1], value, value, start=match.end() - 1)
