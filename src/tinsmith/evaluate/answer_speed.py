"""Measure speed and joules of answers by letting llama.cpp generate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import httpx

from tinsmith.base.errors import RunError
from tinsmith.evaluate.families.speed import Answer, SpeedItem


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
) -> SpeedItem:
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
    return {
        "answers": answers,
        "energy": {
            "joules_low": reading.joules_low,
            "joules": reading.joules,
            "joules_high": reading.joules_high,
            "method": reading.method,
        },
    }


def _answer(client: httpx.Client, prompt: str, tokens: int, gguf: Path) -> Answer:
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
