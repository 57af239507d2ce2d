"""Apply everything in curate that looks at one document alone, and compute what the search for duplicates needs."""

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
from tinsmith.corpus.rights import TEXTLESS as WITHOUT_RIGHTS
from tinsmith.corpus.rights import Rights
from tinsmith.corpus.text import language
from tinsmith.corpus.text.dehyphenate import dehyphenate
from tinsmith.corpus.text.hidden import uncover
from tinsmith.corpus.text.repair import document_id, repair
from tinsmith.recipe import CurateConfig

_TEXTS = ("text", "doc_id", "licence", "access", "language", "reason", "detail", "version", "counts")
_NUMBERS = ("ingested_bytes", "repaired_bytes", "ruled_bytes", "bytes", "characters", "repaired")
# What the filter returns: an empty reason passes, `counts` is JSON, `bands` and `sketch` are the signature.
RESULT = pa.struct(
    [
        *((name, pa.large_string()) for name in _TEXTS),
        *((name, pa.int64()) for name in _NUMBERS),
        ("bands", pa.large_list(pa.uint64())),
        ("sketch", pa.large_binary()),
    ]
)
# A document rejected for one of these leaves no text in curate or later stages, not even among the rejects.
TEXTLESS = WITHOUT_RIGHTS | set(PRIVATE)


class IngestedDocument(NamedTuple):
    """The columns of `ingest/documents.parquet` that the filter reads."""

    text: str
    source: str
    sha256: str
    licence: str
    meta: str


class DocumentFilter:
    """Apply rights, repair, language, filters and privacy to documents, and sign their text with MinHash.

    Immutable, so threads may share it; pickles small enough to be sent to the workers of a cluster.
    """

    def __init__(self, config: CurateConfig, seed: int, forgotten: ErasureList) -> None:
        self.config = config
        self.rights = Rights(config.rights, forgotten)
        self.filters = Filters(config)
        self.protector = Protector(config.privacy)
        clusters = config.cluster_jaccard < 1
        self.signer = Signer(choose_banding(config.cluster_jaccard), seed) if clusters else None

    def filter_all(self, documents: Sequence[IngestedDocument]) -> pa.StructArray:
        """Return a RESULT struct per document; the compiled loops use all cores."""
        return pa.array(list(_threads().map(self.filter, documents)), RESULT)

    def filter(self, document: IngestedDocument) -> dict[str, Any]:
        """Return the fields of RESULT for one document."""
        licence, access, rejection = self.rights.check(*document[1:])
        doc_id = document_id(document.text)
        rejection = rejection or self.rights.check_erased(doc_id)
        size = len(document.text.encode("utf-8", "surrogatepass"))
        fields: dict[str, Any] = {
            "licence": licence,
            "access": access,
            "language": language.UNSURE,
            "version": version_of(document.source, document.meta, self.config.version_field),
            "ingested_bytes": size,
            "counts": "",
        }
        if rejection is None:
            return fields | self._clean(document.text)
        fields |= dict.fromkeys(("repaired_bytes", "ruled_bytes", "bytes"), size)
        return fields | rejection._asdict() | {"text": "", "doc_id": doc_id, "characters": 0, "repaired": 0}

    def _clean(self, ingested: str) -> dict[str, Any]:
        uncovered = uncover(ingested)
        text, words_joined = dehyphenate(repair(uncovered.text))
        repaired_bytes, is_repaired = _bytes(text), text != ingested
        code, probability = language.identify(text)
        sure = code if probability >= self.config.min_language_probability else language.UNSURE
        rejection = language.check_language(code, probability, self.config) if text.strip() else None
        if rejection is None:
            text, rejection = self.filters.apply(text, sure)
        ruled_bytes, private = _bytes(text), {}
        if rejection is None:
            protected = self.protector.protect(text)
            text, rejection, private = protected.text, protected.drop, protected.counts
        doc_id = document_id(text)
        rejection = rejection or self.rights.check_erased(doc_id)
        visible = "" if rejection and rejection.reason in TEXTLESS else text
        counts = {"hidden": uncovered.counts, "privacy": private, "mended": {"words": words_joined}}
        return {
            "text": visible,
            "doc_id": doc_id,
            "language": sure,
            "counts": json.dumps(counts) if any(sum(each.values()) for each in counts.values()) else "",
            "repaired_bytes": repaired_bytes,
            "ruled_bytes": ruled_bytes,
            "bytes": _bytes(text),
            "characters": len(text),
            "repaired": int(is_repaired),
            **(rejection or Rejection("", ""))._asdict(),
            **self._sign(visible),
        }

    def _sign(self, text: str) -> dict[str, Any]:
        minima = self.signer.sign(text) if self.signer else None
        if self.signer is None or minima is None:
            return {"bands": None, "sketch": None}
        return {"bands": self.signer.band_keys(minima), "sketch": sketch(minima).tobytes()}


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(usable_cores(), thread_name_prefix="filter")
