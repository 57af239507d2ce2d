import json
import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tinsmith.base.errors import CorpusError, RecipeError
from tinsmith.base.files import read_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.corpus.split import Overlap, SharedRun, choose_held_out
from tinsmith.corpus.text.repair import document_id
from tinsmith.recipe import SplitConfig
from tinsmith.recipe.toml import parse_recipe
from tinsmith.stages.split import run as stage
from tinsmith.stages.split.run import split

CLAUSE = " ".join(f"clause{number}" for number in range(60))


def corpus(documents: int = 120, family: int = 3, clause_every: int = 5) -> list[dict[str, str]]:
    """Documents in clusters of `family`; each fifth bears the same clause of 60 words."""
    generator = random.Random(2)
    rows = []
    for number in range(documents):
        words = [f"w{generator.randrange(10**6)}" for _ in range(80)]
        text = (
            " ".join(words[:40])
            + (f" {CLAUSE} " if number % clause_every == 0 else " ")
            + " ".join(words[40:])
        )
        rows.append(
            {
                "doc_id": document_id(text),
                "text": text,
                "source": f"{number}.txt",
                "cluster": f"c{number // family}",
            }
        )
    return sorted(rows, key=lambda row: row["doc_id"])


def run(
    tmp_path: Path, rows: list[dict[str, str]], name: str = "split", seed: int = 7, **config: object
) -> Path:
    curated, out = tmp_path / f"{name}-curate", tmp_path / name
    curated.mkdir()
    out.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), curated / "documents.parquet")
    statistics = split(
        SplitConfig(**config), inputs={"curate": curated}, seed=seed, out=out, progress=SilentProgress()
    )
    (out / "statistics.json").write_text(json.dumps(statistics))
    return out


def parts(out: Path) -> dict[str, str]:
    return {row["source"]: row["part"] for row in pq.read_table(out / "documents.parquet").to_pylist()}


def test_clusters_never_straddle_and_nothing_is_lost(tmp_path):
    out = run(tmp_path, corpus(), held_out=0.2)
    rows = pq.read_table(out / "documents.parquet").to_pylist()
    assert [row["doc_id"] for row in rows] == [row["doc_id"] for row in corpus()]
    sides = {(row["cluster"], row["part"]) for row in rows}
    assert len(sides) == 40
    assert {part for _, part in sides} == {"train", "held_out"}


def test_membership_is_stable_when_unrelated_documents_go(tmp_path):
    everything = parts(run(tmp_path, corpus(), "all", held_out=0.2))
    fewer = [row for row in corpus() if int(row["cluster"][1:]) % 3]
    assert parts(run(tmp_path, fewer, "fewer", held_out=0.2)).items() <= everything.items()
    assert parts(run(tmp_path, corpus(), "seed", held_out=0.2, seed=8)) != everything


def test_a_count_of_documents(tmp_path):
    out = run(tmp_path, corpus(family=1), held_out=25)
    assert list(parts(out).values()).count("held_out") == 25
    statistics = json.loads((out / "statistics.json").read_text())
    assert statistics["documents_held_out"] == 25
    assert statistics["documents_train"] == 95
    assert statistics["bytes_train"] + statistics["bytes_held_out"] == sum(
        len(row["text"]) for row in corpus()
    )
    assert statistics["clusters"] == 120


def test_shared_runs_are_named_and_the_overlap_is_measured(tmp_path):
    out = run(tmp_path, corpus(family=1), held_out=25)
    rows = pq.read_table(out / "documents.parquet").to_pylist()
    bearing = {
        part: {r["doc_id"] for r in rows if r["part"] == part and CLAUSE in r["text"]}
        for part in ("train", "held_out")
    }
    pairs = list(read_jsonl(out / "shared.jsonl"))
    assert {(pair["train_doc_id"], pair["held_out_doc_id"]) for pair in pairs} == {
        (train, held) for train in bearing["train"] for held in bearing["held_out"]
    }
    assert {pair["words"] for pair in pairs} == {60}
    overlap = {row["doc_id"]: row for row in pq.read_table(out / "overlap.parquet").to_pylist()}
    assert set(overlap) == {row["doc_id"] for row in rows if row["part"] == "held_out"}
    for doc_id, row in overlap.items():
        shared = doc_id in bearing["held_out"]
        assert row["shared_words"] == (60 if shared else 0)
        assert row["words"] == (140 if shared else 80)
        assert row["overlap"] == pytest.approx(48 / 128 if shared else 0)
    statistics = json.loads((out / "statistics.json").read_text())
    assert statistics["documents_sharing_runs"] == len(bearing["train"])
    assert statistics["mean_overlap"] == pytest.approx(48 / 128 * len(bearing["held_out"]) / 25)
    assert (out / "dropped.jsonl").read_text() == ""


def test_runs_shorter_than_asked_are_not_named(tmp_path):
    assert (
        run(tmp_path, corpus(family=1), held_out=25, shared_run_words=61) / "shared.jsonl"
    ).read_text() == ""


def test_documents_that_share_runs_are_dropped_on_request(tmp_path):
    kept = run(tmp_path, corpus(family=1), "kept", held_out=25)
    out = run(tmp_path, corpus(family=1), "dropped", held_out=25, drop_shared=True)
    dropped = list(read_jsonl(out / "dropped.jsonl"))
    assert {row["doc_id"] for row in dropped} == {
        row["train_doc_id"] for row in read_jsonl(kept / "shared.jsonl")
    }
    assert all(row["reason"] == "shared_run" and row["words"] == 60 for row in dropped)
    left = parts(out)
    assert (
        left.items()
        == {k: v for k, v in parts(kept).items() if k not in {row["source"] for row in dropped}}.items()
    )
    statistics = json.loads((out / "statistics.json").read_text())
    assert statistics["documents_dropped"] == len(dropped) > 0
    assert statistics["documents_train"] + 25 + len(dropped) == 120
    # The overlap is with the text that is left to train on.
    assert statistics["mean_overlap"] == 0


def test_statistics_are_of_the_parts():
    parts = stage._Parts(held_out=[0, 3, 5], training=[1, 2, 4], dropped={4})
    sizes = stage._Sizes(
        Counter({"train": 2, "held_out": 3, "": 1}), Counter({"train": 20, "held_out": 60, "": 7})
    )
    overlaps = [Overlap(0, 9, share) for share in (0.5, 0.1, 0.75)]
    runs = [SharedRun(4, 0, 50), SharedRun(4, 3, 60)]
    assert stage._statistics(["a", "b", "b", "a", "c", "d"], parts, sizes, overlaps, runs) == {
        "documents_train": 2,
        "documents_held_out": 3,
        "bytes_train": 20,
        "bytes_held_out": 60,
        "clusters": 4,
        "clusters_held_out": 2,
        "largest_cluster_documents": 2,
        "mean_overlap": pytest.approx(0.45),
        "median_overlap": 0.5,
        "share_overlap_above_half": pytest.approx(1 / 3),
        "shared_pairs": 2,
        "documents_sharing_runs": 1,
        "documents_dropped": 1,
        "bytes_dropped": 7,
    }


def test_a_dropped_document_is_written_with_its_longest_run(tmp_path):
    # Training c shares 50 words with held-out a and 60 with b; whichever is first, the longer is told.
    words = [f"s{number}" for number in range(60)]
    texts = {"a": [*words[:50], "x"], "b": ["y", *words], "c": [*words, "z"], "d": ["é"] * 9}
    for first, second in (("a", "b"), ("b", "a")):
        order = [first, second, "c", "d"]
        rows = [
            {"doc_id": name, "text": " ".join(texts[name]), "source": f"{name}.txt", "cluster": name}
            for name in order
        ]
        seed = next(seed for seed in range(10_000) if choose_held_out(order, 0.5, seed) == {"a", "b"})
        out = run(tmp_path, rows, first, seed=seed, held_out=0.5, drop_shared=True)
        assert list(read_jsonl(out / "dropped.jsonl")) == [
            {
                "doc_id": "c",
                "source": "c.txt",
                "reason": "shared_run",
                "held_out_doc_id": "b",
                "words": 60,
                "bytes": len(rows[2]["text"]),
            }
        ]
        statistics = json.loads((out / "statistics.json").read_text())
        assert statistics["bytes_train"] == 9 * 3 - 1  # bytes of UTF-8, not characters


def test_a_table_of_several_batches_is_split_as_one(tmp_path, monkeypatch):
    whole = run(tmp_path, corpus(), "whole", held_out=0.2, drop_shared=True)
    monkeypatch.setattr(stage, "_BATCH", 7)
    parted = run(tmp_path, corpus(), "parted", held_out=0.2, drop_shared=True)
    assert parts(whole) == parts(parted)
    for name in ("overlap.parquet", "shared.jsonl", "dropped.jsonl", "statistics.json"):
        assert (whole / name).read_bytes() == (parted / name).read_bytes(), name


def test_two_runs_are_equal_byte_for_byte(tmp_path):
    outs = [run(tmp_path, corpus(), name, held_out=0.2) for name in ("one", "two")]
    for name in ("documents.parquet", "overlap.parquet", "shared.jsonl", "dropped.jsonl"):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes(), name


@pytest.mark.parametrize(
    ("rows", "config", "what", "next_step"),
    [
        (
            corpus(6),
            {"held_out": 1e-9},
            "held-out part is empty (6 documents in 2 clusters",
            "raise split.held_out",
        ),
        (corpus(6, family=6), {"held_out": 3}, "the largest of 6", "raise curate.cluster_jaccard"),
        (corpus(12, family=1), {"held_out": 20}, "only 12 of 20 documents", "lower split.held_out"),
        (corpus(12, family=1), {"held_out": 12}, "nothing is left to train on", "lower split.held_out"),
        (
            corpus(12, family=1, clause_every=1),
            {"held_out": 3, "drop_shared": True},
            "every training document shares 50 words",
            "split.drop_shared=false",
        ),
    ],
)
def test_impossible_splits_say_what_to_do(tmp_path, rows, config, what, next_step):
    with pytest.raises(CorpusError) as caught:
        run(tmp_path, rows, **config)
    assert what in str(caught.value)
    assert next_step in caught.value.next_step


def test_half_a_document_is_refused():
    data = {"name": "x", "ingest": {"sources": ["."]}, "split": {"held_out": 2.5}}
    with pytest.raises(RecipeError, match=r"split\.held_out: from 1 on it is a count"):
        parse_recipe(data, where="recipe")
