"""Read a PDF as Markdown: words from pdfium, reading order from here."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tinsmith.corpus.readers.base import Limits, Loss, Meta, Part, Piece, Unreadable
from tinsmith.corpus.readers.boxes import Page
from tinsmith.corpus.readers.furniture import remove_furniture
from tinsmith.corpus.readers.layout import read_page
from tinsmith.corpus.readers.paragraphs import body_size, join_hyphens, write
from tinsmith.corpus.readers.pdf_forms import attached_files
from tinsmith.corpus.readers.pdf_page import extract_page
from tinsmith.corpus.readers.raised import write_raised

# A document with less text than this is empty; full-page pictures with less text were scanned and stamped.
_MIN_CHARACTERS = 20
_MIN_CHARACTERS_PER_SCAN = 25
_SCAN_COVER = 0.5
_MAX_NAMED_LINES = 20


def read_pdf(data: bytes, limits: Limits) -> list[Part]:
    """Return the text of a PDF as Markdown, and what gave none as losses: pages, hidden text, annotations, files.

    Raises Unreadable: encrypted, damaged, scanned, hidden, no_text_layer.
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
        document.init_forms()
    except pypdfium2.PdfiumError as error:
        reason = (
            "encrypted" if "password" in str(error).lower() or "security" in str(error).lower() else "damaged"
        )
        raise Unreadable(reason, str(error)) from error
    pages: list[Page] = []
    hidden: Counter[str] = Counter()
    unread: Counter[str] = Counter(_whole_losses(document))
    scans = damaged = characters = filled = 0
    for number in range(len(document)):
        try:
            page = document[number]
            read, notes, unseen = extract_page(page, document.formenv)
            hidden.update(unseen)
            hidden.update(notes.hidden)
            unread.update(notes.unread)
            filled += sum(box.text != "[ ]" for lines in notes.values for box in lines)
            letters = sum(len(box.text.replace(" ", "")) for box in read.boxes)
            scan = letters < 4 * _MIN_CHARACTERS_PER_SCAN and read.cover >= _SCAN_COVER
            if scan and limits.ocr:
                read = _recognise(page)
                letters, scan = sum(len(box.text) for box in read.boxes), False
            pages.append(read)
            scans += scan
            characters += letters
            page.close()
        except pypdfium2.PdfiumError:
            damaged += 1
    if damaged and not pages:
        raise Unreadable("damaged", f"none of {damaged} pages can be loaded")
    few = f"{characters} characters on {len(pages)} pages"
    if scans >= _SCAN_COVER * len(pages) and scans and characters < _MIN_CHARACTERS_PER_SCAN * len(pages):
        raise Unreadable("scanned", few)
    if characters < _MIN_CHARACTERS and not filled:
        raise Unreadable("scanned" if scans else "hidden" if hidden else "no_text_layer", few)
    piece = _piece(pages, {"pages": len(pages), "pages_damaged": damaged, "pages_scanned": scans})
    lost = [_pages_lost(damaged, "damaged"), _pages_lost(scans, "scanned")]
    if hidden:
        lost.append(Loss("text", "hidden", ", ".join(sorted(hidden)), hidden.total()))
    lost += [Loss(name, "not_read", count=count) for name, count in sorted(unread.items())]
    return [piece, *(loss for loss in lost if loss.count)]


def _pages_lost(count: int, reason: str) -> Loss:
    return Loss("1 page" if count == 1 else f"{count} pages", reason, count=count)


def _whole_losses(document: Any) -> list[str]:
    """Return the parts of a document, beside its pages, that are not read: a dynamic form and files."""
    import pypdfium2.raw as raw

    dynamic = ["XFA form"] if document.get_formtype() == raw.FORMTYPE_XFA_FULL else []
    return dynamic + [f"attached file {name}" for name in attached_files(document)]


def _recognise(page: Any) -> Page:
    from tinsmith.corpus.readers.ocr import recognise_page

    return recognise_page(page)


def _piece(pages: list[Page], counts: Meta) -> Piece:
    running = remove_furniture(pages)
    regions = [read_page(page) for page in pages]
    text = write_raised(join_hyphens(write(regions, body_size(regions))))
    meta = {name: count for name, count in counts.items() if count}
    return Piece(
        text,
        meta
        | ({"running_lines": [write_raised(line) for line in running[:_MAX_NAMED_LINES]]} if running else {}),
    )
