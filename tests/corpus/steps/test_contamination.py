"""Evaluation text in training text is named, counted, and cut out or dropped."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.frames import decisions, frame
from helpers import shared_data
from tinsmith.base.errors import CorpusError
from tinsmith.base.files import read_json, read_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.corpus.evaluation_files import read_items
from tinsmith.corpus.steps import contamination
from tinsmith.corpus.steps.result import StepInput
from tinsmith.corpus.text.kernels import fold_words
from tinsmith.corpus.text.repair import document_id
from tinsmith.corpus.text.word_offsets import locate_words
from tinsmith.recipe import ContaminationConfig

QUESTION = "Which parties bears the risk of loss when the goods are destroyed before they reach the buyer"
OWN = " ".join(f"word{number}" for number in range(80))
BEARER = f"{OWN} one.\n\n“{QUESTION.upper()}?” asked Zoë.\n\n{OWN} two."
CLEAN = f"{OWN} three."


def find(
    tmp_path: Path, action: str, texts: list[str], name: str = "a", held_out: tuple[str, ...] = (), **more
):
    file = tmp_path / "exam.jsonl"
    rows = [
        {"question": "Too short to be found?"},
        {"question": QUESTION, "choices": ["the seller", "the buyer"]},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    outcome = contamination.run(
        ContaminationConfig(files=(str(file),), action=action, held_out=bool(held_out), **more),
        StepInput(
            documents=frame(tmp_path / name / "documents.parquet", texts),
            held_out=frame(tmp_path / name / "held_out.parquet", list(held_out) or ["x"]),
            out=tmp_path / name,
            seed=1,
            progress=SilentProgress(),
        ),
    )
    return decisions(outcome.decisions), read_json(tmp_path / name / "counts.json")


def test_a_passage_is_cut_out_named_and_counted_before_and_after(tmp_path: Path):
    found, counts = find(tmp_path, "passage", [BEARER, CLEAN])
    row = found[document_id(BEARER)]
    assert set(found) == {document_id(BEARER)}
    assert row["reason"] == "contamination"
    assert "risk of loss" not in row["text"].lower()
    assert "asked Zoë." in row["text"]  # places are those of the text as it stands
    assert row["text"].startswith(OWN)
    words = len(QUESTION.split())
    assert (counts["before"], counts["after"]) == (words - 12, 0)
    (overlap,) = read_jsonl(tmp_path / "a" / "overlaps.jsonl")
    assert (overlap["file"], overlap["item"], overlap["words"]) == ("exam.jsonl", "line 2", words)
    assert overlap["passage"].lower() == QUESTION.lower()
    assert counts["files"] == [{"file": "exam.jsonl", "items": 2, "found": 1, "too_short": 1}]


def test_a_document_goes_or_is_only_named(tmp_path: Path):
    found, counts = find(tmp_path, "document", [BEARER, CLEAN])
    assert found[document_id(BEARER)]["text"] is None
    assert counts["after"] == 0
    found, counts = find(tmp_path, "report", [BEARER, CLEAN], "b")
    assert not found
    assert counts["before"] == counts["after"] > 0


def test_little_left_is_nothing_left(tmp_path: Path):
    found, _ = find(tmp_path, "passage", [QUESTION + " and so on", CLEAN])
    assert [row["reason"] for row in found.values()] == ["mostly_contaminated"]


def test_the_held_out_part_counts_where_it_is_asked(tmp_path: Path):
    assert not find(tmp_path, "passage", [CLEAN])[0]
    found, counts = find(tmp_path, "document", [CLEAN], "b", held_out=(f"Before it. {CLEAN}",))
    assert set(found) == {document_id(CLEAN)}
    assert counts["files"][-1]["file"] == "held-out part"


def test_real_questions_are_found_in_a_text_that_quotes_them(tmp_path: Path):
    folder = shared_data("mcq-suite")
    file = next(path for path in sorted(folder.rglob("*.*")) if path.stat().st_size > 100_000)
    item = next(item for item in read_items([str(file)]) if len(fold_words(item.text).hashes) > 30)
    outcome = contamination.run(
        ContaminationConfig(files=(str(file),), action="passage"),
        StepInput(
            documents=frame(tmp_path / "documents.parquet", [f"{OWN}\n\n{item.text}\n\n{OWN}", CLEAN]),
            held_out=frame(tmp_path / "held_out.parquet", ["x"]),
            out=tmp_path,
            seed=1,
            progress=SilentProgress(),
        ),
    )
    assert outcome.statistics["before"] > 0
    assert outcome.statistics["after"] == 0
    assert len(decisions(outcome.decisions)) == 1


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv", "parquet", "txt"])
def test_every_kind_of_file_gives_its_items(tmp_path: Path, kind: str):
    path = tmp_path / f"exam.{kind}"
    rows = [{"q": "First question", "n": 3}, {"q": "Second question", "n": 4}]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        written = {
            "json": json.dumps(rows),
            "jsonl": "\n".join(map(json.dumps, rows)),
            "csv": "q,n\nFirst question,3\nSecond question,4\n",
            "txt": "First question\nSecond question\n",
        }
        path.write_text(written[kind])
    said = "\n".join(item.text for item in read_items([str(tmp_path / "exam.*")]))
    assert "First question" in said
    assert "Second question" in said


def test_a_missing_or_damaged_file_is_named(tmp_path: Path):
    with pytest.raises(CorpusError, match=r"nothing\.jsonl: no such file"):
        list(read_items([str(tmp_path / "nothing.jsonl")]))
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(CorpusError, match=r"bad\.json: cannot be read"):
        list(read_items([str(tmp_path / "bad.json")]))


def test_words_are_located_in_the_text_as_it_stands():
    text = "ﬁne Straße,\n½ ÉTÉ — plain words\nİstanbul end"
    words = locate_words(text)
    assert (words.starts[0], text[words.starts[-1] : words.ends[-1]]) == (0, "end")
    assert words.hashes[0] == fold_words("fine").hashes[0]
    assert [text[a:b] for a, b in zip(words.starts, words.ends, strict=True)].count("½") == 2  # 1 and 2
