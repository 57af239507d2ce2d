"""One question over HTTP: time limit, repeats with growing pauses, and the reason where no answer comes."""

from __future__ import annotations

import email.utils
import ipaddress
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

from tinsmith.base.completion import Answer, Failure, Request
from tinsmith.base.errors import LLMError
from tinsmith.llm.key import Key
from tinsmith.llm.providers import OPTIONAL, SHAPES, Said, without

ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
CONNECT_SECONDS = 10.0
MAX_REPLY_BYTES = 8_000_000
BYTES_PER_TOKEN = 4  # of English text in usual vocabularies, for endpoints that do not count
_REPEATED = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_PAY = ("insufficient_quota", "billing", "credit balance", "payment", "insufficient balance")


class Teacher(Protocol):
    """Whoever answers questions; `identity` names model and place in the cache."""

    identity: str
    price_per_million_input: float
    price_per_million_output: float

    def ask(self, request: Request, *, until: float = float("inf")) -> Answer | Failure:
        """Answer one question before the monotonic clock shows `until`; may be called from several threads."""

    def close(self) -> None:
        """Give up what is open; questions under way fail."""


class _Slow(Exception):
    """The answer takes longer than it may."""


class _Broken(Exception):
    """The reply is not what the endpoint promises: a reason and what was seen."""


@dataclass
class LLMClient:
    """A model behind an endpoint of one of SHAPES. `where` names its place in the recipe, for messages.

    `url` empty takes the provider's own; one without a path gets the provider's. Loopback is never asked
    through a proxy; elsewhere the environment's proxy and certificates count.
    """

    kind: str
    model: str
    url: str = ""
    key: Key = field(default_factory=lambda: Key(""))
    where: str = "teacher"
    identity: str = ""
    seconds_per_answer: float = 120.0
    price_per_million_input: float = 0.0
    price_per_million_output: float = 0.0
    parallel: int = 1

    def __post_init__(self) -> None:
        self._shape = SHAPES[self.kind]
        self.url = _complete(self.url, self._shape.url)
        self.key.header, self.key.prefix = self._shape.key_header, self._shape.key_prefix
        self.identity = self.identity or f"{self.kind}:{self.url}:{self.model}"
        self._refused: frozenset[str] = frozenset()
        if self.kind == "openai" and self.url == self._shape.url:
            self._refused = frozenset({"max_tokens"})
        self._stop = threading.Event()
        self._client = httpx.Client(
            auth=self.key,
            headers=dict(self._shape.headers),
            timeout=httpx.Timeout(
                self.seconds_per_answer, connect=min(CONNECT_SECONDS, self.seconds_per_answer)
            ),
            limits=httpx.Limits(max_connections=self.parallel, max_keepalive_connections=self.parallel),
            trust_env=not is_loopback(self.url),
            # A redirect could carry question and key to somewhere that the recipe does not name.
            follow_redirects=False,
        )

    def close(self) -> None:
        """End pauses at once and close connections."""
        self._stop.set()
        self._client.close()

    def ask(self, request: Request, *, until: float = float("inf")) -> Answer | Failure:
        """Return an answer or why there is none. Raises LLMError where every other question would fail too."""
        began, failure = time.monotonic(), Failure("time", "the time was up before it was asked")
        for attempt in range(ATTEMPTS):
            seconds = min(self.seconds_per_answer, until - time.monotonic())
            if seconds <= 0 or self._stop.is_set():
                return failure
            asked = time.monotonic()
            outcome, pause = self._try(request, seconds)
            if isinstance(outcome, Said):
                return self._answer(request, outcome, time.monotonic() - asked)
            failure = outcome
            if pause is None:
                return failure
            pause = max(pause, min(FIRST_PAUSE_SECONDS * 2**attempt, LONGEST_PAUSE_SECONDS))
            if attempt + 1 == ATTEMPTS or time.monotonic() + pause >= until or self._stop.wait(pause):
                break
        taken = time.monotonic() - began
        return Failure(
            failure.reason, f"{failure.detail}; gave up after {attempt + 1} tries in {taken:.1f} s"
        )

    def _try(self, request: Request, seconds: float) -> tuple[Said | Failure, float | None]:
        """Ask once. Returns the outcome, and for a failure worth repeating how long to wait at least."""
        try:
            status, headers, content = self._send(request, seconds)
            return self._judge(status, headers, content)
        except (_Slow, httpx.TimeoutException):
            return Failure("timeout", f"no whole answer within {seconds:.0f} s"), 0.0
        except httpx.ConnectError as error:
            return Failure("unreachable", f"{self.url}: {self.key.scrub(str(error))}"), 0.0
        except httpx.TransportError as error:
            return Failure("broken_off", self.key.scrub(f"{type(error).__name__}: {error}")), 0.0
        except RuntimeError:
            # httpx says so of a client that another thread has closed.
            if not self._stop.is_set():
                raise
            return Failure("time", "stopped while it was asked"), None
        except _Broken as broken:
            return Failure(*broken.args), None

    def _send(self, request: Request, seconds: float) -> tuple[int, httpx.Headers, str]:
        refused = self._refused
        body = without(self._shape.body(self.model, request), refused)
        address, ends = self.url + self._shape.path(self.model), time.monotonic() + seconds
        timeout = httpx.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds))
        with self._client.stream("POST", address, json=body, timeout=timeout) as reply:
            data = bytearray()
            for piece in reply.iter_bytes():
                data += piece
                # A read limit alone would let a reply that drips go on for ever.
                if time.monotonic() > ends:
                    raise _Slow
                if len(data) > MAX_REPLY_BYTES:
                    raise _Broken("rubbish", f"a reply of more than {MAX_REPLY_BYTES:,} bytes")
            text = self.key.scrub(data.decode("utf-8", "replace"))
        if reply.status_code in (400, 422) and (more := self._newly_refused(body, text) - refused):
            self._refused = refused | more
            return self._send(request, max(ends - time.monotonic(), 0.1))
        return reply.status_code, reply.headers, text

    def _newly_refused(self, body: dict[str, Any], text: str) -> frozenset[str]:
        """Return the optional fields of a body that an endpoint's complaint names."""
        error = _error_of(text)
        named = f"{error.get('param') or ''} {error.get('message') or ''}"
        return frozenset(name for name in OPTIONAL if name in body and name in named)

    def _judge(self, status: int, headers: httpx.Headers, text: str) -> tuple[Said | Failure, float | None]:
        if status == 200:
            return self._read(headers, text), None
        said = _first_words(_error_of(text).get("message") or text)
        asks_to_be_paid = status == 402 or (
            status in (400, 403, 429) and any(w in text.lower() for w in _PAY)
        )
        if asks_to_be_paid:
            raise self._fatal(
                f"wants to be paid first (status {status}: {said})",
                "top up the account, or name another teacher; what was answered is kept",
            )
        if status in (401, 403):
            missing = self.key or "none is sent, since key_variable is empty"
            shown = f"in {self.key.name}" if self.key else missing
            raise self._fatal(
                f"refuses the key (status {status}: {said}); the key: {shown}",
                f"name the environment variable that holds a valid key in {self.where}.key_variable",
            )
        if status in (404, 405) or 300 <= status < 400:
            to = f", points to {headers['location']}" if 300 <= status < 400 and "location" in headers else ""
            raise self._fatal(
                f"has no model {self.model!r} or no such route (status {status}{to}: {said})",
                f"check {self.where}.model and {self.where}.url; the address asked was "
                f"{self.url}{self._shape.path(self.model)}",
            )
        if status in _REPEATED:
            return Failure(f"status_{status}", said), _retry_after(headers)
        return Failure(f"status_{status}", said), None

    def _fatal(self, what: str, next_step: str) -> LLMError:
        return LLMError(f"{self.url} {what}", where=self.where, next_step=next_step)

    def _read(self, headers: httpx.Headers, text: str) -> Said | Failure:
        kind = headers.get("content-type", "").partition(";")[0].strip()
        try:
            reply = json.loads(text)
        except (ValueError, RecursionError):
            what = (
                "JSON that breaks off or is damaged" if "json" in kind else f"{kind or 'no type'}, not JSON"
            )
            return Failure("rubbish", f"{what}: {_first_words(text)}")
        try:
            said = self._shape.read(reply)
        except (KeyError, IndexError, TypeError, AttributeError):
            return Failure("rubbish", f"JSON of another shape: {_first_words(text)}")
        if not isinstance(said.text, str):
            return Failure("rubbish", f"JSON of another shape: {_first_words(text)}")
        if said.refused:
            return Failure("refused", said.refused)
        if not said.text.strip():
            return Failure("empty", "max_tokens went into thinking" if not said.whole else "it said nothing")
        return said

    def _answer(self, request: Request, said: Said, seconds: float) -> Answer:
        counted = isinstance(said.input_tokens, int) and isinstance(said.output_tokens, int)
        read = said.input_tokens if isinstance(said.input_tokens, int) else estimate_tokens(request)
        wrote = said.output_tokens if isinstance(said.output_tokens, int) else _tokens(said.text)
        return Answer(said.text, read, wrote, seconds, whole=said.whole, estimated=not counted)


def estimate_tokens(request: Request) -> int:
    """Return about how many tokens a question has, from its length."""
    return _tokens(request.system) + _tokens(request.prompt) + 8


def _tokens(text: str) -> int:
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


def is_loopback(url: str) -> bool:
    """Say whether an address is of this machine."""
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _complete(url: str, own: str) -> str:
    given = (url or own).rstrip("/")
    return given if httpx.URL(given).path.strip("/") else given + httpx.URL(own).path


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


def _first_words(text: str, characters: int = 200) -> str:
    shown = " ".join(str(text)[: 4 * characters].split())
    return shown[:characters] + ("..." if len(shown) > characters else "") or "an empty reply"


def _retry_after(headers: httpx.Headers) -> float:
    """Return the seconds that a reply asks to wait; 0 where it does not, or not clearly."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0
