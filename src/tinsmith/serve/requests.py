"""What a request may ask: every field is checked; what this server does not do is refused with a word.

OpenAI's fields that change nothing in an answer are taken and left aside (`UNSEEN`). Others are carried out or refused.
"""

from __future__ import annotations

import math
import re
from codecs import BOM_UTF8
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import from_json

from tinsmith.base.files import JsonObject
from tinsmith.tokens.chat import Message

# Bookkeeping of OpenAI's own service.
UNSEEN = (
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
)
_MOST_ANSWERS = 128  # of one request: prompts times `n`
_MOST_TOPS, _MOST_STOPS = 20, 64
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
# A schema that counts further takes memory by the gigabyte, or is given up in the middle of an answer.
_MOST_COUNTED = 1_000
_COUNTS = ("minItems", "maxItems", "minProperties", "maxProperties")
_COUNT_IN_PATTERN = re.compile(r"\{(\d*),?(\d*)\}")
# Fields that tell nothing where they have these values, whatever this server does.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "best_of": (1,),
    "echo": (False,),
    "function_call": ("none",),
    "functions": ([],),
    "modalities": (["text"],),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "web_search_options": (),
}


class BadRequest(Exception):
    """A request that cannot be answered, in words; `field` is the field at fault, `code` OpenAI's name of the fault."""

    def __init__(self, message: str, field: str | None = None, *, code: str | None = None) -> None:
        super().__init__(message)
        self.field, self.code = field, code


def read_json_object(data: bytes) -> JsonObject:
    """Return the object of a body. Raises BadRequest for what is not JSON in UTF-8 with finite numbers."""
    try:
        body = from_json(data.removeprefix(BOM_UTF8), allow_inf_nan=False)
    except ValueError as error:
        raise BadRequest(f"not valid JSON in UTF-8: {error}") from None
    if not isinstance(body, dict):
        raise BadRequest("send a JSON object")
    for name, value in body.items():
        if not _is_finite(value):
            raise BadRequest(f"`{_shown(name)}` has a number that is too large", name)
    return body


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(map(_is_finite, parts))


def _content(value: Any) -> str:
    """Return the text of a message: a string, or a list of parts that are text."""
    if not isinstance(value, list):
        if not isinstance(value, str):
            raise ValueError("must be text, or a list of parts of type text")
        return value
    texts = []
    for part in value:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text" or not isinstance(part.get("text"), str) or part.keys() - {"type", "text"}:
            what = (
                f"a part of type {_shown(kind)!r}"
                if isinstance(kind, str) and kind != "text"
                else "this part"
            )
            raise ValueError(
                f"{what} is not supported: this model reads parts {{'type': 'text', 'text': ...}} only"
            )
        texts.append(part["text"])
    return "\n".join(texts)


def _stops(value: Any) -> list[str]:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise ValueError("must be a text or a list of texts")
    if len(stops) > _MOST_STOPS:
        raise ValueError(f"must be at most {_MOST_STOPS} texts")
    return [stop for stop in stops if stop]


def _biases(value: Any) -> dict[int, float]:
    if not isinstance(value, dict) or not all(re.fullmatch(r"[0-9]{1,9}", str(token)) for token in value):
        raise ValueError("must be an object of token ids and numbers from -100 to 100")
    for bias in value.values():
        if isinstance(bias, bool) or not isinstance(bias, int | float) or not -100 <= bias <= 100:
            raise ValueError("must be an object of token ids and numbers from -100 to 100")
    return {int(token): float(bias) for token, bias in value.items()}


def _prompts(value: Any) -> list[str | list[int]]:
    """Return the prompts, each a text or token ids."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value:
        if all(isinstance(part, str) for part in value):
            return list(value)
        prompts = [value] if isinstance(value[0], int) else value
        if all(_is_token_ids(prompt) for prompt in prompts):
            return list(prompts)
    raise ValueError("must be a text, a list of token ids, or a list of either, and not empty")


def _is_token_ids(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(token, int) and not isinstance(token, bool) for token in value)
    )


def _schema_of(value: Any) -> JsonObject | None:
    """Return the JSON Schema that a response_format asks for; {"type": "object"} is any object, None plain text."""
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        schema = value.get("schema") or {"type": "object"}
    elif kind == "json_schema":
        named = value.get("json_schema")
        schema = named.get("schema") if isinstance(named, dict) else None
    else:
        raise ValueError("must be of type text, json_object or json_schema")
    if not isinstance(schema, dict):
        raise ValueError("json_schema.schema must be an object")
    if _counted(schema) > _MOST_COUNTED:
        raise ValueError(
            f"a schema may count to {_MOST_COUNTED:,} at most, repetitions within repetitions multiplied"
        )
    return schema


def _counted(schema: Any) -> int:
    """Return how far a schema counts: its largest bound on items or letters of a pattern, nested ones multiplied."""
    if isinstance(schema, list):
        return max(map(_counted, schema), default=1)
    if not isinstance(schema, dict):
        return 1
    bounds = [int(schema[name]) for name in _COUNTS if isinstance(schema.get(name), int | float)]
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        found = _COUNT_IN_PATTERN.findall(pattern)
        bounds.append(math.prod(max(1, int(low[:9] or 1), int(high[:9] or 1)) for low, high in found))
    return max([1, *bounds]) * max(map(_counted, schema.values()), default=1)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _ChatMessage(_Strict):
    role: str
    content: Annotated[str, BeforeValidator(_content)]

    @model_validator(mode="before")
    @classmethod
    def _without_nothing(cls, value: Any) -> Any:
        # Clients send an answer back with the fields that it came with, empty ones and its thoughts included.
        if not isinstance(value, dict):
            raise ValueError("must be an object with role and content")
        thoughts = {"reasoning_content"} if value.get("role") == "assistant" else set()
        return {
            name: each
            for name, each in value.items()
            if name in ("role", "content") or (each not in (None, []) and name not in thoughts)
        }

    @field_validator("role")
    @classmethod
    def _known_role(cls, role: str) -> str:
        if role not in _ROLES:
            raise ValueError(f"must be one of {', '.join(_ROLES)}")
        return _ROLES[role]


class _StreamOptions(_Strict):
    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class _Sampling(_Strict):
    """The fields that both routes share, by llama.cpp's names where OpenAI has none."""

    stream: bool = False
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1, le=2**31 - 1)
    n: int = Field(1, ge=1, le=_MOST_ANSWERS)
    stop: Annotated[list[str], BeforeValidator(_stops)] = Field(default_factory=list)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    temperature: FiniteFloat | None = Field(None, ge=0, le=100)
    top_p: FiniteFloat | None = Field(None, ge=0, le=1)
    presence_penalty: FiniteFloat | None = Field(None, ge=-2, le=2)
    frequency_penalty: FiniteFloat | None = Field(None, ge=-2, le=2)
    logit_bias: Annotated[dict[int, float], BeforeValidator(_biases)] = Field(default_factory=dict)
    top_k: int | None = Field(None, ge=0, le=2**31 - 1)
    min_p: FiniteFloat | None = Field(None, ge=0, le=1)
    repeat_penalty: FiniteFloat | None = Field(None, gt=0, le=100)
    repeat_last_n: int | None = Field(None, ge=0, le=2**31 - 1)
    ignore_eos: bool = False
    response_format: Annotated[JsonObject | None, BeforeValidator(_schema_of)] = None

    @model_validator(mode="after")
    def _options_of_streams(self) -> _Sampling:
        if self.stream_options and not self.stream:
            raise ValueError("`stream_options` goes with `stream`: true")
        return self

    @property
    def reports_usage(self) -> bool:
        """Say whether a stream ends with the counts of its tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def for_llama_cpp(self) -> JsonObject:
        """Return how to choose tokens, as llama.cpp's /completion reads it."""
        names = {
            "temperature",
            "top_p",
            "top_k",
            "min_p",
            "presence_penalty",
            "frequency_penalty",
            "repeat_penalty",
            "repeat_last_n",
            "stop",
            "ignore_eos",
        }
        found = self.model_dump(include=names, exclude_none=True)
        found["logit_bias"] = [[token, bias] for token, bias in self.logit_bias.items()]
        return found | ({} if self.seed is None else {"seed": self.seed % 2**32})


class ChatRequest(_Sampling):
    """A body of /v1/chat/completions."""

    messages: list[_ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1, le=2**31 - 1)
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=_MOST_TOPS)

    @model_validator(mode="after")
    def _tops_go_with_logprobs(self) -> ChatRequest:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("`top_logprobs` goes with `logprobs`: true")
        return self

    @property
    def talk(self) -> list[Message]:
        """Return the messages as the trainer's encoder reads them."""
        return [Message(message.role, message.content) for message in self.messages]

    @property
    def most(self) -> int | None:
        """Return the largest number of tokens of an answer."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def likeliest(self) -> int | None:
        """Return how many of the likeliest tokens are told beside each token; None: no probabilities."""
        return self.top_logprobs if self.logprobs else None


class CompletionRequest(_Sampling):
    """A body of /v1/completions. A prompt's markup is text unless `parse_special` says otherwise."""

    prompt: Annotated[list[str | list[int]], BeforeValidator(_prompts)]
    logprobs: int | None = Field(None, ge=0, le=_MOST_TOPS)
    parse_special: bool = False

    @model_validator(mode="after")
    def _a_few_answers(self) -> CompletionRequest:
        if len(self.prompt) * self.n > _MOST_ANSWERS:
            raise ValueError(f"prompts times `n` are at most {_MOST_ANSWERS}")
        return self

    @property
    def most(self) -> int | None:
        """Return the largest number of tokens of an answer."""
        return self.max_tokens

    @property
    def likeliest(self) -> int | None:
        """Return how many of the likeliest tokens are told beside each token; None: no probabilities."""
        return self.logprobs


Request = TypeVar("Request", bound=_Sampling)


def read_chat(body: JsonObject) -> ChatRequest:
    """Read a body of /v1/chat/completions. Raises BadRequest."""
    return _validated(ChatRequest, body)


def read_completion(body: JsonObject) -> CompletionRequest:
    """Read a body of /v1/completions. Raises BadRequest."""
    return _validated(CompletionRequest, body)


def _validated(kind: type[Request], body: JsonObject) -> Request:
    left_aside = {"model", *UNSEEN}
    given = {
        name: value
        for name, value in body.items()
        if value is not None and name not in left_aside and not _says_nothing(name, value)
    }
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise _in_words(error) from None


def _says_nothing(name: str, value: Any) -> bool:
    return any(type(value) is type(plain) and value == plain for plain in _PLAIN.get(name, ()))


def _in_words(error: ValidationError) -> BadRequest:
    """Return the first thing that is wrong with a body, with its field."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{_shown(part)}" for part in first["loc"])
    field = field.removeprefix(".")
    if first["type"] == "extra_forbidden":
        return BadRequest(f"`{field}` is not supported by this server; leave it out", field)
    if first["type"] == "missing":
        return BadRequest(f"`{field}` is missing", field)
    what = str(first["msg"]).removeprefix("Value error, ")
    what = what[:1].lower() + what[1:]
    return BadRequest(f"`{field}`: {what}" if field else what, field or None)


def _shown(text: str) -> str:
    """Return a name of a request for a message: short, and writable in UTF-8."""
    return text if len(text) <= 60 else f"{text[:60]}…"
