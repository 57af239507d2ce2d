"""What a family asks of models: prepared once, before any model is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tinsmith.base.progress import Advance
from tinsmith.evidence.items import Item
from tinsmith.recipe import EvaluateConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from tinsmith.evaluate.scoring.scorer import Scorer
    from tinsmith.tokens.canaries import Canary

Rows = Sequence[Mapping[str, Any]]  # stored items of one kind
Ask = Callable[["Scorer", "PreTrainedTokenizerFast", Advance], Rows]


@dataclass(frozen=True)
class HeldOutText:
    """The opening of a held-out document. `overlap` is its share of word 13-grams that occur in training text."""

    doc_id: str
    text: str
    overlap: float

    @property
    def bytes(self) -> int:
        """Count the bytes of the text in UTF-8."""
        return len(self.text.encode("utf-8"))


@dataclass(frozen=True)
class Opening:
    """What was learnt of a document's opening: how many tokens in a row, and in how many passes."""

    tokens: int
    times: int


@dataclass(frozen=True)
class RedactedValue:
    """A value that curation replaced in a training document, and the learnt words before it.

    Its `repr` shows neither, since reprs end in logs.
    """

    doc_id: str
    type: str
    lead: str = field(repr=False)
    value: str = field(repr=False)
    others: tuple[str, ...] = field(repr=False)  # values of the same type or form, to rank it among


@dataclass(frozen=True)
class Preparation:
    """What families choose their questions from.

    `texts` are the openings that every model scores, `training` and `held_out` whole documents by id. `learnt` has the
    training documents, and canaries, whose opening was learnt; `nothing_learnt` says why where there are none.
    `redacted_documents` counts the training documents with a placeholder. `tokenizer` is that of our model.
    """

    config: EvaluateConfig
    seed: int
    texts: Sequence[HeldOutText]
    questions: Mapping[str, Sequence[Item]]
    training: Mapping[str, str]
    held_out: Mapping[str, str]
    learnt: Mapping[str, Opening]
    nothing_learnt: str
    canaries: Sequence[Canary]
    tokenizer: PreTrainedTokenizerFast
    redacted_documents: int
    find_redacted: Callable[[int], Sequence[RedactedValue]]  # up to so many, of learnt documents


@dataclass(frozen=True)
class Probe:
    """What one family asks a model; the rows go to `items/KIND-SUBJECT.jsonl`.

    `about` holds all that the rows depend on beside the model: it is hashed and never stored. `ask` advances by one
    for each of `size` parts. Our model and its base are asked.
    """

    kind: str
    about: tuple[str, ...]
    size: int
    ask: Ask
