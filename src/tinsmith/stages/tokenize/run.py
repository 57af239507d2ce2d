"""Turn training documents into sequences of tokens, and held-out ones into exam items."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerFast

from tinsmith.base.assets import resolve_model
from tinsmith.base.errors import CorpusError, RecipeError
from tinsmith.base.files import write_json, write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.recipe import ModelConfig, TaskConfig, TokenizeConfig, token_sets
from tinsmith.stages.tokenize.examples import Examples
from tinsmith.tokens.canaries import Canary, make_canaries
from tinsmith.tokens.encoding import context_token, encode, encode_all
from tinsmith.tokens.shards import ShardWriter, visiting_order
from tinsmith.tokens.tasks import Prompt, Task, answer_text, read_meta, unit_hash
from tinsmith.tokens.tokenizer import load_tokenizer, save_tokenizer
from tinsmith.tokens.vocabulary import parse_size, restrict_vocabulary, train_vocabulary

_BATCH = 256  # documents encoded at once


def tokenize(
    config: TokenizeConfig,
    *,
    tasks: Sequence[TaskConfig],
    model: ModelConfig,
    objective: str | Mapping[str, float],
    vocabulary: int,
    shared_run_words: int,
    refine: Path,
    seed: int,
    out: Path,
    progress: Progress,
) -> dict[str, float]:
    """Write the token files with their index, `exam.jsonl`, `shots.jsonl` and `tokenizer/`.

    Where `objective` has them, `sft/` and `dpo/` become token sets of conversations and preferences; where
    `vocabulary` is above 0, the base's is restricted to so many tokens and `kept.json` names them.
    Raises AssetError for the base's tokenizer, CorpusError where nothing is left to learn from, RecipeError for
    a task that fits neither metadata nor context, and for a tokenizer that cannot do what is asked.
    """
    documents = refine / "documents.parquet"
    training = _training_metas(documents)
    if not training:
        raise CorpusError("no training document", where=str(documents), next_step="lower split.held_out")
    sets = token_sets([objective] if isinstance(objective, str) else objective)
    # Mistakes in a person's files are told before anything else is made.
    examples = Examples.read(config, sets, documents, shared_run_words, progress)
    tokenizer, statistics = _make_tokenizer(model, vocabulary, documents, examples, out, progress)

    def count(text: str) -> int:
        return len(encode(tokenizer, text))

    # One token of the row stands before the document.
    built = [Task(task, training, room=config.context - 1, count=count) for task in tasks]
    cutter = _Cutter(config, tokenizer, built, seed)
    writer = ShardWriter(out)
    items: dict[str, list[dict[str, Any]]] = {"train": [], "held_out": []}
    size = {"train": _Size(), "held_out": _Size()}
    with progress.task("tokens", pq.read_metadata(documents).num_rows, "documents") as advance:
        for rows in _batches(documents):
            prompts = [_prompts(built, row) for row in rows]
            for row, asked in zip(rows, prompts, strict=True):
                items[row["part"]] += [prompt.row(task, row["doc_id"]) for task, prompt in asked.items()]
            own = [(row, asked) for row, asked in zip(rows, prompts, strict=True) if row["part"] == "train"]
            size["train"].add([row["text"] for row, _ in own], cutter.write(own, writer))
            others = [row["text"] for row in rows if row["part"] != "train"]
            size["held_out"].add(others, sum(map(len, encode_all(tokenizer, others))) if others else 0)
            advance(len(rows))
    canaries = make_canaries(config.canaries, seed)
    cutter.plant(canaries, writer)
    order = visiting_order([(entry.order, entry.doc_id) for entry in writer.entries], seed)
    writer.close(order, {"context": config.context, "vocabulary": len(tokenizer)})
    if canaries:
        write_jsonl(out / "canaries.jsonl", map(asdict, canaries))
        progress.say(f"  {len(canaries)} canaries planted: this model is for measuring what it gives away")
    write_jsonl(out / "exam.jsonl", items["held_out"])
    write_jsonl(out / "shots.jsonl", items["train"])
    statistics |= {
        "documents": len(training),
        "bytes": size["train"].bytes,
        "tokens": writer.tokens,
        "supervised_tokens": writer.supervised,
        "sequences": len(writer.entries),
        "canaries": len(canaries),
        "task_openings": sum(entry.task != "" for entry in writer.entries),
        "held_out_documents": size["held_out"].documents,
        "exam_items": len(items["held_out"]),
        "shots": len(items["train"]),
        "vocabulary": len(tokenizer),
        "bytes_per_token": size["train"].bytes_per_token,
        "bytes_per_token_held_out": size["held_out"].bytes_per_token,
    }
    learnt, turn_end = examples.write(tokenizer, config.context, tasks, documents, seed, out)
    save_tokenizer(tokenizer, out / "tokenizer", turn_end=turn_end)
    return statistics | learnt


class _Size:
    """How many bytes of text a token holds."""

    def __init__(self) -> None:
        self.documents = self.bytes = self.tokens = 0

    def add(self, texts: Sequence[str], tokens: int) -> None:
        self.documents += len(texts)
        self.bytes += sum(len(text.encode()) for text in texts)
        self.tokens += tokens

    @property
    def bytes_per_token(self) -> float:
        return self.bytes / max(1, self.tokens)


def _make_tokenizer(
    model: ModelConfig,
    vocabulary: int,
    documents: Path,
    examples: Examples,
    out: Path,
    progress: Progress,
) -> tuple[PreTrainedTokenizerFast, dict[str, float]]:
    """Return the base's tokenizer, a part of it, or a fresh one, with what making it tells."""
    if model.tokenizer != "base":
        size = parse_size(model.tokenizer)
        tokenizer = train_vocabulary(itertools.chain.from_iterable(_training_texts(documents)), size)
        if len(tokenizer) < size:
            progress.say(f"  the training documents give {len(tokenizer):,} tokens, not {size:,}")
        return tokenizer, {}
    tokenizer = load_tokenizer(resolve_model(model.base).path)
    if not vocabulary:
        return tokenizer, {}
    counts = np.zeros(len(tokenizer), dtype=np.int64)
    seen = _Size()
    for texts in _training_texts(documents):
        ids = list(itertools.chain.from_iterable(encode_all(tokenizer, texts)))
        counts += np.bincount(ids, minlength=len(counts))
        seen.add(texts, len(ids))
    base = {"base_vocabulary": len(tokenizer), "base_bytes_per_token": seen.bytes_per_token}
    for text in examples.texts():
        counts += np.bincount(encode(tokenizer, text), minlength=len(counts))
    tokenizer, kept = restrict_vocabulary(tokenizer, counts.tolist(), vocabulary)
    write_json(out / "kept.json", {"kept": kept})
    return tokenizer, base


class _Cutter:
    """Cut documents into sequences with nothing lost and nothing twice."""

    def __init__(
        self, config: TokenizeConfig, tokenizer: PreTrainedTokenizerFast, tasks: Sequence[Task], seed: int
    ) -> None:
        self.config, self.tokenizer, self.tasks, self.seed = config, tokenizer, tasks, seed
        self.first, self.eos = context_token(tokenizer), tokenizer.eos_token_id

    def write(self, rows: Sequence[tuple[dict[str, Any], dict[str, Prompt]]], writer: ShardWriter) -> int:
        """Write the sequences of some documents with their possible prompts; return the tokens of their text."""
        chosen = [self._choose(row["doc_id"], asked) for row, asked in rows]
        openings = [asked[name].text if name else "" for (_, asked), name in zip(rows, chosen, strict=True)]
        rests = [row["text"][len(opening) :] for (row, _), opening in zip(rows, openings, strict=True)]
        encoded = encode_all(self.tokenizer, rests)
        text_tokens = sum(map(len, encoded))
        for (row, asked), name, ids in zip(rows, chosen, encoded, strict=True):
            order = 0
            if name:
                opening = encode(self.tokenizer, asked[name].text)
                writer.add(row["doc_id"], 0, *self._opening(opening, asked[name]), name)
                order, text_tokens = 1, text_tokens + len(opening)
            if ids:
                ids = [self.first, *ids, self.eos] if not name else [*ids, self.eos]
                for part in _equal_parts(ids, self.config.context):
                    writer.add(row["doc_id"], order, part, [1] * len(part))
                    order += 1
        return text_tokens

    def plant(self, canaries: Sequence[Canary], writer: ShardWriter) -> None:
        """Write each canary as sequences of its own, as often as it is planted."""
        for canary in canaries:
            ids = [self.first, *encode(self.tokenizer, canary.text), self.eos]
            if len(ids) > self.config.context:
                raise RecipeError(
                    f"a canary takes {len(ids)} tokens, a row holds {self.config.context}",
                    where="tokenize.context",
                    next_step="raise it, or plant none (tokenize.canaries.each = 0)",
                )
            for name in canary.sequences():
                writer.add(name, 0, ids, [1] * len(ids))

    def _choose(self, doc_id: str, asked: dict[str, Prompt]) -> str:
        if not asked or unit_hash(self.seed, "task", doc_id) >= self.config.task_share:
            return ""
        names = list(asked)
        return names[int(unit_hash(self.seed, "which", doc_id) * len(names))]

    def _opening(self, text: list[int], prompt: Prompt) -> tuple[list[int], list[int]]:
        """Return ids and marks: the opening is learnt, the question is not, the answer and the end are."""
        text = [self.first, *text]
        question = encode(self.tokenizer, prompt.question)
        answer = [*encode(self.tokenizer, answer_text(prompt.answer)), self.eos]
        return text + question + answer, [1] * len(text) + [0] * len(question) + [1] * len(answer)


def _equal_parts(ids: list[int], most: int) -> Iterator[list[int]]:
    """Cut into as few parts of at most `most` as can be, equal within one: one token teaches nothing."""
    parts = -(-len(ids) // most)
    cuts = [len(ids) * number // parts for number in range(parts + 1)]
    return (ids[start:end] for start, end in itertools.pairwise(cuts))


def _prompts(tasks: Sequence[Task], row: dict[str, Any]) -> dict[str, Prompt]:
    meta = read_meta(row["meta"])
    asked = {task.name: task.prompt(row["text"], meta) for task in tasks}
    return {name: prompt for name, prompt in asked.items() if prompt}


def _training_metas(documents: Path) -> list[dict[str, Any]]:
    table = pq.read_table(documents, columns=["part", "meta"]).to_pylist()
    return [read_meta(row["meta"]) for row in table if row["part"] == "train"]


def _training_texts(documents: Path) -> Iterator[list[str]]:
    for rows in _batches(documents):
        if texts := [row["text"] for row in rows if row["part"] == "train"]:
            yield texts


def _batches(documents: Path) -> Iterator[list[dict[str, Any]]]:
    with pq.ParquetFile(documents) as file:
        for batch in file.iter_batches(_BATCH, columns=["doc_id", "text", "meta", "part"]):
            yield batch.to_pylist()
