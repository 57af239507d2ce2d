"""Questions built from held-out documents without a model: which passage comes next, what belongs in a gap."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from tinsmith.evaluate.baselines import shared_words
from tinsmith.evaluate.probe import HeldOutText
from tinsmith.evidence.items import Item, ItemKind
from tinsmith.tokens.tasks import unit_hash

CHOICES = 4
_CONTEXT = 200  # characters of a document before its first question
_PASSAGE, _SHORTEST = 200, 170  # characters; so close that length does not give the answer away
_POOL = 20_000  # passages that are searched for the nearest
_ALIKE = 0.8  # cosine of TF-IDF from which another passage may be as good an answer as the true one
_CANDIDATES = 60  # nearest passages, from which the false ones are taken
_BREAK = re.compile(r"(?<=[.;:!?”\"])\s+(?=[A-Z0-9(“\"§])|\s*\n\s*\n\s*")
_NEXT_WORD = re.compile(r"[^\w\s]*\s*\w{0,15}")
_DEFINED = re.compile(r"[\"“]([A-Z][\w&’'-]*(?: [\w&’'-]+){0,4})[\"”]")
_TERM = "term"
_NUMBERED = r"Section|Article|Clause|Paragraph|Exhibit|Schedule|Annex|Item|Rule|§§?"
# Answers that can replace each other share the group of their pattern: a section for a section, dollars for dollars.
_GAPS = (
    re.compile(rf"(?<=\s)({_NUMBERED}) ?\d+(?:[.-]\d+)*(?:\([a-zA-Z0-9]{{1,4}}\))*"),
    re.compile(r"(?<=\s)([$€£]) ?\d[\d,]*(?:\.\d+)?(?: (?:thousand|million|billion)\b)?"),
    re.compile(r"(?<=\s)\d+(?:\.\d+)?(%| percent\b| per cent\b)"),
    re.compile(r"(?<=\s)\d+( (?:business days|days|months|years|hours)\b)"),
)


@dataclass(frozen=True)
class _Place:
    """A span of a document that a question asks for."""

    doc_id: str
    start: int
    end: int
    value: str
    kind: str = ""


def build_next_passage(
    documents: Sequence[HeldOutText], held_out: Mapping[str, str], count: int, *, seed: int
) -> list[Item]:
    """Ask after up to `count` openings which of four passages comes next.

    The false ones are among the passages of all `held_out` texts nearest to the true one by TF-IDF, so that topic
    alone does not answer, and as many of them share more words with what was read as share fewer, over all questions,
    so that shared words do not answer either. None overlaps with what was read. Questions are spread over the
    documents.
    """
    pool = _draw([place for name in sorted(held_out) for place in _passages(name, held_out[name], 0)], seed)
    if len(pool) < CHOICES:
        return []
    vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    vectors = vectorizer.fit_transform([place.value for place in pool])
    items: list[Item] = []
    for document, place in _spread(documents, lambda one: _passages(one.doc_id, one.text, _CONTEXT), seed):
        if len(items) == count:
            break
        near = (vectors @ vectorizer.transform([place.value]).T).toarray()[:, 0]
        false = _balanced(place, _nearest(place, pool, near), document.text, len(items))
        if len(false) == CHOICES - 1:
            items.append(_item(ItemKind.NEXT_PASSAGE, document, place, false, len(items), seed, tail=""))
    return items


def build_cloze(
    documents: Sequence[HeldOutText], held_out: Mapping[str, str], count: int, *, seed: int
) -> list[Item]:
    """Ask which of four defined terms, references or figures belongs in a gap; the word after it ends the answer.

    The false ones are of the same kind, from the same document first; defined terms from it alone, since those of
    others look out of place. Candidates that share as many words with the text before as the true one come first.
    """
    options = {name: _options(text) for name, text in held_out.items()}
    everywhere: dict[str, set[str]] = {}
    for found in options.values():
        for kind, values in found.items():
            everywhere.setdefault(kind, set()).update(values)
    items: list[Item] = []
    for document, place in _spread(documents, _gaps, seed):
        if len(items) == count:
            break
        own = options.get(document.doc_id, {}).get(place.kind, set())
        others = set() if place.kind == _TERM else everywhere.get(place.kind, set()) - own
        key = f"{document.doc_id}:{place.start}"
        drawn = [
            value
            for group in (own, others)
            for value in sorted(group, key=lambda value: unit_hash(seed, key, value))
            if value.casefold() != place.value.casefold()
        ]
        before = document.text[: place.start]
        share = shared_words(before, place.value)
        false = sorted(drawn, key=lambda value: abs(shared_words(before, value) - share))[: CHOICES - 1]
        if len(false) == CHOICES - 1:
            tail = _next_word(document.text, place.end)
            items.append(_item(ItemKind.CLOZE, document, place, false, len(items), seed, tail=tail))
    return items


def _item(
    kind: ItemKind,
    document: HeldOutText,
    place: _Place,
    false: list[str],
    number: int,
    seed: int,
    *,
    tail: str,
) -> Item:
    before = document.text[: place.start]
    # The right answer's position rotates, so that none is more frequent than another.
    choices = sorted(false, key=lambda value: unit_hash(seed, str(kind), number, value))
    choices.insert(number % CHOICES, place.value)
    return Item(
        item=f"{kind}:{document.doc_id}:{place.start}",
        task=str(kind),
        kind=kind,
        doc_id=document.doc_id,
        text=before.rstrip(),
        question="",
        answer=place.value,
        choices=tuple(choices),
        lead=before[len(before.rstrip()) :],
        tail=tail,
        span=(place.start, place.end),
    )


def _spread(
    documents: Sequence[HeldOutText], find: Callable[[HeldOutText], list[_Place]], seed: int
) -> Iterator[tuple[HeldOutText, _Place]]:
    """Yield one place of each document, then a second of each, in an order drawn by the seed."""
    drawn = [
        (document, sorted(find(document), key=lambda place: unit_hash(seed, place.doc_id, place.start)))
        for document in documents
    ]
    for turn in range(max((len(places) for _, places in drawn), default=0)):
        for document, places in drawn:
            if turn < len(places):
                yield document, places[turn]


def _passages(doc_id: str, text: str, first: int) -> list[_Place]:
    """Return what begins at each sentence or paragraph and is cut at a word before `_PASSAGE` characters."""
    places = []
    for found in _BREAK.finditer(text, first):
        start = found.end()
        value = text[start : start + _PASSAGE]
        if len(value) == _PASSAGE and not text[start + _PASSAGE : start + _PASSAGE + 1].isspace():
            value = value[: max(value.rfind(" "), value.rfind("\n"), 0)]
        value = value.rstrip()
        if len(value) >= _SHORTEST:
            places.append(_Place(doc_id, start, start + len(value), value))
    return places


def _draw(pool: list[_Place], seed: int) -> list[_Place]:
    chosen = np.random.default_rng(seed).permutation(len(pool))[:_POOL]
    return [pool[i] for i in sorted(chosen)]


def _nearest(true: _Place, pool: Sequence[_Place], near: np.ndarray) -> list[str]:
    """Return passages near to the true one that are not too near to be wrong, and were not read before it."""
    false: list[str] = []
    for i in np.argsort(-near, kind="stable"):
        place = pool[i]
        read = place.doc_id == true.doc_id and place.start < true.end + _PASSAGE
        if read or near[i] >= _ALIKE or place.value in false:
            continue
        false.append(place.value)
        if len(false) == _CANDIDATES:
            break
    return false


def _balanced(true: _Place, candidates: Sequence[str], text: str, number: int) -> list[str]:
    """Take the first candidates so that the true answer's rank by shared words rotates with the question's number.

    Return none where there are too few on one side.
    """
    before = text[: true.start]
    share = shared_words(before, true.value)
    more = [value for value in candidates if shared_words(before, value) > share]
    fewer = [value for value in candidates if shared_words(before, value) < share]
    above = (number // CHOICES) % CHOICES
    below = CHOICES - 1 - above
    return more[:above] + fewer[:below] if len(more) >= above and len(fewer) >= below else []


def _gaps(document: HeldOutText) -> list[_Place]:
    text = document.text
    places = [
        _Place(document.doc_id, found.start(), found.end(), found.group(), found.group(1).strip())
        for pattern in _GAPS
        for found in pattern.finditer(text, _CONTEXT)
    ]
    defined = {found.group(1): found.end() for found in _DEFINED.finditer(text)}
    for term, after in defined.items():
        for found in re.finditer(rf"(?<=\s){re.escape(term)}\b", text):
            if found.start() >= max(after, _CONTEXT):
                places.append(_Place(document.doc_id, found.start(), found.end(), term, _TERM))
    return places


def _options(text: str) -> dict[str, set[str]]:
    options: dict[str, set[str]] = {_TERM: {found.group(1) for found in _DEFINED.finditer(text)}}
    for pattern in _GAPS:
        for found in pattern.finditer(text):
            options.setdefault(found.group(1).strip(), set()).add(found.group())
    return options


def _next_word(text: str, start: int) -> str:
    found = _NEXT_WORD.match(text, start)
    return found.group() if found else text[start : start + 1]
