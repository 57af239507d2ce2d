"""Speed and joules of answers, by letting llama.cpp generate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import httpx

from tinsmith.base.errors import RunError
from tinsmith.recipe import MeterConfig


class Server(Protocol):
    """A running llama.cpp server."""

    def client(self) -> httpx.Client:
        """Return a client that knows its address and key."""
        ...


class Reading(Protocol):
    """Joules as a range, and how they were found."""

    @property
    def joules_low(self) -> float: ...
    @property
    def joules(self) -> float: ...
    @property
    def joules_high(self) -> float: ...
    @property
    def method(self) -> str: ...


class Meter(Protocol):
    """Something that has read the energy of the work done while it was open."""

    @property
    def reading(self) -> Reading:
        """Return what was used between entry and exit."""
        ...


Serve = Callable[[Path], AbstractContextManager[Server]]
OpenMeter = Callable[[], AbstractContextManager[Meter]]


def measure_speed(
    gguf: Path, prompts: Sequence[str], *, tokens: int, serve: Serve, open_meter: OpenMeter
) -> dict[str, Any]:
    """Generate `tokens` tokens after each prompt, greedily, one request at a time, after an uncounted one.

    Return `answers` (prompt_tokens, tokens, seconds, tokens_per_second each) and the `energy` of them all.
    Raises RunError where the server does not answer.
    """
    assert prompts
    with serve(gguf) as server, server.client() as client:
        _answer(client, prompts[0], tokens, gguf)
        with open_meter() as meter:
            answers = [_answer(client, prompt, tokens, gguf) for prompt in prompts]
        reading = meter.reading
    energy = {name: getattr(reading, name) for name in ("joules_low", "joules", "joules_high", "method")}
    return {"answers": answers, "energy": energy}


def _answer(client: httpx.Client, prompt: str, tokens: int, gguf: Path) -> dict[str, Any]:
    # ignore_eos: every subject writes equally much, else the one that says least would look cheapest.
    request = {
        "prompt": prompt,
        "n_predict": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "cache_prompt": False,
    }
    try:
        reply = client.post("/completion", json=request).raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        raise RunError(
            f"llama.cpp gave no answer ({error})",
            where=str(gguf),
            next_step="try: tinsmith build RECIPE --set evaluate.speed_tokens=16",
        ) from error
    times = reply["timings"]
    return {
        "prompt_tokens": times["prompt_n"],
        "tokens": times["predicted_n"],
        "seconds": (times["prompt_ms"] + times["predicted_ms"]) / 1000,
        "tokens_per_second": times["predicted_n"] / max(times["predicted_ms"] / 1000, 1e-9),
    }


def speed_rows(
    subject: str, measured: dict[str, Any], meter: MeterConfig, *, file: str
) -> list[dict[str, Any]]:
    """Return a subject's rows of `metrics`; speed ranges over answers, joules as the meter does."""
    answers, energy = measured["answers"], measured["energy"]
    count = len(answers)
    rates = sorted(answer["tokens_per_second"] for answer in answers)
    middle = sum(answer["tokens"] for answer in answers) / sum(
        answer["tokens"] / answer["tokens_per_second"] for answer in answers
    )
    joules = [energy[name] / count for name in ("joules", "joules_low", "joules_high")]
    price = [1000 * value * meter.pue / 3.6e6 * meter.price_per_kwh for value in joules]
    common = {"subject": subject, "items": count, "file": file}

    def row(metric: str, values: Sequence[float], unit: str, **more: Any) -> dict[str, Any]:
        value, low, high = values
        return {**common, "metric": metric, "value": value, "low": low, "high": high, "unit": unit, **more}

    return [
        row("tokens_per_second", (middle, rates[0], rates[-1]), "tokens/s"),
        row("joules_per_answer", joules, "J", method=energy["method"]),
        row("energy_price_per_1000_answers", price, meter.currency, method=energy["method"]),
    ]
