"""Grammars (llama.cpp's GBNF) that hold an answer to what its reader reads; all end at the line end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from tinsmith.jobs.ask import NONE, SEPARATOR, Ask, JobAnswerer, Reply
from tinsmith.jobs.spans import fold, whole

LINE = 'root ::= " " [^ \\n] [^\\n]* "\\n"\n'  # any text of one line


def span_grammar(text: str, *, several: bool = False, quote_mark: str = "") -> str:
    """Return the grammar of the spans of a text, white space folded: what the text does not hold cannot be written.

    With `several`, spans follow each other after "; ". With a mark, a free text may stand before it and a span of
    the text after it: an answer in other words, and what it rests on.
    """
    units = _units(fold(text))
    if not units:
        return LINE
    names = [f"s{number}" for number in range(len(units))]
    rules = ["span ::= " + " | ".join(names)]
    for number, (unit, spaced) in enumerate(units):
        space = '" " ' if spaced else ""
        rest = f" ({space}s{number + 1})?" if number + 1 < len(units) else ""
        rules.append(f"s{number} ::= {literal(unit)}{rest}")
    more = f" ({literal(SEPARATOR)} span)*" if several else ""
    free = f" | [^ \\n] [^\\n]* {literal(quote_mark)} span" if quote_mark else ""
    return "\n".join([f'root ::= " " (span{more}{free}) "\\n"', *rules]) + "\n"


def held_replies(
    model: JobAnswerer, asks: Sequence[Ask], grammars: Sequence[str], fits: Callable[[int, Reply], bool]
) -> list[Reply]:
    """Write each answer as a free line first, and only those that do not fit again under their grammars.

    `fits` is given the number of an ask and its answer. Grammars of spans are slow. A likeliest line that stays within
    its grammar is what the same model writes under it, since no token that it chose was forbidden.
    """
    replies = list(model.replies(asks, [LINE] * len(asks)))
    others = [place for place, reply in enumerate(replies) if not fits(place, reply)]
    held = model.replies([asks[place] for place in others], [grammars[place] for place in others])
    for place, reply in zip(others, held, strict=True):
        replies[place] = reply
    return replies


def choices_grammar(labels: Sequence[str], most: int = 0) -> str:
    """Return the grammar of several labels in their order, each at most once, or none of them.

    With `most`, an answer has at most so many labels. There is a rule for the labels from each place on, by how many
    may still follow, so the grammar grows with the number of labels, not with its square.
    """
    most, last = min(most, len(labels)), len(labels) - 1
    # By level, the level of what may follow a label. Without a bound one level is enough.
    levels = {level: level - 1 for level in range(1, most + 1)} or {1: 1}
    rules = [f"l{number} ::= {literal(label)}" for number, label in enumerate(labels)]
    for level, below in levels.items():
        for number in range(len(labels)):
            more = f" ({literal(SEPARATOR)} r{below}-{number + 1})?" if below and number < last else ""
            later = f" | r{level}-{number + 1}" if number < last else ""
            rules.append(f"r{level}-{number} ::= l{number}{more}{later}")
    return "\n".join([f'root ::= " " (r{max(levels)}-0 | {literal(NONE)}) "\\n"', *rules]) + "\n"


def literal(text: str) -> str:
    """Write a text as a GBNF literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() or ord(c) > 126 else f"\\x{ord(c):02x}" for c in escaped) + '"'


def _units(text: str) -> list[tuple[str, bool]]:
    """Cut a folded text wherever a span may begin or end: pieces, and whether a space follows each."""
    units = []
    for word in text.split():
        cuts = [0, *(place for place in range(1, len(word)) if whole(word, place, place)), len(word)]
        pieces = [word[start:end] for start, end in pairwise(cuts)]
        units += [(piece, False) for piece in pieces[:-1]] + [(pieces[-1], True)]
    return units
