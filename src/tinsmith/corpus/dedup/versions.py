"""Which of several versions of a document is the newest, by metadata or by its file's name."""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath

_NUMBERS = re.compile(r"\d+")
_DIGITS = 20


def version_of(source: str, meta: str, field: str) -> str:
    """Return a string that sorts as versions do: the numbers of a metadata field, or of the file's name.

    2021-03-04, 20210304 and v2.10 all sort as they should among their like. Empty where there is no number.
    """
    text = _metadata(meta, field) if field else PurePosixPath(source.replace("\\", "/")).name
    return ".".join(number.lstrip("0").rjust(_DIGITS, "0")[:_DIGITS] for number in _NUMBERS.findall(text))


def _metadata(meta: str, field: str) -> str:
    try:
        said = json.loads(meta)
    except ValueError:
        return ""
    value = said.get(field, "") if isinstance(said, dict) else ""
    return str(value) if isinstance(value, str | int | float) else ""
