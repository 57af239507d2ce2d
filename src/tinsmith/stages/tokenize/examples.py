"""What sft and dpo learn from: files of a person's own, and tasks on training documents."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerFast

from tinsmith.base.progress import Progress
from tinsmith.corpus.split import find_shared_runs, hash_texts
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

_SPARE = 8  # tokens by which the parts of a conversation may differ from the whole

Kind = TypeVar("Kind", bound=Conversation)


@dataclass
class Examples:
    """The conversations and preferences of the recipe's files, for the token sets that its objectives read."""

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
        progress: Progress,
    ) -> Examples:
        """Read the files; leave out what shares so long a run of words with a held-out document.

        Raises RecipeError for a file that cannot be read, CorpusError for one without a usable line.
        """
        found = cls(sets)
        for tokens, name in EXAMPLE_FILES.items():
            if (files := getattr(config, name)) and tokens not in sets:
                progress.say(
                    f"  {', '.join(files)}: not read, since no objective learns from tokenize.{name}"
                )
        if "sft" in sets:
            rows = [
                row for file in config.conversations for row in read_conversations(file, found.rejects["sft"])
            ]
            found.conversations = _unshared(rows, documents, shared_run_words, found.rejects["sft"])
        if "dpo" in sets:
            pairs = [
                row for file in config.preferences for row in read_preferences(file, found.rejects["dpo"])
            ]
            found.preferences = _unshared(pairs, documents, shared_run_words, found.rejects["dpo"])
        return found

    def texts(self) -> Iterator[str]:
        """Yield what the files say."""
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
        """Write `sft/` and `dpo/` below `out`, tasks on training documents included.

        Returns their statistics, and the token that ends a turn where it is not the end of text.

        Raises RecipeError for a tokenizer without a usable chat template, CorpusError where nothing is left.
        """
        statistics: dict[str, float] = {}
        if EXAMPLE_FILES.keys().isdisjoint(self.sets):
            return statistics, None
        encoder = ChatEncoder(tokenizer)
        asked = list(_ask(encoder, context, tasks, documents))
        if "sft" in self.sets:
            answered = [_conversation(*each) for each in asked]
            examples = [*self.conversations, *answered]
            made = write_sft(
                examples, encoder, self.rejects["sft"], context=context, seed=seed, out=out / "sft"
            )
            statistics |= made
        if "dpo" in self.sets:
            chosen = [_preference(*each, seed) for each in asked if len(each[2].choices) > 1]
            pairs = [*self.preferences, *chosen]
            statistics |= write_dpo(
                pairs, encoder, self.rejects["dpo"], context=context, seed=seed, out=out / "dpo"
            )
        return statistics, min(encoder.turn_ends - {tokenizer.eos_token}, default=None)


def _unshared(examples: list[Kind], documents: Path, words: int, rejects: Rejects) -> list[Kind]:
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


Asked = tuple[str, str, Prompt]  # a document's id, a task's name, and the one asked about the other


def _ask(encoder: ChatEncoder, context: int, tasks: Sequence[TaskConfig], documents: Path) -> Iterator[Asked]:
    """Yield each task on each training document that has an answer, with room for the template's markup."""
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
