"""The base class of recipe sections, and the section of a language model that answers requests."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """Base class of sections: unknown fields are refused, and values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LLMConfig(Section):
    """A model that answers requests, behind an endpoint or local. Keys come from environment variables."""

    kind: Literal["openai", "anthropic", "gemini", "local"] = Field(
        "local", description="openai is any OpenAI-compatible endpoint; local runs a GGUF here"
    )
    model: str = Field(
        "", description="the model's name at the endpoint; for local a named model or GGUF file"
    )
    url: str = Field("", description="base address of the endpoint; empty uses the provider's")
    key_variable: str = Field("", description="environment variable with the key; empty sends none")
    price_per_million_input: float = Field(0.0, ge=0, description="meter.currency per million tokens read")
    price_per_million_output: float = Field(
        0.0, ge=0, description="meter.currency per million tokens written"
    )
    max_cost: float = Field(
        0.0, ge=0, description="in meter.currency; requests stop there; 0 means unlimited"
    )
    max_minutes: float = Field(10.0, gt=0, description="requests stop after that")
    parallel: int = Field(2, ge=1, description="requests at the same time")
    seconds_per_answer: float = Field(120.0, gt=0, description="time limit for one answer")
