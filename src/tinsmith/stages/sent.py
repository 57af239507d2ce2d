"""What a stage sent to other machines, as it is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from tinsmith.base.errors import CorpusError
from tinsmith.base.files import write_json
from tinsmith.corpus.rights import UNKNOWN
from tinsmith.llm.gate import RECORD, read_record
from tinsmith.stages.outbound import Outbound

ANSWERS = "answers"  # folder of a stage, with one for each model that it asks


def write_sent(out: Path, left_out: Mapping[str, int]) -> None:
    """Write `sent.json`: the requests that left the machine, those of killed attempts too, and what was left out.

    `left_out` counts, by section of the model, the documents that might not be sent.
    """
    records = sorted((out / ANSWERS).glob(f"*/{RECORD}"))
    requests = [row for path in records for row in read_record(path)]
    write_json(out / "sent.json", {"requests": requests, "left_out": dict(left_out)})


def none_may_leave(outbound: Outbound, labels: Iterable[str]) -> CorpusError:
    """Return the error that no document may be sent to a model, with the labels that there are."""
    counted = Counter(label or UNKNOWN for label in labels).most_common(10)
    found = ", ".join(f"{label} ({count})" for label, count in counted) or "none"
    return CorpusError(
        f"lists the label of no document that {outbound.where} could be asked about; their labels are {found}",
        where="may_leave",
        next_step="correct the labels, label the documents (curate.rights), or name a model that runs here",
    )
