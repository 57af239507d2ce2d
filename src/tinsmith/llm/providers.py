"""How three providers want to be asked, and where their answers keep text, tokens and refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tinsmith.base.completion import Request

# Fields that some models or servers refuse; they are left out, or called otherwise, once one did.
OPTIONAL = ("temperature", "seed", "response_format", "output_config", "max_tokens")
_RENAMED = {"max_tokens": "max_completion_tokens"}


@dataclass(frozen=True)
class Said:
    """The parts of a provider's answer that matter; None where it does not say."""

    text: str
    input_tokens: int | None
    output_tokens: int | None
    whole: bool
    refused: str = ""


@dataclass(frozen=True)
class Shape:
    """One provider: its own address, where questions go, the header of the key, and both directions."""

    url: str
    key_header: str
    key_prefix: str
    path: Callable[[str], str]
    body: Callable[[str, Request], dict[str, Any]]
    read: Callable[[dict[str, Any]], Said]
    headers: tuple[tuple[str, str], ...] = ()


def without(body: dict[str, Any], refused: frozenset[str]) -> dict[str, Any]:
    """Return a body in which refused fields are left out, or have their other name."""
    return {
        _RENAMED.get(k, k) if k in refused else k: v
        for k, v in body.items()
        if k not in refused or k in _RENAMED
    }


def _openai_body(model: str, request: Request) -> dict[str, Any]:
    system = [{"role": "system", "content": request.system}] if request.system else []
    body: dict[str, Any] = {
        "model": model,
        "messages": [*system, {"role": "user", "content": request.prompt}],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
    }
    if request.seed is not None:
        body["seed"] = request.seed
    if request.schema is not None:
        schema = {"name": "answer", "strict": True, "schema": request.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _openai_read(reply: dict[str, Any]) -> Said:
    choice = reply["choices"][0]
    message, usage = choice["message"], reply.get("usage") or {}
    return Said(
        message.get("content") or "",
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
        choice.get("finish_reason") != "length",
        message.get("refusal")
        or ("content_filter" if choice.get("finish_reason") == "content_filter" else ""),
    )


def _anthropic_body(model: str, request: Request) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": request.prompt}],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
    }
    if request.system:
        body["system"] = request.system
    if request.schema is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": request.schema}}
    return body


def _anthropic_read(reply: dict[str, Any]) -> Said:
    text = "".join(part["text"] for part in reply["content"] if part.get("type") == "text")
    usage, stop = reply.get("usage") or {}, reply.get("stop_reason")
    # What a cache of the provider's read or wrote is part of the question too.
    read = [usage.get(f"{kind}input_tokens") for kind in ("", "cache_creation_", "cache_read_")]
    total = None if read[0] is None else sum(number or 0 for number in read)
    return Said(
        text, total, usage.get("output_tokens"), stop != "max_tokens", stop if stop == "refusal" else ""
    )


def _gemini_body(model: str, request: Request) -> dict[str, Any]:
    settings: dict[str, Any] = {"maxOutputTokens": request.max_tokens, "temperature": request.temperature}
    if request.seed is not None:
        settings["seed"] = request.seed
    if request.schema is not None:
        settings["responseMimeType"] = "application/json"
    body: dict[str, Any] = {
        "contents": [{"role": "user", "parts": [{"text": request.prompt}]}],
        "generationConfig": settings,
    }
    if request.system:
        body["systemInstruction"] = {"parts": [{"text": request.system}]}
    return body


def _gemini_read(reply: dict[str, Any]) -> Said:
    usage = reply.get("usageMetadata") or {}
    written = usage.get("candidatesTokenCount")
    # Thoughts are not shown, but counted and paid for as output.
    total = None if written is None else written + (usage.get("thoughtsTokenCount") or 0)
    blocked = (reply.get("promptFeedback") or {}).get("blockReason", "")
    if blocked and not reply.get("candidates"):
        return Said("", usage.get("promptTokenCount"), total, True, blocked)
    candidate = reply["candidates"][0]
    finish = candidate.get("finishReason") or "STOP"
    parts = (candidate.get("content") or {}).get("parts") or []
    text = "".join(part.get("text", "") for part in parts if not part.get("thought"))
    refused = "" if finish in ("STOP", "MAX_TOKENS") else finish
    return Said(text, usage.get("promptTokenCount"), total, finish != "MAX_TOKENS", refused)


SHAPES = {
    "openai": Shape(
        "https://api.openai.com/v1",
        "Authorization",
        "Bearer ",
        lambda model: "/chat/completions",
        _openai_body,
        _openai_read,
    ),
    "anthropic": Shape(
        "https://api.anthropic.com/v1",
        "x-api-key",
        "",
        lambda model: "/messages",
        _anthropic_body,
        _anthropic_read,
        (("anthropic-version", "2023-06-01"),),
    ),
    "gemini": Shape(
        "https://generativelanguage.googleapis.com/v1beta",
        "x-goog-api-key",
        "",
        lambda model: f"/models/{model.removeprefix('models/')}:generateContent",
        _gemini_body,
        _gemini_read,
    ),
}
