"""Names of people by the words around them: titles, salutations, signatures. Rules alone find few of the others."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tinsmith.corpus.privacy.rules import LETTER, UPPER, near, occurrences
from tinsmith.corpus.privacy.types import Span

_WORD = rf"{UPPER}(?:{LETTER}|['’-](?={LETTER})){{1,24}}"
_PARTICLE = r"(?:van|von|der|den|de|del|della|di|da|dos|la|le|bin|ibn|al|el|ter|zu)"
_NEXT = rf"(?:[ \t]{{1,2}}(?:{_WORD}|{UPPER}\.?(?!\w)|{_PARTICLE}(?=[ ])))"
_NAME = rf"({_WORD}{_NEXT}{{0,4}}|{UPPER}\.[ ]{_WORD}{_NEXT}{{0,3}})"
_WHOLE = rf"({_WORD}{_NEXT}{{1,4}}|{UPPER}\.[ ]{_WORD}{_NEXT}{{0,3}})"  # a first and a last name at least
# Capitalised words that follow the same words as names do.
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
# Words without which a rule finds nothing (in lower case): only around them is it searched for.
_ANCHORS = {
    "office": ("judge ", "justice ", "senator ", "man ", "captain ", "sergeant ", "detective ", "officer "),
    "said_name": (" name",),
    "named": ("named ", "called "),
    "vocative": (", can ", ", could ", ", would ", ", will ", ", please ", ", do ", ", did ", ", are "),
    "kin": ("'s ", "’s "),
    "said_to": ("says ", "said ", "shouted ", "whispered "),
    "says": ("says", "said", "asked", "replied", "explained", "added ", "told "),
}
_REACH = 170  # characters on either side of such a word: more than any name and the words of its rule
_MASK = re.compile(r"[\w'’-]+")


_LONG = 150  # different words in lower case


def lower_case_words(text: str) -> frozenset[str]:
    """Return the words that a text writes in lower case: what else begins with a capital there may be a name."""
    return frozenset(
        word for word in set(_MASK.findall(text)) if len(word) > 1 and word.isalpha() and word.islower()
    )


def may_be_name(text: str, span: Span, vocabulary: frozenset[str]) -> bool:
    """Say whether what a model takes for a person may be one, by the words that the text writes in lower case too.

    In a short text (a letter, a chat) a name is none if all its words are such. A long one brings people in by first
    and last name, and its headings, labels and defined terms look like names to a model: there no word may be such, and
    no colon may follow.
    """
    words = [word.group().lower() for word in _MASK.finditer(text, span.start, span.end)]
    words = [word.removesuffix("'s").removesuffix("’s") for word in words if len(word) > 1]
    common = [word in vocabulary or word in _NOT_NAMES for word in words]
    if len(vocabulary) <= _LONG:
        return not all(common)
    return len(words) > 1 and not any(common) and text[span.end : span.end + 1] != ":"


def find_names(text: str, lower: str) -> Iterator[Span]:
    """Yield names that stand where names stand."""
    for source, pattern in _PATTERNS:
        for found in _search(source, pattern, text, lower):
            group = next(number for number in range(1, len(found.groups()) + 1) if found.group(number))
            start, end = found.span(group)
            words = list(_MASK.finditer(text, start, end))
            while words and words[-1].group().lower() in _NOT_NAMES:
                words.pop()
            if words and words[0].group().lower() not in _NOT_NAMES:
                yield Span(start, words[-1].end(), "person", source)


def _search(source: str, pattern: re.Pattern[str], text: str, lower: str) -> Iterator[re.Match[str]]:
    if source not in _ANCHORS:
        return pattern.finditer(text)
    return near(pattern, occurrences(_ANCHORS[source], lower), text, _REACH, _REACH)


_LISTED = re.compile(rf"{_WORD}(?:,[ ]{_WORD}){{2,60}},?[ ](?:and|or)[ ]{_WORD}(?![ ]{UPPER})")


def find_listed(text: str, people: list[Span]) -> Iterator[Span]:
    """Yield the other members of lists of single words, of four and more, half of which are people."""
    places = [(span.start, span.end) for span in people if span.type == "person"]
    for found in _LISTED.finditer(text) if places else ():
        words = [word for word in _MASK.finditer(text, *found.span()) if word.group() not in ("and", "or")]
        known = [any(start < word.end() and word.start() < end for start, end in places) for word in words]
        if 2 * sum(known) >= len(words):
            yield from (
                Span(*word.span(), "person", "listed")
                for word, seen in zip(words, known, strict=True)
                if not seen
            )


def find_again(text: str, people: list[Span], vocabulary: frozenset[str]) -> Iterator[Span]:
    """Yield further places of names that were found, and of first and last names that stand alone.

    A word that the text writes in lower case too stands alone for itself and for nobody. In a long text last names
    alone are looked for.
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
    wanted = sorted((values | parts) - {word.title() for word in _NOT_NAMES}, key=len, reverse=True)
    if wanted:
        pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, wanted))})(?!\w)")
        yield from (Span(*found.span(), "person", "again") for found in pattern.finditer(text))
