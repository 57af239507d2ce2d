"""What a person should know of the examples of a job: labels, size of the test, language, long inputs."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence

from tinsmith.jobs.columns import Column
from tinsmith.jobs.example import Example, Examples
from tinsmith.jobs.size import BYTES_PER_TOKEN
from tinsmith.recipe import JobConfig

Identify = Callable[
    [str], tuple[str, float]
]  # a text -> its language as an ISO 639 code, and how sure that is

_SHOWN_LABELS = 12
_LOPSIDED = 0.8  # share of the commonest label
_USUAL_RIGHT = 0.8  # share of right answers for which an interval is given
_SMALL_TEST, _FEW_GROUPS = 100, 10  # rows and groups
_SAMPLED, _READ_TOGETHER = 200, 10  # inputs whose language is looked at, and how many of them as one text
_ENGLISH_BASES = ("smollm2-135m",)
_LANGUAGES = {
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "it": "Italian",
    "pt": "Portuguese",
    "nl": "Dutch",
    "pl": "Polish",
    "sv": "Swedish",
    "da": "Danish",
    "fi": "Finnish",
    "cs": "Czech",
    "hu": "Hungarian",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ar": "Arabic",
    "hi": "Hindi",
    "ko": "Korean",
    "ru": "Russian",
    "zh": "Chinese",
    "ja": "Japanese",
}
_OTHER_BYTES_PER_TOKEN = 2.6  # of text in another language, in a tokenizer for English
CONTEXTS = (512, 1024, 2048)  # tokens that are proposed
MOST_CUT = 0.05  # share of inputs that may be cut before a longer context is proposed
_AROUND = 32  # tokens of question, label and what is between
# Tokens of all examples that a budget of 20 minutes reads at least twice on two cores.
MOST_TOKENS = 150_000


def say_labels(job: JobConfig, found: Examples) -> str:
    """Return the labels with their counts, as the build reads them."""
    counts = _label_counts(found)
    shown = [f"{name} {count:,}" for name, count in counts.most_common(_SHOWN_LABELS)]
    more = f" and {len(counts) - _SHOWN_LABELS} more" if len(counts) > _SHOWN_LABELS else ""
    several = ", several for a text" if job.several else ""
    return f"{len(counts)} labels in {re.sub(r'[{}]', '', job.answer)}: {', '.join(shown)}{more}{several}"


def warn_lopsided(job: JobConfig, found: Examples) -> list[str]:
    """Return a sentence if one label is so frequent that saying nothing else is nearly always right."""
    counts = _label_counts(found)
    if job.several or not counts:
        return []
    [(label, most)] = counts.most_common(1)
    share = most / counts.total()
    if share < _LOPSIDED:
        return []
    return [
        f"{share:.0%} of the examples are {label!r}: always answering it is right as often. Look at the macro F1 in "
        "the report, which weighs each label equally, and add examples of the other labels"
    ]


def say_test(job: JobConfig, found: Examples) -> tuple[str, list[str]]:
    """Return how well the test will know a figure, and a warning if that is little."""
    rows, groups = len(found.test), len({example.group for example in found.test})
    if job.kind == "write":
        return f"{_plural(rows, 'row')} in the test", []  # no text is simply right or wrong
    half = 196 * math.sqrt(_USUAL_RIGHT * (1 - _USUAL_RIGHT) / max(1, rows))
    said = (
        f"{_plural(rows, 'row')} in the test: if about {_USUAL_RIGHT:.0%} are right, the figure is known to within "
        f"{half:.0f} points"
    )
    if job.group:
        said += f", and less precisely if rows of one group are alike: there are {_plural(groups, 'group')}"
    small = rows < _SMALL_TEST or (bool(job.group) and groups < _FEW_GROUPS)
    of = f" of {_plural(groups, 'group')}" if job.group else ""
    return said, [
        f"a test of {_plural(rows, 'row')}{of} is too small to show small differences: label more rows, or give "
        "a larger file with --test"
    ] * small


def find_language(found: Examples, identify: Identify) -> str:
    """Return the ISO 639 code of most of the inputs, or nothing where they have none in common.

    Rare languages are not told: lists and forms look like them.
    """
    every = (*found.learn, *found.test)
    sample = [example.input for example in every[:: max(1, len(every) // _SAMPLED)]]
    together = ["\n".join(sample[at : at + _READ_TOGETHER]) for at in range(0, len(sample), _READ_TOGETHER)]
    codes = Counter(identify(text)[0] for text in together)
    [(code, most)] = codes.most_common(1)
    known = code == "en" or code in _LANGUAGES
    return code if known and most > 0.6 * codes.total() else ""


def warn_language(language: str, base: str) -> list[str]:
    """Return a sentence if a base that has read English alone is asked about another language."""
    if language in ("", "en") or base not in _ENGLISH_BASES:
        return []
    return [
        f"the texts look like {_LANGUAGES[language]}, and the base {base} was trained almost only on English: "
        "it learns less from the same examples, and texts take about twice the tokens. Under [model], set `base` "
        "to a model that knows the language: a directory or a Hugging Face id"
    ]


def say_header(columns: dict[str, Column]) -> list[str]:
    """Return a sentence for each name of a column that is also one of its values: it may be no name."""
    return [
        f"the first line is read as column names, but {name!r} is also a value in its column: if the first "
        "line is data, add a line of names above it"
        for name, column in columns.items()
        if name in column.counts
    ]


def tokens_of(text: str, language: str) -> float:
    """Return about how many tokens a text has."""
    return len(text.encode()) / (BYTES_PER_TOKEN if language in ("", "en") else _OTHER_BYTES_PER_TOKEN)


def choose_context(
    examples: Sequence[Example], kind: str, language: str, usual: int
) -> tuple[int, float, float]:
    """Return a context in tokens, and the shares of the examples that it and the usual one cut.

    A longer one is chosen if more than `MOST_CUT` would be cut, and if reading all examples still takes little of a
    budget. What is cut off cannot be answered, so that kind answer has the longer one whatever it takes.
    """
    lengths = [
        tokens_of(example.input, language) + _answer_tokens(example, kind, language) for example in examples
    ]

    def cut(context: int) -> float:
        return sum(length > context - _AROUND for length in lengths) / max(1, len(lengths))

    chosen = usual
    for context in CONTEXTS:
        wanted = cut(chosen) > MOST_CUT and context > chosen
        affordable = sum(min(length, context) for length in lengths) <= MOST_TOKENS
        if wanted and (affordable or (kind == "answer" and chosen == usual)):
            chosen = context
    return chosen, cut(chosen), cut(usual)


def _answer_tokens(example: Example, kind: str, language: str) -> float:
    return tokens_of(str(example.answer), language) if kind == "write" else 0.0


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _label_counts(found: Examples) -> Counter[str]:
    # Of equal counts, that which comes first in the files is said first.
    every = sorted((*found.learn, *found.validation, *found.test), key=lambda example: example.row)
    return Counter(
        label
        for example in every
        for label in (example.answer if isinstance(example.answer, list) else [example.answer])
    )
