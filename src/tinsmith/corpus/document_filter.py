"""The fixed rules of curate, asked of one document after the other; what finds its duplicates is computed beside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import pyarrow as pa

from tinsmith.base.cores import usable_cores
from tinsmith.base.erasure import ErasureList
from tinsmith.corpus.dedup.signatures import Signer, choose_banding, sketch
from tinsmith.corpus.dedup.versions import version_of
from tinsmith.corpus.filters import Filters
from tinsmith.corpus.privacy import REASONS as PRIVATE
from tinsmith.corpus.privacy import Protector
from tinsmith.corpus.rejection import Rejection
from tinsmith.corpus.rights import TEXTLESS, Rights
from tinsmith.corpus.text import language
from tinsmith.corpus.text.dehyphenate import mend
from tinsmith.corpus.text.hidden import uncover
from tinsmith.corpus.text.repair import document_id, repair
from tinsmith.recipe import CurateConfig

# What is asked of a row of ingest/documents.parquet, and what is found.
ASKED = ("text", "source", "sha256", "licence", "meta")
_TEXTS = ("text", "doc_id", "licence", "access", "language", "reason", "detail", "version", "counts")
_NUMBERS = ("ingested_bytes", "repaired_bytes", "ruled_bytes", "bytes", "characters", "repaired")
FOUND = pa.struct(
    [
        *((name, pa.large_string()) for name in _TEXTS),
        *((name, pa.int64()) for name in _NUMBERS),
        ("bands", pa.large_list(pa.uint64())),
        ("sketch", pa.large_binary()),
    ]
)
# For these reasons a document leaves no text behind, not even among the rejects.
SILENT = TEXTLESS | set(PRIVATE)


class Document(NamedTuple):
    """A row of `ingest/documents.parquet`, as far as the rules ask."""

    text: str
    source: str
    sha256: str
    licence: str
    meta: str


class Judge:
    """Ask rights, repair, language, rules and privacy of documents; compute what finds duplicates.

    Holds nothing that changes, so threads may share it, and pickles small enough to travel to a cluster's workers.
    """

    def __init__(self, config: CurateConfig, seed: int, forgotten: ErasureList) -> None:
        self.config = config
        self.rights = Rights(config.rights, forgotten)
        self.filters = Filters(config)
        self.protector = Protector(config.privacy)
        clusters = config.cluster_jaccard < 1
        self.signer = Signer(choose_banding(config.cluster_jaccard), seed) if clusters else None

    def judge_all(self, documents: Sequence[Document]) -> pa.StructArray:
        """Return the fields of FOUND for some documents; the compiled loops run on all cores."""
        return pa.array(list(_threads().map(self.judge, documents)), FOUND)

    def judge(self, document: Document) -> dict[str, Any]:
        """Return the fields of FOUND for a document."""
        licence, access, drop = self.rights.check(*document[1:])
        size = len(document.text.encode("utf-8", "surrogatepass"))
        found: dict[str, Any] = {
            "licence": licence,
            "access": access,
            "language": language.UNSURE,
            "version": version_of(document.source, document.meta, self.config.version_field),
            "ingested_bytes": size,
            "counts": "",
        }
        drop = drop or self.rights.check_erased(document_id(document.text))
        if drop:
            sizes = dict.fromkeys(("repaired_bytes", "ruled_bytes", "bytes"), size)
            name = document_id(document.text)
            return (
                found | _dropped(drop) | sizes | {"text": "", "doc_id": name, "characters": 0, "repaired": 0}
            )
        return found | self._clean(document.text)

    def _clean(self, ingested: str) -> dict[str, Any]:
        uncovered = uncover(ingested)
        text, words_mended = mend(repair(uncovered.text))
        repaired, mended = _size(text), text != ingested
        code, probability = language.identify(text)
        sure = code if probability >= self.config.min_language_probability else language.UNSURE
        drop = language.judge_language(code, probability, self.config) if text.strip() else None
        if drop is None:
            text, drop = self.filters.apply(text, sure)
        ruled, private = _size(text), {}
        if drop is None:
            protected = self.protector.protect(text)
            text, drop, private = protected.text, protected.drop, protected.counts
        name = document_id(text)
        drop = drop or self.rights.check_erased(name)
        silent = drop is not None and drop.reason in SILENT
        counts = {"hidden": uncovered.counts, "privacy": private, "mended": {"words": words_mended}}
        return {
            "text": "" if silent else text,
            "doc_id": name,
            "language": sure,
            "counts": json.dumps(counts) if any(sum(each.values()) for each in counts.values()) else "",
            "repaired_bytes": repaired,
            "ruled_bytes": ruled,
            "bytes": _size(text),
            "characters": len(text),
            "repaired": int(mended),
            **(_dropped(drop) if drop else {"reason": "", "detail": ""}),
            **self._signature("" if silent else text),
        }

    def _signature(self, text: str) -> dict[str, Any]:
        minima = self.signer.sign(text) if self.signer else None
        if self.signer is None or minima is None:
            return {"bands": None, "sketch": None}
        return {"bands": self.signer.band_keys(minima), "sketch": sketch(minima).tobytes()}


def _dropped(drop: Rejection) -> dict[str, str]:
    return {"reason": drop.reason, "detail": drop.detail}


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(usable_cores(), thread_name_prefix="judge")
