"""Real prose of several fields, in pieces of about 3,000 characters; half of them for fitting, half for figures."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from benchmarks.paths import ROOT
from tinsmith.base.assets import resolve_corpus

_SHARED = ROOT.parent / "shared" / "data"
_SIZE = 3_000
_MOST = 120  # pieces of a field and half
FIELDS = {
    "encyclopedia": "wikitext-2/valid.txt",
    "central bank": "fomc/data/raw_data/meeting_minutes/*.txt",
    "contracts": "cuad/CUAD_v1/full_contract_txt/*.txt",
    "statutes": "us-code/text/*.txt",
    "regulations": "cfpb-regs/text/*.txt",
    "filings": "sec-filings/text/*.txt",
}
LICENCES = "licences"


def pieces(field: str, *, fitting: bool) -> list[str]:
    """Return the pieces of a field on one side, by a hash of their text, at most 120; none where it is not here."""
    found = [piece for text in _texts(field) for piece in cut(text) if _is_prose(piece)]
    mine = sorted((_place(piece), piece) for piece in set(found))
    half = [piece for place, piece in mine if (int(place[:2], 16) < 128) == fitting]
    return half[:_MOST]


def cut(text: str) -> Iterator[str]:
    """Yield pieces of about 3,000 characters that end where lines end."""
    held = ""
    for line in text.splitlines(keepends=True):
        held += line
        if len(held) >= _SIZE:
            yield held
            held = ""


def _texts(field: str) -> Iterator[str]:
    if field == LICENCES:
        folder = resolve_corpus("licence-agreements")
        paths = sorted(folder.glob("*.LICENSE"))[:400] if folder else []
    else:
        paths = sorted(_SHARED.glob(FIELDS[field]))
    for path in paths:
        text = path.read_text("utf-8", "replace")[:400_000]
        yield _natural(text) if field == "encyclopedia" else text


def _natural(text: str) -> str:
    """Undo the tokens of wikitext: spaces before signs, @-@, unknown words."""
    text = text.replace("<unk>", "thing").replace(" @-@ ", "-").replace(" @,@ ", ",").replace(" @.@ ", ".")
    return re.sub(r" ([.,;:!?)'’])", r"\1", re.sub(r"([(]) ", r"\1", text))


def _is_prose(piece: str) -> bool:
    """Say whether a piece of a real file is prose at all: not a table of contents, a form, a column of figures."""
    words = piece.split()
    lines = [line for line in piece.splitlines() if line.strip()]
    long = sum(len(line) for line in lines if len(line) > 60)
    return len(words) > 200 and long > 0.6 * len(piece) and sum(map(str.isdigit, piece)) < 0.06 * len(piece)


def _place(piece: str) -> str:
    return hashlib.sha256(piece.encode("utf-8", "replace")).hexdigest()


def available() -> list[str]:
    """Return the fields whose files are on this machine."""
    return [field for field, pattern in FIELDS.items() if any(_SHARED.glob(pattern))] + [LICENCES]
