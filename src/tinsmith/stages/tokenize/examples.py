"""Collect the examples for sft and dpo: the user's files, what refine wrote, and tasks on documents."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerFast

from tinsmith.base.files import read_jsonl
from tinsmith.corpus.split import find_shared_runs, hash_texts
from tinsmith.corpus.steps import WRITTEN_CONVERSATIONS
from tinsmith.recipe import EXAMPLE_FILES, TaskConfig, TokenizeConfig
from tinsmith.tokens.chat import ChatEncoder, Message
from tinsmith.tokens.encoding import encode
from tinsmith.tokens.examples import (
    Conversation,
    Preference,
    Rejects,
    read_conversations,
    read_preferences,
)
from tinsmith.tokens.sets import write_dpo, write_sft
from tinsmith.tokens.tasks import Prompt, Task, read_meta, unit_hash

_SPARE = 8  # tokens by which the sum of a conversation's pieces may differ from the whole

Example = TypeVar("Example", bound=Conversation)


@dataclass
class Examples:
    """Conversations and preferences of the recipe's files and of refine, for the token sets that objectives read."""

    sets: Collection[str]  # of "sft" and "dpo"
    conversations: list[Conversation] = field(default_factory=list)
    preferences: list[Preference] = field(default_factory=list)
    rejects: dict[str, Rejects] = field(
        default_factory=lambda: {tokens: Rejects() for tokens in EXAMPLE_FILES}
    )

    @classmethod
    def read(
        cls,
        config: TokenizeConfig,
        sets: Collection[str],
        documents: Path,
        shared_run_words: int,
    ) -> Examples:
        """Read the files and what refine wrote, without what shares so long a run of words with a held-out document.

        Raises RecipeError for a file that cannot be read, CorpusError for one without a usable line.
        """
        examples = cls(sets)
        if "sft" in sets:
            rows = [
                row
                for file in config.conversations
                for row in read_conversations(file, examples.rejects["sft"])
            ]
            rows += _written(documents.parent / WRITTEN_CONVERSATIONS)
            examples.conversations = _unshared(rows, documents, shared_run_words, examples.rejects["sft"])
        if "dpo" in sets:
            pairs = [
                row for file in config.preferences for row in read_preferences(file, examples.rejects["dpo"])
            ]
            examples.preferences = _unshared(pairs, documents, shared_run_words, examples.rejects["dpo"])
        return examples

    def texts(self) -> Iterator[str]:
        """Yield the texts of the examples."""
        yield from (example.text for example in (*self.conversations, *self.preferences))

    def write(
        self,
        tokenizer: PreTrainedTokenizerFast,
        context: int,
        tasks: Sequence[TaskConfig],
        documents: Path,
        seed: int,
        out: Path,
    ) -> tuple[dict[str, float], str | None]:
        """Write `sft/` and `dpo/` in `out`, including tasks on training documents.

        Returns their statistics, and the token that ends a turn if it is not the end of text.
        Raises RecipeError for a tokenizer without a usable chat template, CorpusError if nothing is left.
        """
        statistics: dict[str, float] = {}
        if EXAMPLE_FILES.keys().isdisjoint(self.sets):
            return statistics, None
        encoder = ChatEncoder(tokenizer)
        answered = list(_ask(encoder, context, tasks, documents))
        if "sft" in self.sets:
            conversations = [*self.conversations, *(_conversation(*task) for task in answered)]
            statistics |= write_sft(
                conversations, encoder, self.rejects["sft"], context=context, seed=seed, out=out / "sft"
            )
        if "dpo" in self.sets:
            chosen = [_preference(*task, seed) for task in answered if len(task[2].choices) > 1]
            pairs = [*self.preferences, *chosen]
            statistics |= write_dpo(
                pairs, encoder, self.rejects["dpo"], context=context, seed=seed, out=out / "dpo"
            )
        return statistics, min(encoder.turn_ends - {tokenizer.eos_token}, default=None)


def _written(path: Path) -> list[Conversation]:
    """Return the conversations that a teacher wrote in refine, each by the id of the written document."""
    return [
        Conversation(row["doc_id"], 0, tuple(Message(**message) for message in row["messages"]))
        for row in (read_jsonl(path) if path.exists() else ())
    ]


def _unshared(examples: list[Example], documents: Path, words: int, rejects: Rejects) -> list[Example]:
    """Reject the examples that share a run of at least so many words with a held-out document."""
    table = pq.read_table(documents, columns=["doc_id", "text"], filters=[("part", "==", "held_out")])
    if not examples or not table.num_rows:
        return examples
    runs = find_shared_runs(
        hash_texts(table["text"].to_pylist()), hash_texts(example.text for example in examples), words
    )
    longest = {run.training: run for run in sorted(runs, key=lambda run: run.words)}
    for number, run in sorted(longest.items()):
        doc_id = table["doc_id"][run.held_out].as_py()
        rejects.add(examples[number], "shares_held_out", f"{run.words} words with the document {doc_id}")
    return [example for number, example in enumerate(examples) if number not in longest]


AnsweredTask = tuple[str, str, Prompt]  # the document's id, the task's name, the question with its answer


def _ask(
    encoder: ChatEncoder, context: int, tasks: Sequence[TaskConfig], documents: Path
) -> Iterator[AnsweredTask]:
    """Yield every task on every training document with an answer, with room for the template's markup."""
    if not tasks:
        return
    table = pq.read_table(
        documents, columns=["doc_id", "text", "meta"], filters=[("part", "==", "train")]
    ).to_pylist()
    frame = encoder.encode([Message("user", "x"), Message("assistant", "x")], where="model.base")
    room = context - len(frame.ids) - _SPARE

    def count(text: str) -> int:
        return len(encode(encoder.tokenizer, text))

    metas = [read_meta(row["meta"]) for row in table]
    built = [Task(task, metas, room=room, count=count) for task in tasks]
    for row, meta in zip(table, metas, strict=True):
        for task in built:
            if prompt := task.prompt(row["text"], meta):
                yield row["doc_id"], task.name, prompt


def _question(prompt: Prompt) -> Message:
    return Message("user", prompt.text + prompt.question)


def _conversation(doc_id: str, task: str, prompt: Prompt) -> Conversation:
    return Conversation(doc_id, 0, (_question(prompt), Message("assistant", prompt.answer)), task)


def _preference(doc_id: str, task: str, prompt: Prompt, seed: int) -> Preference:
    others = [choice for choice in prompt.choices if choice != prompt.answer]
    rejected = others[int(unit_hash(seed, "rejected", task, doc_id) * len(others))]
    return Preference(doc_id, 0, (_question(prompt),), task, chosen=prompt.answer, rejected=rejected)
