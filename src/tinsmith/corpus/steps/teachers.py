"""How much text a step shows its teacher at most; a plan asks without importing the step."""

from __future__ import annotations

from tinsmith.base.completion import BYTES_PER_CHARACTER
from tinsmith.recipe import ScoreConfig, SynthesisConfig
from tinsmith.recipe.corpus import StepConfig

OPENING, MIDDLE = 2_000, 1_000  # characters of a document that is rated
CHARACTERS_PER_WORD = 12  # a passage is cut there, since some scripts write without spaces
MAX_TOKENS = {"question": 300, "textbook": 700}  # of what is written
_CHARACTERS_PER_TOKEN = 4
_BESIDE = 3_000  # bytes of all instructions about one document


def most_sent(config: StepConfig) -> tuple[int, int]:
    """Return the most documents, and the most bytes of requests, that a step's teacher receives."""
    if isinstance(config, ScoreConfig):
        text = BYTES_PER_CHARACTER * (OPENING + MIDDLE)
        return config.sample, config.sample * (text + len(config.rubric.encode()) + _BESIDE)
    if isinstance(config, SynthesisConfig):
        # The passage goes there twice, to write and to check, and what was written comes back to be checked.
        characters = 2 * config.passage_words * CHARACTERS_PER_WORD
        characters += _CHARACTERS_PER_TOKEN * max(MAX_TOKENS.values())
        return config.items, config.items * (BYTES_PER_CHARACTER * characters + _BESIDE)
    raise TypeError(f"{type(config).__name__} asks a teacher, and nothing says how much it sends")
