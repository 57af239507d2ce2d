"""Write answers in OpenAI's shapes: chats and completions, whole and as chunks of a stream."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tinsmith.base.files import JsonObject
from tinsmith.serve.answering import Part

_OPENS, _CLOSES = "<think>", "</think>"
_UNLIKELY = -9999.0  # OpenAI's figure for a token that cannot come


@dataclass
class _Thoughts:
    """Tell a model's thoughts, which it writes between two marks before its answer, from the answer."""

    inside: bool = False
    begun: bool = False
    spaced: bool = False  # white space that follows the thoughts belongs to neither
    rest: str = ""  # read, and not yet told apart

    def split(self, text: str, *, last: bool) -> tuple[str, str]:
        """Return the thoughts and the answer in the next piece of text."""
        self.rest += text
        if not self.begun:
            start = self.rest.lstrip()
            if not last and (not start or _OPENS.startswith(start)) and not self.inside:
                return "", ""
            if start.startswith(_OPENS):
                self.inside, self.rest = True, start[len(_OPENS) :]
            self.begun = True
        if not self.inside:
            answer, self.rest = self.rest.lstrip() if self.spaced else self.rest, ""
            self.spaced = self.spaced and not answer
            return "", answer
        thoughts, closed, after = self.rest.partition(_CLOSES)
        if closed:
            after = after.lstrip()
            self.inside, self.rest, self.spaced = False, "", not after
            return thoughts, after
        held = 0 if last else max(n for n in range(len(_CLOSES)) if self.rest.endswith(_CLOSES[:n]))
        thoughts, self.rest = self.rest[: len(self.rest) - held], self.rest[len(self.rest) - held :]
        return thoughts, ""


@dataclass
class Writing:
    """An answer to one request as it is written: `prompts` tokens were read, `tops` likeliest tokens are told."""

    model: str
    prompts: int
    tops: int | None
    created: int = field(default_factory=lambda: int(time.time()))
    identity: str = field(default_factory=lambda: secrets.token_hex(12))
    written: int = 0
    cached: int = 0

    kind, prefix = "", ""

    def whole(self, parts: Sequence[Part]) -> JsonObject:
        """Return the body of all answers."""
        choices = [self._choice(part) for part in parts]
        return self._body(self.kind, choices) | {"usage": self.usage()}

    def usage(self) -> JsonObject:
        """Return the counts of tokens so far."""
        return {
            "prompt_tokens": self.prompts,
            "completion_tokens": self.written,
            "total_tokens": self.prompts + self.written,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }

    def opening(self, answers: int) -> list[JsonObject]:
        """Return the chunks that come before all text."""
        return []

    def chunks(self, part: Part) -> list[JsonObject]:
        """Return the chunks of a part."""
        raise NotImplementedError

    def last(self) -> JsonObject:
        """Return the chunk that tells the counts."""
        return self._chunk([]) | {"usage": self.usage()}

    def _choice(self, part: Part) -> JsonObject:
        raise NotImplementedError

    def _chunk(self, choices: list[JsonObject]) -> JsonObject:
        return self._body(self.kind, choices)

    def _body(self, kind: str, choices: list[JsonObject]) -> JsonObject:
        return {
            "id": f"{self.prefix}-{self.identity}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }

    def _count(self, part: Part) -> None:
        if part.finish:
            self.written += part.tokens
            self.cached += part.cached


@dataclass
class ChatWriting(Writing):
    """A chat. `thinks`: the prompt ends where the model's thoughts begin."""

    thinks: bool = False
    _thoughts: dict[int, _Thoughts] = field(default_factory=dict)

    kind, prefix = "chat.completion", "chatcmpl"

    def opening(self, answers: int) -> list[JsonObject]:
        return [self._piece(index, {"role": "assistant", "content": ""}) for index in range(answers)]

    def chunks(self, part: Part) -> list[JsonObject]:
        self._count(part)
        thoughts, answer = self._split(part)
        found = []
        told = self._log_probabilities(part)
        if thoughts:
            found.append(
                self._piece(part.index, {"reasoning_content": thoughts}, told if not answer else None)
            )
        if answer or (told and not thoughts):
            found.append(self._piece(part.index, {"content": answer}, told))
        if part.finish:
            found.append(self._piece(part.index, {}, finish=part.finish))
        return found

    def _choice(self, part: Part) -> JsonObject:
        self._count(part)
        thoughts, answer = self._split(part)
        message = {"role": "assistant", "content": answer, "refusal": None}
        return {
            "index": part.index,
            "message": message | ({"reasoning_content": thoughts} if thoughts else {}),
            "logprobs": self._log_probabilities(part),
            "finish_reason": part.finish,
        }

    def _split(self, part: Part) -> tuple[str, str]:
        thoughts = self._thoughts.setdefault(part.index, _Thoughts(inside=self.thinks))
        return thoughts.split(part.text, last=bool(part.finish))

    def _piece(
        self, index: int, delta: JsonObject, told: JsonObject | None = None, finish: str | None = None
    ) -> JsonObject:
        choice = {"index": index, "delta": delta, "logprobs": told, "finish_reason": finish}
        return self._chunk([choice])

    def _chunk(self, choices: list[JsonObject]) -> JsonObject:
        return self._body("chat.completion.chunk", choices)

    def _log_probabilities(self, part: Part) -> JsonObject | None:
        if self.tops is None or (not part.probabilities and not part.finish):
            return None
        tokens = [
            _token(each) | {"top_logprobs": [_token(top) for top in each["top_logprobs"][: self.tops]]}
            for each in part.probabilities
        ]
        return {"content": tokens, "refusal": None}


@dataclass
class CompletionWriting(Writing):
    """Completions. Probabilities come in their older shape: parallel lists, and where each token begins."""

    _offsets: dict[int, int] = field(default_factory=dict)

    kind, prefix = "text_completion", "cmpl"

    def chunks(self, part: Part) -> list[JsonObject]:
        return [self._chunk([self._choice(part)])] if part.text or part.finish or part.probabilities else []

    def _choice(self, part: Part) -> JsonObject:
        self._count(part)
        return {
            "index": part.index,
            "text": part.text,
            "logprobs": self._log_probabilities(part),
            "finish_reason": part.finish or None,
        }

    def _log_probabilities(self, part: Part) -> JsonObject | None:
        if self.tops is None:
            return None
        offsets = []
        for each in part.probabilities:
            offsets.append(self._offsets.get(part.index, 0))
            self._offsets[part.index] = offsets[-1] + len(each["token"])
        tops = [
            {top["token"]: _finite(top["logprob"]) for top in each["top_logprobs"][: self.tops]}
            for each in part.probabilities
        ]
        return {
            "tokens": [each["token"] for each in part.probabilities],
            "token_logprobs": [_finite(each["logprob"]) for each in part.probabilities],
            "top_logprobs": tops if self.tops else None,
            "text_offset": offsets,
        }


def _token(found: JsonObject) -> dict[str, Any]:
    return {"token": found["token"], "logprob": _finite(found["logprob"]), "bytes": found["bytes"]}


def _finite(log_probability: float | None) -> float:
    return _UNLIKELY if log_probability is None else log_probability
