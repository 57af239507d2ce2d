"""Open the model that a recipe asks in words: behind an endpoint, or a GGUF here, within its budget."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tinsmith.base.assets import resolve_model
from tinsmith.base.completion import Answer, Failure, Request
from tinsmith.base.errors import RecipeError
from tinsmith.llm.batch import Budget, Tally, ask_many
from tinsmith.llm.cache import AnswerCache
from tinsmith.llm.client import LLMClient
from tinsmith.llm.key import ApiKey
from tinsmith.meter.energy import EnergyMeter
from tinsmith.recipe import LLMConfig
from tinsmith.serve.runtime import LlamaServer

_TOKENS_EACH = 3072  # of question and answer together, for a model that runs here


@dataclass
class Asking:
    """A teacher that is open: `ask` yields one outcome per question, in order; `tally` counts what they took."""

    teacher: LLMClient
    cache: AnswerCache
    budget: Budget
    parallel: int
    joules: Callable[[], float] | None
    tally: Tally = field(default_factory=Tally)

    def ask(self, requests: Iterable[Request]) -> Iterator[Answer | Failure]:
        """Ask questions. Raises LLMError where the teacher refuses or gives nothing many times in a row."""
        return ask_many(
            self.teacher,
            requests,
            cache=self.cache,
            budget=self.budget,
            parallel=self.parallel,
            joules=self.joules,
            tally=self.tally,
        )

    def statistics(self) -> dict[str, float]:
        """Return what the questions took: money in the recipe's currency, joules where this machine did the work."""
        tally = self.tally
        figures: dict[str, float] = {
            "requests": tally.answers + tally.failures,
            "requests_cached": tally.cached,
            "requests_failed": tally.failures,
            "input_tokens": tally.input_tokens,
            "output_tokens": tally.output_tokens,
            "tokens_estimated": tally.estimated,
            "cost": tally.cost,
        }
        return figures | ({"joules": tally.joules} if tally.joules is not None else {})


@contextlib.contextmanager
def open_teacher(config: LLMConfig, *, where: str, folder: Path) -> Iterator[Asking]:
    """Open the teacher of the section `where`; its answers are kept below `folder` and not asked for twice.

    Raises RecipeError without a model, AssetError for one that cannot be had here, LLMError without its key.
    """
    if not config.model:
        raise RecipeError(
            "names no model", where=f"{where}.model", next_step="name a model of the endpoint, or a GGUF file"
        )
    with contextlib.ExitStack() as stack:
        teacher, joules = _local(config, where, stack) if config.kind == "local" else _remote(config, where)
        stack.callback(teacher.close)
        budget = Budget.of_minutes(config.max_cost, config.max_minutes)
        if config.kind != "local":
            budget.price_per_million_input = config.price_per_million_input
            budget.price_per_million_output = config.price_per_million_output
        yield Asking(teacher, AnswerCache(folder), budget, config.parallel, joules)


def _remote(config: LLMConfig, where: str) -> tuple[LLMClient, None]:
    teacher = LLMClient(
        config.kind,
        config.model,
        config.url,
        ApiKey.read(config.key_variable, where=f"{where}.key_variable"),
        where=where,
        seconds_per_answer=config.seconds_per_answer,
        parallel=config.parallel,
    )
    return teacher, None


def _local(
    config: LLMConfig, where: str, stack: contextlib.ExitStack
) -> tuple[LLMClient, Callable[[], float]]:
    asset = resolve_model(config.model)
    if asset.path.suffix != ".gguf":
        raise RecipeError(
            f"{config.model} is no GGUF file",
            where=f"{where}.model",
            next_step="name a GGUF, such as one that the stage package wrote, or a model of `tinsmith models`",
        )
    meter = stack.enter_context(EnergyMeter())
    server = stack.enter_context(
        LlamaServer(asset.path, context=_TOKENS_EACH * config.parallel, slots=config.parallel)
    )
    teacher = LLMClient(
        "openai",
        asset.name,
        f"{server.base_url}/v1",
        ApiKey(server.api_key),
        where=where,
        identity=f"local:{asset.sha256}",
        seconds_per_answer=config.seconds_per_answer,
        parallel=config.parallel,
    )
    return teacher, _since_last(meter)


def _since_last(meter: EnergyMeter) -> Callable[[], float]:
    seen = 0.0

    def joules() -> float:
        nonlocal seen
        before, seen = seen, meter.reading.joules
        return seen - before

    return joules
