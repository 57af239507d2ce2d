"""The trained model that the parity gate compares exports with: its files, and its answers to the prompts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from transformers import PreTrainedTokenizerFast

from tinsmith.base.progress import Advance
from tinsmith.model.load import load_model
from tinsmith.parity.opened import DirectoryModel
from tinsmith.parity.prompts import Prompt
from tinsmith.parity.sides import TorchSide

DrawPrompts = Callable[[PreTrainedTokenizerFast], list[Prompt]]


class Trained:
    """A trained model opened from its directory, with its last hidden states at all positions of the prompts."""

    def __init__(self, opened: DirectoryModel, prompts: list[Prompt], advance: Advance) -> None:
        self.opened, self.tokenizer, self.prompts = opened, opened.tokenizer, prompts
        ends = np.cumsum([prompt.positions for prompt in prompts])
        self.spans = [slice(int(end) - prompt.positions, int(end)) for prompt, end in zip(prompts, ends)]
        # A token of plain letters, which the server is made to sample where only the distribution matters.
        self.forced = int(self.tokenizer("a", add_special_tokens=False)["input_ids"][0])
        self.side = TorchSide(load_model(opened.path), prompts, advance)
