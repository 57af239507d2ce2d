"""A thousand documents, real ones of many kinds and noise made of them: what every rule has something to say about."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.paths import DATA
from benchmarks.poor import KINDS, UNSEEN
from tinsmith.base.assets import resolve_corpus
from tinsmith.corpus.text.repair import repair

_LONGEST = 12_000  # characters of a document
# Folder and pattern of whole files -> how many documents; and what is cut into pieces first.
_FILES = {
    "sec-filings/text/*.txt": 60,
    "cfpb-regs/text/*.txt": 20,
    "fomc/data/raw_data/**/*.txt": 120,
    "cuad/CUAD_v1/full_contract_txt/*.txt": 150,
    "us-code/text/*.txt": 20,
    "scotus-opinions/opinions/**/*.txt": 120,
}
_PIECES = {
    "sms-spam/data/sms.tsv": (60, 100),
    "tinyshakespeare/input.txt": (20, 3_000),
    "wikitext-2/valid.txt": (60, 4_000),
    "sec-filings/text/*.txt": (60, 3_000),
}
_LICENCES = 110
_NOISE_EACH = 10


class Sample(NamedTuple):
    """A document and where it is from, or how it was made."""

    kind: str
    text: str


def documents(seed: int = 1, share: float = 1.0) -> list[Sample]:
    """Return about `share` of a thousand documents, repaired as curate repairs them, each once."""
    draw = random.Random(seed)
    real = [*_real(draw, share)]
    if not real:
        raise SystemExit(f"no real documents below {DATA}; TINSMITH_BENCH_DATA names another folder")
    prose = [each.text for each in real if len(each.text) > 2_000]
    made = [
        Sample(kind, make(draw.choice(prose)[:4_000], draw))
        for kind, make in NOISE.items()
        for _ in range(max(1, int(_NOISE_EACH * share)))
    ]
    made.append(Sample("100,001 words", " ".join(f"{number:b}" for number in range(100_001))))
    tidy = (Sample(kind, repair(text)) for kind, text in [*real, *made])
    return [Sample(kind, text) for text, kind in {text: kind for kind, text in tidy if text.strip()}.items()]


def _real(draw: random.Random, share: float) -> Iterator[Sample]:
    for pattern, count in _FILES.items():
        for path in _some(sorted(DATA.glob(pattern)), int(count * share), draw):
            yield Sample(pattern.split("/")[0], _part(path, draw))
    for pattern, (count, size) in _PIECES.items():
        paths = sorted(DATA.glob(pattern))
        for _ in range(int(count * share) if paths else 0):
            text = _read(draw.choice(paths))
            start = text.find("\n", draw.randrange(max(1, len(text) - size))) + 1
            yield Sample(pattern.split("/")[0] + ", a piece", text[start : text.find("\n", start + size)])
    folder = resolve_corpus("licence-agreements")
    for path in _some(sorted(folder.glob("*.LICENSE")) if folder else [], int(_LICENCES * share), draw):
        yield Sample("licences", _read(path)[:_LONGEST])


def _some(paths: list[Path], count: int, draw: random.Random) -> list[Path]:
    return draw.sample(paths, min(count, len(paths)))


def _read(path: Path) -> str:
    return path.read_text("utf-8", "replace")


def _part(path: Path, draw: random.Random) -> str:
    """Return a file, or a part of a long one that begins where a line does."""
    text = _read(path)
    if len(text) <= _LONGEST:
        return text
    start = text.find("\n", draw.randrange(len(text) - _LONGEST)) + 1
    return text[start : start + _LONGEST]


def _lines(text: str, size: int) -> list[str]:
    words = text.split()
    return [" ".join(words[start : start + size]) for start in range(0, len(words), size)]


def _code(text: str, draw: random.Random) -> str:
    names = sorted({word.lower() for word in text.split() if word.isalpha()})
    rows = [
        f"def {draw.choice(names)}({draw.choice(names)}):\n    if {draw.choice(names)} == {draw.randrange(99)}:\n"
        f"        return {{'{draw.choice(names)}': [{draw.randrange(9)}, ...]}}  # {draw.choice(names)}"
        for _ in range(40)
    ]
    return "\n\n".join(rows)


def _stutter(text: str, draw: random.Random) -> str:
    words = text.split()
    phrase = " ".join(words[: draw.randint(2, 4)])
    return " ".join(f"{phrase} {word}" if draw.random() < 0.4 else word for word in words[:300])


def _repeated(text: str, draw: random.Random, by: str, size: int) -> str:
    parts = _lines(text, size)
    often = draw.choice(parts)
    return by.join(often if draw.random() < 0.4 else part for part in parts)


def _run(text: str, draw: random.Random) -> str:
    """Repeat some longer runs of words among others."""
    words = text.split()
    run = words[: draw.randint(5, 12)]
    return "\n".join(" ".join([*run, *words[start : start + 20]]) for start in range(0, 400, 20))


NOISE: dict[str, Callable[[str, random.Random], str]] = {
    **KINDS,
    **UNSEEN,
    "code": _code,
    "stutter": _stutter,
    "repeated lines": lambda text, draw: _repeated(text, draw, "\n", 10),
    "repeated paragraphs": lambda text, draw: _repeated(text, draw, "\n\n", 25),
    "repeated runs": _run,
    "bullets": lambda text, draw: "\n".join(f"{draw.choice('•-*')} {line}" for line in _lines(text, 7)),
    "trailing off": lambda text, draw: "\n".join(
        line + draw.choice(["...", "…", "."]) for line in _lines(text, 12)
    ),
    "hash tags": lambda text, draw: " ".join(
        f"#{word}" if draw.random() < 0.2 else word for word in text.split()
    ),
    "no spaces": lambda text, draw: re.sub(r"(\w) (\w)", r"\1\2", text),
    "single letters": lambda text, draw: " ".join("".join(text.split())[:2_000]),
    "keywords": lambda text, draw: ", ".join(word for word in text.split() if len(word) > 4),
    "lorem ipsum": lambda text, draw: (
        text[:2_000] + "\nHere the lorem ipsum of the template was left in place."
    ),
    "a template": lambda text, draw: text[:2_000] + "\nThe name of the party is {party} in this text.",
    "too short": lambda text, draw: " ".join(text.split()[: draw.randint(1, 60)]),
    "blank lines": lambda text, draw: "\n\n\n".join(_lines(text, 4)),
    "a line of sentences": lambda text, draw: " ".join(text.split()),
}
