"""Numbers in the formats of lists: 1, 01, a, iv, First, ①."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"),
    (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
_LATIN = "abcdefghijklmnopqrstuvwxyz"
_RUSSIAN = "абвгдежзиклмнопрстуфхцчшщэюя"
_CHICAGO = "*†‡§"
_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}


def write_number(number: int, style: str) -> str:
    """Return a number in a format, by the names of Office; plain figures in a format that is not known."""
    return _FORMATS.get(style, str)(number)


def knows(style: str) -> bool:
    """Return whether a format is known."""
    return style in _FORMATS


def roman(number: int) -> str:
    """Return a Roman numeral in small letters, plain figures below one."""
    if number < 1:
        return str(number)
    written = ""
    for weight, letters in _ROMAN:
        count, number = divmod(number, weight)
        written += letters * count
    return written


def letters(number: int, alphabet: str = _LATIN) -> str:
    """Return a to z, then aa, bb and on as Office counts; plain figures below one."""
    if number < 1:
        return str(number)
    rounds, position = divmod(number - 1, len(alphabet))
    return alphabet[position] * (rounds + 1)


def ordinal(number: int) -> str:
    """Return 1st, 2nd, 11th and so on."""
    last = 0 if number // 10 % 10 == 1 else number % 10
    return f"{number}{('th', 'st', 'nd', 'rd')[last if last < 4 else 0]}"


def in_words(number: int) -> str:
    """Return an English number in words, up to 9999; plain figures beyond."""
    if not 0 <= number <= 9999:
        return str(number)
    if number < 100:
        tens, ones = divmod(number, 10)
        return _SMALL[number] if number < 20 else _TENS[tens] + (f"-{_SMALL[ones]}" if ones else "")
    for weight, name in ((1000, "thousand"), (100, "hundred")):
        count, rest = divmod(number, weight)
        if count:
            return f"{in_words(count)} {name}" + (f" {in_words(rest)}" if rest else "")
    raise AssertionError(number)


def ordinal_in_words(number: int) -> str:
    """Return an English ordinal in words: first, twenty-first."""
    if not 0 < number <= 9999:
        return ordinal(number)
    head, mark, last = _cut(in_words(number))
    return head + mark + _ORDINALS.get(last, f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")


def _cut(words: str) -> tuple[str, str, str]:
    """Return words before the last one, what stands between, and the last one."""
    place = max(words.rfind(" "), words.rfind("-"))
    return (words[:place], words[place], words[place + 1 :]) if place > 0 else ("", "", words)


def _capital(write: Callable[[int], str], number: int) -> str:
    text = write(number)
    return text[:1].upper() + text[1:]


def _upper(write: Callable[[int], str], number: int) -> str:
    return write(number).upper()


def _row(first: int, number: int) -> str:
    """Return one of twenty signs that Unicode has for numbers from one."""
    return chr(first + number - 1) if 1 <= number <= 20 else str(number)


def _digits(signs: str, number: int) -> str:
    return "".join(signs[int(digit)] for digit in str(number)) if number >= 0 else str(number)


def _han(number: int) -> str:
    """Return a Chinese or Japanese number up to 99, digit by digit beyond."""
    signs = "〇一二三四五六七八九"
    if not 0 < number < 100:
        return _digits(signs, number)
    tens, ones = divmod(number, 10)
    return (signs[tens] if tens > 1 else "") + ("十" if tens else "") + (signs[ones] if ones else "")


_FORMATS: dict[str, Callable[[int], str]] = {
    "decimal": str,
    "decimalHalfWidth": str,
    "decimalZero": lambda number: f"{number:02d}",
    "numberInDash": lambda number: f"- {number} -",
    "hex": lambda number: f"{number:X}",
    "none": lambda number: "",
    "lowerLetter": letters,
    "upperLetter": partial(_upper, letters),
    "lowerRoman": roman,
    "upperRoman": partial(_upper, roman),
    "ordinal": ordinal,
    "cardinalText": partial(_capital, in_words),
    "ordinalText": partial(_capital, ordinal_in_words),
    "chicago": partial(letters, alphabet=_CHICAGO),
    "russianLower": partial(letters, alphabet=_RUSSIAN),
    "russianUpper": partial(_upper, partial(letters, alphabet=_RUSSIAN)),
    "ganada": partial(letters, alphabet="가나다라마바사아자차카타파하"),
    "aiueo": partial(
        letters,
        alphabet="アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワヲン",
    ),
    "aiueoFullWidth": partial(
        letters,
        alphabet="アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワヲン",
    ),
    "iroha": partial(
        letters,
        alphabet="イロハニホヘトチリヌルヲワカヨタレソツネナラムウヰノオクヤマケフコエテアサキユメミシヱヒモセス",
    ),
    "decimalFullWidth": partial(_digits, "０１２３４５６７８９"),
    "decimalFullWidth2": partial(_digits, "０１２３４５６７８９"),
    "decimalEnclosedCircle": partial(_row, 0x2460),
    "decimalEnclosedCircleChinese": partial(_row, 0x2460),
    "decimalEnclosedParen": partial(_row, 0x2474),
    "decimalEnclosedFullstop": partial(_row, 0x2488),
    "ideographDigital": partial(_digits, "〇一二三四五六七八九"),
    "japaneseDigitalTenThousand": partial(_digits, "〇一二三四五六七八九"),
    "chineseCounting": _han,
    "chineseCountingThousand": _han,
    "japaneseCounting": _han,
    "taiwaneseCounting": _han,
    "taiwaneseCountingThousand": _han,
    "hindiNumbers": partial(_digits, "०१२३४५६७८९"),
    "thaiNumbers": partial(_digits, "๐๑๒๓๔๕๖๗๘๙"),
    "arabicAlpha": partial(letters, alphabet="أبتثجحخدذرزسشصضطظعغفقكلمنهوي"),
    "hebrew2": partial(letters, alphabet="אבגדהוזחטיכלמנסעפצקרשת"),
}
