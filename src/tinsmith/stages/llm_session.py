"""Open the language model that a section of the recipe names, behind an endpoint or local, within its budget."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tinsmith.base.assets import resolve_model
from tinsmith.base.completion import Answer, Failure, Request
from tinsmith.base.errors import RecipeError
from tinsmith.llm.batch import Budget, Tally, ask_many
from tinsmith.llm.cache import AnswerCache
from tinsmith.llm.client import LLMClient, remote_host
from tinsmith.llm.gate import Gate
from tinsmith.llm.key import ApiKey
from tinsmith.meter.energy import EnergyMeter
from tinsmith.recipe import LLMConfig
from tinsmith.serve.room import trained_context
from tinsmith.serve.served import served_model

_CONTEXT_TOKENS = 3072  # of question and answer together, for a local model


@dataclass
class LLMSession:
    """An open model with its cache and budget; `tally` counts what the requests cost."""

    client: LLMClient
    cache: AnswerCache
    budget: Budget
    parallel: int
    joules: Callable[[], float] | None
    gate: Gate | None
    tally: Tally = field(default_factory=Tally)

    def ask(self, requests: Iterable[Request]) -> Iterator[Answer | Failure]:
        """Yield one outcome per request, in order. Raises LLMError if the model refuses or keeps failing."""
        return ask_many(
            self.client,
            requests,
            cache=self.cache,
            budget=self.budget,
            parallel=self.parallel,
            joules=self.joules,
            tally=self.tally,
            gate=self.gate,
        )

    def statistics(self) -> dict[str, float]:
        """Return what the requests cost: money in the recipe's currency, joules if the model ran here."""
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
def open_llm(
    config: LLMConfig, *, where: str, folder: Path, permitted: Collection[str] = (), most_bytes: int = 0
) -> Iterator[LLMSession]:
    """Open the model of the section `where`; answers are cached in `folder` and not paid for twice.

    To another machine go only requests whose documents are all among `permitted`, of `most_bytes` in sum; `folder` gets
    a record of them. Raises RecipeError without a model, AssetError for a local one that cannot be found, LLMError
    without its key.
    """
    if not config.model:
        raise RecipeError(
            "names no model", where=f"{where}.model", next_step="name a model of the endpoint, or a GGUF file"
        )
    with contextlib.ExitStack() as stack:
        client, joules = _local(config, where, stack) if config.kind == "local" else _remote(config, where)
        stack.callback(client.close)
        budget = Budget.of_minutes(config.max_cost, config.max_minutes)
        if config.kind != "local":
            budget.price_per_million_input = config.price_per_million_input
            budget.price_per_million_output = config.price_per_million_output
        gate = None
        if config.kind != "local" and (host := remote_host(config.kind, config.url)):
            gate = Gate(host, where, permitted=permitted, most_bytes=most_bytes, folder=folder)
            stack.callback(gate.close)
        yield LLMSession(client, AnswerCache(folder), budget, config.parallel, joules, gate)


def _remote(config: LLMConfig, where: str) -> tuple[LLMClient, None]:
    client = LLMClient(
        config.kind,
        config.model,
        config.url,
        ApiKey.read(config.key_variable, where=where),
        where=where,
        seconds_per_answer=config.seconds_per_answer,
        parallel=config.parallel,
    )
    return client, None


def _local(
    config: LLMConfig, where: str, stack: contextlib.ExitStack
) -> tuple[LLMClient, Callable[[], float]]:
    asset = resolve_model(config.model)
    if asset.path.suffix != ".gguf":
        raise RecipeError(
            f"{config.model} is not a GGUF file",
            where=f"{where}.model",
            next_step="name a GGUF, such as one that the stage package wrote, or a model of `tinsmith models`",
        )
    meter = stack.enter_context(EnergyMeter())
    context = min(_CONTEXT_TOKENS, trained_context(asset.path))
    # Pretrained models are asked too, whatever comes of it.
    served = served_model(asset.path, context=context, slots=config.parallel, plain_chats=True)
    server = stack.enter_context(served)
    client = LLMClient(
        "openai",
        asset.name,
        f"{server.base_url}/v1",
        ApiKey(server.api_key),
        where=where,
        identity=f"local:{asset.sha256}",
        seconds_per_answer=config.seconds_per_answer,
        parallel=config.parallel,
    )
    return client, _since_last(meter)


def _since_last(meter: EnergyMeter) -> Callable[[], float]:
    seen = 0.0

    def joules() -> float:
        nonlocal seen
        before, seen = seen, meter.reading.joules
        return seen - before

    return joules
