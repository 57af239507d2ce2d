"""The asks of a job with their answers as a token set: prompts are read, answers are learnt."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinsmith.base.errors import RecipeError
from tinsmith.base.files import JsonObject
from tinsmith.jobs.asks import Ask, asks_of, fits, prompt_of
from tinsmith.jobs.labels import LabelTree
from tinsmith.jobs.prompt import answer_ids
from tinsmith.jobs.spec import Job
from tinsmith.tokens.batches import Groups
from tinsmith.tokens.shards import ShardWriter, TokenSet, visiting_order
from tinsmith.tokens.shared_prefixes import shared_length

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


MOST_TOGETHER = 8  # asks about one text that are read at once; a step of training is of several texts


@dataclass(frozen=True)
class AnswerSet:
    """Asks as sequences, in the order of their numbers: the row that each belongs to, and its ask.

    Where labels are chosen by a tree, only the tokens at its branches are targets, and a sequence ends with the last.
    """

    tokens: TokenSet
    rows: tuple[int, ...]
    asks: tuple[Ask, ...]
    prompt_lengths: tuple[int, ...]
    cut_answers: int = 0  # asks left out, since their answers do not fit into the context

    def __len__(self) -> int:
        return len(self.rows)

    def of_rows(self, rows: set[int]) -> AnswerSet:
        """Return the sequences of some rows."""
        return self.chosen([number for number, row in enumerate(self.rows) if row in rows])

    def first(self, most: int) -> AnswerSet:
        """Return the first sequences, at most so many."""
        return self if len(self) <= most else self.chosen(range(most))

    def within(self, most: int) -> AnswerSet:
        """Return the first sequences that take so many tokens to read, those about one text together; at least one."""
        groups = self.groups()
        count = max(1, int((groups.lengths.cumsum() <= most).sum()))
        return self.chosen(sorted(number for members in groups.members[:count] for number in members))

    def chosen(self, numbers: Sequence[int]) -> AnswerSet:
        """Return some sequences, in the given order."""
        return AnswerSet(
            self.tokens.subset(numbers),
            tuple(self.rows[number] for number in numbers),
            tuple(self.asks[number] for number in numbers),
            tuple(self.prompt_lengths[number] for number in numbers),
        )

    def groups(self) -> Groups:
        """Return the sequences about one text as groups of bounded size, and the tokens that reading each takes."""
        members: dict[tuple[str, int], list[int]] = {}
        seen: Counter[str] = Counter()
        for number, ask in enumerate(self.asks):
            members.setdefault((ask.text, seen[ask.text] // MOST_TOGETHER), []).append(number)
            seen[ask.text] += 1
        lengths = [
            shared_length([self.tokens.sequence(number)[0] for number in numbers])
            if len(numbers) > 1
            else int(self.tokens.lengths[numbers[0]])
            for numbers in members.values()
        ]
        return Groups([tuple(numbers) for numbers in members.values()], np.array(lengths, dtype=np.int64))

    def prompt(self, number: int) -> list[int]:
        """Return the token ids of a sequence's prompt."""
        ids: list[int] = self.tokens.sequence(number)[0][: self.prompt_lengths[number]].tolist()
        return ids


def write_answers(
    directory: Path,
    job: Job,
    rows: Sequence[JsonObject],
    tokenizer: PreTrainedTokenizerFast,
    tree: LabelTree | None,
    *,
    seed: int,
) -> AnswerSet:
    """Write the asks of rows whose answer is known, those about one text together; open them, shuffled by `seed`.

    An ask whose answer does not fit behind its prompt is left out and counted: cut, it would teach answers that never
    end. Raises RecipeError if the question leaves no room for an input, or no answer fits; TrainingError where no row
    has an answer.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    writer, found, cut = ShardWriter(directory), list[tuple[int, Ask, int]](), 0
    for name, number, ask, answer in _by_text(job, rows, tokenizer):
        prompt = prompt_of(job, tokenizer, ask).ids
        path, places = _targets(tokenizer, answer, tree)
        if tree is None and not fits(job, prompt, path):
            cut += 1
            continue
        marks = [0] * len(prompt) + [int(place in places) for place in range(len(path))]
        writer.add(name, 0, [*prompt, *path], marks, answer if tree else ask.field)
        found.append((number, ask, len(prompt)))
    if cut and not found:
        raise RecipeError(
            f"none of {cut} answers fits into the context of {job.config.context} tokens",
            where=f"jobs.{job.config.name}.context",
            next_step="raise it, or shorten the answers of the examples",
        )
    order = visiting_order([(0, entry.doc_id) for entry in writer.entries], seed)
    longest = max((entry.length for entry in writer.entries), default=0)
    writer.close(order, {"context": max(job.config.context, longest), "vocabulary": len(tokenizer)})
    numbers, asks, lengths = zip(*(found[place] for place in order), strict=True) if found else ((), (), ())
    return AnswerSet(TokenSet(directory), numbers, asks, lengths, cut)


def _by_text(
    job: Job, rows: Sequence[JsonObject], tokenizer: PreTrainedTokenizerFast
) -> list[tuple[str, int, Ask, str]]:
    """Return the asks whose answer is known: name, number of the row, ask and answer.

    Those about one text follow each other, so that what they share is read once.
    """
    texts: dict[str, int] = {}
    found = [
        (f"{number}.{place}", number, ask, ask.answer)
        for number, row in enumerate(rows)
        for place, ask in enumerate(asks_of(job, row, tokenizer))
        if ask.answer is not None
    ]
    return sorted(found, key=lambda known: texts.setdefault(known[2].text, len(texts)))


def _targets(
    tokenizer: PreTrainedTokenizerFast, answer: str, tree: LabelTree | None
) -> tuple[Sequence[int], set[int]]:
    """Return the tokens of an answer that are read or learnt, and the places among them that are learnt."""
    if tree is None:
        path = answer_ids(tokenizer, answer)
        return path, set(range(len(path)))
    places = {len(tree.branches[branch].prefix) for branch, _ in tree.choices[answer]}
    return tree.paths[answer][: max(places) + 1], places
