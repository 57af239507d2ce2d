"""Turn training documents into sequences of tokens, and held-out documents into exam items."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
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
from tinsmith.recipe import ModelConfig, TokenizeConfig, token_sets
from tinsmith.stages.stage import Inputs
from tinsmith.stages.tokenize import Settings
from tinsmith.stages.tokenize.examples import Examples
from tinsmith.tokens.canaries import Canary, make_canaries
from tinsmith.tokens.encoding import context_token, encode, encode_all
from tinsmith.tokens.shards import ShardWriter, visiting_order
from tinsmith.tokens.tasks import Prompt, Task, answer_text, read_meta, unit_hash
from tinsmith.tokens.tokenizer import load_base_tokenizer, save_tokenizer
from tinsmith.tokens.vocabulary import parse_size, restrict_vocabulary, train_vocabulary

_BATCH = 256  # documents encoded at once


def tokenize(
    config: TokenizeConfig,
    *,
    settings: Settings,
    inputs: Inputs,
    seed: int,
    out: Path,
    progress: Progress,
) -> dict[str, float]:
    """Write the token files with their index, `exam.jsonl`, `shots.jsonl` and `tokenizer/`.

    If the objective learns from them, also write `sft/` and `dpo/`, token sets of conversations and preferences. If
    `settings.vocabulary` is above 0, restrict the base's vocabulary to so many tokens and list them in `kept.json`.
    Raises AssetError for the base's tokenizer, CorpusError if nothing is left to learn from, RecipeError for a task
    that does not fit the metadata or the context, and for a tokenizer that cannot do what the recipe needs.
    """
    documents = inputs["refine"] / "documents.parquet"
    metas = _training_metas(documents)
    if not metas:
        raise CorpusError("no training document", where=str(documents), next_step="lower split.held_out")
    objective = settings.objective
    sets = token_sets([objective] if isinstance(objective, str) else objective)
    # Read the user's files first, so that mistakes in them are reported at once.
    examples = Examples.read(config, sets, documents, settings.shared_run_words)
    tokenizer, statistics = _make_tokenizer(
        settings.model, settings.vocabulary, documents, examples, out, progress
    )

    def count(text: str) -> int:
        return len(encode(tokenizer, text))

    # One token of the context precedes the document.
    known_tasks = [Task(task, metas, room=config.context - 1, count=count) for task in settings.tasks]
    cutter = _Cutter(config, tokenizer, seed)
    writer = ShardWriter(out)
    items, size = _write_documents(documents, known_tasks, cutter, writer, progress)
    canaries = make_canaries(config.canaries, seed)
    if canaries:
        cutter.plant(canaries, writer)
        write_jsonl(out / "canaries.jsonl", map(asdict, canaries))
        progress.say(f"  {len(canaries)} canaries planted: use this model only to measure memorisation")
    order = visiting_order([(entry.order, entry.doc_id) for entry in writer.entries], seed)
    writer.close(order, {"context": config.context, "vocabulary": len(tokenizer)})
    write_jsonl(out / "exam.jsonl", items["held_out"])
    write_jsonl(out / "shots.jsonl", items["train"])
    statistics |= {
        "documents": len(metas),
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
    examples_statistics, turn_end = examples.write(
        tokenizer, config.context, settings.tasks, documents, seed, out
    )
    save_tokenizer(tokenizer, out / "tokenizer", turn_end=turn_end)
    return statistics | examples_statistics


def _write_documents(
    documents: Path, tasks: Sequence[Task], cutter: _Cutter, writer: ShardWriter, progress: Progress
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, _Size]]:
    """Write the training documents; return the prompts as rows, and the size of the text, by split."""
    items: dict[str, list[dict[str, Any]]] = {"train": [], "held_out": []}
    size = {"train": _Size(), "held_out": _Size()}
    with progress.task("tokens", pq.read_metadata(documents).num_rows, "documents") as advance:
        for rows in _batches(documents):
            asked = [(row, _prompts(tasks, row)) for row in rows]
            for row, prompts in asked:
                items[row["part"]] += [prompt.row(task, row["doc_id"]) for task, prompt in prompts.items()]
            training = [(row, prompts) for row, prompts in asked if row["part"] == "train"]
            size["train"].add([row["text"] for row, _ in training], cutter.write(training, writer))
            held_out = [row["text"] for row in rows if row["part"] != "train"]
            held_out_tokens = sum(map(len, encode_all(cutter.tokenizer, held_out))) if held_out else 0
            size["held_out"].add(held_out, held_out_tokens)
            advance(len(rows))
    return items, size


class _Size:
    """Documents, bytes and tokens of some texts."""

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
    """Return the base's tokenizer, a restricted or a newly trained one, and statistics of the base's."""
    if model.tokenizer != "base":
        size = parse_size(model.tokenizer)
        tokenizer = train_vocabulary(itertools.chain.from_iterable(_training_texts(documents)), size)
        if len(tokenizer) < size:
            progress.say(
                f"  the training documents give a vocabulary of {len(tokenizer):,} tokens, not {size:,}"
            )
        return tokenizer, {}
    tokenizer, left_out = load_base_tokenizer(resolve_model(model.base).path)
    for difference in left_out:
        progress.say(f"  llama.cpp reads text in its own way, and so does training: {difference}")
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
    """Cut documents into sequences, with nothing lost and nothing repeated."""

    def __init__(self, config: TokenizeConfig, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        self.config, self.tokenizer, self.seed = config, tokenizer, seed
        self.first, self.eos = context_token(tokenizer), tokenizer.eos_token_id

    def write(self, rows: Sequence[tuple[dict[str, Any], dict[str, Prompt]]], writer: ShardWriter) -> int:
        """Write the sequences of documents with their possible prompts by task; return the tokens of their text."""
        chosen = [self._choose_task(row["doc_id"], prompts) for row, prompts in rows]
        openings = [
            prompts[name].text if name else "" for (_, prompts), name in zip(rows, chosen, strict=True)
        ]
        rests = [row["text"][len(opening) :] for (row, _), opening in zip(rows, openings, strict=True)]
        encoded = encode_all(self.tokenizer, rests)
        text_tokens = sum(map(len, encoded))
        for (row, prompts), name, ids in zip(rows, chosen, encoded, strict=True):
            order = 0
            if name:
                opening = encode(self.tokenizer, prompts[name].text)
                writer.add(row["doc_id"], 0, *self._opening(opening, prompts[name]), name)
                order, text_tokens = 1, text_tokens + len(opening)
            if ids:
                ids = [self.first, *ids, self.eos] if not name else [*ids, self.eos]
                for piece in _equal_pieces(ids, self.config.context):
                    writer.add(row["doc_id"], order, piece, [1] * len(piece))
                    order += 1
        return text_tokens

    def plant(self, canaries: Sequence[Canary], writer: ShardWriter) -> None:
        """Write each canary as sequences of its own, `planted` times."""
        for canary in canaries:
            ids = [self.first, *encode(self.tokenizer, canary.text), self.eos]
            if len(ids) > self.config.context:
                raise RecipeError(
                    f"a canary has {len(ids)} tokens, more than a context of {self.config.context}",
                    where="tokenize.context",
                    next_step="increase it, or plant none (tokenize.canaries.each = 0)",
                )
            for name in canary.sequences():
                writer.add(name, 0, ids, [1] * len(ids))

    def _choose_task(self, doc_id: str, prompts: dict[str, Prompt]) -> str:
        if not prompts or unit_hash(self.seed, "task", doc_id) >= self.config.task_share:
            return ""
        names = list(prompts)
        return names[int(unit_hash(self.seed, "which", doc_id) * len(names))]

    def _opening(self, text: list[int], prompt: Prompt) -> tuple[list[int], list[int]]:
        """Return ids and target marks: the opening, the answer and the end are targets, the question is not."""
        text = [self.first, *text]
        question = encode(self.tokenizer, prompt.question)
        answer = [*encode(self.tokenizer, answer_text(prompt.answer)), self.eos]
        return text + question + answer, [1] * len(text) + [0] * len(question) + [1] * len(answer)


def _equal_pieces(ids: list[int], limit: int) -> Iterator[list[int]]:
    """Cut into the fewest pieces of at most `limit`, of equal length within one token.

    A short remainder would waste its tokens: a sequence's first token is never a target.
    """
    pieces = -(-len(ids) // limit)
    cuts = [len(ids) * number // pieces for number in range(pieces + 1)]
    return (ids[start:end] for start, end in itertools.pairwise(cuts))


def _prompts(tasks: Sequence[Task], row: dict[str, Any]) -> dict[str, Prompt]:
    meta = read_meta(row["meta"])
    prompts = {task.name: task.prompt(row["text"], meta) for task in tasks}
    return {name: prompt for name, prompt in prompts.items() if prompt}


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
