"""llama.cpp's server starts, answers, refuses what it cannot open, and never outlives its owner."""

import subprocess
import sys

import psutil
import pytest

from small_models import byte_tokenizer, tiny_model
from tinsmith.base.errors import AssetError, BundleError, RunError
from tinsmith.gguf.writer import write_gguf
from tinsmith.serve import runtime
from tinsmith.serve.runtime import LlamaServer, find_gguf


def test_it_answers_and_stops(bundle):
    with LlamaServer(bundle / "gguf" / "model-f16.gguf", alias="tiny", threads=1) as server:
        process = server._process
        assert server.base_url.startswith("http://127.0.0.1:")
        with server.client() as client:
            reply = client.post("/v1/completions", json={"prompt": "The licence", "max_tokens": 3}).json()
        assert reply["model"] == "tiny"
        assert reply["usage"]["completion_tokens"] <= 3
        with server.client() as stranger:
            stranger.headers["Authorization"] = "Bearer wrong"
            assert stranger.post("/v1/completions", json={"prompt": "The"}).status_code == 401
    assert process.poll() == 0


def test_hidden_states_of_long_prompts_are_told(tmp_path):
    model = tiny_model()
    model.config.max_position_embeddings = 1024
    model.save_pretrained(tmp_path / "model")
    byte_tokenizer().save_pretrained(tmp_path / "model")
    write_gguf(tmp_path / "model", tmp_path / "model.gguf", "f16")
    gguf = tmp_path / "model.gguf"
    with LlamaServer(gguf, threads=1, context=1024, hidden_states=700) as server, server.client() as client:
        reply = client.post("/embeddings", json={"input": [[5] * 700], "embd_normalize": -1})
    assert reply.status_code == 200, reply.text
    assert len(reply.json()[0]["embedding"]) == 700


def test_it_opens_no_connection_but_its_own(bundle):
    with LlamaServer(bundle / "gguf" / "model-f16.gguf", threads=1) as server:
        found = psutil.Process(server._process.pid).net_connections()
    assert {connection.laddr.ip for connection in found} == {"127.0.0.1"}
    assert all(not connection.raddr or connection.raddr.ip == "127.0.0.1" for connection in found)


def test_damaged_and_foreign_files_are_refused(bundle, tmp_path):
    whole = (bundle / "gguf" / "model-f16.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[: len(whole) - 5000])
    (tmp_path / "foreign.gguf").write_bytes(b"PK\x03\x04 something else")
    (tmp_path / "header.gguf").write_bytes(whole[:200])
    for name, reason in {
        "cut.gguf": "llama.cpp cannot open it: .*(corrupted|incomplete|bounds)",
        "header.gguf": "llama.cpp cannot open it: ",
        "foreign.gguf": "is not a GGUF file",
        "absent.gguf": "cannot be read",
    }.items():
        with pytest.raises(AssetError, match=reason), LlamaServer(tmp_path / name, threads=1):
            pass


def test_a_server_that_is_not_ready_in_time_is_stopped(bundle, monkeypatch):
    def servers():
        return {child for child in psutil.Process().children() if "tinsmith.serve.native" in child.cmdline()}

    before = servers()
    monkeypatch.setattr(runtime, "_START_SECONDS", 0.01)
    server = LlamaServer(bundle / "gguf" / "model-f16.gguf", threads=1)
    with pytest.raises(RunError, match="not ready after"), server:
        pass
    assert server._process is None
    assert servers() == before


def test_it_dies_with_its_owner(bundle):
    owner = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\nfrom pathlib import Path\nfrom tinsmith.serve.runtime import LlamaServer\n"
            "with LlamaServer(Path(sys.argv[1]), threads=1) as server:\n"
            "    print(server._process.pid, flush=True)\n    time.sleep(60)",
            str(bundle / "gguf" / "model-f16.gguf"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    child = psutil.Process(int(owner.stdout.readline()))
    owner.kill()
    owner.wait()
    owner.stdout.close()
    gone, alive = psutil.wait_procs([child], timeout=10)
    assert gone
    assert not alive


def test_the_smallest_file_of_a_bundle_is_taken(bundle, tmp_path):
    assert find_gguf(bundle).name == "model-q8_0.gguf"
    assert find_gguf(bundle, "f16").name == "model-f16.gguf"
    assert find_gguf(bundle / "gguf" / "model-f16.gguf", "q8_0").name == "model-f16.gguf"
    with pytest.raises(BundleError, match=r"has no file in the format q4_k_m\n.*f16, q8_0"):
        find_gguf(bundle, "q4_k_m")
    with pytest.raises(BundleError, match="contains no gguf"):
        find_gguf(tmp_path)
    with pytest.raises(BundleError, match="does not exist"):
        find_gguf(tmp_path / "absent")


def test_the_key_is_not_on_the_command_line(bundle):
    with LlamaServer(bundle / "gguf" / "model-f16.gguf", threads=1) as server:
        process = psutil.Process(server._process.pid)
        assert server.api_key not in " ".join(process.cmdline())
        assert server.api_key not in str(process.environ())
