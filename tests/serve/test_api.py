"""The official client talks to the service; keys, names of hosts and bad requests are checked."""

import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
from fastapi.testclient import TestClient

from tinsmith.base.errors import RunError
from tinsmith.serve.api import create_app, model_name, serve
from tinsmith.serve.runtime import LlamaServer

openai = pytest.importorskip("openai", reason="the extra tinsmith[dev] is not installed")

SERVE = (
    "import sys\nfrom pathlib import Path\nfrom tinsmith.serve.api import serve\n"
    "serve(Path(sys.argv[1]), port=0, api_key=sys.argv[2] or None)"
)


def start(bundle: Path, key: str) -> tuple[subprocess.Popen, str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(bundle), key],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline()
    found = re.search(r"http://\S+", line)
    assert found, process.stderr.read()
    for _ in range(100):
        try:
            httpx.get(found[0] + "/health")
            break
        except httpx.TransportError:
            time.sleep(0.05)
    return process, found[0]


@pytest.fixture(scope="module")
def service(bundle):
    process, address = start(bundle, "right key")
    yield address
    process.send_signal(signal.SIGINT)
    process.wait(20)
    process.stdout.close()
    process.stderr.close()


@pytest.fixture(scope="module")
def client(service):
    with openai.OpenAI(base_url=f"{service}/v1", api_key="right key", max_retries=0) as client:
        yield client


ASK = {"messages": [{"role": "user", "content": "The licence?"}], "max_tokens": 6, "temperature": 0}


def test_models(client):
    assert [model.id for model in client.models.list()] == ["tiny-q8_0"]
    assert client.models.retrieve("tiny-q8_0").owned_by == "tinsmith"
    with pytest.raises(openai.NotFoundError, match="this server has 'tiny-q8_0'"):
        client.models.retrieve("gpt")


def test_chat_whole_and_streamed_say_the_same(client):
    whole = client.chat.completions.create(model="tiny-q8_0", **ASK)
    assert whole.model == "tiny-q8_0"
    assert whole.usage.prompt_tokens > 5
    assert whole.choices[0].finish_reason in ("length", "stop")
    pieces = list(client.chat.completions.create(model="tiny-q8_0", stream=True, **ASK))
    assert len(pieces) > 2
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert text == whole.choices[0].message.content


def test_completions_whole_and_streamed_say_the_same(client):
    ask = {"model": "tiny-q8_0", "prompt": "The licensee may", "max_tokens": 6, "temperature": 0}
    whole = client.completions.create(**ask)
    streamed = "".join(piece.choices[0].text for piece in client.completions.create(stream=True, **ask))
    assert whole.choices[0].text == streamed


def test_a_wrong_key_is_refused(service):
    for key in ("wrong", "right", "right key and more"):
        with (
            openai.OpenAI(base_url=f"{service}/v1", api_key=key, max_retries=0) as client,
            pytest.raises(openai.AuthenticationError, match="wrong API key"),
        ):
            client.chat.completions.create(model="tiny-q8_0", **ASK)
    reply = httpx.get(f"{service}/v1/models")
    assert reply.status_code == 401
    assert reply.json()["error"].keys() == {"message", "type", "param", "code"}


def test_another_model_is_refused(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt", **ASK)
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("content", "kind", "status", "words"),
    [
        (b"{}", "text/plain", 415, "application/json"),
        (b"{", "application/json", 400, "not valid JSON"),
        (b"[]", "application/json", 400, "JSON object"),
        (b'{"messages": 3}', "application/json", 400, "messages"),
        (b'"' + b"x" * 9_000_000 + b'"', "application/json", 413, "8,000,000 bytes"),
    ],
)
def test_bad_requests_are_answered_in_the_same_shape(service, content, kind, status, words):
    headers = {"Content-Type": kind, "Authorization": "Bearer right key"}
    reply = httpx.post(f"{service}/v1/chat/completions", content=content, headers=headers)
    assert reply.status_code == status
    assert words in reply.json()["error"]["message"]


def test_the_page_needs_nothing_from_elsewhere(service):
    page = httpx.get(service)
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert 'name="viewport"' in page.text
    assert not re.search(r"""(src|href)\s*=|https?://|@import|url\(""", page.text)
    assert httpx.get(f"{service}/health").json()["needs_key"] is True


def test_other_names_and_other_routes_are_refused(service):
    assert httpx.get(f"{service}/health", headers={"Host": "evil.example"}).status_code == 421
    assert httpx.get(f"{service}/health", headers={"Host": "localhost:1"}).status_code == 200
    port = int(service.rpartition(":")[2])
    found = [each for each in psutil.net_connections("tcp") if each.laddr.port == port and not each.raddr]
    assert {each.laddr.ip for each in found} == {"127.0.0.1"}
    for route in ("/slots", "/props", "/metrics", "/docs", "/tokenize"):
        assert httpx.get(service + route).status_code == 404
    assert (
        "access-control-allow-origin"
        not in httpx.get(service, headers={"Origin": "http://evil.example"}).headers
    )


def test_a_model_without_a_template_completes_but_does_not_chat(mute_gguf):
    with (
        LlamaServer(mute_gguf, threads=1) as backend,
        TestClient(create_app(backend, api_key=None)) as client,
    ):
        refused = client.post("/v1/chat/completions", json=ASK)
        assert refused.status_code == 400
        assert "no chat template" in refused.json()["error"]["message"]
        assert client.post("/v1/completions", json={"prompt": "The", "max_tokens": 2}).status_code == 200
        assert client.get("/health").json()["chats"] is False


def test_a_dead_backend_is_told(mute_gguf):
    with (
        LlamaServer(mute_gguf, threads=1) as backend,
        TestClient(create_app(backend, api_key=None)) as client,
    ):
        backend._process.kill()
        backend._process.wait()
        reply = client.post("/v1/completions", json={"prompt": "The", "max_tokens": 2})
    assert reply.status_code == 502
    assert reply.json()["error"]["type"] == "server_error"


def test_ctrl_c_stops_it_cleanly_while_it_streams(bundle):
    process, address = start(bundle, "")
    children = psutil.Process(process.pid).children()
    ask = {"prompt": "The", "max_tokens": 400, "stream": True, "ignore_eos": True}
    with httpx.stream("POST", f"{address}/v1/completions", json=ask) as reply:
        next(reply.iter_raw())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "stopped" in out
    assert "Traceback" not in err
    assert not psutil.wait_procs(children, timeout=5)[1]


def test_a_taken_port_is_told_before_the_model_is_loaded(bundle):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(RunError, match="cannot listen on this address"):
            serve(bundle, port=taken.getsockname()[1])


def test_names():
    assert model_name(Path("/x/runs/licences/bundle"), Path("gguf/model-q8_0.gguf")) == "licences-q8_0"
    assert model_name(Path("/x/mine"), Path("gguf/model-f16.gguf")) == "mine-f16"
