"""Read a PDF as Markdown: words from pdfium, reading order from here."""

from __future__ import annotations

from typing import Any

from tinsmith.corpus.readers.base import Limits, Loss, Meta, Part, Piece, Unreadable, join_blocks
from tinsmith.corpus.readers.boxes import Page
from tinsmith.corpus.readers.furniture import remove_furniture
from tinsmith.corpus.readers.layout import read_page
from tinsmith.corpus.readers.paragraphs import body_size, join_hyphens, write
from tinsmith.corpus.readers.pdf_page import extract_page, filled_in, picture_cover

# A document with less text than this is empty; full-page pictures with less text were scanned and stamped.
_MIN_CHARACTERS = 20
_MIN_CHARACTERS_PER_SCAN = 25
_SCAN_COVER = 0.5
_MAX_NAMED_LINES = 20


def read_pdf(data: bytes, limits: Limits) -> list[Part]:
    """Return the text of a PDF as Markdown, and the pages that gave none as losses.

    Raises Unreadable: encrypted, damaged, scanned, no_text_layer.
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        reason = (
            "encrypted" if "password" in str(error).lower() or "security" in str(error).lower() else "damaged"
        )
        raise Unreadable(reason, str(error)) from error
    pages: list[Page] = []
    filled: list[str] = []
    scans = damaged = characters = 0
    for number in range(len(document)):
        try:
            page = document[number]
            pages.append(extract_page(page))
            letters = sum(len(box.text.replace(" ", "")) for box in pages[-1].boxes)
            scan = letters < 4 * _MIN_CHARACTERS_PER_SCAN and picture_cover(page) >= _SCAN_COVER
            if scan and limits.ocr:
                pages[-1] = _recognise(page)
                letters, scan = sum(len(box.text) for box in pages[-1].boxes), False
            scans += scan
            characters += letters
            filled += filled_in(page)
            page.close()
        except pypdfium2.PdfiumError:
            damaged += 1
    characters += sum(map(len, filled))
    if damaged and not pages:
        raise Unreadable("damaged", f"none of {damaged} pages can be loaded")
    few = f"{characters} characters on {len(pages)} pages"
    if scans >= _SCAN_COVER * len(pages) and scans and characters < _MIN_CHARACTERS_PER_SCAN * len(pages):
        raise Unreadable("scanned", few)
    if characters < _MIN_CHARACTERS:
        raise Unreadable("scanned" if scans else "no_text_layer", few)
    piece = _piece(pages, {"pages": len(pages), "pages_damaged": damaged, "pages_scanned": scans})
    piece.text = join_blocks((piece.text, "\n".join(filled)))
    lost = {"damaged": damaged, "scanned": scans}
    return [
        piece,
        *(
            Loss("1 page" if count == 1 else f"{count} pages", why, count=count)
            for why, count in lost.items()
            if count
        ),
    ]


def _recognise(page: Any) -> Page:
    from tinsmith.corpus.readers.ocr import recognise_page

    return recognise_page(page)


def _piece(pages: list[Page], counts: Meta) -> Piece:
    running = remove_furniture(pages)
    regions = [read_page(page) for page in pages]
    text = join_hyphens(write(regions, body_size(regions)))
    meta = {name: count for name, count in counts.items() if count}
    return Piece(text, meta | ({"running_lines": running[:_MAX_NAMED_LINES]} if running else {}))
