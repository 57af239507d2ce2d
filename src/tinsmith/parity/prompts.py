"""Draw the prompts of the parity gate: pieces of held-out documents, traps for tokenizers, and chats."""

from __future__ import annotations

import random
from dataclasses import dataclass

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerFast

from tinsmith.base.errors import CorpusError

# Errors in rotary positions and attention show only over some distance, so a few prompts are long.
_LONG_PROMPTS, _LONG_TOKENS, _SHORTEST = 3, 96, 4
_CHAT_SHARE, _CHAT_TOKENS = 0.1, 8
_TRAPS = (
    "  two leading spaces, a\ttab\n\n\nand three line ends \n",
    "1234567890, 3.14159, 2024-01-31, §12(3)(b) and 1,000,000",
    "naïve café – ‘quoted’ “text” … €5 ½ £",
    "日本語のテキスト, русский текст, العربية, 🙂👩‍👩‍👧",
    "it's, we'LL, they’ve; def f(x):\n    return x**2  # comment",
    "https://example.org/a_b?c=d&e=%20 <tag attr='1'>&amp;</tag>",
)
_SYSTEM = "You answer briefly."


@dataclass(frozen=True)
class Prompt:
    """A prompt as text or messages, and the trained model's token ids of it; a job's is token ids alone.

    Models are compared at its last `positions` positions.
    """

    kind: str  # text, trap, chat or job
    text: str
    ids: tuple[int, ...]
    messages: tuple[dict[str, str], ...] = ()
    answered: int = 0  # of a job: the last positions, where the tokens of its answer are chosen

    @property
    def positions(self) -> int:
        """Return at how many of the last positions models are compared: where a job's answer is chosen, or all."""
        return self.answered or len(self.ids)


def draw_prompts(
    texts: list[str], tokenizer: PreTrainedTokenizerFast, *, count: int, positions: int, seed: int
) -> list[Prompt]:
    """Draw `count` prompts of at least `positions` tokens in all; a tenth are chats if there is a template.

    Raises CorpusError where the texts hold nothing to cut a prompt from.
    """
    draw = random.Random(seed)
    pieces = _Pieces(texts, tokenizer, draw)
    chats = round(count * _CHAT_SHARE) if tokenizer.chat_template else 0
    prompts = [_chat(tokenizer, number, pieces) for number in range(chats)]
    specials = "".join(dict.fromkeys(map(str, tokenizer.all_special_tokens)))
    traps = [*_TRAPS, f"markup {specials} in a text"][: count // 3]
    prompts += [_text(tokenizer, "trap", trap) for trap in traps]
    text_prompts = count - len(prompts)
    for number in range(text_prompts):
        left = text_prompts - number
        missing = positions - sum(len(prompt.ids) for prompt in prompts)
        long = left > 1 and number < _LONG_PROMPTS
        size = _LONG_TOKENS if long else max(_SHORTEST, -(-missing // left))
        prompts.append(_text(tokenizer, "text", pieces.cut(size)))
    return prompts


class _Pieces:
    """Cut pieces of a given number of tokens out of texts, at random places."""

    def __init__(self, texts: list[str], tokenizer: PreTrainedTokenizerFast, draw: random.Random) -> None:
        self.texts = [text for text in texts if text.strip()]
        self.tokenizer, self.draw = tokenizer, draw

    def cut(self, size: int) -> str:
        for _ in range(100 if self.texts else 0):
            text = self.draw.choice(self.texts)
            start = self.draw.randrange(max(1, len(text) - 8 * size))
            ids = self.tokenizer(text[start : start + 12 * size], add_special_tokens=False)["input_ids"]
            piece = str(self.tokenizer.decode(ids[:size]))
            # A piece that ends within a character cannot be sent as text.
            if piece.strip() and "\ufffd" not in piece:
                return piece
        raise CorpusError(
            "the held-out documents contain no text to make prompts from",
            where="parity gate",
            next_step="hold out documents with plain text",
        )


def _text(tokenizer: PreTrainedTokenizerFast, kind: str, text: str) -> Prompt:
    return Prompt(kind, text, tuple(tokenizer(text)["input_ids"]))


def _chat(tokenizer: PreTrainedTokenizerFast, number: int, pieces: _Pieces) -> Prompt:
    question = {"role": "user", "content": pieces.cut(_CHAT_TOKENS)}
    messages = [question]
    # Every third chat has earlier turns; every second has a system message, if the template allows one.
    if number % 3 == 2:
        messages += [{"role": "assistant", "content": pieces.cut(_CHAT_TOKENS)}, question]
    try:
        system = [{"role": "system", "content": _SYSTEM}] if number % 2 else []
        text = _render(tokenizer, [*system, *messages])
    except TemplateError:
        system = []
        text = _render(tokenizer, messages)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return Prompt("chat", text, tuple(ids), (*system, *messages))


def _render(tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, str]]) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
