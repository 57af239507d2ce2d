"""What a step of refine decides about training documents."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

# A row is a document that goes (text is null) or whose text changes.
DECISIONS = pa.schema(
    [("doc_id", pa.string()), ("reason", pa.string()), ("detail", pa.string()), ("text", pa.string())]
)


class Outcome(NamedTuple):
    """Where a step wrote its decisions (Parquet, the schema DECISIONS), and its statistics by name."""

    decisions: Path
    statistics: dict[str, float]
