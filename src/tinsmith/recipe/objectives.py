"""The training objectives: one row each, and whatever the product knows of an objective is asked here.

To add an objective that reads an existing token set, add a row here and the module `train/objectives/NAME.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

# Token sets beside the documents' own: the folder below the stage tokenize, and the field of [tokenize] with its files.
EXAMPLE_FILES: dict[str, str] = {"sft": "conversations", "dpo": "preferences"}


@dataclass(frozen=True)
class ObjectiveSpec:
    """What the recipe, the plan and the report know of an objective; `train/objectives/NAME.py` computes it."""

    learns: str  # in words, for plan and report
    tokens: Literal["", "sft", "dpo"] = ""  # the token set it reads; "" is the documents' own
    loss_unit: str = "nats a token"
    section: str = ""  # the section of [train] that sets it
    teacher_passes: float = 0.0  # forward passes of a teacher a token; above 0 it needs train.distil.teacher
    reference_passes: float = 0.0  # forward passes of the starting model a token


OBJECTIVES: dict[str, ObjectiveSpec] = {
    "next_token": ObjectiveSpec("the next token of documents"),
    "sft": ObjectiveSpec("answers in conversations", tokens="sft"),
    "distil": ObjectiveSpec(
        "a teacher's distributions beside the next token", section="distil", teacher_passes=1
    ),
    "dpo": ObjectiveSpec(
        "preferences between answers (DPO)",
        tokens="dpo",
        loss_unit="nats a pair",
        section="dpo",
        reference_passes=1,
    ),
}


def token_sets(objectives: Iterable[str]) -> set[str]:
    """Return the token sets that some objectives read."""
    return {OBJECTIVES[name].tokens for name in objectives}


def loss_unit(objectives: Iterable[str]) -> str:
    """Return the unit of the loss of a mixture: of objectives that count different things, only nats."""
    units = {OBJECTIVES[name].loss_unit for name in objectives}
    return units.pop() if len(units) == 1 else "nats"
