"""A bounded look at a document: some windows of its text, spread evenly."""

from __future__ import annotations

WINDOW = 4_000  # characters
WINDOWS = 6


def windows(text: str) -> list[str]:
    """Return the whole text in windows of WINDOW characters, or WINDOWS of them spread evenly over a longer one.

    Equal lengths keep a score from telling long documents from short ones, and a document of 200 MB costs no more
    than one of 24,000 characters. Windows begin and end between words where there is white space.
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
    """Cut a window and drop the words that its ends cut through."""
    end = min(len(text), start + size)
    piece = text[start:end]
    if start and not text[start - 1].isspace():
        cut = piece.split(None, 1)
        piece = cut[1] if len(cut) == 2 else piece
    if end < len(text) and not text[end].isspace():
        cut = piece.rsplit(None, 1)
        piece = cut[0] if len(cut) == 2 else piece
    return piece


def show(text: str, characters: int = 600) -> str:
    """Return a document's first characters, for people."""
    return text if len(text) <= characters else text[:characters].rstrip() + " …"
