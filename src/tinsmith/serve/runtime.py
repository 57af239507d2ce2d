"""llama.cpp's own server (through xllamacpp) over one GGUF file, as a context manager.

It runs in a child process: the library aborts the whole process on some damaged files, holds the interpreter
while it loads, and cannot be stopped once it generates.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import httpx

from tinsmith.base.errors import AssetError, BundleError, RunError

_STOP_SECONDS = 5.0


# The native server may close a connection just when it is asked again; a new one costs nothing on loopback.
ONE_REQUEST_EACH = httpx.Limits(max_keepalive_connections=0)


class LlamaServer:
    """Run llama.cpp's server over a GGUF file for the length of a `with` block.

    `port` 0 takes a free one; `alias` is the model's name in answers; `context` is the number of tokens
    that all slots share, 0 takes the model's own; `api_key` None makes a random one; `threads` None takes
    every core that this process may use; `hidden_states` lets /embeddings return each token's last hidden
    state. Raises AssetError for a file that llama.cpp cannot open, RunError where the server does not get
    ready.
    """

    def __init__(
        self,
        gguf: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        alias: str | None = None,
        context: int = 0,
        api_key: str | None = None,
        threads: int | None = None,
        slots: int = 1,
        hidden_states: bool = False,
        start_seconds: float = 120.0,
    ) -> None:
        self.gguf, self.start_seconds = gguf, start_seconds
        # Without a key any page in a browser and any user of this machine could ask the model.
        self.api_key = api_key or secrets.token_urlsafe(24)
        self.base_url = ""
        self.settings: dict[str, Any] = {
            "gguf": str(gguf.resolve()),
            "alias": alias or gguf.stem,
            "host": host,
            "port": port,
            "api_key": self.api_key,
            "context": context,
            "threads": threads or usable_cores(),
            "slots": slots,
            "hidden_states": hidden_states,
        }
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None

    def __enter__(self) -> LlamaServer:
        _refuse_foreign(self.gguf)
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        # A session of its own: Ctrl-C in the terminal reaches us, and we stop the child in order.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tinsmith.serve.native"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )
        try:
            self.base_url = self._wait_for_address(self._process)
            self._wait_for_health()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def client(self, timeout: float = 300.0) -> httpx.Client:
        """Return an HTTP client that knows address and key."""
        headers = {"Authorization": f"Bearer {self.api_key}"}
        # trust_env off: a proxy named in the environment must not see what is asked on loopback.
        return httpx.Client(
            base_url=self.base_url, headers=headers, timeout=timeout, trust_env=False, limits=ONE_REQUEST_EACH
        )

    def _wait_for_address(self, process: subprocess.Popen[str]) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(self.settings) + "\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], self.start_seconds)
            line = process.stdout.readline() if ready else ""
        except BrokenPipeError:
            ready, line = [process.stdout], ""
        if line:
            return str(json.loads(line)["address"])
        if ready:
            process.wait(_STOP_SECONDS)
            raise self._refusal(process.returncode)
        raise RunError(
            f"llama.cpp's server was not ready after {self.start_seconds:.0f} seconds",
            where=str(self.gguf),
            next_step="free some memory, or try again when the machine is less busy",
        )

    def _wait_for_health(self) -> None:
        deadline = time.monotonic() + self.start_seconds
        with self.client(timeout=5.0) as client:
            while True:
                try:
                    if client.get("/health").status_code == 200:
                        return
                except httpx.TransportError as error:
                    if time.monotonic() > deadline:
                        raise RunError(
                            f"llama.cpp's server does not answer ({error})",
                            where=self.base_url,
                            next_step="see whether something on this machine blocks loopback connections",
                        ) from error
                if time.monotonic() > deadline:
                    raise RunError(
                        "llama.cpp's server stays unhealthy", where=self.base_url, next_step="try again"
                    )
                time.sleep(0.05)

    def _refusal(self, code: int) -> AssetError | RunError:
        assert self._log is not None
        self._log.seek(0)
        lines = [line.strip() for line in self._log if " E " in line or "Error" in line]
        # The first error of llama.cpp is the cause; the later ones only say that it failed.
        cause = lines[0].split(" E ", 1)[-1].strip() if lines else f"it ended with code {code}"
        if "bind" in " ".join(lines):
            host, port = self.settings["host"], self.settings["port"]
            return RunError(
                f"cannot listen there ({cause})", where=f"{host}:{port}", next_step="choose another --port"
            )
        return AssetError(
            f"llama.cpp cannot open it: {cause}",
            where=str(self.gguf),
            next_step="check that the file is whole, or make it anew: tinsmith build",
        )

    def _stop(self) -> None:
        process, log = self._process, self._log
        self._process = self._log = None
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
        if log is not None:
            log.close()


def usable_cores() -> int:
    """Return on how many cores this process may run."""
    # Only Linux knows of processes that may use fewer cores than there are.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def find_gguf(bundle_or_gguf: Path, format: str | None = None) -> Path:
    """Return the GGUF file of a bundle, the smallest if no format is asked for. Raises BundleError."""
    if bundle_or_gguf.is_file():
        return bundle_or_gguf
    if not bundle_or_gguf.is_dir():
        raise BundleError(
            "does not exist", where=str(bundle_or_gguf), next_step="name a bundle or a GGUF file"
        )
    found = {p.stem.removeprefix("model-"): p for p in sorted((bundle_or_gguf / "gguf").glob("model-*.gguf"))}
    if not found:
        raise BundleError(
            "holds no gguf/model-*.gguf",
            where=str(bundle_or_gguf),
            next_step="name a directory `bundle` that tinsmith build made",
        )
    if format is None:
        return min(found.values(), key=lambda path: path.stat().st_size)
    if format not in found:
        raise BundleError(
            f"has no {format}", where=str(bundle_or_gguf), next_step=f"choose one of {', '.join(found)}"
        )
    return found[format]


def _refuse_foreign(gguf: Path) -> None:
    try:
        with gguf.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise AssetError(
            f"cannot be read ({error.strerror})",
            where=str(gguf),
            next_step="name a GGUF file that you may read",
        ) from error
    if magic != b"GGUF":
        raise AssetError("is no GGUF file", where=str(gguf), next_step="name a .gguf file or a bundle")
