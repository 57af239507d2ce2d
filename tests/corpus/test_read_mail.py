"""Mail is read as mail programs show it: every letter of a mailbox, every charset, and attachments counted."""

from __future__ import annotations

import base64
from email.header import Header

import pytest

from tinsmith.corpus.readers.base import Loss, Piece
from tinsmith.corpus.readers.mail import read_mailbox
from tinsmith.corpus.readers.mail_text import decode_header, decode_labelled, unflow

LINE = "From a@b.c Thu Mar 14 10:00:00 2024\n"
HEAD = "From: a@b.c\nMIME-Version: 1.0\n"


def texts(mail: str | bytes) -> list[str]:
    """Return the text of each letter."""
    data = mail.encode() if isinstance(mail, str) else mail
    return [part.text for part in read_mailbox(data) if isinstance(part, Piece)]


def losses(mail: str) -> list[tuple[str, str, str]]:
    return [
        (part.part, part.reason, part.detail)
        for part in read_mailbox(mail.encode())
        if isinstance(part, Loss)
    ]


def many(*parts: str, kind: str = "mixed", boundary: str = "X") -> str:
    """Return a part of parts; each begins with its headers."""
    inner = "".join(f"--{boundary}\n{part}\n" for part in parts)
    return f"Content-Type: multipart/{kind}; boundary={boundary}\n\n{inner}--{boundary}--\n"


def part(kind: str, body: str, headers: str = "") -> str:
    return f"Content-Type: {kind}\n{headers}\n{body}"


# Mailboxes


@pytest.mark.parametrize(
    "line",
    [
        LINE,
        "From - Thu Mar 14 10:00:00 2024\n",
        "From ???@??? Thu Mar 14 10:00:00 2024\n",
        "From 179@xxx Thu Mar 14 10:00:00 +0000 2024\n",
        "From MAILER-DAEMON Thu Mar 14 10:00 CET 2024\n",
        "From a@b.c 2024-03-14 10:00:00\n",
    ],
)
@pytest.mark.parametrize("gap", ["\n", ""], ids=["blank", "none"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "dos"])
def test_every_letter_of_a_mailbox_is_a_document(line: str, gap: str, end: str) -> None:
    letters = [
        f"{line}{HEAD}Subject: {n}\n\nLetter {n}.\n\nFrom here on, at 10:00 in 2024.\n{gap}"
        for n in (1, 2, 3)
    ]
    found = texts("".join(letters).replace("\n", end))
    assert found == [f"Subject: {n}\n\nLetter {n}.\n\nFrom here on, at 10:00 in 2024." for n in (1, 2, 3)]


def test_a_mailbox_keeps_letters_whole() -> None:
    quoted = f"{LINE}{HEAD}\n>From me.\n>>From you.\n> From him.\n"
    body = f"Old:\n\n{LINE}Subject: within\n\nx\n"
    measured = f"{LINE}{HEAD}Content-Length: {len(body)}\n\n{body}\n"
    wrong = f"{LINE}{HEAD}Content-Length: 9999\n\nShort.\n\n"
    assert texts(quoted + measured + wrong + quoted) == [
        "From me.\n>From you.\n> From him.",
        body.strip(),
        "Short.",
        "From me.\n>From you.\n> From him.",
    ]
    assert texts(f"{HEAD}\n>From me.\n") == [">From me."]


def test_losses_of_a_mailbox_name_the_letter() -> None:
    locked = f"{LINE}{HEAD}{many(part('application/octet-stream', 'x'), kind='encrypted')}\n"
    picture = f"{LINE}{HEAD}{many(part('text/plain', 'See.'), part('image/png; name=a.png', 'x'))}\n"
    assert losses(f"{locked}{picture}{LINE}{HEAD}\n\n") == [
        ("message 1", "encrypted", "multipart/encrypted"),
        ("message 2: a.png", "image", "image/png"),
        ("message 3", "empty", ""),
    ]


# Charsets


@pytest.mark.parametrize(
    ("charset", "codec", "text"),
    [
        ("gb2312", "gbk", "朱镕基的合同"),
        ("GB2312", "gb18030", "合同 𠮷"),
        ("ks_c_5601-1987", "cp949", "똠방각하의 계약"),
        ("euc-kr", "cp949", "펲시콜라 계약서"),
        ("big5", "cp950", "碁裏的合約"),
        ("x-sjis", "cp932", "①髙橋㈱"),
        ("windows-31j", "cp932", "①髙橋㈱"),
        ("euc-jp", "euc_jis_2004", "①番の契約"),
        ("iso-8859-1", "cp1252", "“Naïve” – 5 €"),
        ("us-ascii", "utf-8", "Größe “x”"),
        ("iso-8859-9", "cp1254", "“Şirket” – ğ"),
        ("iso-8859-8-i", "iso-8859-8", "חוזה השכירות"),
        ("tis-620", "cp874", "สัญญา “เช่า”"),
        ("iso-2022-jp", "iso2022_jp_ext", "契約ｶﾅ"),
        ("unicode-1-1-utf-7", "utf-7", "Größe – 5 €"),
        ("hz-gb-2312", "hz", "合同"),
        ("x-unknown", "utf-8", "Größe"),
        ("zip", "utf-8", "Größe"),
        ("unicode_escape", "utf-8", "Grö\\u00dfe"),
    ],
)
def test_a_charset_is_read_as_the_one_that_includes_it(charset: str, codec: str, text: str) -> None:
    head = f"{HEAD}Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: base64\n\n"
    assert texts(head.encode() + base64.encodebytes(text.encode(codec))) == [text]


def test_stray_bytes_are_the_exception() -> None:
    text = "契約書を送ります。" * 9
    assert decode_labelled(text.encode("cp932") + b"\x81", "shift_jis") == text + "\ufffd"
    assert decode_labelled("Grüße".encode() * 9, "big5") == "Grüße" * 9
    windows = b"\x1b$B-!9b66\x1b(B 1"  # the figure one in a circle is in Windows' rows only
    assert decode_labelled(windows, "iso-2022-jp") == "①高橋 1"


def test_a_page_names_its_charset_itself() -> None:
    page = "<html><head><meta charset='windows-1251'></head><p>Договор аренды</p>".encode("cp1251")
    assert texts(f"{HEAD}Content-Type: text/html\n\n".encode() + page) == ["Договор аренды"]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("=?utf-8?b?Q2Fmw6=?=\n =?UTF-8?q?=A9?= =?utf-8*en?q?_x?=", "Café x"),
        ("=?utf-8?q?Caf=C3?= =?utf-8?q?=A9?= of =?shift_jis?b?h0A=?=", "Café of ①"),
        (Header("合同" * 30, "gb2312").encode(), "合同" * 30),
        ("Re:\tGröße".encode().decode("ascii", "surrogateescape"), "Re: Größe"),
        ("=?nonsense?q?Caf=C3=A9?= =?utf-8?b?!?=", "Café"),
    ],
)
def test_headers_are_decoded_over_breaks_within_a_letter(raw: str, text: str) -> None:
    assert decode_header(raw).startswith(text)


def test_headers_of_a_letter() -> None:
    mail = "From: =?utf-8?q?J=C3=B6rg?= <a@b.c>\nSubject: =?utf-8?q?Gr=C3?=\n =?utf-8?q?=B6=C3=9Fe?=\n\nx"
    (piece,) = read_mailbox(mail.encode())
    assert isinstance(piece, Piece)
    assert (piece.text, piece.meta) == ("Subject: Größe\n\nx", {"from": "Jörg <a@b.c>"})


# Bodies


def test_flowed_lines_are_joined() -> None:
    flowed = "The tenant \ngives notice.\n\n> He \n> paid.\n>> Who?\n From it.\nSo -- \n-- \nAda \n"
    assert unflow(flowed, delete_space=False).split("\n") == [
        "The tenant gives notice.",
        "",
        "> He paid.",
        ">> Who?",
        "From it.",
        "So --",
        "-- ",
        "Ada",
    ]
    assert unflow("契 \n約", delete_space=True) == "契約"
    head = f"{HEAD}Content-Type: text/plain; charset=utf-8; format=Flowed; DelSp=yes\n\n"
    assert texts(f"{head}one  \ntwo.") == ["one two."]


def test_a_quoted_printable_line_is_whole() -> None:
    head = f"{HEAD}Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n"
    assert texts(f"{head}The ten=\nant pays 5 =E2=82=\n=AC.") == ["The tenant pays 5 €."]


def test_forwarded_letters_are_read_below_their_headers() -> None:
    letter = "From: c@d.e\nDate: Thu, 14 Mar 2024\nSubject: Old\nContent-Type: text/plain\n\nOld text."
    forwarded = f"Content-Type: message/rfc822\n\n{letter}"
    within = "From: c@d.e\nDate: Thu, 14 Mar 2024\nSubject: Old\n\nOld text."
    assert texts(f"{HEAD}Subject: New\n{many(part('text/plain', 'See.'), forwarded)}") == [
        f"Subject: New\n\nSee.\n\n{within}"
    ]
    digest = many(f"\n{letter}", f"\n{letter}", kind="digest")
    assert texts(f"{HEAD}{digest}") == [f"{within}\n\n{within}"]
    locked = part("application/pkcs7-mime; name=smime.p7m", "x")
    mail = f"{HEAD}{many(part('text/plain', 'See.'), locked)}"
    assert texts(mail) == ["See."]
    assert losses(mail) == [("smime.p7m", "encrypted", "application/pkcs7-mime")]


def test_what_is_attached_is_counted_and_signatures_are_not() -> None:
    page = part("text/html", "<p>The statement lists all payments.</p><p hidden>SECRET</p><img src=cid:a>")
    related = many(page, part("image/png; name=a.png", "x"), kind="related", boundary="R")
    mail = HEAD + many(
        many(
            part("text/plain", "See."),
            related,
            part("text/calendar", "BEGIN"),
            kind="alternative",
            boundary="A",
        ),
        part('text/plain; name="=?utf-8?q?caf=C3=A9.txt?="', "x", "Content-Disposition: attachment\n"),
        part("application/ms-tnef; name=winmail.dat", "x"),
        part("text/vcard", "BEGIN:VCARD"),
        part("application/pgp-signature; name=s.asc", "x"),
    )
    assert texts(mail) == ["The statement lists all payments."]
    assert losses(mail) == [
        ("a.png", "image", "image/png"),
        ("elements", "hidden", "display"),
        ("café.txt", "not_read", "text/plain"),
        ("winmail.dat", "not_read", "application/ms-tnef"),
        ("text/vcard", "not_read", ""),
    ]


def test_a_part_without_its_boundary_is_text() -> None:
    assert texts(f"{HEAD}Content-Type: multipart/mixed; boundary=X\n\nAll of it.") == ["All of it."]
