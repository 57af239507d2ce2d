"""The request and reply formats of three providers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tinsmith.base.completion import Request

# Fields that some models or servers reject; after the first rejection they are omitted or renamed.
OPTIONAL = ("temperature", "seed", "response_format", "output_config", "max_tokens")
_RENAMED = {"max_tokens": "max_completion_tokens"}


@dataclass(frozen=True)
class Reply:
    """The parts of a provider's reply that are used; token counts are None if not reported."""

    text: str
    input_tokens: int | None
    output_tokens: int | None
    whole: bool
    refusal: str = ""


@dataclass(frozen=True)
class Provider:
    """A provider: its default address, the header of the key, the path, and how to write requests and read replies."""

    url: str
    key_header: str
    key_prefix: str
    path: Callable[[str], str]
    body: Callable[[str, Request], dict[str, Any]]
    read: Callable[[dict[str, Any]], Reply]
    headers: tuple[tuple[str, str], ...] = ()


def without(body: dict[str, Any], rejected: frozenset[str]) -> dict[str, Any]:
    """Return a request body without the rejected fields, or with their alternative names."""
    return {
        _RENAMED.get(name, name) if name in rejected else name: value
        for name, value in body.items()
        if name not in rejected or name in _RENAMED
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


def _openai_read(reply: dict[str, Any]) -> Reply:
    choice = reply["choices"][0]
    message, usage = choice["message"], reply.get("usage") or {}
    return Reply(
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


def _anthropic_read(reply: dict[str, Any]) -> Reply:
    text = "".join(part["text"] for part in reply["content"] if part.get("type") == "text")
    usage, stop = reply.get("usage") or {}, reply.get("stop_reason")
    # Tokens that the provider read from or wrote to its cache are a part of the prompt.
    counts = [usage.get(f"{kind}input_tokens") for kind in ("", "cache_creation_", "cache_read_")]
    total = None if counts[0] is None else sum(count or 0 for count in counts)
    return Reply(
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


def _gemini_read(reply: dict[str, Any]) -> Reply:
    usage = reply.get("usageMetadata") or {}
    shown = usage.get("candidatesTokenCount")
    # Thoughts are not shown, but are billed as output.
    total = None if shown is None else shown + (usage.get("thoughtsTokenCount") or 0)
    blocked = (reply.get("promptFeedback") or {}).get("blockReason", "")
    if blocked and not reply.get("candidates"):
        return Reply("", usage.get("promptTokenCount"), total, True, blocked)
    candidate = reply["candidates"][0]
    finish = candidate.get("finishReason") or "STOP"
    parts = (candidate.get("content") or {}).get("parts") or []
    text = "".join(part.get("text", "") for part in parts if not part.get("thought"))
    refusal = "" if finish in ("STOP", "MAX_TOKENS") else finish
    return Reply(text, usage.get("promptTokenCount"), total, finish != "MAX_TOKENS", refusal)


PROVIDERS = {
    "openai": Provider(
        "https://api.openai.com/v1",
        "Authorization",
        "Bearer ",
        lambda model: "/chat/completions",
        _openai_body,
        _openai_read,
    ),
    "anthropic": Provider(
        "https://api.anthropic.com/v1",
        "x-api-key",
        "",
        lambda model: "/messages",
        _anthropic_body,
        _anthropic_read,
        (("anthropic-version", "2023-06-01"),),
    ),
    "gemini": Provider(
        "https://generativelanguage.googleapis.com/v1beta",
        "x-goog-api-key",
        "",
        lambda model: f"/models/{model.removeprefix('models/')}:generateContent",
        _gemini_body,
        _gemini_read,
    ),
}
