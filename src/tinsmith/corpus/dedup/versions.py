"""Order versions of a document by a metadata field or by its file name."""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath

_NUMBERS = re.compile(r"\d+")
_DIGITS = 20


def version_of(source: str, meta: str, field: str) -> str:
    """Return a string that sorts like versions: the numbers of a metadata field, or of the file name.

    2021-03-04, 20210304 and v2.10 each sort correctly among their own form. Empty if there is no number.
    """
    text = _metadata(meta, field) if field else PurePosixPath(source.replace("\\", "/")).name
    return ".".join(number.lstrip("0").rjust(_DIGITS, "0")[:_DIGITS] for number in _NUMBERS.findall(text))


def _metadata(meta: str, field: str) -> str:
    try:
        metadata = json.loads(meta)
    except ValueError:
        return ""
    value = metadata.get(field, "") if isinstance(metadata, dict) else ""
    return str(value) if isinstance(value, str | int | float) else ""
