"""A thousand requests of 64 clients: `tinsmith serve` beside llama.cpp's own server, in the same run."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil

from benchmarks.evidence import table, write_evidence
from benchmarks.load import Tally, cases, load
from benchmarks.paths import RESULTS
from benchmarks.ratios import ratio_spread, spread
from tinsmith.base.assets import resolve_model
from tinsmith.base.files import read_json
from tinsmith.serve.room import SLOTS, context_for
from tinsmith.serve.runtime import LlamaServer

_CLIENTS, _REQUESTS = 64, 250
_WORDS, _TOKENS = 16, 8
_SECONDS = 600.0
_OURS, _PLAIN = "tinsmith serve", "llama.cpp's server"


class _Server(NamedTuple):
    address: str
    key: str
    process: int


def run(*, quick: bool, rounds: int, append: bool) -> None:
    """Write `results/soak`. Each round has 250 other requests, and each server starts first in turn.

    With `append`, the rounds of the last run are kept and these are added.
    """
    gguf = resolve_model("smollm2-135m").path
    name, count = ("soak-quick", 60) if quick else ("soak", _REQUESTS)
    servers = {_OURS: _tinsmith, _PLAIN: _plain}
    file = RESULTS / f"{name}.json"
    found = read_json(file)["servers"] if append else {server: [] for server in servers}
    for _ in range(1 if quick else rounds):
        number, order = len(found[_OURS]), list(servers)
        for server in order[number % 2 :] + order[: number % 2]:
            with servers[server](gguf) as running:
                tally, memory = _soak(running, count, number)
            found[server].append(_row(tally, memory))
            print(f"{server}: {tally.tokens_per_second:.2f} tokens/s, {len(tally.faults)} faults", flush=True)
    facts = {"model": gguf.name, "clients": _CLIENTS, "servers": found}
    total = count * len(found[_OURS])
    title = f"{total:,} requests of {_CLIENTS} clients at once, SmolLM2-135M in 4 bits"
    write_evidence(name, title, facts, _page(found, total))


def _row(tally: Tally, memory: list[int]) -> dict[str, Any]:
    return {
        "seconds": tally.seconds,
        "tokens_per_second": tally.tokens_per_second,
        "p50": tally.latency(0.5),
        "p99": tally.latency(0.99),
        "faults": tally.faults,
        "kinds": Counter(outcome.kind for outcome in tally.outcomes),
        "memory_bytes": memory,
    }


def _page(found: dict[str, list[dict[str, Any]]], total: int) -> list[str]:
    lines = []
    speeds = {name: [row["tokens_per_second"] for row in rows] for name, rows in found.items()}
    for name, rows in found.items():
        faults = sum(len(row["faults"]) for row in rows)
        lines.append(
            [
                name,
                f"{faults} of {total:,}",
                spread(speeds[name]),
                ratio_spread(speeds[_OURS], speeds[name]),
                spread([row["p50"] for row in rows]),
                spread([row["p99"] for row in rows]),
                f"{max(row['memory_bytes'][-1] for row in rows) / 1e6:.0f}",
                f"{max(row['memory_bytes'][-1] - row['memory_bytes'][0] for row in rows) / 1e6:+.0f}",
            ]
        )
    header = ["server", "lost, cut or wrong", "tokens/s", "tinsmith: times as fast", "seconds, p50", "p99"]
    header += ["memory, MB", "grown since the first quarter, MB"]
    return [*table(header, lines), *_NOTES]


_NOTES = [
    "Half of the requests are plain; the others have stop texts, JSON schemas that each admit one answer, clients that "
    "leave, and broken bodies, of which each must get a 4xx with a message. A fifth of the prompts hold markup that a "
    "person typed. Tokens are those of plain answers, which are equally many for both: white space in JSON is each "
    "server's own. Memory is that of all processes of a server.",
    "",
    "llama.cpp's server runs with the slots and the context that `tinsmith serve` gives it.",
]


def _soak(server: _Server, count: int, seed: int) -> tuple[Tally, list[int]]:
    """Return the outcomes, and the resident bytes after the first quarter of the requests and after all."""
    wanted = cases(count, words=_WORDS, tokens=_TOKENS, seed=seed)
    quarter = len(wanted) // 4
    tally, memory = Tally(), []
    for part in (wanted[:quarter], wanted[quarter:]):
        done = asyncio.run(load(server.address, server.key, part, clients=_CLIENTS, seconds=_SECONDS))
        tally.outcomes += done.outcomes
        tally.seconds += done.seconds
        memory.append(_resident(server.process))
    return tally, memory


def _resident(process: int) -> int:
    parent = psutil.Process(process)
    return sum(each.memory_info().rss for each in (parent, *parent.children(recursive=True)))


@contextmanager
def _tinsmith(gguf: Path) -> Iterator[_Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "tinsmith", "serve", str(gguf), "--port", str(port)])
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{address}/health", trust_env=False)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield _Server(address, "", process.pid)
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def _plain(gguf: Path) -> Iterator[_Server]:
    tokens, shared = context_for(gguf)
    with LlamaServer(gguf, context=tokens, slots=SLOTS, shared=shared) as server:
        assert server._process is not None
        yield _Server(server.base_url, server.api_key, server._process.pid)
