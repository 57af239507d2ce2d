"""Rules for names of people by the words around them: titles, salutations, signatures. Most others are missed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tinsmith.corpus.privacy.rules import LETTER, UPPER, occurrences, search_near
from tinsmith.corpus.privacy.types import Span

_WORD = rf"{UPPER}(?:{LETTER}|['’-](?={LETTER})){{1,24}}"
_PARTICLE = r"(?:van|von|der|den|de|del|della|di|da|dos|la|le|bin|ibn|al|el|ter|zu)"
_NEXT = rf"(?:[ \t]{{1,2}}(?:{_WORD}|{UPPER}\.?(?!\w)|{_PARTICLE}(?=[ ])))"
_NAME = rf"({_WORD}{_NEXT}{{0,4}}|{UPPER}\.[ ]{_WORD}{_NEXT}{{0,3}})"
_WHOLE = rf"({_WORD}{_NEXT}{{1,4}}|{UPPER}\.[ ]{_WORD}{_NEXT}{{0,3}})"  # a first and a last name at least
# Capitalised words that stand where names do.
_NOT_NAMES = frozenset(
    "sir madam sirs all team everyone colleagues friend friends customer customers member members shareholder "
    "shareholders stockholder stockholders investor investors there chairman president secretary general speaker "
    "the this that it he she they we you what who when where why how not so just very here now please thank "
    "thanks yes no company corporation inc llc bank board committee commission department state united date name title "
    "address phone email e-mail signature mr mrs ms dr none and or if for with from to in on at i my".split()
)
_RULES = (
    ("title", rf"\b(?:M(?:r|rs|s|x|me|lle)|Dr|Prof|Professor|Miss|Sir|Lady|Herr|Frau|Señora?|Monsieur|Madame)\b\.?[ ]{{1,2}}{_NAME}"),
    ("office", rf"\b(?:Judge|Justice|Senator|Congress(?:man|woman)|Captain|Sergeant|Detective|Officer)[ ]{_NAME}"),
    ("said_name", rf"\b(?i:(?:my|his|her|first|last|full|maiden|whose|the)[ ]name(?:[ ]on[ ]the[ ]account)?(?:[ ]is|[ ]was|[:?]))[ ]{{0,2}}(?:(?i:user|mr|mrs|ms|dr)[:.][ ])?{_NAME}"),
    ("field", rf"(?:^|\n)[ \t>|]*(?:Name|Full name|Contact|Attn|Attention|Employee|Patient|Customer|Applicant|Cc|From|To|By)[ \t]*:[ \t|]{{1,8}}{_WHOLE}"),
    ("named", rf"\b(?:named|called|nicknamed)[ ](?:him[ ]|her[ ])?{_NAME}"),
    ("salutation", rf"(?:^|\n|[\"“])[ \t]*(?:Dear|Hi|Hello|Hey)[ ]{_NAME}(?=[,:!\n]|[ ]?[-–])"),
    ("closing", rf"(?:Sincerely|Regards|Best|Yours truly|Yours faithfully|Cheers),?[ \t]*\n\s{{0,6}}{_WHOLE}[ \t]*(?=\n|$)"),
    ("signed", rf"/s/[ \t|\n]{{0,4}}{_WHOLE}"),
    ("speaker", rf"(?:^|\n){_NAME}:[ ]?[\"“]"),
    ("vocative", rf"(?:^|\n|[.!?][ ])({_WORD}),[ ](?:can|could|would|will|please|do|did|are)[ ](?:I|you|we|please)\b"),
    ("kin", rf"({_WORD}(?:[ ]{_WORD})?)['’]s[ ](?:daughter|son|wife|husband|mother|father|sister|brother|widow|children|kids?)\b"),
    ("said_to", rf"\b(?:says|said|shouted|whispered)(?:[ ]{_WORD})?[ ](?:to|at)[ ]({_WORD})"),
    ("says", rf"(?:\b(?:says|said|asked|replied|explained|added|told)[ ]{_WHOLE}|{_WHOLE}[ ](?:says|said|asked|replied|explained)\b)"),
)  # fmt: skip
_PATTERNS = tuple((name, re.compile(pattern)) for name, pattern in _RULES)
# A rule is searched for only around one of its words, here in lower case.
_ANCHORS = {
    "office": ("judge ", "justice ", "senator ", "man ", "captain ", "sergeant ", "detective ", "officer "),
    "said_name": (" name",),
    "named": ("named ", "called "),
    "vocative": (", can ", ", could ", ", would ", ", will ", ", please ", ", do ", ", did ", ", are "),
    "kin": ("'s ", "’s "),
    "said_to": ("says ", "said ", "shouted ", "whispered "),
    "says": ("says", "said", "asked", "replied", "explained", "added ", "told "),
}
_REACH = 170  # characters on either side of such a word: longer than any match
_TOKEN = re.compile(r"[\w'’-]+")
_LONG = 150  # distinct lower-case words; a text with more is long


def lower_case_words(text: str) -> frozenset[str]:
    """Return the words that a text writes in lower case; they are probably no names when capitalised."""
    return frozenset(
        word for word in set(_TOKEN.findall(text)) if len(word) > 1 and word.isalpha() and word.islower()
    )


def may_be_name(text: str, span: Span, vocabulary: frozenset[str]) -> bool:
    """Return whether a model's person may be one, given the words that the text also writes in lower case.

    In a short text (a letter, a chat) at least one word must not be among them. A long text introduces people by
    first and last name, and its headings, labels and defined terms look like names to a model. There no word may be
    among them, at least two words are needed, and no colon may follow.
    """
    words = [word.group().lower() for word in _TOKEN.finditer(text, span.start, span.end)]
    words = [word.removesuffix("'s").removesuffix("’s") for word in words if len(word) > 1]
    common = [word in vocabulary or word in _NOT_NAMES for word in words]
    if len(vocabulary) <= _LONG:
        return not all(common)
    return len(words) > 1 and not any(common) and text[span.end : span.end + 1] != ":"


def find_names(text: str, lower: str) -> Iterator[Span]:
    """Yield names by the words around them."""
    for source, pattern in _PATTERNS:
        for match in _search(source, pattern, text, lower):
            group = next(index for index in range(1, len(match.groups()) + 1) if match.group(index))
            start, end = match.span(group)
            words = list(_TOKEN.finditer(text, start, end))
            while words and words[-1].group().lower() in _NOT_NAMES:
                words.pop()
            if words and words[0].group().lower() not in _NOT_NAMES:
                yield Span(start, words[-1].end(), "person", source)


def _search(source: str, pattern: re.Pattern[str], text: str, lower: str) -> Iterator[re.Match[str]]:
    if source not in _ANCHORS:
        return pattern.finditer(text)
    return search_near(pattern, occurrences(_ANCHORS[source], lower), text, _REACH, _REACH)


_LISTED = re.compile(rf"{_WORD}(?:,[ ]{_WORD}){{2,60}},?[ ](?:and|or)[ ]{_WORD}(?![ ]{UPPER})")


def find_listed(text: str, people: list[Span]) -> Iterator[Span]:
    """Yield the other members of lists of four or more single words, half of which are known people."""
    ranges = [(span.start, span.end) for span in people if span.type == "person"]
    for match in _LISTED.finditer(text) if ranges else ():
        words = [word for word in _TOKEN.finditer(text, *match.span()) if word.group() not in ("and", "or")]
        known = [any(start < word.end() and word.start() < end for start, end in ranges) for word in words]
        if 2 * sum(known) >= len(words):
            yield from (
                Span(*word.span(), "person", "listed")
                for word, is_known in zip(words, known, strict=True)
                if not is_known
            )


def find_again(text: str, people: list[Span], vocabulary: frozenset[str]) -> Iterator[Span]:
    """Yield further occurrences of known names, and of their first and last names alone.

    A word that the text also writes in lower case does not count alone. In a long text only last names count alone.
    """
    values = {text[span.start : span.end] for span in people if span.type == "person"}
    values = {value for value in values if " " in value or value.lower() not in vocabulary}
    parts = {
        word
        for value in values
        if " " in value
        for word in value.split()[-1 if len(vocabulary) > _LONG else 0 :]
        if len(word) > 3 and word[0].isupper() and word.lower() not in vocabulary
    }
    sought = sorted((values | parts) - {word.title() for word in _NOT_NAMES}, key=len, reverse=True)
    if sought:
        pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, sought))})(?!\w)")
        yield from (Span(*match.span(), "person", "again") for match in pattern.finditer(text))
