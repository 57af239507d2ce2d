"""Sum what left the machine, by host, from the records that stages keep of their requests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tinsmith.base.files import JsonObject, read_json
from tinsmith.report.schema import LeftOut, Sent, SentTo

SENDERS = ("refine", "evaluate")  # the stages that ask language models


def read_sent(folder: Path, *, has_documents: bool) -> Sent | None:
    """Read what the stages sent; None unless each of them wrote it down, since then nobody knows."""
    paths = [folder / f"{stage}.json" for stage in SENDERS if has_documents or stage == "evaluate"]
    if not all(path.is_file() for path in paths):
        return None
    records = [read_json(path) for path in paths]
    requests = [row for record in records for row in record["requests"]]
    left_out = [pair for record in records for pair in record["left_out"].items()]
    return Sent(
        hosts=tuple(
            _sum(host, [row for row in requests if row["host"] == host])
            for host in sorted({row["host"] for row in requests})
        ),
        left_out=tuple(LeftOut(where=where, documents=documents) for where, documents in left_out),
    )


def _sum(host: str, requests: Sequence[JsonObject]) -> SentTo:
    return SentTo(
        host=host,
        documents=len({name for row in requests for name in row["documents"]}),
        requests=len(requests),
        bytes=sum(row["bytes"] for row in requests),
        sections=tuple(sorted({row["where"] for row in requests})),
    )
