"""Exam: which answer a model finds likeliest after a document's opening and a question."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from tinsmith.base.errors import CorpusError
from tinsmith.evaluate.items import Item, item_row, likeliest
from tinsmith.evaluate.scoring.tree import Tree
from tinsmith.tokens.encoding import context_token, encode
from tinsmith.tokens.tasks import answer_text, cut_at_word, question_text

RULE = (
    "Exam: the prediction is the choice whose whole answer, the line's end included, is likeliest after the "
    "prompt; no length normalisation, since ended answers are already exclusive events. Rule, items and "
    "examples are the same for all subjects."
)
BUILT_RULE = (
    "Next passage: the likeliest by its bytes of four passages after a document's opening, the false ones the nearest "
    "of all held-out ones. Cloze: the likeliest of four terms, references or figures in a gap, with the word after it."
)
FEW_SHOT_CHARACTERS = 300  # the examples and their texts are most of a few-shot prompt's cost


def read_items(rows: Iterable[dict[str, Any]], *, where: str) -> list[Item]:
    """Check and return items. Raises CorpusError for a repeated item, a missing or an impossible answer."""
    items: dict[str, Item] = {}
    seen: set[tuple[str, str]] = set()
    for row in rows:
        name = str(row["item"])
        if name in items:
            raise CorpusError(
                f"item {name} occurs twice", where=where, next_step="run the stage tokenize again"
            )
        if not row.get("answer"):
            raise CorpusError(
                f"item {name} has no answer", where=where, next_step="mend the task's answer template"
            )
        asked = (row["task"], row["doc_id"])
        if asked in seen:
            raise CorpusError(
                f"task {asked[0]} asks document {asked[1]} twice", where=where, next_step="run tokenize again"
            )
        seen.add(asked)
        if row["answer"] not in row["choices"] or len(set(row["choices"])) != len(row["choices"]):
            raise CorpusError(
                f"item {name}: {row['answer']!r} is not one of {len(row['choices'])} different choices",
                where=where,
                next_step="mend the task's choices",
            )
        fields = {key: row[key] for key in ("task", "doc_id", "text", "question", "answer")}
        items[name] = Item(item=name, choices=tuple(row["choices"]), **fields)
    return list(items.values())


def choose_items(items: Sequence[Item], task: str, order: Sequence[str], limit: int) -> list[Item]:
    """Return up to `limit` items of a task, given documents first. Raises CorpusError for one class."""
    rank = {doc_id: place for place, doc_id in enumerate(order)}
    own = [item for item in items if item.task == task]
    chosen = sorted(own, key=lambda item: (rank.get(item.doc_id, len(rank)), item.item))[:limit]
    classes = {item.answer for item in chosen}
    if len(classes) < 2:
        raise CorpusError(
            f"the exam of {task} has {len(chosen)} item(s), {len(classes)} answer(s); two are needed",
            where="evaluate",
            next_step="hold out more documents (split.held_out), or drop the task",
        )
    return chosen


def choose_shots(examples: Sequence[Item], task: str, count: int, *, seed: int) -> list[Item]:
    """Draw examples of a task, one answer after another so that none repeats before all had their turn."""
    own = sorted((item for item in examples if item.task == task), key=lambda item: item.item)
    if len(own) < count:
        raise CorpusError(
            f"{count} examples are to be shown, the training documents hold {len(own)} of task {task}",
            where="evaluate.shots",
            next_step="show fewer examples, or add documents",
        )
    generator = np.random.default_rng(seed)
    drawn = [own[i] for i in generator.permutation(len(own))]
    turns: dict[str, int] = {}
    keyed = []
    for place, item in enumerate(drawn):
        turns[item.answer] = turns.get(item.answer, 0) + 1
        keyed.append((turns[item.answer], place, item))
    return [item for _, _, item in sorted(keyed, key=lambda key: key[:2])[:count]]


def shots_prefix(tokenizer: PreTrainedTokenizerFast, shots: Sequence[Item]) -> list[int]:
    """Return the tokens of worked examples, their texts cut short, behind the subject's first token."""
    tokens = [context_token(tokenizer)]
    for shot in shots:
        tokens += _prompt(tokenizer, shot, cut_at_word(shot.text, FEW_SHOT_CHARACTERS))
        tokens += encode(tokenizer, answer_text(shot.answer)) + encode(tokenizer, "\n")
    return tokens


class ItemScore:
    """One item placed into a tree of tokens; chooses once the tree is scored."""

    def __init__(
        self, item: Item, tokenizer: PreTrainedTokenizerFast, *, short: bool, tree: Tree | None = None
    ) -> None:
        """Hang the choices into `tree`, which may hold the opening already; a short one follows examples."""
        self.item = item
        self.tree = tree if tree is not None else Tree()
        text = cut_at_word(item.text, FEW_SHOT_CHARACTERS) if short else item.text
        prompt = _prompt(tokenizer, item, text)
        prompt = prompt if short else [context_token(tokenizer), *prompt]
        self.nodes: dict[str, list[int]] = {}
        for choice in item.choices:
            nodes = self.tree.add([*prompt, *encode(tokenizer, item.continuation(choice))])[len(prompt) :]
            self.tree.ask(nodes)
            self.nodes[choice] = nodes

    def row(self, values: dict[int, float], shots: int) -> dict[str, Any]:
        """Return the stored item from the log-probabilities of the tree."""
        scores = {choice: math.fsum(values[node] for node in nodes) for choice, nodes in self.nodes.items()}
        prediction = likeliest(self.item, scores)
        return item_row(self.item, prediction, shots=shots, scores=scores)


def _prompt(tokenizer: PreTrainedTokenizerFast, item: Item, text: str) -> list[int]:
    return encode(tokenizer, text) + encode(tokenizer, question_text(item.question))
