"""Compare a model with a running server that speaks OpenAI's protocol, by what such a server can be asked.

llama.cpp's server and vLLM also say which tokens they read; Ollama and others give the number of tokens and the
likeliest next ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import httpx
import torch

from tinsmith.base.errors import RunError
from tinsmith.base.progress import Progress
from tinsmith.parity.conversations import TEXTS, conversations
from tinsmith.parity.findings import ANSWERS, BEGIN_OF_TEXT, STOP_TOKENS, TEMPLATE, TOKENIZER, Finding
from tinsmith.parity.opened import OpenedModel
from tinsmith.parity.prompts import Prompt

KEY_VARIABLE = "TINSMITH_API_KEY"
_TOP, _KNOWN, _ASKED, _CHATS = 5, 100, 6, 8
_MEAN_DISTANCE = 0.5  # nats: mean difference of the likeliest tokens' log-probabilities


def is_address(name: str) -> bool:
    """Say whether a name is the address of a server."""
    return name.startswith(("http://", "https://"))


def served_findings(model: OpenedModel, address: str, progress: Progress) -> tuple[list[Finding], list[str]]:
    """Compare a model with a server: tokens of texts and chats, next tokens, and where an answer ends.

    Returns what differs, and what such a server could not be asked. Its key is read from TINSMITH_API_KEY.
    Raises RunError where the server does not answer.
    """
    server = _Server(address)
    with progress.task("asking the server", len(TEXTS) + _CHATS, "prompts") as advance:
        answers, notes = _answer_findings(model, server)
        findings = [*_token_findings(model, server), *answers]
        advance(len(TEXTS))
        findings += _chat_findings(model, server)
        advance(_CHATS)
    stops, unasked = _stop_findings(model, server)
    notes += unasked
    if server.token_ids("a") is None:
        notes.append("the server does not say which tokens it reads, so those of texts were not compared")
    return findings + stops, notes


class _Server:
    def __init__(self, address: str) -> None:
        address, _, named = address.partition("#")
        self.address = address.rstrip("/").removesuffix("/v1")
        key = os.environ.get(KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(base_url=self.address, headers=headers, timeout=300, trust_env=False)
        models = self.ask("GET", "/v1/models")["data"]
        self.model = named or (str(models[0]["id"]) if models else "")

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        found = self.try_to_ask(method, path, body)
        if found is None:
            raise RunError(
                f"does not answer {path}",
                where=self.address,
                next_step=f"check the address, and the key in {KEY_VARIABLE} if it asks for one",
            )
        return found

    def try_to_ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return a reply, or None where the server does not know the path or refuses."""
        try:
            reply = self._client.request(method, path, json=body)
            return reply.json() if reply.status_code == 200 else None
        except (httpx.HTTPError, ValueError):
            return None

    def token_ids(self, text: str) -> list[int] | None:
        body = {
            "content": text,
            "prompt": text,
            "model": self.model,
            "add_special": True,
            "parse_special": True,
        }
        found = self.try_to_ask("POST", "/tokenize", body)
        tokens = found.get("tokens") if isinstance(found, dict) else None
        return list(tokens) if tokens is not None else None

    def render(self, messages: list[dict[str, str]]) -> str | None:
        found = self.try_to_ask("POST", "/apply-template", {"messages": messages})
        return str(found["prompt"]) if isinstance(found, dict) and "prompt" in found else None

    def complete(self, text: str) -> tuple[dict[str, float], int]:
        """Return the log-probabilities of the likeliest next tokens by text, and how many tokens the prompt had."""
        body = {"model": self.model, "prompt": text, "max_tokens": 1, "temperature": 0, "logprobs": _TOP}
        reply = self.ask("POST", "/v1/completions", body)
        top = _top_log_probs(reply["choices"][0].get("logprobs") or {})
        return top, int(reply["usage"]["prompt_tokens"])

    def forced(self, token: int) -> str:
        """Return why generation ends where each token must be this one: stop, or length."""
        body = {"model": self.model, "prompt": TEXTS[0], "max_tokens": 2, "temperature": 0}
        reply = self.try_to_ask("POST", "/v1/completions", body | {"logit_bias": {str(token): 100}})
        return str(reply["choices"][0].get("finish_reason")) if reply else ""

    def chat(self, messages: list[dict[str, str]]) -> int | None:
        body = {"model": self.model, "messages": messages, "max_tokens": 1, "temperature": 0}
        reply = self.try_to_ask("POST", "/v1/chat/completions", body)
        return int(reply["usage"]["prompt_tokens"]) if reply else None


def _top_log_probs(found: dict[str, Any]) -> dict[str, float]:
    """Read the likeliest next tokens, which servers give in the form of completions or of chats."""
    if tops := found.get("top_logprobs"):
        return {str(token): float(value) for token, value in tops[0].items()}
    content = found.get("content") or []
    tops = content[0].get("top_logprobs", []) if content else []
    return {str(top["token"]): float(top["logprob"]) for top in tops}


def _token_findings(model: OpenedModel, server: _Server) -> Iterator[Finding]:
    bos = model.vocabulary.special.get("bos_token")
    wrong, begins, example = 0, False, ""
    for text in TEXTS:
        ours, theirs = model.read_by_llama_cpp(text, markup=True), server.token_ids(text)
        if theirs is None or theirs == ours:
            continue
        count = len(theirs)
        if [t for t in theirs if t != bos] == [t for t in ours if t != bos]:
            begins = True
            continue
        wrong += 1
        example = example or f"{text[:30]!r}: {len(ours)} tokens in A and {count} in B"
    if begins:
        yield Finding(BEGIN_OF_TEXT, "a text does not begin with its begin of text as often in B as in A")
    if wrong:
        yield Finding(TOKENIZER, f"{wrong} of {len(TEXTS)} texts have other tokens, such as {example}")


@torch.inference_mode()
def _answer_findings(model: OpenedModel, server: _Server) -> tuple[list[Finding], list[str]]:
    """Compare the likeliest next tokens; also return why they could not be."""
    prompts = [Prompt("text", text, tuple(model.token_ids(text, markup=True))) for text in TEXTS[:_ASKED]]
    hidden, output = model.hidden(prompts, lambda _: None)
    distances, end = [], -1
    for prompt in prompts:
        end += len(prompt.ids)
        likeliest = output.logits(hidden[end]).log_softmax(-1).topk(_KNOWN)
        ours = {model.decode(int(token)): float(value) for value, token in zip(*likeliest)}
        top, _ = server.complete(prompt.text)
        distances += [
            abs(ours[token] - value) for token, value in top.items() if token in ours and _is_whole(token)
        ]
    if not distances:
        return [], ["the server gives no probabilities of the likeliest tokens, so answers were not compared"]
    mean = sum(distances) / len(distances)
    apart = f"the likeliest next tokens have other probabilities, by {mean:.2f} nats on average"
    return ([] if mean <= _MEAN_DISTANCE else [Finding(ANSWERS, apart)]), []


def _is_whole(token: str) -> bool:
    """Say whether a token is text by itself: several parts of a character look alike."""
    return token != "" and "\ufffd" not in token


def _stop_findings(model: OpenedModel, server: _Server) -> tuple[list[Finding], list[str]]:
    """Make the server write each stop token, and see whether it ends there; also return why it could not be asked."""
    plain = model.token_ids("a", markup=True)[-1]
    if server.forced(plain) != "length":
        return [], ["the server does not obey logit_bias, so its stop tokens were not compared"]
    missed = [stop for stop in model.stops if server.forced(stop) != "stop"]
    names = [model.vocabulary.tokens[stop] for stop in missed]
    return [Finding(STOP_TOKENS, f"B does not end on {name!r}") for name in names], []


def _chat_findings(model: OpenedModel, server: _Server) -> Iterator[Finding]:
    differing, first, twice = 0, "", False
    bos = model.vocabulary.token_of("bos_token") or ""
    for messages in conversations()[:_CHATS]:
        text = model.render(messages)
        if text is None:
            continue
        plain = text.removeprefix(bos) if bos and model.vocabulary.adds_bos else text
        expected = len(model.token_ids(plain, markup=True))
        rendered, count = server.render(list(messages)), server.chat(list(messages))
        if rendered is not None and rendered.removeprefix(bos) != text.removeprefix(bos):
            differing += 1
            first = first or f"{text[:60]!r} in A and {rendered[:60]!r} in B"
        elif count is not None and count == expected + 1:
            twice = True
        elif count is not None and count != expected:
            differing += 1
            first = first or f"{expected} tokens in A and {count} in B"
    if twice:
        yield Finding(BEGIN_OF_TEXT, "a chat has one token more in B: its begin of text is written twice")
    if differing:
        yield Finding(TEMPLATE, f"{differing} of {_CHATS} conversations are written differently: {first}")
