"""Give out the slots and tokens of llama.cpp's server, first come, first served.

llama.cpp ends every running answer when the tokens of all slots together no longer fit. So a request is sent only when
its prompt and its longest answer fit beside those under way; until then it waits. Whoever came first goes first, so
that nobody waits for ever.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tinsmith.gguf.header import read_metadata

SLOTS = 8
# Keys and values of all slots take so much memory at most, unless one context of the model takes more.
_MOST_BYTES = 1 << 29
_BYTES_PER_NUMBER = 2  # float16


class Context(NamedTuple):
    """How many tokens the slots hold together, and whether they share them or each has an equal part."""

    tokens: int
    shared: bool


def context_for(gguf: Path) -> Context:
    """Return a context for SLOTS slots: the model's own for each, or as many as memory holds for all together."""
    metadata = read_metadata(gguf)
    one = trained_context(gguf)
    fitting = _MOST_BYTES // max(1, one * _bytes_per_token(metadata))
    if fitting >= SLOTS:
        return Context(SLOTS * one, shared=False)
    return Context(max(1, fitting) * one, shared=True)


def trained_context(gguf: Path) -> int:
    """Return the tokens that a GGUF file's model was trained to read at once."""
    metadata = read_metadata(gguf)
    return int(metadata[f"{metadata['general.architecture']}.context_length"])


def _bytes_per_token(metadata: dict[str, object]) -> int:
    """Return the bytes that the keys and values of one token take."""
    prefix = f"{metadata['general.architecture']}."

    def sizes(key: str, otherwise: object) -> list[int]:
        value = metadata.get(f"{prefix}{key}", otherwise)
        return list(map(int, value)) if isinstance(value, list) else [int(str(value))]

    (layers,) = sizes("block_count", 1)
    heads = sizes("attention.head_count", 1)
    key_value_heads = sizes("attention.head_count_kv", heads)
    width = sizes("embedding_length", 1)[0] // max(1, *heads)
    per_head = sizes("attention.key_length", width)[0] + sizes("attention.value_length", width)[0]
    all_heads = sum(key_value_heads) if len(key_value_heads) > 1 else layers * key_value_heads[0]
    return _BYTES_PER_NUMBER * per_head * all_heads


@dataclass
class _Waiting:
    ids: Sequence[int]
    tokens: int
    slot: asyncio.Future[int]


@dataclass
class Room:
    """Free slots, and the tokens that all of them hold together. For one event loop."""

    slots: int
    tokens: int
    _free: dict[int, Sequence[int]] = field(
        init=False
    )  # what each free slot read last, the longest free first
    _taken: dict[int, tuple[int, Sequence[int]]] = field(init=False, default_factory=dict)
    _waiting: deque[_Waiting] = field(init=False, default_factory=deque)

    def __post_init__(self) -> None:
        self._free = dict.fromkeys(range(self.slots), ())

    async def take(self, ids: Sequence[int], tokens: int) -> int:
        """Wait for room for a prompt and its answer, `tokens` in all, and return a slot.

        Among free slots it is the one that read the longest beginning of the prompt before, since that is not read
        again.
        """
        assert tokens <= self.tokens
        waiting = _Waiting(ids, tokens, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._admit()
        try:
            return await waiting.slot
        except asyncio.CancelledError:
            if waiting.slot.done() and not waiting.slot.cancelled():
                self.give_back(waiting.slot.result())
            elif waiting in self._waiting:
                self._waiting.remove(waiting)
                self._admit()
            raise

    def give_back(self, slot: int) -> None:
        """Free a slot and its tokens."""
        _, self._free[slot] = self._taken.pop(slot)
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._free:
            first = self._waiting[0]
            if sum(tokens for tokens, _ in self._taken.values()) + first.tokens > self.tokens:
                return
            self._waiting.popleft()
            if first.slot.cancelled():
                continue
            slot = max(self._free, key=lambda slot: _shared(self._free[slot], first.ids))
            del self._free[slot]
            self._taken[slot] = (first.tokens, first.ids)
            first.slot.set_result(slot)


def _shared(read: Sequence[int], ids: Sequence[int]) -> int:
    """Return how many tokens two prompts begin with alike."""
    unequal = (number for number, (one, other) in enumerate(zip(read, ids)) if one != other)
    return next(unequal, min(len(read), len(ids)))
