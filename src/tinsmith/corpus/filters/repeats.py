"""How much of a text repeats itself: lines, paragraphs and n-grams of tokens, counted in hash tables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinsmith.corpus.filters.scan import Sizes
from tinsmith.corpus.text.kernels import compiled
from tinsmith.corpus.text.words import MULTIPLIER, Hashes


@compiled
def _bits(count: int) -> int:
    """Return the number of bits that address a table at least twice as large as what it is to hold."""
    bits = 4
    while (1 << bits) < 2 * count:
        bits += 1
    return bits


@compiled
def _slot(table: Hashes, bits: int, number: np.uint64) -> int:
    """Return where in an open table a number stands, or the free slot (0) that it would take."""
    last = (1 << bits) - 1
    slot = np.int64((number * MULTIPLIER) >> np.uint64(64 - bits))
    while table[slot] != 0 and table[slot] != number:
        slot = (slot + 1) & last
    return int(slot)


@compiled
def repeated_items(items: Hashes, sizes: Sizes) -> tuple[int, int]:
    """Return how many items (N,) stood there before, and their size."""
    bits = _bits(len(items))
    table = np.zeros(1 << bits, np.uint64)
    count, size = 0, 0
    for place in range(len(items)):
        number = items[place] | np.uint64(1)
        slot = _slot(table, bits, number)
        if table[slot] == 0:
            table[slot] = number
        else:
            count += 1
            size += sizes[place]
    return count, size


@compiled
def top_ngram(grams: Hashes, ends: NDArray[np.int64], n: int) -> int:
    """Return the characters in the commonest n-gram, the longest of equals, 0 if it is alone.

    Takes a hash per n-gram (G,) and, for the tokens (N,), how many characters there are before each: (N + 1,).
    """
    bits = _bits(len(grams))
    table, counts = np.zeros(1 << bits, np.uint64), np.zeros(1 << bits, np.int32)
    most, longest = 0, 0
    for place in range(len(grams)):
        number = grams[place] | np.uint64(1)
        slot = _slot(table, bits, number)
        table[slot] = number
        counts[slot] += 1
        size = ends[place + n] - ends[place] + n - 1
        if counts[slot] > most or (counts[slot] == most and size > longest):
            most, longest = counts[slot], size
    return most * longest if most > 1 else 0


@compiled
def repeated_ngrams(grams: Hashes, ends: NDArray[np.int64], n: int) -> int:
    """Return the characters in n-grams that stood there before, none counted twice (places as `top_ngram`)."""
    bits = _bits(len(grams))
    table = np.zeros(1 << bits, np.uint64)
    size, place = 0, 0
    while place < len(grams):
        number = grams[place] | np.uint64(1)
        slot = _slot(table, bits, number)
        if table[slot] == 0:
            table[slot] = number
            place += 1
        else:
            size += ends[place + n] - ends[place]
            place += n
    return size


@compiled
def ngram_repeats(tokens: Hashes, sizes: Sizes, longest: int) -> NDArray[np.int64]:
    """Return by n from 2 on the characters in the top n-gram up to n = 4, then in repeated n-grams, (longest + 1,)."""
    found = np.zeros(longest + 1, np.int64)
    ends = np.zeros(len(tokens) + 1, np.int64)
    for place in range(len(tokens)):
        ends[place + 1] = ends[place] + sizes[place]
    grams = tokens.copy()
    for n in range(2, min(longest, len(tokens)) + 1):
        count = len(tokens) - n + 1
        for place in range(count):  # each n-gram is the one before with a token more
            grams[place] = grams[place] * MULTIPLIER + tokens[place + n - 1]
        if n <= 4:
            found[n] = top_ngram(grams[:count], ends, n)
        else:
            found[n] = repeated_ngrams(grams[:count], ends, n)
    return found
