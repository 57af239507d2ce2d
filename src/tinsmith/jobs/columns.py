"""Look at the columns of a person's examples: which holds the text, which the label, which tells groups."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tinsmith.base.errors import RecipeError
from tinsmith.base.files import JsonObject
from tinsmith.jobs.rendering import FLAGS, as_list, at_commas, split_labels
from tinsmith.jobs.values import read_date, read_money, read_number
from tinsmith.tokens.templates import name_in_template, readable

_MOST_LABELS, _MOST_LABEL_SHARE, _MOST_LABEL_WORDS = 300, 0.35, 8
_MOST_NAMED_SHARE = 0.6  # of the values of a column that is called a label may be different
_MOST_NUMBERS = 11  # different numbers that may be labels, such as marks from 0 to 10
_TEXT_WORDS = 3  # of a column that a model reads, on average
_LEAST_TEXT_SHARE = 0.2  # different values of such a column, by row
_SHOWN, _SHOWN_COLUMNS = 3, 8
_TYPED = 0.9  # share of a column's values that can be read as numbers, dates or money


def _named(words: str) -> re.Pattern[str]:
    """Return a pattern for names that hold one of the words whole."""
    return re.compile(rf"(?:^|[^a-z])(?:{'|'.join(words.split())})s?(?:$|[^a-z])", re.IGNORECASE)


# Decides between candidates.
_IS_LABEL = _named("label class category target y gold answer intent sentiment kategorie klasse")
_NO_LABEL = _named(
    "id uid uuid guid index idx no nr number year month day date time timestamp page url link source file filename "
    "path split fold row line lang language author annotator user username customer company client patient speaker "
    "datum jahr kundennummer autor quelle datei "
    "column_[0-9]+"
)
_IS_KEY = re.compile(
    r"^(?:u?uid|guid|(?:row|record)?[^a-z]?id|unnamed[^a-z]*[0-9]*|column_[0-9]+)$", re.IGNORECASE
)
# Numbers that are names: nothing is counted by them.
_IS_CODE = _named(
    "id no nr number code zip postcode phone tel fax account iban vat isin sku plz nummer telefon konto"
)
# What has several rows, which are alike since they are of one thing; and what only may make rows alike.
_THINGS = (
    "id meeting document doc contract file filename case company customer patient thread title url report filing email "
    "session conversation ticket article dokument vertrag akte aktenzeichen fall firma kunde kundennummer sitzung"
)
# The thing itself or its number: a contract_id, and not a contract_type.
_IS_THING = re.compile(
    rf"(?:^|[^a-z])(?:{_THINGS.replace(' ', '|')})(?:[^a-z]*(?:id|no|nr|num|number|name|key))?[^a-z]*$",
    re.IGNORECASE,
)
_MAY_GROUP = _named("source author user year date speaker quelle autor jahr datum")
_FEW_GROUPS = 8  # fewer values name no things
_LEAST_GROUPS, _LARGEST_GROUP = (
    20,
    0.2,
)  # of a column that is taken without asking; share of rows in one group
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

    @property
    def numbers_rows(self) -> bool:
        """Say whether it does nothing but number the rows or give each a name of its own."""
        return bool(_IS_KEY.search(self.name)) and len(self.counts) == len(self.values)

    @cached_property
    def flags(self) -> bool:
        """Say whether all values are 0 or 1, or true or false."""
        return {value.casefold() for value in self.counts} <= FLAGS.keys()

    @cached_property
    def at_commas(self) -> tuple[str, ...]:
        """Return the labels that stand between commas, the most frequent first; () where values are not lists of them.

        They are if there are far fewer of them than values, and half of them also stand alone.
        """
        parts = Counter(part for value in self.values for part in at_commas(value))
        alone = sum(part in self.counts for part in parts)
        short = max((len(part.split()) for part in parts), default=9) <= 4
        lists = short and any("," in value for value in self.counts)
        fits = 2 <= len(parts) <= min(_MOST_LABELS, len(self.counts) / 1.5) and alone >= len(parts) / 2
        return tuple(part for part, _ in parts.most_common()) if lists and fits else ()

    def may_be_label(self) -> bool:
        """Say whether its values can be labels: few, short, and more than one."""
        count = len(self.labels if self.several else self.counts)
        count = min(count, len(self.at_commas) or count)
        share = _MOST_NAMED_SHARE if _IS_LABEL.search(self.name) else _MOST_LABEL_SHARE
        few = 2 <= count <= min(_MOST_LABELS, max(_SHOWN, share * len(self.values)))
        fits = _IS_LABEL.search(self.name) or not _NO_LABEL.search(self.name)
        return (
            bool(few and fits)
            and self.words <= _MOST_LABEL_WORDS
            and (not self.numbers or count <= _MOST_NUMBERS or self._numbers_labels())
        )

    def _numbers_labels(self) -> bool:
        """Say whether its values are numbers of labels: whole, and so named."""
        return bool(_IS_LABEL.search(self.name)) and all(value.isdigit() for value in self.counts)

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


def find_label(columns: dict[str, Column]) -> list[str]:
    """Return the column of the label, or the columns that each say whether a label fits, by 0 and 1.

    Raises RecipeError that lists the candidates if there is not one alone.
    """
    fitting = [column for column in columns.values() if column.may_be_label()]
    fitting.sort(key=lambda column: len(column.counts))
    named = [column for column in fitting if _IS_LABEL.search(column.name)]
    others = [
        column for column in fitting if len(column.counts) < _FEW_GROUPS or not _IS_THING.search(column.name)
    ]
    chosen = _without_numbers_of_another(named) or others or fitting
    if len(chosen) == 1:
        return [chosen[0].name]
    if not named and len(others) > 1 and all(column.flags for column in others):
        return [name for name in columns if columns[name] in others]
    listed = "; ".join(column.describe() for column in chosen or [*columns.values()][:_SHOWN_COLUMNS])
    raise RecipeError(
        f"{len(chosen)} columns may hold the label: {listed}"
        if chosen
        else f"no column looks like a label: {listed}",
        where="--examples",
        next_step=f"name it: --label {shlex.quote(chosen[0].name)}"
        if chosen
        else "name it with --label, if it is one of these; labels are few, and short",
    )


def _without_numbers_of_another(named: list[Column]) -> list[Column]:
    """Leave out a column of numbers that stand for the labels of another, row by row."""
    words = [column for column in named if not column.numbers]
    return [
        column
        for column in named
        if not column.numbers
        or not any(
            len(other.values) == len(column.values)
            and len(set(zip(column.values, other.values, strict=True)))
            == len(column.counts)
            == len(other.counts)
            for other in words
        )
    ]


def find_named(columns: dict[str, Column], words: str) -> str:
    """Return the first column whose name holds one of the words, or nothing."""
    pattern = _named(words)
    return next((name for name, column in columns.items() if pattern.search(name) and column.values), "")


def find_groups(columns: dict[str, Column], without: Iterable[str]) -> list[Column]:
    """Return the columns whose values may tell which rows belong together: names of things, each in several rows.

    The surest comes first: of names of things that part the rows well, the one with the fewest.
    """
    left = set(columns) - set(without)
    found = [
        column
        for name, column in columns.items()
        if name in left
        and (_IS_THING.search(name) or _MAY_GROUP.search(name))
        and _FEW_GROUPS <= len(column.counts) <= len(column.values) / 1.3
        and len(column.values) > 0.9 * column.rows
    ]
    return sorted(found, key=lambda column: (not is_sure_group(column), len(column.counts)))


def is_sure_group(column: Column) -> bool:
    """Say whether rows of one value certainly belong together, and can be divided well."""
    largest = max(column.counts.values(), default=0)
    return (
        bool(_IS_THING.search(column.name))
        and len(column.counts) >= _LEAST_GROUPS
        and largest <= _LARGEST_GROUP * column.rows
        and len(column.values) == column.rows
    )


def type_of(column: Column) -> dict[str, Any]:
    """Return the type of a field as JSON Schema, with its format: what nearly all its values can be read as."""
    if column.listed:
        return {"type": "array"}
    if _IS_CODE.search(column.name):
        return {"type": "string"}
    dates = [read_date(value) for value in column.values]
    # Whether 03/04/2015 is in March or April is told by no value alone; it is a date all the same.
    if any(found for found, _ in dates) and _most(found or "either way" in why for found, why in dates):
        return {"type": "string", "format": "date"}
    if _most(len(value.split()) <= 3 and read_money(value)[0] for value in column.values):
        return {"type": "string", "format": "money"}
    numbers = [read_number(value)[0] for value in column.values if re.fullmatch(r"[-+(]?[\d.,]+%?\)?", value)]
    if (
        column.values
        and len(numbers) >= _TYPED * len(column.values)
        and _most(number is not None for number in numbers)
    ):
        whole = all(number is None or number == int(number) for number in numbers)
        return {"type": "integer" if whole and column.numbers else "number"}
    return {"type": "string"}


def _most(each: Iterable[object]) -> bool:
    """Say whether nearly all of some values are true."""
    found = [bool(one) for one in each]
    return bool(found) and sum(found) >= _TYPED * len(found)
