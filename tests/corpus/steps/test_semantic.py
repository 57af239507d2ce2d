"""Documents that say the same in other words: the longest stays, and nothing goes for what is not kept."""

import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from corpus.frames import decisions, frame
from tinsmith.base.files import read_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.corpus.steps import semantic
from tinsmith.corpus.steps.result import StepInput
from tinsmith.corpus.text.repair import document_id
from tinsmith.recipe import SemanticConfig

# In each topic the words of a row occur beside the same others: the two of a column mean the same there.
TOPICS = {
    "lease": [("tenant", "lessee"), ("landlord", "lessor"), ("rent", "rental"), ("flat", "premises")],
    "loan": [
        ("borrower", "debtor"),
        ("lender", "creditor"),
        ("interest", "coupon"),
        ("security", "collateral"),
    ],
    "patent": [("inventor", "patentee"), ("claim", "assertion"), ("novel", "new"), ("device", "apparatus")],
}


def text(topic: str, seed: int, choice: int | None = None, length: int = 120) -> str:
    """Words of a topic, of each pair the one chosen, or either by chance, among words of the topic alone."""
    draw = random.Random(f"{topic} {seed}")
    common = [f"{topic}{n}" for n in range(12)]
    words = []
    for _ in range(length):
        pair = draw.choice(TOPICS[topic])
        words += [pair[draw.randrange(2) if choice is None else choice], draw.choice(common)]
    return " ".join(words)


def find(tmp_path: Path, texts: list[str], name: str = "a", similarity: float = 0.9, seed: int = 1):
    outcome = semantic.run(
        SemanticConfig(max_similarity=similarity),
        StepInput(
            documents=frame(tmp_path / name / "documents.parquet", texts),
            held_out=frame(tmp_path / name / "held_out.parquet", ["x"]),
            out=tmp_path / name,
            seed=seed,
            progress=SilentProgress(),
        ),
    )
    return decisions(outcome.decisions), outcome.statistics


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(semantic, "_DIMENSIONS", 3)  # as many as topics
    return [text(topic, seed) for topic in TOPICS for seed in range(30)]


def test_other_words_for_the_same_are_alike_and_other_topics_are_not(tmp_path: Path, many: list[str]):
    first, second = text("lease", 100, 0, length=300), text("lease", 101, 1, length=280)
    assert not set(first.split()) & {pair[1] for pair in TOPICS["lease"]}
    found, statistics = find(tmp_path, [*many, first, second])
    assert found[document_id(second)]["reason"] == "semantic_duplicate"
    kept = {row["detail"].split()[-1] for row in found.values()}
    assert kept.isdisjoint(found)  # a document goes for one that stays
    assert document_id(first) in kept
    assert len(kept) == len(many) + 2 - len(found) == 3  # one of each topic, the longest
    assert statistics == {"documents_compared": len(many) + 2, "documents_alike": len(found)}


def test_the_evidence_shows_the_least_alike_first(tmp_path: Path, many: list[str]):
    found, _ = find(tmp_path, many)
    rows = list(read_jsonl(tmp_path / "a" / "pairs.jsonl"))
    assert {row["doc_id"] for row in rows} == set(found)
    likeness = [row["similarity"] for row in rows]
    assert likeness == sorted(likeness)
    assert all(0.9 <= each <= 1 for each in likeness)
    by_id = {document_id(each): each for each in many}
    assert all(by_id[row["doc_id"]].startswith(row["opening"]) for row in rows)
    assert all(by_id[row["kept"]].startswith(row["kept_opening"]) for row in rows)


def test_equal_input_and_seed_give_equal_bytes_however_the_documents_lie_in_blocks(
    tmp_path: Path, many: list[str], monkeypatch: pytest.MonkeyPatch
):
    first, _ = find(tmp_path, many, "a", 0.99)
    monkeypatch.setattr(semantic, "_BLOCK", 7)
    monkeypatch.setattr(semantic, "_BATCH", 5)
    second, _ = find(tmp_path, list(reversed(many)), "b", 0.99)
    assert set(first) == set(second)
    assert 0 < len(first) < len(many)


def test_few_or_empty_documents_are_left_alone(tmp_path: Path):
    assert find(tmp_path, [text("lease", 1)], "one")[0] == {}
    assert find(tmp_path, ["!!!", "???", text("loan", 1)], "two")[0] == {}
    assert pq.read_table(tmp_path / "two" / "semantic.parquet").num_rows == 0
