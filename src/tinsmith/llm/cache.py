"""Answers on disk, one file each, found again by model, place, question and settings."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from tinsmith.base.completion import Answer, Request
from tinsmith.base.files import sha256_json, write_atomic

_KEPT = ("text", "input_tokens", "output_tokens", "seconds", "joules", "whole", "estimated")


class AnswerCache:
    """Keep answers below a directory; a killed run finds them again, since each file is whole or absent."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def _path(self, identity: str, request: Request) -> Path:
        key = sha256_json({"teacher": identity, **asdict(request)})
        return self.directory / key[:2] / f"{key}.json"

    def get(self, identity: str, request: Request) -> Answer | None:
        """Return the answer that a teacher of this identity gave before; None too where its file is damaged."""
        try:
            kept = json.loads(self._path(identity, request).read_text(encoding="utf-8"))
            answer = Answer(**{name: kept[name] for name in _KEPT}, cached=True)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        usable = isinstance(answer.text, str) and isinstance(answer.output_tokens, int)
        return answer if usable and isinstance(answer.input_tokens, int) else None

    def put(self, identity: str, request: Request, answer: Answer) -> None:
        """Keep an answer. Prices are the recipe's and may change, so cost is not kept."""
        kept = asdict(answer)
        text = json.dumps({name: kept[name] for name in _KEPT}, ensure_ascii=True)
        write_atomic(self._path(identity, request), text + "\n")
