"""Why a document goes."""

from __future__ import annotations

from typing import NamedTuple


class Drop(NamedTuple):
    """Why a document is dropped: a reason code, and what was measured."""

    reason: str
    detail: str
