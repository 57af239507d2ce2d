"""Conversations as tokens: the template's markup is markup, what people wrote is text, answers are targets."""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerFast

from tinsmith.base.errors import RecipeError
from tinsmith.tokens.encoding import encode

# Templates that write today's date would give other tokens tomorrow; this is the date that Llama 3 falls back on.
_TODAY = datetime.datetime(2024, 7, 26)
_PRIVATE = range(0xF0000, 0x10FFFE)


class Message(NamedTuple):
    """What one side said: system, user or assistant."""

    role: str
    content: str


Messages = Sequence[Message]


class Refused(Exception):
    """The template takes no such conversation, for example one that has a system message."""


@dataclass(frozen=True)
class Encoded:
    """A conversation's tokens, and a mark of 1 for each that is a target."""

    ids: list[int]
    marks: list[int]


class _Piece(NamedTuple):
    text: str
    target: bool


class ChatEncoder:
    """Encode conversations with the tokenizer's chat template, as they will be asked and answered.

    An answer is encoded apart from what stands before it, since the model reads the one and writes the other.
    Markup such as <|im_end|> within a message stays ordinary text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        """Raise RecipeError where the tokenizer has no chat template."""
        if not tokenizer.chat_template:
            raise RecipeError(
                "the base has no chat template, so there is no form for questions and answers",
                where="model.base",
                next_step="take an instruction-tuned base, add chat_template to its tokenizer_config.json, "
                "or train a tokenizer (model.tokenizer = 'bpe@16k')",
            )
        self.tokenizer = tokenizer
        self.turn_ends: set[str] = set()  # what ended the answers so far
        self._special = {
            token.content: token for token in tokenizer.added_tokens_decoder.values() if token.special
        }
        longest_first = sorted(self._special, key=lambda token: (-len(token), token))
        self._markup = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")

    def encode(self, messages: Messages, *, where: str, known: int = 0) -> Encoded:
        """Return a conversation's tokens; targets are the assistant's messages from number `known` on.

        A target goes up to the token that ends the turn, which is one too. Raises Refused where the template
        refuses the conversation, RecipeError (with `where`) for a template whose answers cannot be told apart.
        """
        guarded, stands_for = self._guard(messages)
        ids: list[int] = []
        marks: list[int] = []
        before, markup = "", ""
        for piece in self._pieces(guarded, known, where):
            parts = self._split(piece.text, markup, stands_for)
            own = self._encode_after(before, parts[0])
            for markup, text in zip(parts[1::2], parts[2::2], strict=True):
                own += [self.tokenizer.convert_tokens_to_ids(markup), *encode(self.tokenizer, text)]
            before = parts[-1]
            markup = "" if before else markup
            ids += own
            marks += [int(piece.target)] * len(own)
        return Encoded(ids, marks)

    def _guard(self, messages: Messages) -> tuple[Messages, dict[str, str]]:
        """Put a private character in the place of each markup within the messages; return what each stands for."""
        contents = "".join(message.content for message in messages)
        found = sorted(set(self._markup.findall(contents)))
        free = (character for character in map(chr, _PRIVATE) if character not in contents)
        stands_for = dict(zip(free, found, strict=False))
        place = {markup: character for character, markup in stands_for.items()}
        return [
            Message(role, self._markup.sub(lambda match: place[match[0]], content))
            for role, content in messages
        ], stands_for

    def _pieces(self, messages: Messages, known: int, where: str) -> Iterator[_Piece]:
        """Cut the rendering into what is read and what is learnt, by rendering the conversation as it grows."""
        whole, done = self._render(messages, asking=False), 0
        for number, message in enumerate(messages):
            if message.role != "assistant" or number < known:
                continue
            asked = self._render(messages[:number], asking=True)
            answered = self._render(messages[: number + 1], asking=False)
            if not answered.startswith(asked) or not whole.startswith(answered) or len(asked) < done:
                raise RecipeError(
                    "the chat template writes earlier turns in another way once later ones follow",
                    where=where,
                    next_step="give each conversation one answer, or the base a template that keeps history",
                )
            end = len(asked) + self._turn_end(answered[len(asked) :], where)
            yield _Piece(whole[done : len(asked)], False)
            yield _Piece(whole[len(asked) : end], True)
            done = end
        yield _Piece(whole[done:], False)

    def _turn_end(self, answer: str, where: str) -> int:
        found = list(self._markup.finditer(answer))
        if not found or answer[found[-1].end() :].strip():
            raise RecipeError(
                "the chat template ends an answer with no special token, so the model would never stop",
                where=where,
                next_step="write the end-of-text token after the assistant's content in the chat template",
            )
        self.turn_ends.add(found[-1][0])
        return found[-1].end()

    def _render(self, messages: Messages, *, asking: bool) -> str:
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    [message._asdict() for message in messages],
                    tokenize=False,
                    add_generation_prompt=asking,
                    strftime_now=_TODAY.strftime,
                )
            )
        except TemplateError as error:
            raise Refused(str(error)) from None

    def _split(self, rendered: str, after: str, stands_for: dict[str, str]) -> list[str]:
        """Cut rendered text into text, markup, text, ... where private characters became text again.

        `after` is the markup that it follows at once, or empty: some markup takes the white space beside it.
        """
        parts = self._markup.split(rendered)
        markup = [after, *parts[1::2], ""]
        for number, (left, right) in enumerate(itertools.pairwise(markup)):
            text = parts[2 * number]
            text = text.lstrip() if left and self._special[left].rstrip else text
            text = text.rstrip() if right and self._special[right].lstrip else text
            for character, guarded in stands_for.items():
                text = text.replace(character, guarded)
            parts[2 * number] = text
        return parts

    def _encode_after(self, before: str, text: str) -> list[int]:
        """Encode text as what follows other text; by itself where they would share a token."""
        alone, both = encode(self.tokenizer, before), encode(self.tokenizer, before + text)
        return both[len(alone) :] if both[: len(alone)] == alone else encode(self.tokenizer, text)
