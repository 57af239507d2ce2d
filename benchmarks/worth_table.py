"""The page of the study of curation's worth: each arm beside raw text, with intervals over documents and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.evidence import table

_RESAMPLES = 2000
NOVEL = 0.2  # share of 13-grams that raw training text says too, below which a held-out text counts as novel
Row = dict[str, Any]
Bits = NDArray[np.float64]


def body(facts: Row) -> list[str]:
    """Return the page's lines, and add the differences that they show to the facts."""
    facts["differences"] = []
    lines: list[str] = []
    for corpus, about in facts["corpora"].items():
        rows = [row for row in facts["rows"] if row["corpus"] == corpus]
        if rows:
            lines += _corpus(corpus, about, rows, facts)
    return [*_opening(facts), *lines]


def _opening(facts: Row) -> list[str]:
    scale, devices = facts["scale"], sorted({row["device"] for row in facts["rows"]})
    tokens = ", ".join(f"{count:,} of {corpus}" for corpus, count in scale["tokens"].items())
    return [
        f"A fresh {scale['shape']} learns as many tokens in every run ({tokens}), in steps of "
        f"{scale['batch_tokens']:,}, on {', '.join(devices)}. Within a corpus all runs share the vocabulary "
        f"({scale['vocabulary']}, learnt from the deduplicated text) and the held-out texts. {scale['seeds']} seeds "
        "each (first weights and order of the documents). Intervals hold 95% of "
        f"{_RESAMPLES} resamples of documents and of seeds, the same for both arms.",
        "",
        "*Clean* are the held-out texts that pass the rules too; *novel* are those of whose 13-grams less than a "
        "fifth occurs in the raw training text. *Memorised* is the share of words in "
        f"{scale['samples']} texts drawn from the model that lie in runs of 13 words or more which its own training "
        "text says word for word.",
        "",
    ]


def _corpus(corpus: str, about: Row, rows: Sequence[Row], facts: Row) -> list[str]:
    every = {each["doc_id"] for each in about["held_out"]}
    parts = {
        "all": every,
        "clean": {each["doc_id"] for each in about["held_out"] if each["clean"]},
        "novel": {each["doc_id"] for each in about["held_out"] if each["overlap"] < NOVEL},
    }
    bits, texts = [], []
    for arm, text in about["arms"].items():
        own = [row for row in rows if row["arm"] == arm]
        found: Row = {"corpus": corpus, "arm": arm, "memorised": [row["memorised"] for row in own]}
        for name, chosen in parts.items():
            mine, base = _bits(rows, arm, chosen), _bits(rows, "raw", chosen)
            found |= {name: _figure(mine), f"{name}_less": _difference(mine, base)}
        facts["differences"].append(found)
        shown = [f"{found[name]:.4f}" if arm == "raw" else _interval(found[f"{name}_less"]) for name in parts]
        share = found["memorised"]
        bits.append([arm, *shown, f"{np.mean(share):.1%} ({min(share):.1%} to {max(share):.1%})"])
        epochs = own[0]["tokens"] / own[0]["epoch_tokens"]
        texts.append(
            [
                arm,
                f"{text['documents']:,}",
                f"{text['bytes'] / 1e6:.1f}",
                f"{text['tokens']:,}",
                f"{epochs:.1f}",
            ]
        )
    header = [
        "bits per byte: raw, and what is more (+) or less",
        *(f"{name} ({len(parts[name])})" for name in parts),
    ]
    return [
        f"## {corpus}",
        "",
        *table([*header, "memorised"], bits),
        *table(["training text", "documents", "MB", "tokens", "times learnt"], texts),
    ]


def _bits(rows: Sequence[Row], arm: str, chosen: set[str]) -> tuple[Bits, Bits]:
    """Return bits (seeds, documents) and bytes (documents) of an arm."""
    own = sorted((row for row in rows if row["arm"] == arm), key=lambda row: int(row["seed"]))
    kept = [[item for item in row["items"] if item["doc_id"] in chosen] for row in own]
    bits = np.array([[item["bits"] for item in items] for items in kept], dtype=float)
    return bits, np.array([item["bytes"] for item in kept[0]], dtype=float)


def _figure(arm: tuple[Bits, Bits]) -> float:
    bits, sizes = arm
    return float(bits.mean(axis=0).sum() / sizes.sum()) if len(sizes) else float("nan")


def _difference(arm: tuple[Bits, Bits], base: tuple[Bits, Bits]) -> list[float]:
    """Return how many bits per byte an arm needs more than the base: the figure and the ends of its interval."""
    (bits, sizes), (others, _) = arm, base
    generator = np.random.default_rng(0)
    found = []
    for _ in range(_RESAMPLES if len(sizes) else 0):
        documents = generator.integers(len(sizes), size=len(sizes))
        seeds = generator.integers(len(bits), size=len(bits))
        difference = (bits[seeds] - others[seeds]).mean(axis=0)
        found.append(difference[documents].sum() / sizes[documents].sum())
    ends = np.percentile(found, [2.5, 97.5]) if found else (float("nan"), float("nan"))
    return [_figure(arm) - _figure(base), float(ends[0]), float(ends[1])]


def _interval(found: Sequence[float]) -> str:
    return f"{found[0]:+.4f} ({found[1]:+.4f} to {found[2]:+.4f})"
