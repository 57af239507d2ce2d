"""What a stage sends to language models that run on other machines, and what a recipe must say to allow it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from tinsmith.base.errors import RecipeError
from tinsmith.recipe import LLMConfig


@dataclass(frozen=True)
class Outbound:
    """A model that a stage asks. `where` is its section; `most` gives the most documents and bytes that it receives."""

    where: str
    model: LLMConfig
    most: Callable[[], tuple[int, int]] = lambda: (0, 0)

    @cached_property
    def host(self) -> str:
        """Return the host that requests leave for; empty if they stay on this machine."""
        if self.model.kind == "local":
            return ""
        from tinsmith.llm.client import remote_host

        return remote_host(self.model.kind, self.model.url)

    def check(self, may_leave: tuple[str, ...]) -> None:
        """Refuse a model on another machine that may receive nothing, and a limit that stops nothing.

        Raises RecipeError.
        """
        if self.host and self.host == self.model.url:
            raise RecipeError(
                f"{self.host!r} is not an address",
                where=f"{self.where}.url",
                next_step="write http:// or https:// and a host, or leave it empty for the provider's own",
            )
        if self.host and not may_leave:
            raise RecipeError(
                f"{self.where} would send text of documents or rows to {self.host}, "
                "and the recipe allows none to leave",
                where="may_leave",
                next_step='list the access labels that may be sent, such as may_leave = ["public"]; "unknown" is one '
                "without a label; or name a model that runs here",
            )
        model = self.model
        if model.max_cost and not (model.price_per_million_input or model.price_per_million_output):
            raise RecipeError(
                f"{model.max_cost:g} would never be reached: no price is given, so every request counts as free",
                where=f"{self.where}.max_cost",
                next_step="set price_per_million_input and price_per_million_output, or limit max_minutes instead",
            )
