"""API keys: read from an environment variable, sent in one header, never shown."""

from __future__ import annotations

import os
from collections.abc import Generator

import httpx

from tinsmith.base.errors import LLMError


class ApiKey(httpx.Auth):
    """A secret that is added to requests when they are sent, and is in no repr, log or message."""

    def __init__(self, secret: str, *, name: str = "") -> None:
        self._secret, self.name = secret, name
        self.header = self.prefix = ""

    @classmethod
    def read(cls, variable: str, *, where: str) -> ApiKey:
        """Read a key from an environment variable, or no key if `variable` is empty. Raises LLMError."""
        if not variable:
            return cls("")
        secret = os.environ.get(variable, "").strip()
        if not secret:
            raise LLMError(
                f"the environment variable {variable} is not set or empty",
                where=f"{where}.key_variable",
                next_step=f"set it to the key: export {variable}=...",
            )
        if not (secret.isascii() and secret.isprintable()):
            raise LLMError(
                f"the environment variable {variable} does not contain a key: it has non-ASCII or control characters",
                where=f"{where}.key_variable",
                next_step="copy the key again, without line breaks",
            )
        return cls(secret, name=variable)

    def __bool__(self) -> bool:
        return bool(self._secret)

    def __repr__(self) -> str:
        return f"ApiKey({self.name or 'none'})"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the key to the headers."""
        if self._secret:
            request.headers[self.header] = self.prefix + self._secret
        yield request

    def scrub(self, text: str) -> str:
        """Replace the key in a text, in case a server repeats it."""
        return text.replace(self._secret, "[key]") if self._secret else text
