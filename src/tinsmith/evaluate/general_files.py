"""Rows of general tests (ARC, OpenBookQA, BoolQ, MMLU, BLiMP, LegalBench), read from a person's own files."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import pyarrow as pa
import pyarrow.parquet as pq

from tinsmith.base.errors import RecipeError
from tinsmith.base.files import JsonObject, sha256_file
from tinsmith.recipe import GeneralConfig
from tinsmith.tokens.tasks import unit_hash

_WHERE = "evaluate.general"
_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
# Columns of LegalBench that name the row, or that would tell the answer.
_NOT_READ = frozenset(
    [
        "index",
        "answer",
        "question",
        "case id",
        "slice",
        "document_name",
        "doctrine",
        "parties_are_diverse",
        "aic_is_met",
    ]
)
_MOST_CLASSES = 20  # answers of a LegalBench file; with more, they are free text and not classes
_LETTERS = ("A", "B", "C", "D")
_INSTRUCTION = re.compile(r"question:\s*(.*?)\s*(?:\n\nAnswer1: (.*))?\n\nAnswer format:", re.DOTALL)
_NEXT_ANSWER = re.compile(r"\s*\bAnswer\d+: ")


@dataclass(frozen=True)
class GeneralItem:
    """A row as it is asked: `answer` is the place of the right one among `choices`."""

    item: str
    question: str
    choices: tuple[str, ...]
    answer: int
    passage: str = ""


class GeneralRow(TypedDict):
    """A stored answer: places of the right choice and of the chosen one, log-likelihoods (nats) of all choices."""

    item: str
    task: str
    answer: int
    prediction: int
    correct: bool
    scores: list[float]


Asked = dict[str, tuple[str, list[GeneralItem]]]  # kind and rows, by the test's name


def choose_general(tests: Sequence[GeneralConfig], seed: int) -> Asked:
    """Return the rows that are asked, of each test in the recipe. Raises RecipeError for what is damaged."""
    rows = read_general(tests)
    return {test.name: (test.kind, draw(rows[test.name], test.limit, seed=seed)) for test in tests}


def read_general(tests: Iterable[GeneralConfig]) -> dict[str, list[GeneralItem]]:
    """Return all rows of each test by its name. Raises RecipeError that names file and row for what is damaged."""
    found: dict[str, list[GeneralItem]] = {}
    for test in tests:
        if test.name in found:
            raise RecipeError(
                f"two tests are called {test.name!r}", where=_WHERE, next_step="rename one of them"
            )
        found[test.name] = [item for path in _files(test) for item in _items(test, path)]
        if len(found[test.name]) < 2:
            raise RecipeError(
                f"{len(found[test.name])} row(s) give no interval",
                where=test.path,
                next_step="name a file with at least 2 rows",
            )
    return found


def require_harness() -> None:
    """Raise RecipeError where lm-eval is not installed."""
    if importlib.util.find_spec("lm_eval") is None:
        raise RecipeError(
            "evaluate.general needs lm-eval, which is not installed",
            where=_WHERE,
            next_step="pip install 'tinsmith[general]', or leave evaluate.general empty",
        )


def draw(items: Sequence[GeneralItem], limit: int, *, seed: int) -> list[GeneralItem]:
    """Return at most `limit` rows, the same for the same seed, in their own order."""
    places = sorted(range(len(items)), key=lambda place: unit_hash(seed, _WHERE, items[place].item))
    return [items[place] for place in sorted(places[:limit])]


def general_stamps(tests: Sequence[GeneralConfig]) -> list[str]:
    """Return what changes when a row of a general test does.

    Raises RecipeError as `read_general` does, and where lm-eval, which asks them, is not installed.
    """
    if tests:
        require_harness()
    read_general(tests)
    return [f"{test.name}:{path.name}:{sha256_file(path)}" for test in tests for path in _files(test)]


def _files(test: GeneralConfig) -> list[Path]:
    path = Path(test.path).expanduser()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [file for file in files if file.is_file() and file.suffix in _SUFFIXES]
    if not files:
        raise RecipeError(
            f"the file of {test.name} is not there, or none of {', '.join(_SUFFIXES)}",
            where=test.path,
            next_step=f"name a file of {test.kind} rows on this machine in {_WHERE}; nothing is fetched",
        )
    return files


def _items(test: GeneralConfig, path: Path) -> Iterator[GeneralItem]:
    rows = list(_rows(path))
    read = _READERS[test.kind] if test.kind in _READERS else _classes(path, [row for _, row in rows])
    for place, row in rows:
        try:
            question, choices, answer, passage = read(row)
        except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            what = f"has no field {error}" if isinstance(error, KeyError) else str(error)
            raise RecipeError(
                f"is not a {test.kind} row: {what}",
                where=f"{path}, {place}",
                next_step=f"correct or remove the row; {test.kind} rows have {_FIELDS[test.kind]}",
            ) from None
        yield GeneralItem(f"{test.name}:{path.stem}:{place}", question, choices, answer, passage)


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the place of each row and the row. Raises RecipeError for what cannot be read at all."""
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path).to_pylist()
            yield from ((f"row {number}", row) for number, row in enumerate(table, 1))
            return
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix in (".csv", ".tsv"):
            separator = "\t" if path.suffix == ".tsv" else ","
            reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
            yield from ((f"line {reader.line_num}", row) for row in reader)
        elif path.suffix == ".json":
            yield from ((f"row {number}", row) for number, row in enumerate(json.loads(text), 1))
        else:
            yield from _lines(path, text)
    except (OSError, ValueError, TypeError, RecursionError, pa.ArrowException) as error:
        raise RecipeError(
            f"cannot be read ({error})", where=str(path), next_step="name a whole file in UTF-8"
        ) from None


def _lines(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RecipeError(
                f"is not JSON ({error})",
                where=f"{path}, line {number}",
                next_step="write one JSON object a line",
            ) from None


Row = tuple[str, tuple[str, ...], int, str]


def _labelled(field: str) -> Callable[[JsonObject], Row]:
    def read(row: JsonObject) -> Row:
        if "instruction" in row:
            return _instruction(row)
        labels = list(row["choices"]["label"])
        return _checked(row[field], row["choices"]["text"], labels.index(row["answerKey"].strip()))

    return read


def _instruction(row: JsonObject) -> Row:
    """Read a row written as an instruction with numbered answers, or with true and false."""
    found = _INSTRUCTION.search(row["instruction"])
    if not found:
        raise ValueError("its instruction holds no question and answers")
    if found[2] is None:
        return _checked(found[1].rstrip("?"), ("no", "yes"), ("false", "true").index(row["answer"]))
    choices = _NEXT_ANSWER.split(found[2])
    return _checked(found[1], choices, int(row["answer"].removeprefix("answer")) - 1)


def _boolq(row: JsonObject) -> Row:
    if "instruction" in row:
        return _instruction(row)
    answer = row["label"] if "label" in row else row["answer"]
    return _checked(row["question"], ("no", "yes"), (0, 1).index(answer), row["passage"])


def _mmlu(row: JsonObject) -> Row:
    choices = row["choices"] if "choices" in row else [row[f"choice{place}"] for place in range(4)]
    if len(choices) != len(_LETTERS):
        raise ValueError(f"has {len(choices)} choices, four are needed")
    answer = str(row["answer"]).strip()
    place = _LETTERS.index(answer) if answer in _LETTERS else int(answer)
    lines = "".join(f"\n{letter}. {choice}" for letter, choice in zip(_LETTERS, choices, strict=True))
    return _checked(row["question"].strip() + lines, _LETTERS, place)


def _classes(path: Path, rows: Sequence[Any]) -> Callable[[JsonObject], Row]:
    """Return a reader of LegalBench's rows: the answers of a file are the choices of each row in it."""
    answers = [row.get("answer") for row in rows if isinstance(row, dict)]
    names = sorted({answer.strip() for answer in answers if isinstance(answer, str) and answer.strip()})
    if not 2 <= len(names) <= _MOST_CLASSES:
        raise RecipeError(
            f"has {len(names)} different answers, 2 to {_MOST_CLASSES} are classes",
            where=str(path),
            next_step="name a file whose answers are classes, or ask it as a question of your own",
        )

    def read(row: JsonObject) -> Row:
        facts = [value for name, value in row.items() if value and name not in _NOT_READ]
        if asked := row.get("question"):
            facts.append(f"Question: {asked}")
        return _checked("\n".join(facts), names, names.index(row["answer"].strip()))

    return read


def _blimp(row: JsonObject) -> Row:
    return _checked(" ", (row["sentence_good"], row["sentence_bad"]), 0)


def _checked(question: Any, choices: Iterable[Any], answer: int, passage: Any = "") -> Row:
    texts = tuple(choices)
    if not all(isinstance(text, str) and text for text in (question, *texts)) or not isinstance(passage, str):
        raise ValueError("question, passage and choices must be text")
    if len(texts) < 2 or not 0 <= answer < len(texts):
        raise ValueError(f"answer {answer + 1} of {len(texts)} choices")
    return question, texts, answer, passage


_READERS: dict[str, Callable[[JsonObject], Row]] = {
    "arc": _labelled("question"),
    "openbookqa": _labelled("question_stem"),
    "boolq": _boolq,
    "mmlu": _mmlu,
    "blimp": _blimp,
}
_FIELDS = {
    "arc": "question, choices {text, label}, answerKey",
    "openbookqa": "question_stem, choices {text, label}, answerKey",
    "boolq": "passage, question, label (0 or 1)",
    "mmlu": "question, choices (four) or choice0 to choice3, answer (0 to 3, or A to D)",
    "blimp": "sentence_good, sentence_bad",
    "legalbench": "text, answer",
}
