"""A provider's key: read from an environment variable, sent in one header, shown nowhere."""

from __future__ import annotations

import os
from collections.abc import Generator

import httpx

from tinsmith.base.errors import LLMError


class Key(httpx.Auth):
    """A secret that goes into a header when a request leaves, and stands in no repr, log or message."""

    def __init__(self, secret: str, *, name: str = "") -> None:
        self._secret, self.name = secret, name
        self.header = self.prefix = ""

    @classmethod
    def read(cls, variable: str, *, where: str) -> Key:
        """Read a key from an environment variable; no variable means no key. Raises LLMError."""
        if not variable:
            return cls("")
        secret = os.environ.get(variable, "").strip()
        if not secret:
            raise LLMError(
                f"the environment variable {variable} is not set, or empty",
                where=f"{where}.key_variable",
                next_step=f"put the key there: export {variable}=...",
            )
        if not (secret.isascii() and secret.isprintable()):
            raise LLMError(
                f"what the environment variable {variable} holds cannot be a key: it has characters "
                "that no header can carry",
                where=f"{where}.key_variable",
                next_step="copy the key anew, without line breaks",
            )
        return cls(secret, name=variable)

    def __bool__(self) -> bool:
        return bool(self._secret)

    def __repr__(self) -> str:
        return f"Key({self.name or 'none'})"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Put the key into its header."""
        if self._secret:
            request.headers[self.header] = self.prefix + self._secret
        yield request

    def scrub(self, text: str) -> str:
        """Return a text in which the key, should a server repeat it, is not to be read."""
        return text.replace(self._secret, "[key]") if self._secret else text
