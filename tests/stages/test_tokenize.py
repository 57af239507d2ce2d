from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from small_vocabulary import TEXT, write_bpe
from tinsmith.base.errors import CorpusError, RecipeError
from tinsmith.base.files import read_json, read_jsonl, write_json
from tinsmith.base.progress import PlainProgress
from tinsmith.recipe import ModelConfig, TaskConfig, TokenizeConfig
from tinsmith.stages.tokenize import Settings
from tinsmith.stages.tokenize.run import tokenize
from tinsmith.tokens.encoding import encode, stop_ids
from tinsmith.tokens.shards import TokenSet
from tinsmith.tokens.tasks import answer_text
from tinsmith.tokens.tokenizer import load_tokenizer
from tinsmith.tokens.vocabulary import CHATML
from tinsmith.train.checkpoint import save_trained
from tiny_training import tiny_llama

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
    tmp_path: Path,
    name: str = "out",
    seed: int = 7,
    tasks: tuple[TaskConfig, ...] = (TASK,),
    objective: str | dict[str, float] = "next_token",
    vocabulary: int = 0,
    template: str | None = CHATML,
    model: dict[str, str] | None = None,
    **config: Any,
) -> Path:
    if not (tmp_path / "v.gguf").exists():
        write_bpe(tmp_path / "v.gguf", template=template)
    out = tmp_path / name
    out.mkdir()
    statistics = tokenize(
        TokenizeConfig(**{"context": 64, **config}),
        settings=Settings(
            ModelConfig(**{"base": str(tmp_path / "v.gguf"), **(model or {})}),
            tasks,
            shared_run_words=10,
            objective=objective,
            vocabulary=vocabulary,
        ),
        inputs={"refine": tmp_path / "refine"},
        seed=seed,
        out=out,
        progress=PlainProgress(),
    )
    write_json(tmp_path / f"{name}.json", statistics)
    return out


def by_document(out: Path) -> dict[str, list[tuple[dict[str, Any], list[int], list[int]]]]:
    tokens, found = TokenSet(out), defaultdict(list)
    for number, row in enumerate(read_jsonl(out / "sequences.jsonl")):
        ids, marks = tokens.sequence(number)
        found[row["doc_id"]].append((row, ids.tolist(), marks.tolist()))
    return {doc_id: sorted(parts, key=lambda part: part[0]["order"]) for doc_id, parts in found.items()}


def test_nothing_is_lost_and_nothing_comes_twice(tmp_path: Path) -> None:
    texts = documents(tmp_path / "refine")
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
    documents(tmp_path / "refine")
    out = run(tmp_path)
    tokenizer = load_tokenizer(out / "tokenizer")
    question = encode(tokenizer, "\n\nKind:")
    for parts in by_document(out).values():
        for row, ids, marks in parts:
            silent = [token for token, mark in zip(ids, marks, strict=True) if not mark]
            assert silent == [ids[0], *(question if row["task"] else [])]


def test_training_openings_and_exam_items_are_built_alike(tmp_path: Path) -> None:
    documents(tmp_path / "refine")
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
    table = pq.read_table(tmp_path / "refine" / "documents.parquet").to_pylist()
    moved = [{**row, "part": "train"} for row in table]
    pq.write_table(pa.Table.from_pylist(moved), tmp_path / "refine" / "documents.parquet")
    again = {row["doc_id"]: row for row in read_jsonl(run(tmp_path, "again") / "shots.jsonl")}
    assert [again[row["doc_id"]] for row in exam] == exam


def test_openings_come_first_in_seeded_order(tmp_path: Path) -> None:
    documents(tmp_path / "refine")
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
    documents(tmp_path / "refine", 60)
    asked = {}
    for share in (0.0, 0.5, 1.0):
        rows = read_jsonl(run(tmp_path, f"share{share}", task_share=share) / "sequences.jsonl")
        asked[share] = {row["doc_id"] for row in rows if row["task"]}
    assert asked[0.0] == set()
    assert len(asked[1.0]) == 44
    assert asked[0.5] < asked[1.0]
    assert 12 <= len(asked[0.5]) <= 32


def test_several_tasks_share_the_documents(tmp_path: Path) -> None:
    documents(tmp_path / "refine", 60)
    other = TaskConfig(name="other", question="{text}\n\nOther:", answer="{kind}", characters=30)
    rows = list(read_jsonl(run(tmp_path, tasks=(TASK, other)) / "sequences.jsonl"))
    counts = [sum(row["task"] == name for row in rows) for name in ("kind", "other")]
    assert sum(counts) == 44
    assert min(counts) > 8


def test_no_training_document_is_an_error(tmp_path: Path) -> None:
    documents(tmp_path / "refine")
    table = pq.read_table(tmp_path / "refine" / "documents.parquet").to_pylist()
    moved = [{**row, "part": "held_out"} for row in table]
    pq.write_table(pa.Table.from_pylist(moved), tmp_path / "refine" / "documents.parquet")
    with pytest.raises(CorpusError, match="no training document"):
        run(tmp_path)


def figures(tmp_path: Path, name: str = "out") -> dict[str, float]:
    return json.loads((tmp_path / f"{name}.json").read_text())


def write_lines(path: Path, *rows: Any) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def said(*contents: str) -> dict[str, Any]:
    return {
        "messages": [{"role": ["user", "assistant"][n % 2], "content": c} for n, c in enumerate(contents)]
    }


def test_bytes_per_token_are_those_of_the_texts(tmp_path: Path) -> None:
    texts = documents(tmp_path / "refine")
    out = run(tmp_path, tasks=())
    tokenizer, found = load_tokenizer(out / "tokenizer"), figures(tmp_path)
    table = pq.read_table(tmp_path / "refine" / "documents.parquet").to_pylist()
    for key, part in (("bytes_per_token", "train"), ("bytes_per_token_held_out", "held_out")):
        own = [row["text"] for row in table if row["part"] == part]
        tokens = sum(len(encode(tokenizer, text)) for text in own)
        assert found[key] == pytest.approx(sum(len(text.encode()) for text in own) / tokens)
    # Each document has a token before it and one after it.
    assert found["tokens"] == sum(len(encode(tokenizer, text)) for text in texts.values()) + 2 * len(texts)
    assert found["vocabulary"] == len(tokenizer)
    assert not (out / "kept.json").exists()
    # An opening that ends in a question is cut apart from the rest of its text.
    openings = {row["doc_id"]: row["text"] for row in read_jsonl(run(tmp_path, "asked") / "shots.jsonl")}
    parts = [(openings.get(doc_id, ""), text) for doc_id, text in texts.items()]
    asked = sum(len(encode(tokenizer, o)) + len(encode(tokenizer, text[len(o) :])) for o, text in parts)
    size = sum(len(text.encode()) for text in texts.values())
    assert figures(tmp_path, "asked")["bytes_per_token"] == pytest.approx(size / asked)


def test_a_tokenizer_of_our_own_learns_from_training_documents_only(tmp_path: Path) -> None:
    documents(tmp_path / "refine")
    own = {"scratch": "llama@15m", "tokenizer": "bpe@300"}
    out = run(tmp_path, model={**own, "base": "nothing that is there"}, objective="sft", context=128)
    vocabulary = load_tokenizer(out / "tokenizer").get_vocab()
    assert TokenSet(out).vocabulary == TokenSet(out / "sft").vocabulary == len(vocabulary) == 300
    table = pq.read_table(tmp_path / "refine" / "documents.parquet").to_pylist()
    secret = [{**row, "text": "Zzyzx " * 50} if row["part"] == "held_out" else row for row in table]
    pq.write_table(pa.Table.from_pylist(secret), tmp_path / "refine" / "documents.parquet")
    again = run(tmp_path, "again", model=own, objective="sft", context=128)
    for name in ("tokenizer/tokenizer.json", "tokens.bin", "sft/tokens.bin"):
        assert (out / name).read_bytes() == (again / name).read_bytes()
    assert (
        figures(tmp_path, "again")["bytes_per_token_held_out"] < figures(tmp_path)["bytes_per_token_held_out"]
    )


def test_a_restricted_vocabulary_has_the_words_of_documents_and_conversations(tmp_path: Path) -> None:
    documents(tmp_path / "refine")
    whole = load_tokenizer(run(tmp_path, "whole", tasks=()) / "tokenizer")
    out = run(tmp_path, vocabulary=340, tasks=())
    tokenizer, kept = load_tokenizer(out / "tokenizer"), read_json(out / "kept.json")["kept"]
    assert tokenizer.convert_ids_to_tokens(range(340)) == whole.convert_ids_to_tokens(kept)
    found = figures(tmp_path)
    assert (found["base_vocabulary"], found["vocabulary"], TokenSet(out).vocabulary) == (len(whole), 340, 340)
    assert found["base_bytes_per_token"] == figures(tmp_path, "whole")["bytes_per_token"]
    assert 0.5 < found["bytes_per_token"] / found["base_bytes_per_token"] <= 1
    # With room for a word or two only, it is the word that conversations say.
    name = write_lines(tmp_path / "talks.jsonl", *[said("?", "damage " * 9)] * 9)
    asked = run(tmp_path, "asked", vocabulary=270, objective="sft", conversations=(name,), tasks=())
    plain = run(tmp_path, "plain", vocabulary=270, tasks=())
    sizes = [len(encode(load_tokenizer(each / "tokenizer"), " damage")) for each in (asked, plain)]
    assert sizes[0] == 1 < sizes[1]


def test_documents_are_tokenized_alike_whatever_else_is_learnt(tmp_path: Path) -> None:
    documents(tmp_path / "refine")
    one, other = (
        run(tmp_path, "one", context=128),
        run(tmp_path, "two", context=128, objective={"sft": 1.0, "dpo": 1.0}),
    )
    for name in (
        "tokens.bin",
        "supervised.bin",
        "sequences.jsonl",
        "tokens.json",
        "exam.jsonl",
        "shots.jsonl",
    ):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    assert not (one / "sft").exists()
    assert not (one / "dpo").exists()


def test_tasks_become_conversations_and_pairs(tmp_path: Path) -> None:
    documents(tmp_path / "refine")
    out = run(tmp_path, objective={"sft": 1.0, "dpo": 1.0}, context=128)
    tokenizer = load_tokenizer(out / "tokenizer")
    table = {
        row["doc_id"]: row for row in pq.read_table(tmp_path / "refine" / "documents.parquet").to_pylist()
    }
    asked = {row["doc_id"] for row in table.values() if row["part"] == "train" and row["meta"] != "{}"}
    for folder, group in (("sft", 1), ("dpo", 2)):
        tokens, rows = TokenSet(out / folder), list(read_jsonl(out / folder / "sequences.jsonl"))
        assert sorted(row["doc_id"] for row in rows) == sorted([*asked] * group)
        assert {row["task"] for row in rows} == {"kind"}
        for number, row in enumerate(rows):
            ids, marks = tokens.sequence(number)
            right = json.loads(table[row["doc_id"]]["meta"])["kind"]
            wrong = {"free": "not free", "not free": "free"}[right]
            text = tokenizer.decode(ids)
            assert text.startswith(f"<|im_start|>user\n{table[row['doc_id']]['text'][:20]}")
            assert text.count("\n\nKind:<|im_end|>\n<|im_start|>assistant\n") == 1
            assert tokenizer.decode(ids[marks == 1]) == (wrong if number % group else right) + "<|im_end|>"


def test_a_long_opening_leaves_room_for_the_template(tmp_path: Path) -> None:
    documents(tmp_path / "refine")
    long = TASK.model_copy(update={"characters": 2000})
    out = run(tmp_path, tasks=(long,), objective={"sft": 1.0, "dpo": 1.0}, context=128)
    for folder, asked in (("sft", 8), ("dpo", 8)):
        assert figures(tmp_path)[f"{folder}_rejected"] == 0
        lengths = TokenSet(out / folder).lengths
        assert 115 < max(lengths) <= 128
        assert len(lengths) == asked * TokenSet(out / folder).group


def test_what_shares_a_run_with_a_held_out_document_is_not_learnt_from(tmp_path: Path) -> None:
    documents(tmp_path / "refine")
    stolen = "The licensee may copy, MODIFY and distribute the software in 2024 or 1999 already."
    fresh = said("What is a fee?", "A sum that is due for a service, at the end of each month.")
    talks = write_lines(tmp_path / "talks.jsonl", fresh, said("Tell me.", stolen))
    pairs = [{"prompt": "Fee?", "chosen": "Seven.", "rejected": text} for text in ("No idea.", stolen)]
    pairs_file = write_lines(tmp_path / "pairs.jsonl", *pairs)
    out = run(
        tmp_path,
        tasks=(),
        objective={"sft": 0.5, "dpo": 0.5},
        context=512,
        conversations=(talks,),
        preferences=(pairs_file,),
    )
    for folder, file in (("sft", talks), ("dpo", pairs_file)):
        assert {row["doc_id"] for row in read_jsonl(out / folder / "sequences.jsonl")} == {f"{file}:1"}
        (row,) = read_jsonl(out / folder / "rejects.jsonl")
        assert (row["source"], row["line"], row["reason"]) == (file, 2, "shares_held_out")
        assert row["detail"].startswith("13 words with the document d")
        assert figures(tmp_path)[f"{folder}_rejected"] == 1


def test_a_base_without_a_chat_template_is_told_what_to_do(tmp_path: Path) -> None:
    documents(tmp_path / "refine")
    with pytest.raises(
        RecipeError, match=r"model\.base: the base has no chat template(.|\n)*-> choose an instruction"
    ):
        run(tmp_path, objective="sft", template=None)


def test_a_turn_that_ends_unlike_a_text_gives_the_model_a_second_stop(tmp_path: Path) -> None:
    documents(tmp_path / "refine")
    plain = run(tmp_path, "plain", objective="sft", context=128)
    assert stop_ids(load_tokenizer(plain / "tokenizer")) == [2]
    (tmp_path / "v.gguf").unlink()
    out = run(tmp_path, objective="sft", context=128, template=CHATML.replace("<|im_end|>", "<|endoftext|>"))
    tokenizer = load_tokenizer(out / "tokenizer")
    assert stop_ids(tokenizer) == [2, 0]
    save_trained(tiny_llama(), tokenizer, tmp_path / "model")
    assert read_json(tmp_path / "model" / "generation_config.json")["eos_token_id"] == [2, 0]
    assert stop_ids(load_tokenizer(tmp_path / "model")) == [2, 0]


def test_canaries_are_sequences_of_their_own_and_documents_stay_as_they_are(tmp_path: Path) -> None:
    documents(tmp_path / "refine")
    plain = by_document(run(tmp_path, "plain"))
    out = run(tmp_path, "planted", canaries={"each": 2, "repeats": (0, 1, 3)})
    found = by_document(out)
    assert {
        name: parts for name, parts in found.items() if not name.startswith("canary:")
    }.keys() == plain.keys()
    planted = list(read_jsonl(out / "canaries.jsonl"))
    assert [row["planted"] for row in planted] == [0, 0, 1, 1, 3, 3]
    names = {name for name in found if name.startswith("canary:")}
    assert names == {f"canary:1x{n}:0" for n in range(2)} | {
        f"canary:3x{n}:{k}" for n in range(2) for k in range(3)
    }
    tokenizer = load_tokenizer(out / "tokenizer")
    text = tokenizer.decode(found["canary:3x1:2"][0][1], skip_special_tokens=True)
    assert text == f"{planted[5]['lead']} {planted[5]['secret']}"
    assert read_json(tmp_path / "planted.json")["canaries"] == 6
    assert not (tmp_path / "plain" / "canaries.jsonl").exists()
    bytes_alone = {"scratch": "llama@1m", "tokenizer": "bpe@265"}
    with pytest.raises(RecipeError, match=r"a canary has \d+ tokens"):
        run(tmp_path, "narrow", canaries={"each": 1}, context=32, tasks=(), model=bytes_alone)
