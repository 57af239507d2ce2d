"""Who is measured, in which environment, by which worker, with which settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Subject:
    """A tool in one of its ways to train. `micro` sequences of 512 tokens are a pass, `micro_lora` with adapters.

    Both are each tool's fastest of 1, 2 and 4, found by `--sweep`.
    """

    name: str
    environment: str
    worker: str
    compiled: bool = False
    micro: int = 4
    micro_lora: int = 4


SUBJECTS = (
    Subject("tinsmith", "tinsmith", "ours", micro_lora=2),
    Subject("tinsmith compiled", "tinsmith", "ours", compiled=True, micro_lora=2),
    Subject("transformers Trainer", "transformers", "trainer"),
    Subject("transformers Trainer compiled", "transformers", "trainer", compiled=True),
    Subject("TRL SFTTrainer packing", "trl", "sft"),
    Subject("LitGPT", "litgpt", "lit"),
    Subject("LitGPT compiled", "litgpt", "lit", compiled=True),
)
DEFAULT_PEER = "transformers Trainer"
