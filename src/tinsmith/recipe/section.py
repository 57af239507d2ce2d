"""The base class of recipe sections, when a field is read, and the section of a model that answers requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


@dataclass(frozen=True)
class ReadWhen:
    """When a field is read: `Annotated[float, ReadWhen(...)]`. A field without one is always read.

    `condition` takes the recipe and the section of the field; with `by_key` also a key of the field, whose entries then
    count one by one. `remedy` says what would make it true; {here} in it stands for the section's place in the recipe.
    `recipe/unread.py` refuses a person's recipe that sets a field while its condition is false.
    """

    condition: Callable[..., bool]
    remedy: str
    by_key: bool = False


class Section(BaseModel):
    """Base class of sections: unknown fields are refused, and values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    # When any field of the section is read; `condition` takes the recipe and the section itself.
    read_when: ClassVar[ReadWhen | None] = None
    always_read: ClassVar[frozenset[str]] = frozenset()  # the fields to which `read_when` does not apply

    @classmethod
    def conditions_of(cls, name: str) -> list[ReadWhen]:
        """Return the conditions of a field: the section's and its own."""
        of_section = [cls.read_when] if cls.read_when and name not in cls.always_read else []
        return of_section + [rule for rule in cls.model_fields[name].metadata if isinstance(rule, ReadWhen)]


FOR_DOCUMENTS = ReadWhen(
    lambda recipe, section: bool(recipe.ingest.sources), "name documents in ingest.sources"
)

_REMOTE = ReadWhen(lambda recipe, llm: llm.kind != "local", "set {here}.kind to that of an endpoint")


class LLMConfig(Section):
    """A model that answers requests, behind an endpoint or local. Keys come from environment variables."""

    kind: Literal["openai", "anthropic", "gemini", "local"] = Field(
        "local", description="openai is any OpenAI-compatible endpoint; local runs a GGUF here"
    )
    model: str = Field(
        "", description="the model's name at the endpoint; for local a named model or GGUF file"
    )
    url: Annotated[str, _REMOTE] = Field(
        "", description="base address of the endpoint; empty uses the provider's"
    )
    key_variable: Annotated[str, _REMOTE] = Field(
        "", description="environment variable with the key; empty sends none"
    )
    price_per_million_input: Annotated[float, _REMOTE] = Field(
        0.0, ge=0, description="meter.currency per million tokens read"
    )
    price_per_million_output: Annotated[float, _REMOTE] = Field(
        0.0, ge=0, description="meter.currency per million tokens written"
    )
    max_cost: Annotated[float, _REMOTE] = Field(
        0.0, ge=0, description="in meter.currency; requests stop there; 0 means unlimited"
    )
    max_minutes: float = Field(10.0, gt=0, description="requests stop after that")
    parallel: int = Field(2, ge=1, description="requests at the same time")
    seconds_per_answer: float = Field(120.0, gt=0, description="time limit for one answer")
