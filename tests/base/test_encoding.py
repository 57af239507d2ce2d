"""Text in the encodings that people have, whole and damaged: each is read as what was written."""

from __future__ import annotations

import pytest

from tinsmith.base.encoding import find_encoding

GERMAN = "Der Mieter übergibt die Schlüssel für die Wohnung in Köln. Schöne Grüße. "
FRENCH = "Le locataire règle le loyer à l'échéance. Où va-t-on ? Ça dépend. "
POLISH = "Najemca płaci czynsz co miesiąc. Wynajmujący ogrzewa mieszkanie zimą. Kaucja zostanie zwrócona. "
CZECH = "Nájemce platí nájemné každý měsíc. Pronajímatel topí v bytě v zimě. "
TURKISH = "Kiracı her ay kirayı öder. Ev sahibi kışın daireyi ısıtır. Güneş doğar. "
RUSSIAN = "Арендатор платит аренду каждый месяц. Арендодатель отапливает квартиру зимой. "
GREEK = "Ο ενοικιαστής πληρώνει το ενοίκιο κάθε μήνα. "
HEBREW = "השוכר משלם את שכר הדירה בכל חודש. המשכיר מחמם את הדירה בחורף. "
CHINESE = "租赁合同自双方签字之日起生效，租期一年，租金按月支付。"
JAPANESE = "テナントは毎月の家賃を支払うものとする。貸主は冬に部屋を暖める。"
KOREAN = "임차인은 매월 임대료를 지불해야 합니다. 임대인은 겨울에 방을 난방합니다. "


def read(data: bytes, chunk: int = 1 << 20) -> str:
    """Decode data that comes in chunks."""
    found = find_encoding(lambda: (data[start : start + chunk] for start in range(0, len(data), chunk)))
    return data.decode(found.name, found.errors)


@pytest.mark.parametrize(
    ("text", "encodings"),
    [
        (GERMAN, "cp1252 latin-1 cp850 mac-roman"),
        (FRENCH, "cp1252 cp850"),
        (POLISH, "cp1250 iso8859-2"),
        (CZECH, "cp1250 iso8859-2"),
        (TURKISH, "cp1254"),
        (RUSSIAN, "cp1251 koi8-r utf-16-le utf-16-be"),
        (GREEK, "cp1253 utf-16-le utf-16-be"),
        (HEBREW, "cp1255 iso8859-8 utf-16-be"),
        (CHINESE, "gb18030 utf-16-le"),
        (JAPANESE, "cp932 euc-jp iso2022-jp utf-16-be"),
        (KOREAN, "euc-kr utf-16-le"),
    ],
)
def test_a_text_without_a_mark_is_read_in_its_encoding(text: str, encodings: str) -> None:
    for encoding in encodings.split():
        assert read((text * 3).encode(encoding)) == text * 3, encoding


@pytest.mark.parametrize(
    ("text", "encoding"), [(JAPANESE, "cp932"), (JAPANESE, "euc-jp"), (KOREAN, "euc-kr")]
)
def test_a_sample_that_ends_within_a_character_does_not_mislead(text: str, encoding: str) -> None:
    long = text.replace(" ", "") * (70_000 // len(text.encode(encoding)))
    for before in (65_536 - len(long) % 2, 65_537):
        text = "x" * (before % 3) + long
        assert read(text.encode(encoding)) == text
    # The first byte beyond ASCII may come after the first chunk.
    late = "x" * 70_001 + text.lstrip("x")
    assert read(late.encode(encoding), 70_002) == late


def test_a_short_word_is_western() -> None:
    assert read("Grüße".encode("cp1252")) == "Grüße"


@pytest.mark.parametrize(
    ("damaged", "expected"),
    [
        (GERMAN.encode() + b"don\x92t" + GERMAN.encode(), f"{GERMAN}don\ufffdt{GERMAN}"),
        (b"The caf\xc3\xa9 is op\xf6en.", "The café is op\ufffden."),
        (GERMAN.encode() * 2 + GERMAN.encode("cp1252") * 2, GERMAN * 4),
        (GERMAN.encode() * 9 + GERMAN.encode("cp1252") * 2, GERMAN * 11),
        (RUSSIAN.encode() + b"\x92" + RUSSIAN.encode(), f"{RUSSIAN}\ufffd{RUSSIAN}"),
        (CHINESE.encode()[:-2], CHINESE[:-1] + "\ufffd"),
        (GERMAN.encode() + "ü".encode()[:1], GERMAN + "\ufffd"),
        # Half a letter, and a pair of surrogates: no letters of Windows-1252.
        (GERMAN.encode() * 2 + GERMAN.encode("cp1252") * 2 + b"\xc3ber", GERMAN * 4 + "\ufffdber"),
        (GERMAN.encode() * 4 + GERMAN.encode("cp1252") * 4 + b"\xed\xa0.", GERMAN * 8 + "\ufffd\ufffd."),
        (
            GERMAN.encode() * 4 + GERMAN.encode("cp1252") * 4 + b"(\xed\xa0\xbd)",
            GERMAN * 8 + "(\ufffd\ufffd\ufffd)",
        ),
    ],
)
def test_one_byte_that_is_not_utf8_costs_at_most_its_own_character(damaged: bytes, expected: str) -> None:
    assert read(damaged) == expected


def test_separators_of_records_are_text_and_other_controls_are_not() -> None:
    assert read(b'\x1e{"a": 1}\n' * 3) == '\x1e{"a": 1}\n' * 3
    with pytest.raises(ValueError, match="binary"):
        read(bytes(range(256)) * 40)
