import contextlib
import json
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from tinsmith.base.errors import RunError
from tinsmith.evaluate.answer_speed import measure_speed

READING = SimpleNamespace(joules_low=2.0, joules=6.0, joules_high=12.0, method="load model")


class _Fake:
    """A llama.cpp server that answers at a given speed; the meter counts what is asked while it is open."""

    def __init__(self, status=200):
        self.requests, self.open_from, self.status = [], None, status

    def serve(self, gguf):
        @contextlib.contextmanager
        def running():
            yield SimpleNamespace(
                client=lambda: httpx.Client(base_url="http://x", transport=httpx.MockTransport(self.reply))
            )

        return running()

    def reply(self, request):
        asked = json.loads(request.content)
        self.requests.append(asked)
        count = asked["n_predict"]
        times = {"prompt_n": 7, "prompt_ms": 100.0, "predicted_n": count}
        return httpx.Response(
            self.status, json={"timings": {**times, "predicted_ms": 50.0 * count * len(self.requests)}}
        )

    @contextlib.contextmanager
    def meter(self):
        self.open_from = len(self.requests)
        yield SimpleNamespace(reading=READING)


def test_the_first_answer_warms_up_and_is_neither_timed_nor_metered():
    fake = _Fake()
    found = measure_speed(Path("m.gguf"), ["a", "b"], tokens=8, serve=fake.serve, open_meter=fake.meter)
    assert [asked["prompt"] for asked in fake.requests] == ["a", "a", "b"]
    assert all(asked["n_predict"] == 8 and asked["ignore_eos"] for asked in fake.requests)
    assert not any(asked["cache_prompt"] or asked["temperature"] for asked in fake.requests)
    assert fake.open_from == 1
    assert [answer["tokens_per_second"] for answer in found["answers"]] == pytest.approx([10.0, 20 / 3])
    assert found["answers"][0]["seconds"] == pytest.approx(0.9)
    assert found["energy"] == {"joules_low": 2.0, "joules": 6.0, "joules_high": 12.0, "method": "load model"}


def test_a_server_that_fails_is_named():
    fake = _Fake(status=500)
    with pytest.raises(RunError, match=r"m\.gguf: llama\.cpp gave no answer"):
        measure_speed(Path("m.gguf"), ["a"], tokens=8, serve=fake.serve, open_meter=fake.meter)
