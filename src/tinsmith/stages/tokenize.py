"""Turn training documents into sequences of tokens, and held-out ones into exam items."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerFast

from tinsmith.foundation.assets import resolve_model
from tinsmith.foundation.errors import CorpusError
from tinsmith.foundation.files import write_jsonl
from tinsmith.foundation.progress import Progress
from tinsmith.recipe import ModelConfig, TaskConfig, TokenizeConfig
from tinsmith.tokens.shards import ShardWriter
from tinsmith.tokens.tasks import Prompt, Task, answer_text, read_meta, unit_hash
from tinsmith.tokens.tokenizer import context_token, encode, encode_all, load_tokenizer, save_tokenizer

_BATCH = 256  # documents encoded at once


def tokenize(
    config: TokenizeConfig,
    *,
    tasks: Sequence[TaskConfig],
    model: ModelConfig,
    split: Path,
    seed: int,
    out: Path,
    progress: Progress,
) -> dict[str, float]:
    """Write the token files with their index, `exam.jsonl`, `shots.jsonl` and `tokenizer/`.

    Raises AssetError for the base's tokenizer, RecipeError for a task that fits neither metadata nor context.
    """
    tokenizer = load_tokenizer(resolve_model(model.base).path)
    documents = split / "documents.parquet"
    training = _training_metas(documents)
    if not training:
        raise CorpusError("no training document", where=str(documents), next_step="lower split.held_out")

    def count(text: str) -> int:
        return len(encode(tokenizer, text))

    # One token of the row stands before the document.
    built = [Task(task, training, room=config.context - 1, count=count) for task in tasks]
    cutter = _Cutter(config, tokenizer, built, seed)
    writer = ShardWriter(out)
    items: dict[str, list[dict[str, Any]]] = {"train": [], "held_out": []}
    text_bytes = 0
    held_out = 0
    with progress.task("tokens", pq.read_metadata(documents).num_rows, "documents") as advance:
        for rows in _batches(documents):
            prompts = [_prompts(built, row) for row in rows]
            for row, asked in zip(rows, prompts, strict=True):
                items[row["part"]] += [prompt.row(task, row["doc_id"]) for task, prompt in asked.items()]
            own = [(row, asked) for row, asked in zip(rows, prompts, strict=True) if row["part"] == "train"]
            cutter.write(own, writer)
            held_out += len(rows) - len(own)
            text_bytes += sum(len(row["text"].encode()) for row, _ in own)
            advance(len(rows))
    order = visiting_order([(entry.order, entry.doc_id) for entry in writer.entries], seed)
    writer.close(order, {"context": config.context, "vocabulary": len(tokenizer)})
    write_jsonl(out / "exam.jsonl", items["held_out"])
    write_jsonl(out / "shots.jsonl", items["train"])
    save_tokenizer(tokenizer, out / "tokenizer")
    return {
        "documents": len(training),
        "bytes": text_bytes,
        "tokens": writer.tokens,
        "supervised_tokens": writer.supervised,
        "sequences": len(writer.entries),
        "task_openings": sum(entry.task != "" for entry in writer.entries),
        "held_out_documents": held_out,
        "exam_items": len(items["held_out"]),
        "shots": len(items["train"]),
    }


def visiting_order(sequences: Sequence[tuple[int, str]], seed: int) -> list[int]:
    """Order sequences (part number, doc_id): openings first, then second parts; documents in seeded order."""
    rank = {doc_id: (unit_hash(seed, "visit", doc_id), doc_id) for _, doc_id in sequences}
    return sorted(range(len(sequences)), key=lambda i: (sequences[i][0], rank[sequences[i][1]]))


class _Cutter:
    """Cut documents into sequences with nothing lost and nothing twice."""

    def __init__(
        self, config: TokenizeConfig, tokenizer: PreTrainedTokenizerFast, tasks: Sequence[Task], seed: int
    ) -> None:
        self.config, self.tokenizer, self.tasks, self.seed = config, tokenizer, tasks, seed
        self.first, self.eos = context_token(tokenizer), tokenizer.eos_token_id

    def write(self, rows: Sequence[tuple[dict[str, Any], dict[str, Prompt]]], writer: ShardWriter) -> None:
        """Write the sequences of some documents with their possible prompts."""
        chosen = [self._choose(row["doc_id"], asked) for row, asked in rows]
        openings = [asked[name].text if name else "" for (_, asked), name in zip(rows, chosen, strict=True)]
        rests = [row["text"][len(opening) :] for (row, _), opening in zip(rows, openings, strict=True)]
        encoded = encode_all(self.tokenizer, rests)
        for (row, asked), name, ids in zip(rows, chosen, encoded, strict=True):
            order = 0
            if name:
                opening, marks = self._opening(asked[name])
                writer.add(row["doc_id"], 0, opening, marks, name)
                order = 1
            if ids:
                ids = [self.first, *ids, self.eos] if not name else [*ids, self.eos]
                for part in _equal_parts(ids, self.config.context):
                    writer.add(row["doc_id"], order, part, [1] * len(part))
                    order += 1

    def _choose(self, doc_id: str, asked: dict[str, Prompt]) -> str:
        if not asked or unit_hash(self.seed, "task", doc_id) >= self.config.task_share:
            return ""
        names = list(asked)
        return names[int(unit_hash(self.seed, "which", doc_id) * len(names))]

    def _opening(self, prompt: Prompt) -> tuple[list[int], list[int]]:
        """Return ids and marks: the opening is learnt, the question is not, the answer and the end are."""
        text = [self.first, *encode(self.tokenizer, prompt.text)]
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


def _batches(documents: Path) -> Iterator[list[dict[str, Any]]]:
    with pq.ParquetFile(documents) as file:
        for batch in file.iter_batches(_BATCH, columns=["doc_id", "text", "meta", "part"]):
            yield batch.to_pylist()
