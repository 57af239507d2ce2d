"""Look at the columns of a person's examples: which holds the text, which the label, which tells groups."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tinsmith.base.errors import RecipeError
from tinsmith.base.files import JsonObject
from tinsmith.jobs.rendering import as_list, split_labels
from tinsmith.tokens.templates import name_in_template, readable

_MOST_LABELS, _MOST_LABEL_SHARE, _MOST_LABEL_WORDS = 300, 0.35, 8
_MOST_NUMBERS = 11  # different numbers that may be labels, such as marks from 0 to 10
_TEXT_WORDS = 3  # of a column that a model reads, on average
_LEAST_TEXT_SHARE = 0.2  # different values of such a column, by row
_SHOWN = 3


def _named(words: str) -> re.Pattern[str]:
    """Return a pattern for names that hold one of the words whole."""
    return re.compile(rf"(?:^|[^a-z])(?:{'|'.join(words.split())})s?(?:$|[^a-z])", re.IGNORECASE)


_IS_LABEL = _named("label class category target y gold answer")  # decides between candidates
_NO_LABEL = _named(
    "id uid uuid guid index idx no nr number year month day date time timestamp page url link source file filename "
    "path split fold row line lang language author annotator user username customer company client patient speaker "
    "column_[0-9]+"
)
_IS_GROUP = _named(
    "id meeting document doc contract file filename case company customer patient thread source title url author user "
    "year date report filing email session speaker"
)
# What somebody wrote who knew the answer: a new record would not have it.
_AFTERWARDS = _named(
    "comment note reason rationale explanation annotation answer quote evidence span label response"
)


@dataclass(frozen=True)
class Column:
    """A column as a template names it, and its values that are not empty, as text."""

    name: str
    values: tuple[str, ...]
    rows: int  # of the whole table
    listed: bool = False  # some values are lists

    @cached_property
    def counts(self) -> Counter[str]:
        """Count each value."""
        return Counter(self.values)

    @property
    def words(self) -> float:
        """Return the mean number of words."""
        return sum(len(value.split()) for value in self.values) / max(1, len(self.values))

    @cached_property
    def numbers(self) -> bool:
        """Say whether all values are numbers."""
        return all(re.fullmatch(r"[-+]?[\d.,]+%?", value) for value in self.values)

    @property
    def several(self) -> bool:
        """Say whether its values are labels, and some hold more than one."""
        parted = sum(len(split_labels(value)) > 1 for value in self.values)
        return self.listed or (
            parted > 0.02 * len(self.values) and len(self.labels) < min(len(self.counts), _MOST_LABELS)
        )

    @cached_property
    def labels(self) -> Counter[str]:
        """Count each label, where a value may hold several."""
        return Counter(label for value in self.values for label in split_labels(value))

    def may_be_label(self) -> bool:
        """Say whether its values can be labels: few, short, and more than one."""
        count = len(self.labels if self.several else self.counts)
        few = 2 <= count <= min(_MOST_LABELS, max(_SHOWN, _MOST_LABEL_SHARE * len(self.values)))
        fits = _IS_LABEL.search(self.name) or not _NO_LABEL.search(self.name)
        return (
            bool(few and fits)
            and self.words <= _MOST_LABEL_WORDS
            and (not self.numbers or count <= _MOST_NUMBERS)
        )

    def describe(self) -> str:
        """Return its name, and some of its values."""
        usual = ", ".join(value[:30] for value, _ in self.counts.most_common(_SHOWN))
        return f"{self.name} ({len(self.counts)} values, such as {usual})"


def look_at(records: Sequence[JsonObject]) -> dict[str, Column]:
    """Return the columns of records in order, by the names that templates use."""
    values: dict[str, list[str]] = {}
    listed: set[str] = set()
    for record in records:
        for key in record:
            values.setdefault(name_in_template(key), [])
        listed |= {
            name_in_template(key)
            for key, value in record.items()
            if isinstance(value, list) or (isinstance(value, str) and as_list(value))
        }
        lists = {key: "; ".join(map(str, value)) for key, value in record.items() if isinstance(value, list)}
        for name, text in readable({**record, **lists}).items():
            values[name].append(text)
    return {name: Column(name, tuple(texts), len(records), name in listed) for name, texts in values.items()}


def find_text(columns: dict[str, Column], without: Iterable[str]) -> list[str]:
    """Return the columns that a model should read: those with texts, the shortest first, the longest last.

    Raises RecipeError if no column is left.
    """
    left = [column for name, column in columns.items() if name not in set(without) and column.values]
    if not left:
        raise RecipeError(
            f"there is no column to read beside {', '.join(without) or 'none'}",
            where="--examples",
            next_step="give a table with a column of texts, or name it with --input '{column}'",
        )
    texts = [column for column in left if column.words >= _TEXT_WORDS and not _AFTERWARDS.search(column.name)]
    # URLs and ids have one word: of columns of single words the longest is read.
    longest = max(
        texts or left, key=lambda column: (column.words, sum(map(len, column.values)) / len(column.values))
    )
    others = [
        column
        for column in texts
        if column is not longest
        and len(column.counts) >= _LEAST_TEXT_SHARE * len(column.values)
        and not _NO_LABEL.search(column.name)
    ]
    return [column.name for column in (*sorted(others, key=lambda column: column.words), longest)]


def find_label(columns: dict[str, Column]) -> str:
    """Return the column of the label. Raises RecipeError that lists the candidates if there is not one alone."""
    fitting = [column for column in columns.values() if column.may_be_label()]
    fitting.sort(key=lambda column: len(column.counts))
    named = [column for column in fitting if _IS_LABEL.search(column.name)]
    chosen = named if len(named) == 1 else fitting
    if len(chosen) == 1:
        return chosen[0].name
    listed = "; ".join(column.describe() for column in chosen)
    raise RecipeError(
        f"{len(chosen)} columns may hold the label: {listed}" if chosen else "no column looks like a label",
        where="--examples",
        next_step=f"name it: --label {chosen[0].name}"
        if chosen
        else f"name it: --label {next(iter(columns))}",
    )


def find_named(columns: dict[str, Column], words: str) -> str:
    """Return the first column whose name holds one of the words, or nothing."""
    pattern = _named(words)
    return next((name for name, column in columns.items() if pattern.search(name) and column.values), "")


def find_groups(columns: dict[str, Column], without: Iterable[str]) -> list[Column]:
    """Return the columns whose values may tell which rows belong together: names of things, each in several rows."""
    return [
        column
        for name, column in columns.items()
        if name not in set(without)
        and _IS_GROUP.search(name)
        and 8 <= len(column.counts) <= len(column.values) / 1.3
        and len(column.values) > 0.9 * column.rows
    ]
