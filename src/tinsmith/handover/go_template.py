"""Write a chat template as a Go template, which Ollama wants, and hold it against the Jinja one.

A Jinja template is a program, and is not translated. What it writes around messages is found out by rendering marked
ones, and the form found is then rendered for twenty awkward conversations: it is used only if it gives the same text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tinsmith.base.errors import AssetError
from tinsmith.parity.conversations import Message, conversations

Render = Callable[[Sequence[Message], bool], str | None]  # of messages, and whether an answer is asked for
_SYSTEM, _ASK, _ANSWER, _AGAIN = "SYSTEMtext", "USERtext", "ASSISTANTtext", "AGAINtext"


@dataclass(frozen=True)
class ChatForm:
    """What a template writes around messages.

    `opening` stands before the first message of the user; with a system message, `before_system` and `after_system`
    stand around that instead. None where the template refuses system messages.
    """

    opening: str
    before_system: str | None
    after_system: str
    before_user: str
    after_user: str
    before_answer: str
    after_answer: str
    asks: str

    def render(self, messages: Sequence[Message]) -> str:
        """Return a conversation as the Go template writes it."""
        system = "".join(message["content"] for message in messages if message["role"] == "system")
        written, first = "", True
        for message in messages:
            if message["role"] == "user":
                if not first:
                    written += self.before_user
                elif system and self.before_system is not None:
                    written += f"{self.before_system}{system}{self.after_system}"
                else:
                    written += self.opening
                written, first = written + message["content"] + self.after_user, False
            elif message["role"] == "assistant":
                written += self.before_answer + message["content"] + self.after_answer
        return written + self.asks

    def as_go(self) -> str:
        """Return the Go template over Ollama's messages."""
        told = (
            f"{_go(self.opening)}"
            if self.before_system is None
            else f"{{{{ if $system }}}}{_go(self.before_system)}{{{{ $system }}}}{_go(self.after_system)}"
            f"{{{{ else }}}}{_go(self.opening)}{{{{ end }}}}"
        )
        return (
            '{{ $system := "" }}{{ $first := true }}'
            '{{ range .Messages }}{{ if eq .Role "system" }}'
            '{{ $system = printf "%s%s" $system .Content }}{{ end }}{{ end }}'
            '{{ range .Messages }}{{ if eq .Role "user" }}'
            f"{{{{ if $first }}}}{told}{{{{ $first = false }}}}{{{{ else }}}}{_go(self.before_user)}{{{{ end }}}}"
            f"{{{{ .Content }}}}{_go(self.after_user)}"
            '{{ else if eq .Role "assistant" }}'
            f"{_go(self.before_answer)}{{{{ .Content }}}}{_go(self.after_answer)}"
            f"{{{{ end }}}}{{{{ end }}}}{_go(self.asks)}"
        )


def _go(text: str) -> str:
    """Return an action that writes a text; Go reads the same escapes as JSON."""
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}" if text else ""


def find_form(render: Render, where: str) -> tuple[ChatForm, list[str]]:
    """Return what a template writes around messages, and in which of twenty conversations white space differs.

    Raises AssetError for a template whose text depends on more than that.
    """
    form = _form(render, where)
    differing = []
    for number, messages in enumerate(conversations()):
        expected = render(messages, True)
        if expected is None or expected == form.render(messages):
            continue
        if expected != form.render(
            [{**message, "content": message["content"].strip()} for message in messages]
        ):
            got = form.render(messages)
            at = next(
                (i for i, (x, y) in enumerate(zip(expected, got)) if x != y), min(len(expected), len(got))
            )
            raise AssetError(
                f"its chat template depends on more than roles: of conversation {number} it writes "
                f"{expected[at : at + 40]!r}, where a Go template would write {got[at : at + 40]!r}",
                where=where,
                next_step="serve the GGUF file with llama.cpp or tinsmith serve, which run the template itself",
            )
        differing.append(f"conversation {number}")
    return form, differing


def _form(render: Render, where: str) -> ChatForm:
    ask, answer, again = (
        {"role": role, "content": text}
        for role, text in (("user", _ASK), ("assistant", _ANSWER), ("user", _AGAIN))
    )
    system = {"role": "system", "content": _SYSTEM}
    plain, whole, asked = render([ask], False), render([ask, answer, again], False), render([ask], True)
    answered, told = render([ask, answer], False), render([system, ask], True)
    if plain is None or whole is None or asked is None or answered is None:
        raise AssetError(
            "its chat template refuses a question and an answer",
            where=where,
            next_step="correct the template, or leave Ollama out",
        )
    after_user, after_answer = plain.partition(_ASK)[2], answered.partition(_ANSWER)[2]
    between, later = (
        whole.partition(_ASK)[2].partition(_ANSWER)[0],
        whole.partition(_ANSWER)[2].partition(_AGAIN)[0],
    )
    before_system = after_system = None
    if told is not None and _SYSTEM in told:
        before_system, _, rest = told.partition(_SYSTEM)
        after_system = rest.partition(_ASK)[0]
    return ChatForm(
        opening=asked.partition(_ASK)[0],
        before_system=before_system,
        after_system=after_system or "",
        before_user=later.removeprefix(after_answer),
        after_user=after_user,
        before_answer=between.removeprefix(after_user),
        after_answer=after_answer,
        asks=asked.partition(_ASK)[2].removeprefix(after_user),
    )
