"""PDF to text with pdfium, and what pdfium leaves to us: line-end hyphens and lost ligatures."""

from __future__ import annotations

import re
from typing import Any

from tinsmith.corpus.readers.base import Piece, Unreadable, join_blocks

# A document that says less than this says nothing; pages full of picture that say less were scanned and
# stamped.
_MIN_CHARACTERS = 20
_MIN_CHARACTERS_PER_SCAN = 25
_SCAN_COVER = 0.5
_HYPHEN = "\x02"
_HYPHENATED = re.compile(rf"(\w*){_HYPHEN}(\w*)")
_LOST_LIGATURE = re.compile(r"(?<=[A-Za-z])\0(?=[a-z])")


def read_pdf(data: bytes) -> list[Piece]:
    """Return the text layer of a PDF. Raises Unreadable: encrypted, damaged or without a text layer."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        reason = (
            "encrypted" if "password" in str(error).lower() or "security" in str(error).lower() else "damaged"
        )
        raise Unreadable(reason, str(error)) from error
    pages, covers, damaged = [], [], 0
    for number in range(len(document)):
        try:
            page = document[number]
            pages.append(_page_text(page))
            covers.append(_picture_cover(page) if len(pages[-1]) < 4 * _MIN_CHARACTERS_PER_SCAN else 0.0)
            page.close()
        except pypdfium2.PdfiumError:
            damaged += 1
    if damaged and not pages:
        raise Unreadable("damaged", f"none of {damaged} pages can be loaded")
    text = join_blocks(page.replace("\r\n", "\n") for page in pages)
    characters = sum(map(len, text.split()))
    scanned = sum(covers) >= _SCAN_COVER * len(pages) and characters < _MIN_CHARACTERS_PER_SCAN * len(pages)
    if characters < _MIN_CHARACTERS or scanned:
        raise Unreadable("no_text_layer", f"{characters} characters on {len(pages)} pages")
    return [
        Piece(join_hyphens(text), {"pages": len(pages)} | ({"pages_damaged": damaged} if damaged else {}))
    ]


def _page_text(page: Any) -> str:
    text_page = page.get_textpage()
    text: str = text_page.get_text_range()
    if "\ufffe" not in text:
        return text
    # As one string, pdfium writes U+FFFE both for a line-end hyphen and for a glyph without a character;
    # asked one by one, they are U+0002 and U+0000.
    import pypdfium2.raw as raw

    units = [raw.FPDFText_GetUnicode(text_page, index) & 0xFFFF for index in range(text_page.count_chars())]
    text = b"".join(unit.to_bytes(2, "little") for unit in units).decode("utf-16-le", "replace")
    return restore_ligatures(text)


def _picture_cover(page: Any) -> float:
    """Return the area of a page's pictures as a share of the page."""
    import pypdfium2.raw as raw

    width, height = page.get_size()
    boxes = (picture.get_bounds() for picture in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE]))
    return sum((right - left) * (top - bottom) for left, bottom, right, top in boxes) / max(
        width * height, 1.0
    )


def restore_ligatures(text: str) -> str:
    """Put ffi and ffl where pdfium left U+0000 within a word."""
    return _LOST_LIGATURE.sub(_ligature, text)


def _ligature(lost: re.Match[str]) -> str:
    # TeX's old fonts lose exactly ffi and ffl. In English a vowel follows ffl (baffle, affluent, affliction)
    # and a consonant ffi (difficult, office, affidavit).
    return "ffl" if lost.string[lost.end()] in "aeiouy" else "ffi"


def join_hyphens(text: str) -> str:
    """Resolve the marks of line-end hyphens: join the word unless there are signs against it."""
    if _HYPHEN not in text:
        return text
    words = set(re.findall(r"\w+(?:-\w+)*", text.lower()))

    def resolve(found: re.Match[str]) -> str:
        left, right = found[1], found[2]
        joined, hyphened = f"{left}{right}", f"{left}-{right}"
        if joined.lower() in words or not left:
            return joined
        apart = hyphened.lower() in words or len(left) == 1 or not right[:1].islower() or left[-1].isdigit()
        return hyphened if apart else joined

    return _HYPHENATED.sub(resolve, text)
