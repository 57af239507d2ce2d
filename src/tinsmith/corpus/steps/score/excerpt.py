"""Take an excerpt of bounded size from a document: windows of its text, spread evenly."""

from __future__ import annotations

WINDOW = 4_000  # characters
WINDOWS = 6


def windows(text: str) -> list[str]:
    """Return a text in windows of at most WINDOW characters; of a longer one, WINDOWS of them spread evenly.

    Equal lengths keep a score from depending on the length of documents, and a document of 200 MB costs no more than
    one of 24,000 characters. Windows begin and end between words if there is white space.
    """
    if len(text) <= WINDOW:
        return [text]
    if len(text) <= WINDOW * WINDOWS:
        count = -(-len(text) // WINDOW)
        size = -(-len(text) // count)
    else:
        count, size = WINDOWS, WINDOW
    step = (len(text) - size) / (count - 1)
    return [_whole_words(text, round(step * number), size) for number in range(count)]


def _whole_words(text: str, start: int, size: int) -> str:
    """Cut a window, without the words that its ends cut in two."""
    end = min(len(text), start + size)
    piece = text[start:end]
    if start and not text[start - 1].isspace():
        cut = piece.split(None, 1)
        piece = cut[1] if len(cut) == 2 else piece
    if end < len(text) and not text[end].isspace():
        cut = piece.rsplit(None, 1)
        piece = cut[0] if len(cut) == 2 else piece
    return piece


def shorten(text: str, characters: int = 600) -> str:
    """Return the first characters of a document, for display."""
    return text if len(text) <= characters else text[:characters].rstrip() + " …"
