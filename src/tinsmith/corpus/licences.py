"""Map licence names as people write them to SPDX identifiers, and evaluate expressions of several."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

# Ids that people write with other case or extra words such as "licence".
_IDS = (
    "0BSD", "AFL-3.0", "Artistic-2.0", "BSL-1.0", "CC-PDDC", "CDLA-Permissive-2.0", "CECILL-2.1", "ECL-2.0",
    "EUPL-1.1", "EUPL-1.2", "ISC", "LPPL-1.3c", "MIT", "MIT-0", "MS-PL", "MS-RL", "NCSA", "ODbL-1.0",
    "OFL-1.1", "OGL-UK-3.0", "OSL-3.0", "PDDL-1.0", "PostgreSQL", "Python-2.0", "Unlicense", "UPL-1.0", "Vim",
    "WTFPL", "Zlib",
)  # fmt: skip
_NAMED = {name.lower(): name for name in _IDS} | {
    "boost-1.0": "BSL-1.0",
    "expat": "MIT",
    "open-database": "ODbL-1.0",
    "open-government-3.0": "OGL-UK-3.0",
    "odc-by": "ODC-By-1.0",
    "odc-by-1.0": "ODC-By-1.0",
    "odbl": "ODbL-1.0",
    "sil-open-font-1.1": "OFL-1.1",
}
# Ids that are known without a document that has them.
KNOWN_LICENCES = frozenset(
    (
        *_NAMED.values(),
        "CC0-1.0",
        *(
            f"CC-BY{kind}-{version}"
            for kind in ("", "-NC", "-SA", "-ND", "-NC-SA", "-NC-ND")
            for version in ("1.0", "2.0", "2.5", "3.0", "4.0")
        ),
        *(
            f"{letter}GPL-{version}-{end}"
            for letter in ("", "A", "L")
            for version in ("1.0", "2.0", "2.1", "3.0")
            for end in ("only", "or-later")
        ),
        *(f"Apache-{version}" for version in ("1.0", "1.1", "2.0")),
        *(f"BSD-{clauses}-Clause" for clauses in "1234"),
        *(f"MPL-{version}" for version in ("1.0", "1.1", "2.0")),
        "UNLICENSED",
    )
)
# Words that do not distinguish licences.
_FILLERS = re.compile(r"(?<![a-z0-9])(?:the|licen[cs]e|version|ver|software|v(?=\.?\d))(?![a-z])")
_ADDRESS = re.compile(r"^https?://(?:www\.)?(?:spdx\.org/licenses/|opensource\.org/licenses?/)?")
_ENDINGS = re.compile(r"(?: *\([^()]*\)|\.html|\.txt|/)$")
_COMMONS = re.compile(
    r"^(?:cc|creative-commons|creativecommons\.org-licenses)-(?:by|attribution)"
    r"(?P<nc>-nc|-non-?commercial)?(?P<more>-sa|-share-?alike|-nd|-no-?deriv(?:ative)?s?)?"
    r"(?:-(?P<version>\d\.\d))?(?:-(?:international|unported|generic|public|deed(?:\.[a-z]{2})?|legalcode))*(?P<place>-[a-z]{2})?$"
)
_ZERO = re.compile(
    r"^(?:cc-?0|cc-zero|creative-commons-zero|creativecommons\.org-publicdomain-zero)(?![a-z])"
)
_APACHE = re.compile(r"^apache(?:\.org)?(?:-licenses)?-?v?(?P<version>\d(?:\.\d)?)$")
_BSD = re.compile(
    r"^(?:bsd-)?(?P<clauses>[1234])-clause(?:-(?:bsd|new|modified|revised|simplified|or)+)*$|^bsd-(?P<short>[1234])$"
)
_MOZILLA = re.compile(r"^(?:mozilla-public|mpl)-?v?(?P<version>\d(?:\.\d)?)$")
_GNU = re.compile(
    r"^(?:gnu-)?(?:(?P<letter>[al])?gpl|(?P<word>affero-|lesser-|library-)?general-public)"
    r"(?:-?v?(?P<version>\d(?:\.\d)?))?(?P<later>-?\+|-or-later|-or-any-later|-or-newer)?(?:-only)?$"
)
_LETTERS = {"affero-": "A", "lesser-": "L", "library-": "L"}


@lru_cache(maxsize=4096)
def normalise(name: str) -> str:
    """Return the SPDX id of a licence name or address such as "CC BY 4.0" or "GPLv3+"; unknown names unchanged."""
    name = " ".join(name.split())
    plain = _ENDINGS.sub("", _ADDRESS.sub("", name.lower()))
    plain = re.sub(r"[^a-z0-9.+]+", "-", _FILLERS.sub(" ", plain)).strip("-.")
    if plain in _NAMED:
        return _NAMED[plain]
    for pattern, make in _FAMILIES:
        match = pattern.match(plain)
        if match:
            return make(match)
    return name


def _commons(match: re.Match[str]) -> str:
    more = match["more"] or ""
    parts = ["CC-BY", "NC" if match["nc"] else "", {"s": "SA", "n": "ND"}.get(more[1:2], "")]
    return "-".join(
        part for part in (*parts, match["version"] or "", (match["place"] or "").strip("-").upper()) if part
    )


def _gnu(match: re.Match[str]) -> str:
    family = (match["letter"] or _LETTERS.get(match["word"] or "", "")).upper() + "GPL"
    if not match["version"]:
        return family
    return f"{family}-{_decimal(match['version'])}-{'or-later' if match['later'] else 'only'}"


def _decimal(version: str) -> str:
    return version if "." in version else f"{version}.0"


_FAMILIES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (_ZERO, lambda match: "CC0-1.0"),
    (_COMMONS, _commons),
    (_APACHE, lambda match: f"Apache-{_decimal(match['version'])}"),
    (_BSD, lambda match: f"BSD-{match['clauses'] or match['short']}-Clause"),
    (_MOZILLA, lambda match: f"MPL-{_decimal(match['version'])}"),
    (_GNU, _gnu),
)


def normalise_expression(label: str) -> str:
    """Replace each licence of an expression by its SPDX id; AND, OR and brackets stay."""
    parts = _split(label)
    if len(parts) == 1:
        return normalise(label)
    text = " ".join(part if part in _OPERATORS else normalise(part) for part in parts)
    return text.replace("( ", "(").replace(" )", ")")


def refusal(label: str, refuse: Callable[[str], str]) -> str:
    """Return why a label is refused, or an empty string; `refuse` decides on each single licence.

    AND needs all licences to pass, OR needs one; AND binds tighter. A malformed expression counts as one licence.
    """
    parts = _split(label)
    if len(parts) == 1:
        return refuse(label.strip())
    try:
        why, rest = _any(parts, refuse)
    except (IndexError, ValueError):
        return refuse(label.strip())
    return refuse(label.strip()) if rest else why


def split_labels(label: str) -> list[str]:
    """Return each single label of an expression."""
    return [part for part in _split(label) if part not in _OPERATORS]


_OPERATORS = ("(", ")", "AND", "OR")


def _split(label: str) -> list[str]:
    if not re.search(r"\b(?:AND|OR)\b", label):
        return [label.strip()]
    return [part.strip() for part in re.split(r"(\(|\)|\bAND\b|\bOR\b)", label) if part.strip()]


def _any(parts: list[str], refuse: Callable[[str], str]) -> tuple[str, list[str]]:
    why, rest = _all(parts, refuse)
    while rest and rest[0] == "OR":
        other, rest = _all(rest[1:], refuse)
        why = why if other else ""
    return why, rest


def _all(parts: list[str], refuse: Callable[[str], str]) -> tuple[str, list[str]]:
    why, rest = _one(parts, refuse)
    while rest and rest[0] == "AND":
        other, rest = _one(rest[1:], refuse)
        why = why or other
    return why, rest


def _one(parts: list[str], refuse: Callable[[str], str]) -> tuple[str, list[str]]:
    if parts[0] == "(":
        why, rest = _any(parts[1:], refuse)
        if rest[0] != ")":
            raise ValueError("a bracket is not closed")
        return why, rest[1:]
    if parts[0] in _OPERATORS:
        raise ValueError("a licence is missing")
    return refuse(parts[0]), parts[1:]
