"""Count what curate did: the funnel, rights, hidden characters, personal data."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from tinsmith.corpus.filters import REASONS as FILTER_REASONS
from tinsmith.corpus.filters import Filters
from tinsmith.corpus.privacy import REASONS as PRIVACY_REASONS
from tinsmith.corpus.rights import REASONS as RIGHTS_REASONS
from tinsmith.recipe import CurateConfig

Row = dict[str, Any]
_SIZES = ("ingested_bytes", "repaired_bytes", "ruled_bytes", "bytes", "repaired")


class Tally:
    """Counts over all documents; each counts once, by its final reason."""

    def __init__(self) -> None:
        self.seen = self.kept_documents = self.kept_bytes = 0
        self.documents: Counter[str] = Counter()  # dropped, by reason
        self.bytes: Counter[str] = Counter()
        self.sizes: Counter[str] = Counter()
        self.clusters: Counter[str] = Counter()
        self.labels: dict[tuple[str, str, str], Counter[str]] = {}
        self.words_joined = 0
        self.found: dict[str, dict[str, Counter[str]]] = {"hidden": {}, "privacy": {}}

    def add(self, table: pa.Table) -> None:
        """Count the documents of a table with the columns of `document_filter.RESULT` and their clusters."""
        names = ("reason", "licence", "access", "cluster", "counts", *_SIZES)
        for row in table.select(names).to_pylist():
            self.seen += 1
            self.sizes.update({name: row[name] for name in _SIZES})
            reason = row["reason"]
            verdict = reason if reason in RIGHTS_REASONS else "allowed"
            label = self.labels.setdefault((row["licence"], row["access"], verdict), Counter())
            label.update(documents=1, bytes=row["ingested_bytes"])
            counts = json.loads(row["counts"]) if row["counts"] else {}
            self._count("hidden", counts.get("hidden", {}))
            self.words_joined += counts.get("mended", {}).get("words", 0)
            if reason:
                self.documents[reason] += 1
                self.bytes[reason] += row["bytes"]
            else:
                self.kept_documents += 1
                self.kept_bytes += row["bytes"]
                self.clusters[row["cluster"]] += 1
                self._count("privacy", counts.get("privacy", {}))

    def _count(self, what: str, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            self.found[what].setdefault(name, Counter()).update(count=count, documents=1)

    def funnel(self, causes: Mapping[str, tuple[str, str]], config: CurateConfig) -> list[Row]:
        """Return the rows of the funnel; characters repaired, lines removed and placeholders have their own."""
        shrunk = {
            "repair": ("characters", self.sizes["ingested_bytes"] - self.sizes["repaired_bytes"]),
            "quality": ("lines", self.sizes["repaired_bytes"] - self.sizes["ruled_bytes"]),
            "privacy": ("placeholders", self.sizes["ruled_bytes"] - self.sizes["bytes"]),
        }
        idle = _idle_reasons(config)
        rows = [_entry("ingested", "", self.seen, self.sizes["ingested_bytes"])]
        for reason, (step, _) in causes.items():
            if step in shrunk:
                what, size = shrunk.pop(step)
                rows += [_entry(step, what, 0, size)] if size or step == "repair" else []
            if self.documents[reason] or reason not in idle:
                rows.append(_entry(step, reason, self.documents[reason], self.bytes[reason]))
        return [*rows, _entry("kept", "", self.kept_documents, self.kept_bytes)]

    def rights(self) -> list[Row]:
        """Return documents and bytes by licence, access label and verdict, the largest first."""
        rows = [
            {"licence": licence, "access": access, "verdict": verdict, **count}
            for (licence, access, verdict), count in self.labels.items()
        ]
        return sorted(
            rows, key=lambda row: (-row["documents"], row["licence"], row["access"], row["verdict"])
        )

    def hidden(self) -> list[Row]:
        """Return by kind how many hidden characters were removed, and from how many documents."""
        return [{"kind": kind, **count} for kind, count in sorted(self.found["hidden"].items())]

    def privacy(self, actions: Mapping[str, str]) -> list[Row]:
        """Return by type of personal data what was replaced in the kept documents; None if not looked for."""
        nothing: Counter[str] = Counter()
        rows = []
        for name, action in actions.items():
            count = self.found["privacy"].get(name, nothing)
            looked = action != "keep"
            found = {key: count[key] if looked else None for key in ("count", "documents")}
            rows.append({"type": name, "action": action, **found})
        return rows

    def statistics(self) -> dict[str, float]:
        """Return the stage's figures."""
        private = self.found["privacy"].values()
        return {
            "documents_ingested": self.seen,
            "bytes_ingested": self.sizes["ingested_bytes"],
            "documents_repaired": self.sizes["repaired"],
            "documents_dropped": self.documents.total(),
            "documents_kept": self.kept_documents,
            "bytes_kept": self.kept_bytes,
            "clusters": len(self.clusters),
            "largest_cluster_documents": max(self.clusters.values(), default=0),
            "words_mended": self.words_joined,
            "hidden_characters": sum(count["count"] for count in self.found["hidden"].values()),
            "placeholders": sum(count["count"] for count in private),
        }


def _entry(step: str, reason: str, documents: int, size: int) -> Row:
    return {"step": step, "reason": reason, "documents": documents, "bytes": size}


def _idle_reasons(config: CurateConfig) -> set[str]:
    """Return the reasons that a recipe switches off, so that the funnel does not list them."""
    idle = set() if config.languages else {"language_unsure", "language"}
    idle |= {"near_duplicate"} if config.near_duplicate_jaccard == 1 else set()
    idle |= set(FILTER_REASONS) - Filters(config).reasons
    idle |= set() if "drop" in config.privacy.actions.values() else set(PRIVACY_REASONS)
    rights = config.rights
    idle |= set() if rights.allow_licences or rights.deny_licences else {"licence_refused"}
    idle |= set() if rights.allow_access or rights.deny_access else {"access_refused"}
    return idle | {"forgotten"}
