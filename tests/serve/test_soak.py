"""Sixty-four clients at once: whole answers for all who stay, a 4xx that says why for broken bodies, nothing else."""

import asyncio
import importlib.util
import sys

import psutil
import pytest

from helpers import ROOT
from tinsmith.serve.room import SLOTS
from tinsmith.serve.runtime import LlamaServer
from tinsmith.serve.served import service

_SPEC = importlib.util.spec_from_file_location("benchmark_load", ROOT / "benchmarks" / "load.py")
assert _SPEC
assert _SPEC.loader
load = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = load  # dataclasses look their module up
_SPEC.loader.exec_module(load)

CONTEXT = 256


@pytest.mark.parametrize(
    ("shared", "count"), [(False, 90), (True, 30)], ids=["a context each", "one context for all"]
)
def test_every_request_gets_its_answer_or_a_word(bundle, shared, count):
    """In one shared context hardly two of these fit together: they wait, and none is cut."""
    wanted = load.cases(count, words=40, tokens=12, seed=int(shared))
    context = CONTEXT if shared else SLOTS * CONTEXT
    gguf = bundle / "gguf" / "model-q8_0.gguf"
    with (
        LlamaServer(gguf, context=context, slots=SLOTS, shared=shared) as backend,
        service(backend) as served,
    ):
        process = psutil.Process(backend._process.pid)
        done = load.load(served.base_url, served.api_key, wanted, clients=64, seconds=100)
        tally = asyncio.run(done)
        before = process.memory_info().rss
        again = load.load(served.base_url, served.api_key, wanted[:20], clients=64, seconds=100)
        assert asyncio.run(again).faults == []
        grown = process.memory_info().rss - before
    assert tally.faults == []
    assert len(tally.outcomes) == len(wanted)
    assert {outcome.kind for outcome in tally.outcomes} == {"plain", "schema", "stop", "leaves", "broken"}
    assert grown < 30_000_000
