from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from small_vocabulary import TEXT, write_bpe
from tinsmith.foundation.errors import CorpusError
from tinsmith.foundation.files import read_jsonl
from tinsmith.foundation.progress import SilentProgress
from tinsmith.recipe import ModelConfig, TaskConfig, TokenizeConfig
from tinsmith.stages.tokenize import tokenize
from tinsmith.tokens.shards import TokenSet
from tinsmith.tokens.tasks import answer_text
from tinsmith.tokens.tokenizer import encode, load_tokenizer

TASK = TaskConfig(name="kind", question="{text}\n\nKind:", answer="{kind}", characters=90)


def documents(directory: Path, count: int = 12) -> dict[str, str]:
    """Write a split of `count` documents, every fourth held out; return the training texts by doc_id."""
    rows = []
    for number in range(count):
        text = f"Licence {number}.\n" + TEXT * (number % 5) + " The end"
        meta = {"kind": ["free", "not free"][number % 2]} if number != 2 else {}
        part = "held_out" if number % 4 == 3 else "train"
        rows.append({"doc_id": f"d{number}", "text": text, "meta": json.dumps(meta), "part": part})
    directory.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), directory / "documents.parquet")
    return {row["doc_id"]: row["text"] for row in rows if row["part"] == "train"}


def run(
    tmp_path: Path, name: str = "out", seed: int = 7, tasks: tuple[TaskConfig, ...] = (TASK,), **config: Any
) -> Path:
    if not (tmp_path / "v.gguf").exists():
        write_bpe(tmp_path / "v.gguf")
    out = tmp_path / name
    out.mkdir()
    tokenize(
        TokenizeConfig(**{"context": 64, **config}),
        tasks=tasks,
        model=ModelConfig(base=str(tmp_path / "v.gguf")),
        split=tmp_path / "split",
        seed=seed,
        out=out,
        progress=SilentProgress(),
    )
    return out


def by_document(out: Path) -> dict[str, list[tuple[dict[str, Any], list[int], list[int]]]]:
    tokens, found = TokenSet(out), defaultdict(list)
    for number, row in enumerate(read_jsonl(out / "sequences.jsonl")):
        ids, marks = tokens.sequence(number)
        found[row["doc_id"]].append((row, ids.tolist(), marks.tolist()))
    return {doc_id: sorted(parts, key=lambda part: part[0]["order"]) for doc_id, parts in found.items()}


def test_nothing_is_lost_and_nothing_comes_twice(tmp_path: Path) -> None:
    texts = documents(tmp_path / "split")
    out = run(tmp_path)
    tokenizer = load_tokenizer(out / "tokenizer")
    shots = {row["doc_id"]: row for row in read_jsonl(out / "shots.jsonl")}
    found = by_document(out)
    assert set(found) == set(texts)
    for doc_id, parts in found.items():
        ids = [token for _, part, _ in parts for token in part]
        expected = [tokenizer.eos_token_id]
        if parts[0][0]["task"]:
            shot = shots[doc_id]
            asked = encode(tokenizer, shot["question"]) + encode(tokenizer, answer_text(shot["answer"]))
            expected += [*encode(tokenizer, shot["text"]), *asked, tokenizer.eos_token_id]
            rest = texts[doc_id][len(shot["text"]) :]
            assert shot["text"] + rest == texts[doc_id]
            expected += [*encode(tokenizer, rest), tokenizer.eos_token_id] if rest else []
        else:
            expected += [*encode(tokenizer, texts[doc_id]), tokenizer.eos_token_id]
        assert ids == expected
        assert ids[-1] == tokenizer.eos_token_id
        assert max(len(part) for _, part, _ in parts) <= 64
        assert min(len(part) for _, part, _ in parts) >= 2


def test_only_question_and_first_tokens_are_no_targets(tmp_path: Path) -> None:
    documents(tmp_path / "split")
    out = run(tmp_path)
    tokenizer = load_tokenizer(out / "tokenizer")
    question = encode(tokenizer, "\n\nKind:")
    for parts in by_document(out).values():
        for row, ids, marks in parts:
            silent = [token for token, mark in zip(ids, marks, strict=True) if not mark]
            assert silent == [ids[0], *(question if row["task"] else [])]


def test_training_openings_and_exam_items_are_built_alike(tmp_path: Path) -> None:
    documents(tmp_path / "split")
    out = run(tmp_path)
    exam, shots = list(read_jsonl(out / "exam.jsonl")), list(read_jsonl(out / "shots.jsonl"))
    assert {row["doc_id"] for row in exam} == {"d3", "d7", "d11"}
    assert "d2" not in {row["doc_id"] for row in shots}
    assert exam[0].keys() == shots[0].keys()
    tokenizer, found = load_tokenizer(out / "tokenizer"), by_document(out)
    for shot in shots:
        row, ids, _ = found[shot["doc_id"]][0]
        pieces = [shot["text"], shot["question"], answer_text(shot["answer"])]
        prompt = [token for piece in pieces for token in encode(tokenizer, piece)]
        assert row["task"] == "kind"
        assert ids == [tokenizer.eos_token_id, *prompt, tokenizer.eos_token_id]
    # A held-out document moved to training gives the very same question.
    table = pq.read_table(tmp_path / "split" / "documents.parquet").to_pylist()
    moved = [{**row, "part": "train"} for row in table]
    pq.write_table(pa.Table.from_pylist(moved), tmp_path / "split" / "documents.parquet")
    again = {row["doc_id"]: row for row in read_jsonl(run(tmp_path, "again") / "shots.jsonl")}
    assert [again[row["doc_id"]] for row in exam] == exam


def test_openings_come_first_in_seeded_order(tmp_path: Path) -> None:
    documents(tmp_path / "split")
    orders = {}
    for seed in (1, 2):
        rows = list(read_jsonl(run(tmp_path, f"s{seed}", seed=seed) / "sequences.jsonl"))
        assert [row["order"] for row in rows] == sorted(row["order"] for row in rows)
        orders[seed] = [row["doc_id"] for row in rows if row["order"] == 0]
    assert orders[1] != orders[2]
    assert sorted(orders[1]) == sorted(orders[2])
    first, again = (run(tmp_path, name, seed=1) for name in ("a", "b"))
    for name in ("tokens.bin", "supervised.bin", "sequences.jsonl", "exam.jsonl"):
        assert (first / name).read_bytes() == (again / name).read_bytes()


def test_task_share_chooses_documents(tmp_path: Path) -> None:
    documents(tmp_path / "split", 60)
    asked = {}
    for share in (0.0, 0.5, 1.0):
        rows = read_jsonl(run(tmp_path, f"share{share}", task_share=share) / "sequences.jsonl")
        asked[share] = {row["doc_id"] for row in rows if row["task"]}
    assert asked[0.0] == set()
    assert len(asked[1.0]) == 44
    assert asked[0.5] < asked[1.0]
    assert 12 <= len(asked[0.5]) <= 32


def test_several_tasks_share_the_documents(tmp_path: Path) -> None:
    documents(tmp_path / "split", 60)
    other = TaskConfig(name="other", question="{text}\n\nOther:", answer="{kind}", characters=30)
    rows = list(read_jsonl(run(tmp_path, tasks=(TASK, other)) / "sequences.jsonl"))
    counts = [sum(row["task"] == name for row in rows) for name in ("kind", "other")]
    assert sum(counts) == 44
    assert min(counts) > 8


def test_no_training_document_is_an_error(tmp_path: Path) -> None:
    documents(tmp_path / "split")
    table = pq.read_table(tmp_path / "split" / "documents.parquet").to_pylist()
    moved = [{**row, "part": "held_out"} for row in table]
    pq.write_table(pa.Table.from_pylist(moved), tmp_path / "split" / "documents.parquet")
    with pytest.raises(CorpusError, match="no training document"):
        run(tmp_path)
