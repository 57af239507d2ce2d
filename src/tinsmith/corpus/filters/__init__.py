"""Sets of fixed rules by name: gopher, its part gopher_quality, c4 and fineweb, with their published thresholds."""

from __future__ import annotations

from tinsmith.corpus.filters import c4, fineweb, gopher
from tinsmith.corpus.filters.scan import Scan, scan
from tinsmith.corpus.rejection import Rejection
from tinsmith.recipe import CurateConfig

_SETS = {
    "gopher": gopher.REASONS,
    "gopher_quality": gopher.QUALITY,
    "c4": c4.REASONS,
    "fineweb": fineweb.REASONS,
}
# Reason of a drop -> the field under `curate` that causes it. The order is that of the funnel.
REASONS = {
    reason: f"{name}.{field}"
    for name, reasons in _SETS.items()
    if name != "gopher_quality"  # its fields are those of gopher
    for reason, field in reasons.items()
}


class RuleSets:
    """The sets of rules that a recipe names, asked one after the other."""

    def __init__(self, config: CurateConfig) -> None:
        self.config = config
        self.reasons = {reason for name in config.rules for reason in _SETS[name]}

    def judge(self, text: str, language: str = "") -> tuple[str, Rejection | None]:
        """Return a text as the rules leave it, and the first that drops it, or None.

        C4's may take lines out, and what follows judges the rest. Stop words are asked where the language is "en".
        """
        read = scan(text)
        for name in self.config.rules:
            if not len(read.tokens):
                return text, Rejection("empty", "no words")
            if name == "c4":
                before = text
                text, drop = c4.judge(text, self.config.c4)
                read = read if text is before else scan(text)
            else:
                drop = self._judge(name, read, language)
            if drop:
                return text, drop
        return text, None if len(read.tokens) else Rejection("empty", "no words")

    def _judge(self, name: str, read: Scan, language: str) -> Rejection | None:
        if name == "gopher":
            return gopher.judge(read, language, self.config.gopher)
        if name == "gopher_quality":
            return next(gopher.judge_quality(read, language, self.config.gopher), None)
        return fineweb.judge(read, self.config.fineweb)
