"""Ask a model one question over HTTP, with a time limit and retries with growing pauses."""

from __future__ import annotations

import email.utils
import ipaddress
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from tinsmith.base.completion import Answer, Failure, Request
from tinsmith.base.errors import LLMError
from tinsmith.llm.key import ApiKey
from tinsmith.llm.providers import OPTIONAL, PROVIDERS, Reply, without

ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
CONNECT_SECONDS = 10.0
MAX_REPLY_BYTES = 8_000_000
BYTES_PER_TOKEN = 4  # of English text in common vocabularies, for endpoints that report no token counts
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_PAYMENT_WORDS = ("insufficient_quota", "billing", "credit balance", "payment", "insufficient balance")


class _Slow(Exception):
    """The answer exceeds its time limit."""


class _Broken(Exception):
    """The reply violates the endpoint's protocol: the reason and detail of a failure."""


@dataclass
class LLMClient:
    """A model behind an endpoint of one of PROVIDERS. `where` is its section of the recipe, for messages.

    An empty `url` means the provider's own; one without a path gets the provider's path. Loopback addresses are
    never reached through a proxy; for others the proxy and certificates of the environment apply. `identity` names
    model and endpoint in the cache.
    """

    kind: str
    model: str
    url: str = ""
    key: ApiKey = field(default_factory=lambda: ApiKey(""))
    where: str = "endpoint"
    identity: str = ""
    seconds_per_answer: float = 120.0
    parallel: int = 1

    def __post_init__(self) -> None:
        self._provider = PROVIDERS[self.kind]
        self.url = _complete(self.url, self._provider.url)
        self.key.header, self.key.prefix = self._provider.key_header, self._provider.key_prefix
        self.identity = self.identity or f"{self.kind}:{self.url}:{self.model}"
        self._rejected: frozenset[str] = frozenset()
        if self.kind == "openai" and self.url == self._provider.url:
            self._rejected = frozenset({"max_tokens"})
        self._stop = threading.Event()
        self._client = httpx.Client(
            auth=self.key,
            headers=dict(self._provider.headers),
            timeout=httpx.Timeout(
                self.seconds_per_answer, connect=min(CONNECT_SECONDS, self.seconds_per_answer)
            ),
            limits=httpx.Limits(max_connections=self.parallel, max_keepalive_connections=self.parallel),
            trust_env=not is_loopback(self.url),
            # A redirect could send question and key to a host that the recipe does not name.
            follow_redirects=False,
        )

    def close(self) -> None:
        """End pauses at once and close connections; pending questions fail."""
        self._stop.set()
        self._client.close()

    def ask(self, request: Request, *, until: float = float("inf")) -> Answer | Failure:
        """Return an answer, or a failure if there is none before the monotonic clock shows `until`. Thread-safe.

        Raises LLMError for errors that every other question would meet too: no key, no payment, no such model.
        """
        began, failure = time.monotonic(), Failure("time", "the time was up before the request")
        for attempt in range(ATTEMPTS):
            seconds = min(self.seconds_per_answer, until - time.monotonic())
            if seconds <= 0 or self._stop.is_set():
                return failure
            sent = time.monotonic()
            outcome, pause = self._try(request, seconds)
            if isinstance(outcome, Reply):
                return self._answer(request, outcome, time.monotonic() - sent)
            failure = outcome
            if pause is None:
                return failure
            pause = max(pause, min(FIRST_PAUSE_SECONDS * 2**attempt, LONGEST_PAUSE_SECONDS))
            if attempt + 1 == ATTEMPTS or time.monotonic() + pause >= until or self._stop.wait(pause):
                break
        tried = f"gave up after {attempt + 1} tries in {time.monotonic() - began:.1f} s"
        return Failure(failure.reason, f"{failure.detail}; {tried}")

    def _try(self, request: Request, seconds: float) -> tuple[Reply | Failure, float | None]:
        """Ask once. Returns the outcome, and the least seconds to wait if a retry makes sense."""
        try:
            status, headers, content = self._send(request, seconds)
            return self._classify(status, headers, content)
        except (_Slow, httpx.TimeoutException):
            return Failure("timeout", f"no complete answer within {seconds:.0f} s"), 0.0
        except httpx.ConnectError as error:
            return Failure("unreachable", f"{self.url}: {self.key.scrub(str(error))}"), 0.0
        except httpx.TransportError as error:
            return Failure("broken_off", self.key.scrub(f"{type(error).__name__}: {error}")), 0.0
        except RuntimeError:
            # httpx raises this if another thread has closed the client.
            if not self._stop.is_set():
                raise
            return Failure("time", "stopped during the request"), None
        except _Broken as broken:
            return Failure(*broken.args), None

    def _send(self, request: Request, seconds: float) -> tuple[int, httpx.Headers, str]:
        rejected = self._rejected
        body = without(self._provider.body(self.model, request), rejected)
        deadline = time.monotonic() + seconds
        timeout = httpx.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds))
        with self._client.stream("POST", self._address, json=body, timeout=timeout) as reply:
            data = bytearray()
            for piece in reply.iter_bytes():
                data += piece
                # A read timeout alone would never end a reply that trickles in.
                if time.monotonic() > deadline:
                    raise _Slow
                if len(data) > MAX_REPLY_BYTES:
                    raise _Broken("rubbish", f"a reply of more than {MAX_REPLY_BYTES:,} bytes")
            text = self.key.scrub(data.decode("utf-8", "replace"))
        if reply.status_code in (400, 422) and (more := _rejected_fields(body, text) - rejected):
            self._rejected = rejected | more
            return self._send(request, max(deadline - time.monotonic(), 0.1))
        return reply.status_code, reply.headers, text

    @property
    def _address(self) -> str:
        return self.url + self._provider.path(self.model)

    def _classify(
        self, status: int, headers: httpx.Headers, text: str
    ) -> tuple[Reply | Failure, float | None]:
        if status == 200:
            return self._read(headers, text), None
        message = _shorten(_error_of(text).get("message") or text)
        mentions_payment = any(word in text.lower() for word in _PAYMENT_WORDS)
        if status == 402 or (status in (400, 403, 429) and mentions_payment):
            raise self._fatal(
                f"requires payment (status {status}: {message})",
                "top up the account, or name another model; answers so far are kept",
            )
        if status in (401, 403):
            key = f"the key in {self.key.name}" if self.key else "a request without a key"
            raise self._fatal(
                f"rejects {key} (status {status}: {message})",
                f"name the environment variable that contains a valid key in {self.where}.key_variable",
            )
        if status in (404, 405) or 300 <= status < 400:
            to = (
                f", redirect to {headers['location']}"
                if 300 <= status < 400 and "location" in headers
                else ""
            )
            raise self._fatal(
                f"has no model {self.model!r} or no such path (status {status}{to}: {message})",
                f"check {self.where}.model and {self.where}.url; the request went to {self._address}",
            )
        return Failure(f"status_{status}", message), _retry_after(headers) if status in _RETRIED else None

    def _fatal(self, what: str, next_step: str) -> LLMError:
        return LLMError(f"{self.url} {what}", where=self.where, next_step=next_step)

    def _read(self, headers: httpx.Headers, text: str) -> Reply | Failure:
        kind = headers.get("content-type", "").partition(";")[0].strip()
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            what = "truncated or damaged JSON" if "json" in kind else f"{kind or 'no content type'}, not JSON"
            return Failure("rubbish", f"{what}: {_shorten(text)}")
        try:
            reply = self._provider.read(body)
        except (KeyError, IndexError, TypeError, AttributeError):
            return Failure("rubbish", f"unexpected JSON: {_shorten(text)}")
        if not isinstance(reply.text, str):
            return Failure("rubbish", f"unexpected JSON: {_shorten(text)}")
        if reply.refusal:
            return Failure("refused", reply.refusal)
        if not reply.text.strip():
            return Failure("empty", "no text" if reply.whole else "all of max_tokens went into thinking")
        return reply

    def _answer(self, request: Request, reply: Reply, seconds: float) -> Answer:
        counted = isinstance(reply.input_tokens, int) and isinstance(reply.output_tokens, int)
        read = reply.input_tokens if isinstance(reply.input_tokens, int) else estimate_tokens(request)
        written = reply.output_tokens if isinstance(reply.output_tokens, int) else _tokens(reply.text)
        return Answer(reply.text, read, written, seconds, whole=reply.whole, estimated=not counted)


def _rejected_fields(body: dict[str, Any], text: str) -> frozenset[str]:
    """Return the optional fields of a request body that an endpoint's error message names."""
    error = _error_of(text)
    named = f"{error.get('param') or ''} {error.get('message') or ''}"
    return frozenset(name for name in OPTIONAL if name in body and name in named)


def estimate_tokens(request: Request) -> int:
    """Estimate the tokens of a question from its length."""
    return _tokens(request.system) + _tokens(request.prompt) + 8


def _tokens(text: str) -> int:
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


def remote_host(kind: str, url: str) -> str:
    """Return the host that requests to an endpoint go to; empty if it is on this machine.

    What is not a web address with a host is returned as it is.
    """
    try:
        address = httpx.URL(_complete(url, PROVIDERS[kind].url))
    except httpx.InvalidURL:
        return url
    if address.scheme not in ("http", "https") or not address.host:
        return url
    return "" if is_loopback(str(address)) else address.host


def is_loopback(url: str) -> bool:
    """Return whether an address is on this machine."""
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _complete(url: str, default: str) -> str:
    url = (url or default).rstrip("/")
    return url if httpx.URL(url).path.strip("/") else url + httpx.URL(default).path


def _error_of(text: str) -> dict[str, Any]:
    try:
        error = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if isinstance(error, list) and error:
        error = error[0]
    if not isinstance(error, dict):
        return {}
    inner = error.get("error", error)
    return inner if isinstance(inner, dict) else {"message": str(inner)}


def _shorten(text: str, characters: int = 200) -> str:
    shown = " ".join(str(text)[: 4 * characters].split())
    return shown[:characters] + ("..." if len(shown) > characters else "") or "an empty reply"


def _retry_after(headers: httpx.Headers) -> float:
    """Return the seconds of the header Retry-After, or 0 if it is missing or invalid."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0
