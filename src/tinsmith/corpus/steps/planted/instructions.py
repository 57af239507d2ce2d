"""Find passages that address a model instead of a reader, by weighted rules within one stretch of text.

Contracts often disregard instructions, and manuals tell software to ignore things. So an order counts only at the
start of a sentence, where it addresses the reader, and most rules need a second one nearby.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import NamedTuple

ENOUGH = 1.0
STRETCH = 600  # characters within which weights add up
QUOTED = 160  # characters of a passage in the evidence
_PAYLOAD = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/_-]{32,}={0,2}(?![A-Za-z0-9+/=])")
_HIDDEN = re.compile(
    r"<!--(.{8,4000}?)-->"
    r"|<[a-z]+[^>]{0,300}(?:display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0|opacity\s*:\s*0(?![.\d])"
    r"|color\s*:\s*(?:white|#fff(?:fff)?)\b)[^>]{0,300}>(.{8,4000}?)</",
    re.IGNORECASE | re.DOTALL,
)


class Rule(NamedTuple):
    """A sign of instructions: name, weight, words of which a text must contain one, and pattern."""

    name: str
    weight: float
    anchors: tuple[str, ...]
    pattern: re.Pattern[str]


class Sign(NamedTuple):
    """Where a rule was found."""

    start: int
    end: int
    name: str
    weight: float


class SuspectPassage(NamedTuple):
    """A passage that addresses a model: sum of weights, names of the rules, and shortened text."""

    score: float
    rules: tuple[str, ...]
    text: str


def _rule(name: str, weight: float, anchors: str, pattern: str) -> Rule:
    return Rule(name, weight, tuple(anchors.split("|")), re.compile(pattern, re.IGNORECASE | re.MULTILINE))


# The start of a sentence, perhaps after a call for attention.
_HEAD = r"(?:^|[.!?:;>\"'”’(\[*#\-—]\s*|\n)\s*(?:(?:please|now|important|attention|note|stop|and|then|assistant|ai|model)[,:!.]?\s+){0,2}"
_EARLIER = r"(?:previous|prior|above|preceding|earlier|foregoing|existing|initial|original|system|safety)"
_ORDERS = (
    r"(?:instructions?|prompts?|directions|guidelines|rules|messages?|commands|context|programming|training)"
)
_MODEL = (
    r"(?:(?:an?|the|any|all|this|every)\s+)?(?:ai|a\.i\.|llms?|large language models?|language models?|chat ?gpt|gpt-?\d*|chatbots?"
    r"|claude|gemini|copilot|ai (?:assistants?|agents?|models?|systems?))"
)
RULES = (
    _rule(
        "override",
        1.0,
        "ignore|disregard|forget|override|bypass",
        _HEAD + r"(?:you (?:must|should|will|are to)\s+)?(?:ignore|disregard|forget|override|bypass)\s+"
        r"(?:(?:all|any|every|each|of|the|your|my|these|those|other)\s+){0,4}"
        + _EARLIER
        + r"(?:\s+(?:and|or)\s+\w+)?(?:\s+\w+)?\s+"
        + _ORDERS,
    ),
    _rule(
        "override_own",
        0.5,
        "ignore|disregard|forget|override|bypass",
        r"\b(?:ignore|disregard|forget|override|bypass)\s+(?:all\s+)?(?:of\s+)?your\s+(?:\w+\s+)?" + _ORDERS,
    ),
    _rule(
        "override_order",
        0.6,
        "ignore|disregard|forget",
        _HEAD
        + r"(?:ignore|disregard|forget)\s+(?:everything|all|anything|what)\b[^.\n]{0,40}\b(?:above|before|told|said|instructions|earlier)\b",
    ),
    _rule(
        "chat_token",
        1.0,
        "<|im_|[inst]|<<sys|<|start_header|<|eot_id|start_of_turn|<|system|<|user|<|assistant|[/inst]",
        r"<\|im_(?:start|end)\|>|\[/?INST\]|<</?SYS>>|<\|(?:start|end)_header_id\|>|<\|eot_id\|>|<(?:start|end)_of_turn>"
        r"|<\|(?:system|user|assistant)\|>",
    ),
    _rule("end_token", 0.5, "<|endof", r"<\|endof(?:text|prompt)\|>"),
    _rule("chat_layout", 0.7, "### instruction|### response", r"^### (?:Instruction|Response|System):?\s*$"),
    _rule(
        "chat_pair",
        1.0,
        "### instruction",
        r"^### Instruction:?\s*$[\s\S]{1,4000}?^### Response:?\s*$",
    ),
    _rule("chat_turn", 0.6, "human:|user:", r"^(?:Human|User):.{1,2000}\n\s*\n?(?:Assistant|AI):"),
    _rule("system_turn", 0.6, "system:", r"^\[?(?:system|SYSTEM)\]?\s*:\s*you\b"),
    _rule(
        "system_prompt", 0.5, "system prompt", r"\b(?:your|the|new|this) system prompt\b|\bsystem prompt\s*:"
    ),
    _rule(
        "role",
        0.7,
        "you are|act as|pretend|roleplay",
        r"\b(?:you are|you're|act as|pretend (?:to be|you are)|roleplay as)\s+(?:now\s+)?(?:acting as\s+)?(?:a helpful\s+)?"
        r"(?:"
        + _MODEL
        + r"|dan\b|(?:an? )?(?:helpful |unrestricted |uncensored |jailbroken )(?:assistant|ai|model))",
    ),
    _rule(
        "as_model",
        0.6,
        "language model|as an ai",
        r"\bas an? (?:ai|(?:large )?language model|ai (?:language )?model|ai assistant)\b[^.\n]{0,30}"
        r"\b(?:you (?:must|should|will|are|have to|may)|must|always|never)\b",
    ),
    _rule(
        "address",
        0.7,
        "if you are|note to|message to|instructions for|instruction for|attention|dear",
        r"\b(?:if you are|note to|messages? to|instructions? (?:for|to)|attention|dear)[,:]?\s+"
        + _MODEL
        + r"(?!\w)",
    ),
    _rule(
        "answer_order",
        0.5,
        "respond|reply|answer|say|output|print|repeat|write",
        _HEAD
        + r"(?:you (?:must|should|will)\s+)?(?:always |only |instead )?(?:respond|reply|answer|output|print|repeat|write)"
        r"\b[^.\n]{0,40}(?:[\"“'`]|\bonly\b|\bwith the (?:word|phrase|following)\b|\binstead\b)",
    ),
    _rule(
        "secrecy",
        0.6,
        "do not|don't|never|without",
        r"\b(?:do not|don't|never|without)\s+(?:tell|mention|reveal|inform|disclos\w+|telling|mentioning|informing)\s+"
        r"(?:this |it |that |any of this )?(?:to )?(?:the |your )?(?:users?|humans?|person you)\b"
        r"|\bdo not (?:reveal|mention|disclose) (?:that you|these instructions|this prompt|your (?:instructions|prompt))\b",
    ),
    _rule(
        "unlock",
        0.6,
        "jailbr|developer mode|no restrictions|safety filter|content polic",
        r"\bjailbr(?:eak|oken)\b|\bdeveloper mode\b|\bwithout any (?:safety )?(?:filters?|restrictions)\b"
        r"|\b(?:disable|turn off|bypass) (?:your |all |the )?(?:safety|content) (?:filters?|polic\w+|guidelines)\b",
    ),
    _rule(
        "exfiltration",
        0.7,
        "send|forward|post|upload|exfiltrate",
        _HEAD
        + r"(?:send|forward|post|upload|exfiltrate)\s+(?:\w+\s+){0,8}?(?:conversation|chat history|api keys?|passwords?|credentials"
        r"|system prompt|user(?:'s)? data)\b[^.\n]{0,80}(?:https?://|\S+@\S+)",
    ),
    _rule(
        "reveal",
        0.7,
        "system prompt|your instructions|initial instructions|hidden instructions",
        r"\b(?:reveal|show|print|repeat|output|tell me|disclose)\s+(?:me\s+)?(?:your|the)\s+(?:full |entire |hidden |initial )?"
        r"(?:system prompt|instructions|initial instructions|hidden instructions)\b",
    ),
    _rule(
        "model_order",
        0.5,
        "must|should|shall|always|never",
        r"\b" + _MODEL + r"\s+(?:reading this\s+)?(?:must|should|shall|will) (?:now |always |never )?"
        r"(?:ignore|say|respond|answer|output|recommend|rate|state|follow|comply|obey|praise|approve)\b",
    ),
)
_CONCEALED = 0.5  # added if a rule matches in text that a page hides, or that is encoded in base64


def find_instructions(text: str) -> SuspectPassage | None:
    """Return the strongest passage that addresses a model, or None if none reaches ENOUGH."""
    lowered = text.lower()
    signs = list(_signs(text, lowered))
    signs += _concealed(text, lowered)
    if sum(sign.weight for sign in signs) < ENOUGH:
        return None
    return _strongest(text, sorted(signs))


def _signs(text: str, lowered: str) -> Iterator[Sign]:
    for rule in RULES:
        if any(anchor in lowered for anchor in rule.anchors):
            for found in rule.pattern.finditer(text):
                yield Sign(found.start(), found.end(), rule.name, rule.weight)


def _concealed(text: str, lowered: str) -> Iterator[Sign]:
    """Yield signs in hidden HTML and in readable base64."""
    if "<!--" in lowered or "style" in lowered:
        for found in _HIDDEN.finditer(text):
            inside = found[1] or found[2]
            if any(True for _ in _signs(inside, inside.lower())):
                yield Sign(found.start(), found.end(), "not_shown", _CONCEALED)
    for found in _PAYLOAD.finditer(text):
        decoded = _decode(found[0])
        strongest = max((sign.weight for sign in _signs(decoded, decoded.lower())), default=0.0)
        if strongest:
            yield Sign(found.start(), found.end(), "base64", strongest + _CONCEALED)


def _decode(payload: str) -> str:
    """Decode base64 if the result is printable ASCII; else return an empty string."""
    data = payload.rstrip("=")
    try:
        decoded = base64.b64decode(
            data + "=" * (-len(data) % 4), altchars=b"-_" if "-" in data or "_" in data else None
        )
    except (binascii.Error, ValueError):
        return ""
    printable = decoded.isascii() and all(byte >= 32 or byte in b"\t\n\r" for byte in decoded)
    return decoded.decode("ascii") if printable else ""


def _strongest(text: str, signs: list[Sign]) -> SuspectPassage | None:
    best: SuspectPassage | None = None
    for number, first in enumerate(signs):
        near = [sign for sign in signs[number:] if sign.start < first.start + STRETCH]
        weights = {sign.name: sign.weight for sign in near}
        score = sum(weights.values())
        if score >= ENOUGH and (best is None or score > best.score):
            end = max(max(sign.end for sign in near), first.start + QUOTED)
            passage = " ".join(text[first.start : end].split())[:QUOTED]
            best = SuspectPassage(score, tuple(sorted(weights)), passage)
    return best
