"""Encode conversations: template markup becomes special tokens, messages stay text, answers are targets."""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerFast

from tinsmith.base.errors import RecipeError
from tinsmith.tokens.encoding import encode

# A fixed date, since templates that write today's would give different tokens tomorrow. It is Llama 3's default.
_TODAY = datetime.datetime(2024, 7, 26)
# What Python raises where a template does with a message what cannot be done, such as adding a number to a text.
_TEMPLATE_FAULTS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
_PRIVATE = range(0xF0000, 0x10FFFE)


class Message(NamedTuple):
    """One message of the system, the user or the assistant. An answer that is not learnt is only read."""

    role: str
    content: str
    learnt: bool = True


Messages = Sequence[Message]


class Refused(Exception):
    """The template does not accept this conversation, for example because it has a system message."""


@dataclass(frozen=True)
class Encoded:
    """A conversation's token ids, and for each a mark: 1 for a target, else 0."""

    ids: list[int]
    marks: list[int]

    @property
    def last_target(self) -> int:
        """Return where the last answer that is a target begins."""
        backwards = self.marks[::-1]
        last = backwards.index(1)
        begin = next((place for place in range(last, len(backwards)) if not backwards[place]), len(backwards))
        return len(self.marks) - begin


class _Piece(NamedTuple):
    text: str
    target: bool


def is_opening(messages: Messages, number: int) -> bool:
    """Say whether nobody has spoken before a message but the system and the assistant, so that it answers nobody."""
    return all(message.role in ("system", "assistant") for message in messages[:number])


def is_target(messages: Messages, number: int) -> bool:
    """Say whether a message is an answer of the assistant to somebody, and one to be learnt."""
    message = messages[number]
    return message.role == "assistant" and message.learnt and not is_opening(messages, number)


class ChatEncoder:
    """Encode conversations with the tokenizer's chat template, as the model will read and answer them.

    An answer is encoded separately from the text before it, since the model reads one and writes the other.
    Markup such as <|im_end|> within a message stays ordinary text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        """Raise RecipeError if the tokenizer has no chat template."""
        if not tokenizer.chat_template:
            raise RecipeError(
                "the base has no chat template, so questions and answers cannot be formatted",
                where="model.base",
                next_step="choose an instruction-tuned base, add chat_template to its tokenizer_config.json, "
                "or train a tokenizer (model.tokenizer = 'bpe@16k')",
            )
        self.tokenizer = tokenizer
        self.turn_ends: set[str] = set()  # the tokens that ended answers so far
        self._special = {
            token.content: token for token in tokenizer.added_tokens_decoder.values() if token.special
        }
        longest_first = sorted(self._special, key=lambda token: (-len(token), token))
        self._markup = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")

    def encode(self, messages: Messages, *, where: str, known: int = 0) -> Encoded:
        """Return a conversation's tokens; targets are the assistant's learnt messages from number `known` on.

        What the assistant says before anybody else has spoken is read, and no target.
        A target includes the token that ends the turn. Raises Refused if the template rejects the conversation,
        RecipeError (with `where`) if answers cannot be located in the rendered text.
        """
        guarded, stands_for = self._guard(messages)
        return self._encode_pieces(self._pieces(guarded, known, where), stands_for)

    def prompt(self, messages: Messages) -> list[int]:
        """Return the ids after which the model's answer begins: those that `encode` gives before that answer.

        A last message of the assistant that answers somebody is the beginning of the answer.
        Raises Refused if the template rejects the conversation.
        """
        guarded, stands_for = self._guard(messages)
        begun = messages[-1].role == "assistant" and not is_opening(messages, len(messages) - 1)
        past, beginning = (guarded[:-1], guarded[-1].content) if begun else (guarded, "")
        asked = self._render(past, add_generation_prompt=True)
        try:
            *before, _ = self._pieces(past, 0, "messages")
        except RecipeError:
            # Such a template writes the past differently once it is past; it is read as one piece.
            before = []
        done = "".join(piece.text for piece in before)
        if not asked.startswith(done):
            before, done = [], ""
        pieces = [
            *before,
            _Piece(asked[len(done) :], False),
            *([_Piece(beginning, True)] if beginning else []),
        ]
        return self._encode_pieces(pieces, stands_for).ids

    def _encode_pieces(self, pieces: Iterable[_Piece], stands_for: dict[str, str]) -> Encoded:
        ids: list[int] = []
        marks: list[int] = []
        before, markup = "", ""
        for piece in pieces:
            parts = self._split(piece.text, markup, stands_for)
            piece_ids = self._encode_after(before, parts[0])
            for markup, text in zip(parts[1::2], parts[2::2], strict=True):
                piece_ids += [self.tokenizer.convert_tokens_to_ids(markup), *encode(self.tokenizer, text)]
            before = parts[-1]
            markup = "" if before else markup
            ids += piece_ids
            marks += [int(piece.target)] * len(piece_ids)
        return Encoded(ids, marks)

    def _guard(self, messages: Messages) -> tuple[Messages, dict[str, str]]:
        """Replace each markup within the messages by a private-use character; return the markup by character."""
        contents = "".join(message.content for message in messages)
        markups = sorted(set(self._markup.findall(contents)))
        free = (character for character in map(chr, _PRIVATE) if character not in contents)
        stands_for = dict(zip(free, markups, strict=False))
        characters = {markup: character for character, markup in stands_for.items()}
        return [
            message._replace(content=self._markup.sub(lambda match: characters[match[0]], message.content))
            for message in messages
        ], stands_for

    def _pieces(self, messages: Messages, known: int, where: str) -> Iterator[_Piece]:
        """Cut the rendered text into prompts and targets, by rendering the conversation turn by turn."""
        whole, done = self._render(messages, add_generation_prompt=False), 0
        for number in range(known, len(messages)):
            if not is_target(messages, number):
                continue
            prompt = self._render(messages[:number], add_generation_prompt=True)
            answered = self._render(messages[: number + 1], add_generation_prompt=False)
            if not answered.startswith(prompt) or not whole.startswith(answered) or len(prompt) < done:
                raise RecipeError(
                    "the chat template renders earlier turns differently once later ones follow",
                    where=where,
                    next_step="keep one answer per conversation, or give the base a template that keeps history",
                )
            end = len(prompt) + self._turn_end(answered[len(prompt) :], where)
            yield _Piece(whole[done : len(prompt)], False)
            yield _Piece(whole[len(prompt) : end], True)
            done = end
        yield _Piece(whole[done:], False)

    def _turn_end(self, answer: str, where: str) -> int:
        markups = list(self._markup.finditer(answer))
        if not markups or answer[markups[-1].end() :].strip():
            raise RecipeError(
                "the chat template does not end answers with a special token, so the model would never stop",
                where=where,
                next_step="write the end-of-text token after the assistant's content in the chat template",
            )
        self.turn_ends.add(markups[-1][0])
        return markups[-1].end()

    def _render(self, messages: Messages, *, add_generation_prompt: bool) -> str:
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    [{"role": message.role, "content": message.content} for message in messages],
                    tokenize=False,
                    add_generation_prompt=add_generation_prompt,
                    strftime_now=_TODAY.strftime,
                )
            )
        except TemplateError as error:
            raise Refused(str(error)) from None
        except _TEMPLATE_FAULTS as error:
            raise Refused(f"the chat template fails: {type(error).__name__}: {error}") from None

    def _split(self, rendered: str, after: str, stands_for: dict[str, str]) -> list[str]:
        """Cut rendered text into text, markup, text, ... and restore the markup within messages as text.

        `after` is the markup directly before it, or empty. Some markup absorbs the white space beside it.
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
        """Encode text as the continuation of other text, or by itself where the two would share a token."""
        alone, both = encode(self.tokenizer, before), encode(self.tokenizer, before + text)
        return both[len(alone) :] if both[: len(alone)] == alone else encode(self.tokenizer, text)
