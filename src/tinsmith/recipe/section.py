"""What every section of a recipe shares: unknown fields are refused, and values never change."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A part of the recipe: unknown fields are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LLMConfig(Section):
    """A model that is asked in words: behind an endpoint, or local. Keys come from environment variables."""

    kind: Literal["openai", "anthropic", "gemini", "local"] = Field(
        "local", description="openai is any OpenAI-compatible endpoint; local runs a GGUF here"
    )
    model: str = Field(
        "", description="the model's name at the endpoint; for local a named model or GGUF file"
    )
    url: str = Field("", description="base address of the endpoint; empty takes the provider's own")
    key_variable: str = Field("", description="environment variable that holds the key; empty sends none")
    price_per_million_input: float = Field(0.0, ge=0, description="meter.currency per million tokens read")
    price_per_million_output: float = Field(
        0.0, ge=0, description="meter.currency per million tokens written"
    )
    max_cost: float = Field(0.0, ge=0, description="meter.currency; asks no more beyond; 0 is no limit")
    max_minutes: float = Field(10.0, gt=0, description="asks no more beyond")
    parallel: int = Field(2, ge=1, description="questions at one time")
    seconds_per_answer: float = Field(120.0, gt=0, description="time limit for one answer")
