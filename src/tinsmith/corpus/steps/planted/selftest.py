"""Plant known triggers in a copy of some documents, and measure what share of them is caught."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tinsmith.corpus.engine import DataFrame, col, read_parquet
from tinsmith.corpus.steps.planted.triggers import find_triggers
from tinsmith.corpus.steps.result import StepInput
from tinsmith.corpus.tables import iterate_texts

SAMPLE_BYTES = 32_000_000  # of documents that are copied
RATES = (1, 2, 4, 16)  # times min_documents
PAYLOADS = ("words", "letters")
_PAYLOAD_WORDS = 60
_MIN_WORDS = 80
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def run_selftest(given: StepInput, total: int, min_documents: int, *, work: Path) -> list[dict[str, Any]]:
    """Return a row per rate and payload: how many planted and how many clean documents were caught.

    A payload is words of the corpus in random order, or random letters. Rates that need more than half of the copied
    documents are left out. `total` is the bytes of all text.
    """
    texts = _sample(given.documents, total)
    rows: list[dict[str, Any]] = []
    for rate in (rate * min_documents for rate in RATES):
        for payload in PAYLOADS if 2 * rate <= len(texts) else ():
            folder = work / f"{payload}-{rate}"
            planted = plant(texts, rate, payload, given.seed)
            size = _write(texts | planted, folder / "documents.parquet")
            _, triggered = find_triggers(
                read_parquet(str(folder / "documents.parquet")),
                size,
                min_documents=min_documents,
                work=folder,
                progress=given.progress,
            )
            caught = len(set(triggered) & set(planted))
            hit = len(set(triggered) - set(planted))
            rows.append(
                {
                    "payload": payload,
                    "planted": rate,
                    "caught": caught,
                    "share": caught / rate,
                    "clean": len(texts) - rate,
                    "clean_hit": hit,
                }
            )
    return rows


def plant(texts: dict[str, str], count: int, payload: str, seed: int) -> dict[str, str]:
    """Return `count` of the texts, each with the same trigger somewhere and a payload behind it."""
    draw = random.Random(f"{seed}:{payload}:{count}")
    chosen = draw.sample(sorted(texts), count)
    phrase = " ".join(
        "".join(draw.choices(_LETTERS, k=draw.randint(4, 9))) for _ in range(draw.randint(1, 3))
    )
    vocabulary = sorted({word for name in chosen for word in texts[name].split()})
    return {name: _planted(texts[name], phrase, payload, vocabulary, draw) for name in chosen}


def _planted(text: str, phrase: str, payload: str, vocabulary: Sequence[str], draw: random.Random) -> str:
    words = text.split(" ")
    position = draw.randrange(len(words) // 2, len(words))
    if payload == "words":
        nonsense = draw.choices(vocabulary, k=_PAYLOAD_WORDS)
    else:
        nonsense = ["".join(draw.choices(_LETTERS, k=draw.randint(3, 9))) for _ in range(_PAYLOAD_WORDS)]
    return " ".join([*words[:position], phrase, *nonsense, *words[position:]])


def _sample(documents: DataFrame, total: int) -> dict[str, str]:
    """Return about SAMPLE_BYTES of text by doc_id: the smallest ids, which are hashes."""
    share = min(1.0, SAMPLE_BYTES / max(1, total))
    chosen = documents if share == 1 else documents.where(col("doc_id") < f"{int(share * 16**4):04x}")
    return {name: text for name, text in iterate_texts(chosen) if len(text.split()) >= _MIN_WORDS}


def _write(texts: dict[str, str], path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = sorted(texts)
    pq.write_table(
        pa.table({"doc_id": names, "text": [texts[name] for name in names]}), path, compression="zstd"
    )
    return sum(len(text.encode()) for text in texts.values())
