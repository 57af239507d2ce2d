"""Make token ids of what is asked, exactly as the trainer makes them: markup that a person typed stays text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tinsmith.gguf.tokenizer import build_tokenizer
from tinsmith.gguf.vocabulary import read_vocabulary
from tinsmith.serve.requests import BadRequest
from tinsmith.serve.room import trained_context
from tinsmith.tokens.chat import ChatEncoder, Messages, Refused
from tinsmith.tokens.encoding import encode, prefix_ids

_THINKS = "<think>"
_LAST_TOKENS = 8  # of a prompt, among which a template opens the model's thoughts


class Prompts:
    """The prompts of a GGUF file's model, at most `context` tokens long each; made in a thread of their own.

    The tokenizer is built at once, in that thread. With `plain_chats`, a model without a chat template reads the
    messages of a conversation one below the other. Raises AssetError for a vocabulary that is not known.
    """

    def __init__(self, gguf: Path, context: int = 0, plain_chats: bool = False) -> None:
        vocabulary = read_vocabulary(gguf)
        has_template = bool(vocabulary.chat_template)
        self.chats = has_template or plain_chats
        self.context = min(context or trained_context(gguf), trained_context(gguf))
        self.vocabulary = len(vocabulary.tokens)
        # A text of more characters than this has too many tokens, which is seen without making them.
        self._most_characters = self.context * max(map(len, vocabulary.tokens))
        # One thread, since a tokenizer cannot be used by two at once.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prompts")
        self._tokenizer = self._thread.submit(build_tokenizer, vocabulary)
        self._encoder = (
            self._thread.submit(lambda: ChatEncoder(self._tokenizer.result())) if has_template else None
        )

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    async def of_chat(self, messages: Messages) -> list[int]:
        """Return the ids of a conversation up to where the answer begins. Raises BadRequest."""
        if len(messages) >= self.context:  # each takes a token or more, and time
            raise self._too_long(f"{len(messages):,} messages")
        characters = sum(len(message.content) for message in messages)
        return await self._made(characters, lambda: self.chat_ids(messages))

    async def of_text(self, prompt: str | list[int], *, markup: bool) -> list[int]:
        """Return the ids of a text, or check given ones; with `markup`, special tokens that it names are these tokens.

        Raises BadRequest.
        """
        if isinstance(prompt, str):
            return await self._made(len(prompt), lambda: self._text(prompt, markup))
        if not all(0 <= token < self.vocabulary for token in prompt):
            raise BadRequest(f"`prompt`: a token id must be from 0 to {self.vocabulary - 1:,}", "prompt")
        return self._fitting(prompt)

    def opens_thoughts(self, ids: list[int]) -> bool:
        """Say whether a prompt ends with the mark that opens the model's thoughts."""
        return str(self._tokenizer.result().decode(ids[-_LAST_TOKENS:])).rstrip().endswith(_THINKS)

    @property
    def never_in_json(self) -> int:
        """Return a token with which no JSON begins."""
        return encode(self._tokenizer.result(), "!")[-1]

    async def _made(self, characters: int, make: Callable[[], list[int]]) -> list[int]:
        if characters > self._most_characters:
            raise self._too_long(f"{characters:,} characters")
        return self._fitting(await asyncio.get_running_loop().run_in_executor(self._thread, make))

    def chat_ids(self, messages: Messages) -> list[int]:
        """Return the ids of a conversation, in the thread that asks. Raises BadRequest."""
        if self._encoder is None:
            return self._text("".join(f"{message.content}\n\n" for message in messages), markup=False)
        try:
            return self._encoder.result().prompt(messages)
        except Refused as refused:
            raise BadRequest(
                f"the model's chat template refuses these messages: {refused}", "messages"
            ) from None

    def _text(self, text: str, markup: bool) -> list[int]:
        tokenizer = self._tokenizer.result()
        if markup:
            return list(tokenizer(text)["input_ids"])
        return [*prefix_ids(tokenizer), *encode(tokenizer, text)]

    def _fitting(self, ids: list[int]) -> list[int]:
        if not ids:
            raise BadRequest("`prompt` is empty; send at least one token", "prompt")
        # An answer needs a place too.
        if len(ids) >= self.context:
            raise self._too_long(f"{len(ids):,} tokens")
        return ids

    def _too_long(self, size: str) -> BadRequest:
        what = f"the prompt has {size}, and this model reads {self.context:,} tokens, the answer included"
        return BadRequest(f"{what}; send less text", code="context_length_exceeded")
