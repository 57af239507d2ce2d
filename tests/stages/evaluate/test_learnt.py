"""Which documents were learnt: by the order of each objective, and only what stands together before a question."""

import pytest

from tinsmith.base.files import write_jsonl
from tinsmith.evaluate.probe import Opening
from tinsmith.recipe import TrainConfig
from tinsmith.stages.evaluate.learnt import find_learnt
from tinsmith.tokens.shards import ShardWriter

# Name, number of the sequence in its document, target marks: of "asked" a question follows after three tokens.
DOCUMENTS = [
    ("whole", 0, [1] * 8),
    ("asked", 0, [1] * 4 + [0] * 2 + [1] * 2),
    ("canary:1x0:0", 0, [1] * 8),
    ("late", 0, [1] * 8),
    ("whole", 1, [1] * 8),
    ("single", 0, [1]),
]


def _write(folder, sequences):
    folder.mkdir(parents=True)
    writer = ShardWriter(folder)
    for name, order, marks in sequences:
        writer.add(name, order, [5] * len(marks), marks)
    writer.close(range(len(sequences)), {"context": 8, "vocabulary": 9})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("learnt")
    _write(root / "tokenize", DOCUMENTS)
    _write(root / "tokenize/sft", [("late", 0, [0] * 4 + [1] * 4)] * 3)
    return root


def _learnt(root, steps, **train):
    write_jsonl(root / "train/log.jsonl", [{"step": n, "learning_rate": 0.1} for n in range(steps)])
    config = TrainConfig(**{"batch_tokens": 8, **train})
    return find_learnt(config, root / "tokenize", root / "train", seed=1)


def test_a_document_is_learnt_once_its_first_sequence_was_read(root):
    learnt, why = _learnt(root, 3)
    assert learnt == {"whole": Opening(7, 1), "asked": Opening(3, 1), "canary:1x0:0": Opening(7, 1)}
    assert why == ""


def test_what_conversations_read_moves_no_document(root):
    mixed = {"objective": {"next_token": 1, "sft": 1}, "batch_tokens": 16}
    assert _learnt(root, 3, **mixed) == _learnt(root, 3)
    # Of two objectives that read documents each has its own place in them.
    twice, _ = _learnt(
        root, 2, objective={"next_token": 1, "distil": 3}, batch_tokens=32, distil={"teacher": "x"}
    )
    assert {name: opening.times for name, opening in twice.items()} == {
        "whole": 2,
        "asked": 2,
        "canary:1x0:0": 1,
        "late": 1,
    }


def test_a_later_pass_counts_again_and_one_token_teaches_nothing(root):
    learnt, _ = _learnt(root, 7)
    assert learnt.keys() == {"whole", "asked", "canary:1x0:0", "late"}
    assert sorted(opening.times for opening in learnt.values()) == [1, 1, 1, 2]


def test_where_nothing_was_learnt_the_reason_is_told(root):
    assert _learnt(root, 0) == ({}, "training ended before it had read the opening of a document")
    assert _learnt(root, 3, objective="sft") == (
        {},
        "training learnt answers in conversations, not the text of documents",
    )
