"""Rows of general tests of every kind, as they lie in a person's files."""

import json
from importlib.util import find_spec

import pytest

from tinsmith.recipe import GeneralConfig

# lm-eval itself is imported only where the network is shut off, and takes seconds.
NEEDS_LM_EVAL = pytest.mark.skipif(
    find_spec("lm_eval") is None, reason="the extra tinsmith[general] is not installed"
)
WORDS = ("the thief", "a moth", "them", "the path", "growth", "a lathe", "the", "other")


def choices(number, count=4):
    return [f"{WORDS[(number * 3 + place) % 8]} {place}" for place in range(count)]


def labelled(field, number):
    texts = {"text": choices(number), "label": ["A", "B", "C", "D"]}
    return {field: f"Which {WORDS[number % 8]} is it?", "choices": texts, "answerKey": "ABCD"[number % 4]}


ROWS = {
    "arc": lambda n: labelled("question", n),
    "openbookqa": lambda n: labelled("question_stem", n),
    "boolq": lambda n: {
        "passage": f"It is {WORDS[n % 8]}.",
        "question": f"is it {WORDS[n % 5]}",
        "label": n % 2,
    },
    "mmlu": lambda n: {"question": f"What is {WORDS[n % 8]}?", "choices": choices(n), "answer": n % 4},
    "blimp": lambda n: {
        "sentence_good": f"Then {WORDS[n % 8]} went {n}.",
        "sentence_bad": f"Then {WORDS[n % 8]} {n} went there.",
    },
    "legalbench": lambda n: {
        "text": f"The mark {WORDS[n % 8]} {n}.",
        "answer": ("generic", "fanciful")[n % 2],
    },
}


def write(path, rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return str(path)


def files_of_all_kinds(folder):
    """Write six rows of each kind to `folder`; return the tests."""
    return tuple(
        GeneralConfig(
            name=f"small_{kind}", kind=kind, path=write(folder / f"{kind}.jsonl", map(make, range(6)))
        )
        for kind, make in ROWS.items()
    )
