"""Cached answers on disk, one file each, keyed by model, endpoint and request."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from tinsmith.base.completion import Answer, Request
from tinsmith.base.files import sha256_json, write_atomic

_STORED = ("text", "input_tokens", "output_tokens", "seconds", "joules", "whole", "estimated")


def request_key(identity: str, request: Request) -> str:
    """Hash a request to the model `identity`: its text and settings, not the names of its documents."""
    fields = asdict(request)
    del fields["documents"]
    return sha256_json({"teacher": identity, **fields})


class AnswerCache:
    """A directory of answers that survives a crash, since files are written atomically."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def _path(self, identity: str, request: Request) -> Path:
        key = request_key(identity, request)
        return self.directory / key[:2] / f"{key}.json"

    def get(self, identity: str, request: Request) -> Answer | None:
        """Return the earlier answer of the model `identity`, or None if there is none or its file is damaged."""
        try:
            stored = json.loads(self._path(identity, request).read_text(encoding="utf-8"))
            answer = Answer(**{name: stored[name] for name in _STORED}, cached=True)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        usable = isinstance(answer.text, str) and isinstance(answer.output_tokens, int)
        return answer if usable and isinstance(answer.input_tokens, int) else None

    def put(self, identity: str, request: Request, answer: Answer) -> None:
        """Store an answer without its cost, since the prices of the recipe may change."""
        fields = asdict(answer)
        text = json.dumps({name: fields[name] for name in _STORED}, ensure_ascii=True)
        write_atomic(self._path(identity, request), text + "\n")
