"""Multiple choice: which answer a model finds most likely after a document's opening and a question."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinsmith.base.errors import CorpusError
from tinsmith.base.files import JsonObject
from tinsmith.evaluate.scoring.tree import Tree
from tinsmith.evidence.bootstrap import Statistic, balanced, mean_over
from tinsmith.evidence.family import (
    Family,
    FamilyCost,
    FigureContext,
    Figures,
    Items,
    MetricSpec,
    Results,
    contradiction,
)
from tinsmith.evidence.format import count, listing, number, percent, points
from tinsmith.evidence.items import ChoiceRow, Item, choice_row
from tinsmith.evidence.outcome import BETTER, UNCLEAR, WORSE, Duel, worst
from tinsmith.evidence.schema import Comparison, Finding, MetricRow, Role
from tinsmith.recipe import Recipe
from tinsmith.tokens.encoding import context_token, encode
from tinsmith.tokens.tasks import answer_text, cut_at_word, question_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

RULE = (
    "Multiple choice: the prediction is the choice whose whole answer, the line's end included, is most likely after "
    "the prompt. Scores are not normalised by length, because complete answers already exclude one another. Rule, "
    "items and examples are the same for all subjects."
)
BUILT_RULE = (
    "Next passage: the most likely per byte of four passages after a document's opening; the false ones are the "
    "nearest of all held-out ones. Cloze: the most likely of four terms, references or figures in a gap, with the word "
    "after it."
)
_TOKENS_PER_QUESTION, _TOKENS_PER_BUILT_QUESTION = 300, 130  # a built question's opening is read anyway
_OWN_QUESTIONS = 50  # a file of a person's own is taken to hold
FEW_SHOT_CHARACTERS = 300  # the examples and their texts are most of a few-shot prompt's cost


def read_items(rows: Iterable[JsonObject], *, where: str) -> list[Item]:
    """Check and return items. Raises CorpusError for a repeated item, a missing or an impossible answer."""
    items: dict[str, Item] = {}
    seen: set[tuple[str, str]] = set()
    for row in rows:
        name = str(row["item"])
        if name in items:
            raise CorpusError(
                f"item {name} occurs twice",
                where=where,
                next_step="remove the run's directory tokenize and build again",
            )
        if not row.get("answer"):
            raise CorpusError(
                f"item {name} has no answer", where=where, next_step="correct the task's answer template"
            )
        asked = (row["task"], row["doc_id"])
        if asked in seen:
            raise CorpusError(
                f"task {asked[0]} asks document {asked[1]} twice",
                where=where,
                next_step="remove the run's directory tokenize and build again",
            )
        seen.add(asked)
        if row["answer"] not in row["choices"] or len(set(row["choices"])) != len(row["choices"]):
            raise CorpusError(
                f"item {name}: {row['answer']!r} is not one of {len(row['choices'])} different choices",
                where=where,
                next_step="correct the task's choices",
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
            f"{count} examples per question are asked for, but training documents hold only {len(own)} of task {task}",
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
        """Add the choices to `tree`, which may hold the opening already; a short item follows examples."""
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

    def row(self, values: dict[int, float], shots: int) -> ChoiceRow:
        """Return the stored answer from the log-probabilities of the tree."""
        scores = {choice: math.fsum(values[node] for node in nodes) for choice, nodes in self.nodes.items()}
        return choice_row(self.item, self.item.top_choice(scores), shots=shots, scores=scores)


def _prompt(tokenizer: PreTrainedTokenizerFast, item: Item, text: str) -> list[int]:
    return encode(tokenizer, text) + encode(tokenizer, question_text(item.question))


def check(items: Items) -> None:
    """Raise BundleError unless each answer is the most likely choice, and correct only if it is the true one.

    The true answer of a question that was made from a document must stand in that document, where the question says.
    """
    for item in items.questions.values():
        text = items.texts.get(item.doc_id)
        if text is not None and item.is_built and item.span and text[slice(*item.span)] != item.answer:
            what = f"item {item.item}: its answer does not stand in its document"
            raise contradiction(items.folder / "questions.jsonl", what)
    for subject, rows in items.rows(FAMILY.kind).items():
        for row in rows:
            _check_answer(items, subject, row)


def _check_answer(items: Items, subject: str, row: ChoiceRow) -> None:
    item, path = items.questions.get(row["item"]), items.path(FAMILY.kind, subject)
    if item is None:
        raise contradiction(path, f"item {row['item']} is not in questions.jsonl")
    if item.answer != row["answer"]:
        raise contradiction(path, f"item {row['item']}: its answer is not that of questions.jsonl")
    prediction = item.top_choice(row["scores"]) if row["scores"] else row["prediction"]
    expected = {"prediction": prediction, "correct": prediction == item.answer}
    stored = {"prediction": row["prediction"], "correct": row["correct"]}
    for field, value in expected.items():
        if stored[field] != value:
            raise contradiction(
                path, f"item {row['item']}: {field} is {stored[field]!r}, its scores give {value!r}"
            )


def figures(context: FigureContext) -> Figures:
    """Return accuracy by task and number of examples; of classes also the balanced one."""
    stored: dict[str, list[ChoiceRow]] = context.items.rows(FAMILY.kind)
    models = [rows for subject, rows in stored.items() if context.role(subject) is not Role.BASELINE]
    asked = dict.fromkeys((row["task"], row["shots"]) for rows in models for row in rows)
    with_classes = {item.task for item in context.items.questions.values() if item.has_classes}
    metrics: list[MetricRow] = []
    comparisons: list[Comparison] = []
    for task, shots in asked:
        answers = _answers(stored, task, shots, context)
        first = dict.fromkeys(row["doc_id"] for row in next(iter(answers.values())))
        documents = {doc_id: place for place, doc_id in enumerate(first)}
        if len(documents) < 2:
            continue
        bootstrap = context.bootstrap(len(documents))
        for name in ("accuracy", "balanced_accuracy") if task in with_classes else ("accuracy",):
            shares = {subject: _statistic(name, rows, documents) for subject, rows in answers.items()}
            size = len(next(iter(answers.values())))
            qualifiers = (task, f"{shots}-shot")
            metrics += [
                FAMILY.row(name, qualifiers, subject, bootstrap.estimate(share), size, task=task, shots=shots)
                for subject, share in shares.items()
            ]
            comparisons += [
                FAMILY.compare(name, qualifiers, shares, pair, bootstrap, items=size, task=task, shots=shots)
                for pair in context.pairs(list(shares))
            ]
    return Figures(metrics, comparisons)


def _answers(
    stored: dict[str, list[ChoiceRow]], task: str, shots: int, context: FigureContext
) -> dict[str, list[ChoiceRow]]:
    """Return each subject's answers; a baseline reads no examples, so its one answer counts for any number of them."""
    found = {
        subject: [
            row
            for row in rows
            if row["task"] == task and (row["shots"] == shots or context.role(subject) is Role.BASELINE)
        ]
        for subject, rows in stored.items()
    }
    return {subject: rows for subject, rows in found.items() if rows}


def _statistic(name: str, rows: Sequence[ChoiceRow], documents: dict[str, int]) -> Statistic:
    if name == "balanced_accuracy":
        return balanced([row["correct"] for row in rows], [row["answer"] for row in rows])
    return mean_over(documents, [row["doc_id"] for row in rows], [float(row["correct"]) for row in rows])


def findings(results: Results) -> list[Finding]:
    """Say for each task how many questions were answered correctly, and against whom that is better or worse."""
    names = {subject.subject: subject.name for subject in results.metrics.subjects}
    found = []
    for row in results.rows("accuracy"):
        duels = [duel for duel in results.duels if duel.metric == row.metric and duel.ours == row.subject]
        exam = row.label.partition(", ")[2]
        text = f"Multiple choice ({exam}): {percent(row.value)} of {count(row.items)} questions correct"
        groups = (_group(kind, duels, names) for kind in (BETTER, UNCLEAR, WORSE))
        text = "; ".join([text, *filter(None, groups)]) + "."
        found.append(Finding(verdict="", text=text, outcome=worst(duels)))
    return found


def _group(outcome: str, duels: Iterable[Duel], names: dict[str, str]) -> str:
    """Name all opponents of one outcome with the difference in percentage points."""
    named = [
        f"{names[duel.other]} ({points(duel.difference)}{_caution(duel)})"
        for duel in duels
        if duel.outcome == outcome
    ]
    return f"{outcome} than {listing(named)}" if named else ""


def _caution(duel: Duel) -> str:
    """Say beside a difference that it may be chance, or what difference would have been detected."""
    if duel.by_chance:
        return ", may be chance"
    if duel.outcome == UNCLEAR and duel.detectable:
        return f"; {number(100 * duel.detectable, 0)} would be detected"
    return ""


def _cost(recipe: Recipe, bytes_per_token: float) -> FamilyCost:
    config = recipe.evaluate
    # The examples before a question are the same for all items, so they are read once.
    tasks = len(recipe.tasks) * config.exam_items * len(config.shots) * _TOKENS_PER_QUESTION
    built = 2 * config.built_items * _TOKENS_PER_BUILT_QUESTION
    own = len(config.questions) * _OWN_QUESTIONS * _TOKENS_PER_QUESTION
    return FamilyCost(tasks + built + own, models="all")


FAMILY = Family(
    kind="exam",
    order=20,
    metrics=(
        MetricSpec("accuracy", "share", "Accuracy", higher_is_better=True),
        MetricSpec("balanced_accuracy", "share", "Balanced accuracy", higher_is_better=True),
    ),
    figures=figures,
    check=check,
    cost=_cost,
    findings=findings,
    front=frozenset({BETTER, UNCLEAR, WORSE, ""}),
)
