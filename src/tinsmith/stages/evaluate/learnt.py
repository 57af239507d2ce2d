"""What was learnt of each document: known from the order in which each objective read its sequences."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from tinsmith.base.files import read_jsonl
from tinsmith.evaluate.probe import Opening
from tinsmith.evidence.format import listing
from tinsmith.recipe import OBJECTIVES, TrainConfig
from tinsmith.tokens.shards import TokenSet
from tinsmith.train.mixture import count_reads, open_sets


def find_learnt(
    config: TrainConfig, tokenize: Path, train: Path, *, seed: int
) -> tuple[dict[str, Opening], str]:
    """Return by document or canary what was learnt of its opening; and why, where nothing was.

    Conversations and preferences may hold the text of a document, but only their answers are learnt.
    """
    sets = open_sets(config, tokenize)
    reads = count_reads(config, sets, read_jsonl(train / "log.jsonl"), seed=seed)
    own = [name for name in reads if not OBJECTIVES[name].tokens]
    if not own:
        learns = listing([OBJECTIVES[name].learns for name in reads])
        return {}, f"training learnt {learns}, not the text of documents"
    times: Counter[int] = sum((reads[name] for name in own), Counter())
    learnt = {}
    for number, row in enumerate(read_jsonl(tokenize / "sequences.jsonl")):
        tokens = _leading_targets(sets[own[0]], number) if times[number] and not row["order"] else 0
        if tokens:
            learnt[row["doc_id"]] = Opening(tokens, times[number])
    return learnt, "" if learnt else "training ended before it had read the opening of a document"


def _leading_targets(tokens: TokenSet, number: int) -> int:
    """Count the targets up to the first token that is none, such as the question after an opening."""
    _, marks = tokens.sequence(number)
    others = np.flatnonzero(marks[1:] == 0)
    return int(others[0]) if len(others) else len(marks) - 1
