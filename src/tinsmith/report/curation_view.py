"""What curation did, arranged for the eye. Nothing here measures or decides."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from tinsmith.report.plots import histogram

Rows = list[dict[str, Any]]


class CurationView:
    """Tables and pictures drawn from the evidence's part about curation."""

    def __init__(self, curation: dict[str, Any]) -> None:
        self.curation = curation

    @property
    def steps(self) -> list[str]:
        """Return the steps of refine that ran, in their order."""
        names = dict.fromkeys(row["step"] for row in self.curation["refined"]["rows"])
        return [name for name in names if name not in ("training", "kept")]

    @property
    def refined(self) -> Rows:
        """Return refine's funnel; what a teacher wrote was added, so it counts below nothing."""
        return [row | {"sign": self._sign(row)} for row in self.curation["refined"]["rows"]]

    def _sign(self, row: dict[str, Any]) -> str:
        if row["step"] in ("training", "kept") or not (row["documents"] or row["bytes"]):
            return ""
        return "+" if row["bytes"] < 0 else "−"

    @property
    def privacy(self) -> Rows:
        """Return what was found by type, beside what share of such data was found where every place is known."""
        measured = self.curation["privacy_measured"].get("types", {})
        return [row | _shares(measured.get(row["type"], {})) for row in self.curation["privacy"]["rows"]]

    def score_picture(self) -> Markup:
        """Draw how many documents have which score; those kept stand out."""
        rows = self.curation["histogram"]["rows"]
        told = "; ".join(
            f"{row['low']:g} to {row['high']:g}: {row['documents']}" for row in rows if row["documents"]
        )
        bins = [(row["low"], row["high"], row["documents"], row["kept"]) for row in rows]
        return histogram(bins, f"Training documents by quality score: {told}")

    @property
    def synthesis(self) -> Rows:
        """Return the checks of written texts in their order, with how many were left after each."""
        return [
            {"step": step, "items": count}
            for step, count in self.curation["synthesis"].get("steps", {}).items()
        ]


def _shares(measured: dict[str, Any]) -> dict[str, Any]:
    return {name: measured.get(name) for name in ("recall", "precision")}
