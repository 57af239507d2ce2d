"""Measure how much of a text repeats itself: lines, paragraphs and n-grams of tokens, counted in hash tables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinsmith.corpus.filters.scan import Sizes
from tinsmith.corpus.text.kernels import compiled
from tinsmith.corpus.text.words import MULTIPLIER, Hashes


@compiled
def _bits(count: int) -> int:
    """Return the bits that address a hash table at least twice as large as its content."""
    bits = 4
    while (1 << bits) < 2 * count:
        bits += 1
    return bits


@compiled
def _slot(table: Hashes, bits: int, number: np.uint64) -> int:
    """Return the slot of a number in a table of open addressing, or the free slot (0) that it would take."""
    last = (1 << bits) - 1
    slot = np.int64((number * MULTIPLIER) >> np.uint64(64 - bits))
    while table[slot] != 0 and table[slot] != number:
        slot = (slot + 1) & last
    return int(slot)


@compiled
def repeated_items(items: Hashes, sizes: Sizes) -> tuple[int, int]:
    """Return how many items (N,) repeat an earlier one, and their total size."""
    bits = _bits(len(items))
    table = np.zeros(1 << bits, np.uint64)
    count, size = 0, 0
    for position in range(len(items)):
        number = items[position] | np.uint64(1)
        slot = _slot(table, bits, number)
        if table[slot] == 0:
            table[slot] = number
        else:
            count += 1
            size += sizes[position]
    return count, size


@compiled
def top_ngram(grams: Hashes, ends: NDArray[np.int64], n: int) -> int:
    """Return the characters in all occurrences of the commonest n-gram, the longest of equals; 0 if none repeats.

    `grams` (G,) are hashes of n-grams. `ends` (N + 1,) counts the characters before each of the N tokens.
    """
    bits = _bits(len(grams))
    table, counts = np.zeros(1 << bits, np.uint64), np.zeros(1 << bits, np.int32)
    most, longest = 0, 0
    for position in range(len(grams)):
        number = grams[position] | np.uint64(1)
        slot = _slot(table, bits, number)
        table[slot] = number
        counts[slot] += 1
        size = ends[position + n] - ends[position] + n - 1
        if counts[slot] > most or (counts[slot] == most and size > longest):
            most, longest = counts[slot], size
    return most * longest if most > 1 else 0


@compiled
def repeated_ngrams(grams: Hashes, ends: NDArray[np.int64], n: int) -> int:
    """Return the characters in n-grams that repeat an earlier one, none counted twice (arguments as `top_ngram`)."""
    bits = _bits(len(grams))
    table = np.zeros(1 << bits, np.uint64)
    size, position = 0, 0
    while position < len(grams):
        number = grams[position] | np.uint64(1)
        slot = _slot(table, bits, number)
        if table[slot] == 0:
            table[slot] = number
            position += 1
        else:
            size += ends[position + n] - ends[position]
            position += n
    return size


@compiled
def ngram_repeats(tokens: Hashes, sizes: Sizes, longest: int) -> NDArray[np.int64]:
    """Return by n (longest + 1,) the characters in the top n-gram for n from 2 to 4, in repeated n-grams above."""
    found = np.zeros(longest + 1, np.int64)
    ends = np.zeros(len(tokens) + 1, np.int64)
    for position in range(len(tokens)):
        ends[position + 1] = ends[position] + sizes[position]
    grams = tokens.copy()
    for n in range(2, min(longest, len(tokens)) + 1):
        count = len(tokens) - n + 1
        for position in range(count):  # extend each (n-1)-gram by one token
            grams[position] = grams[position] * MULTIPLIER + tokens[position + n - 1]
        if n <= 4:
            found[n] = top_ngram(grams[:count], ends, n)
        else:
            found[n] = repeated_ngrams(grams[:count], ends, n)
    return found
