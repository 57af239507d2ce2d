"""The compiled loops say what the plain Python ones say, and compiling hurts nobody."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinsmith.corpus.text import kernels
from tinsmith.corpus.text.words import WordHasher, fold, hash_ngrams

PIECES = [
    *"aZ09_-'.,\n\t #é",
    "Straße",
    "ŒUVRE",
    "ﬁn",
    "①½",
    "İstanbul",
    "नमस्ते",
    "日本語",
    "ไทย",
    "e\u0301",
    "\ud800",
    "𝔘nicode",
    "word_with_underscore",
    " ",
    "\u00a0",
    "ΣΊΣΥΦΟΣ",
    "٣٤",
]


def random_text(seed: int, pieces: list[str] = PIECES) -> str:
    source = random.Random(seed)
    return "".join(source.choice(pieces) for _ in range(source.randrange(60)))


@pytest.mark.parametrize("ascii_only", [True, False])
def test_folded_words_are_those_of_plain_python(ascii_only: bool):
    pieces = [piece for piece in PIECES if piece.isascii()] if ascii_only else PIECES
    seen: dict[int, str] = {}
    numbers: dict[str, int] = {}
    for seed in range(400):
        text = random_text(seed, pieces)
        words, expected = kernels.fold_words(text), fold(text)
        assert len(words.hashes) == len(words.starts) == len(words.ends) == len(expected)
        for number, word in zip(words.hashes.tolist(), expected, strict=True):
            assert numbers.setdefault(word, number) == number
            assert seen.setdefault(number, word) == word
        if text.isascii():
            places = zip(words.starts.tolist(), words.ends.tolist(), strict=True)
            assert [text[start:end].casefold() for start, end in places] == expected
    assert len(numbers) > 50


def test_a_word_has_one_hash_in_ascii_and_other_texts():
    assert kernels.fold_words("The LICENCE").hashes[1] == kernels.fold_words("Ünder licence").hashes[1]


@pytest.mark.parametrize("count", [0, 1, 4, 5, 40])
def test_ngrams_are_those_of_plain_python(count: int):
    words = WordHasher().hash_words([str(number) for number in range(count)])
    for n in (1, 5, 13):
        np.testing.assert_array_equal(kernels.hash_ngrams(words, n), hash_ngrams(words, n))


def test_a_second_process_need_not_compile(tmp_path: Path):
    code = (
        "from tinsmith.corpus.text import kernels; print(len(kernels.fold_words('To be or not').hashes),"
        " sum(kernels._fold_words.stats.cache_hits.values()))"
    )

    def fold_once() -> list[str]:
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        return subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).split()

    assert fold_once() == ["4", "0"]
    assert fold_once() == ["4", "1"]


def test_where_nothing_can_be_kept_it_compiles_all_the_same():
    # A function without a file is what an installation looks like in which no folder may be written to.
    space: dict[str, object] = {}
    exec(compile("def twice(number): return 2 * number", "/nowhere/twice.py", "exec"), space)
    with pytest.raises(RuntimeError):
        kernels.njit(cache=True)(space["twice"])
    assert kernels.compiled(space["twice"])(21) == 42


def test_the_command_line_does_without_the_compiler():
    code = "import sys, tinsmith.cli; print(*{'numba', 'llvmlite'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == []
