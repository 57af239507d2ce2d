"""Run llama.cpp's own server (through xllamacpp) over a GGUF file, as a context manager; find a bundle's file.

The server is a child process. The library aborts the whole process on some damaged files, holds the interpreter while
it loads, and cannot be stopped once it generates.
"""

from __future__ import annotations

import json
import secrets
import select
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import httpx

from tinsmith.base.cores import usable_cores
from tinsmith.base.errors import AssetError, BundleError, RunError

_START_SECONDS, _STOP_SECONDS = 120.0, 5.0
_ENDING_SECONDS = 0.5  # from a broken connection to the end of the process that broke it
# The native server may close an idle connection just as it is used again; a new one costs nothing on loopback.
ONE_REQUEST_EACH = httpx.Limits(max_keepalive_connections=0)


class LlamaServer:
    """Run llama.cpp's server over a GGUF file, on loopback under a random key, for a `with` block.

    `alias` is the model's name in answers (default: the file's). `context` is the number of tokens that all slots
    hold together (0: the model's own); they are `shared`, or each slot has an equal part. `threads` defaults to all
    usable cores. With `hidden_states`, /embeddings returns the last hidden state of each token of prompts of so many
    tokens.
    Raises AssetError for a file that llama.cpp cannot open, RunError if the server does not get ready.
    """

    def __init__(
        self,
        gguf: Path,
        *,
        alias: str | None = None,
        context: int = 0,
        threads: int | None = None,
        slots: int = 1,
        shared: bool = True,
        hidden_states: int = 0,
    ) -> None:
        self.gguf, self.base_url = gguf, ""
        # Without a key, any web page and any user of this machine could query the model.
        self.api_key = secrets.token_urlsafe(24)
        self.settings: dict[str, Any] = {
            "gguf": str(gguf.resolve()),
            "alias": alias or gguf.stem,
            "api_key": self.api_key,
            "context": context,
            "threads": threads or usable_cores(),
            "slots": slots,
            "shared": shared,
            "hidden_states": hidden_states,
        }
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None
        self._reviving = threading.Lock()

    def __enter__(self) -> LlamaServer:
        _check_magic(self.gguf)
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        # In its own session, so that Ctrl-C reaches only us and we stop the child in order.
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

    def revive(self) -> bool:
        """Start the server again if it has ended by itself; say whether it was. Raises AssetError, RunError."""
        with self._reviving:
            if self._process is None:
                return False
            try:
                self._process.wait(_ENDING_SECONDS)
            except subprocess.TimeoutExpired:
                return False
            self._stop()
            self.__enter__()
            return True

    def client(self, timeout: float = 300.0) -> httpx.Client:
        """Return an HTTP client with the address and key."""
        headers = {"Authorization": f"Bearer {self.api_key}"}
        # trust_env off: a proxy from the environment must not see requests to loopback.
        return httpx.Client(
            base_url=self.base_url, headers=headers, timeout=timeout, trust_env=False, limits=ONE_REQUEST_EACH
        )

    def _wait_for_address(self, process: subprocess.Popen[str]) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(self.settings) + "\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], _START_SECONDS)
            line = process.stdout.readline() if ready else ""
        except BrokenPipeError:
            ready, line = [process.stdout], ""
        if line:
            return str(json.loads(line)["address"])
        if ready:
            process.wait(_STOP_SECONDS)
            raise self._refusal(process.returncode)
        raise RunError(
            f"llama.cpp's server was not ready after {_START_SECONDS:g} seconds",
            where=str(self.gguf),
            next_step="free some memory, or try again when the machine is less busy",
        )

    def _wait_for_health(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
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
                            next_step="check whether something on this machine blocks loopback connections",
                        ) from error
                if time.monotonic() > deadline:
                    raise RunError(
                        "llama.cpp's server does not report ready",
                        where=self.base_url,
                        next_step="try again when the machine is less busy",
                    )
                time.sleep(0.05)

    def _refusal(self, code: int) -> AssetError:
        assert self._log is not None
        self._log.seek(0)
        lines = [line.strip() for line in self._log if " E " in line or "Error" in line]
        # llama.cpp's first error is the cause; later ones only say that it failed.
        cause = lines[0].split(" E ", 1)[-1].strip() if lines else f"it ended with code {code}"
        return AssetError(
            f"llama.cpp cannot open it: {cause}",
            where=str(self.gguf),
            next_step="check that the file is complete, or build it again with tinsmith build",
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


def find_gguf(bundle_or_gguf: Path, format: str | None = None) -> Path:
    """Return a GGUF file of a bundle, by default the smallest. Raises BundleError."""
    if bundle_or_gguf.is_file():
        return bundle_or_gguf
    if not bundle_or_gguf.is_dir():
        raise BundleError(
            "does not exist", where=str(bundle_or_gguf), next_step="check the path to the bundle or GGUF file"
        )
    files = {p.stem.removeprefix("model-"): p for p in sorted((bundle_or_gguf / "gguf").glob("model-*.gguf"))}
    if not files:
        raise BundleError(
            "contains no gguf/model-*.gguf",
            where=str(bundle_or_gguf),
            next_step="choose a directory `bundle` that tinsmith build made",
        )
    if format is None:
        return min(files.values(), key=lambda path: path.stat().st_size)
    if format not in files:
        raise BundleError(
            f"has no file in the format {format}",
            where=str(bundle_or_gguf),
            next_step=f"choose one of {', '.join(files)}",
        )
    return files[format]


def _check_magic(gguf: Path) -> None:
    try:
        with gguf.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise AssetError(
            f"cannot be read ({error.strerror})",
            where=str(gguf),
            next_step="check the path and that you may read it",
        ) from error
    if magic != b"GGUF":
        raise AssetError("is not a GGUF file", where=str(gguf), next_step="choose a .gguf file or a bundle")
