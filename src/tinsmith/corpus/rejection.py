"""Why a document is dropped."""

from __future__ import annotations

from typing import NamedTuple


class Rejection(NamedTuple):
    """A reason code, and what was measured."""

    reason: str
    detail: str
