"""Trace and forget, on a run of a person's own few documents."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from helpers import tinsmith
from rule_teacher import rule_teacher
from tinsmith.base.erasure import read_rows
from tinsmith.base.errors import RunError
from tinsmith.base.files import write_json, write_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.lineage.forget import forget, remember
from tinsmith.lineage.passage import longest_run, search
from tinsmith.lineage.render import render_forgotten, render_trace
from tinsmith.lineage.tables import find_run
from tinsmith.lineage.trace import artefacts, trace
from tinsmith.pipeline.build import build, locked
from tinsmith.pipeline.manifests import MANIFEST
from tinsmith.recipe.toml import parse_recipe

ENGLISH = (
    "the a of to and in that which with from under over by for shall may must not any all each other party "
    "licence work copy notice owner person terms agreement law right claim damage service software document "
    "payment date place court state grant transfer modify distribute publish receive accept refuse provide"
)
MARKER = "The lighthouse keeper Amalia Quentin hid seven brass lanterns below the harbour wall in winter."


def prose(topic: str, words: int = 150) -> str:
    generator = random.Random(topic)
    return " ".join(generator.choice([*ENGLISH.split(), topic]) for _ in range(words)) + "."


def recipe(folder: Path, **sections: Any):
    data = {
        "name": "mine",
        "runs": str(folder / "runs"),
        "ingest": {"sources": [str(folder / "docs")], "workers": 1},
        "split": {"held_out": 0.3},
        "model": {"scratch": "llama@1m", "tokenizer": "bpe@300"},
        "tokenize": {"context": 64},
        **sections,
    }
    return parse_recipe(data, where="test")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder whose `docs` hold a dozen documents, one of them with the marker, in several forms."""
    docs = tmp_path / "docs"
    docs.mkdir()
    for number in range(12):
        (docs / f"plain{number}.txt").write_text(prose(f"topic{number}"))
    secret = f"{prose('before')}\n{MARKER}\n{prose('after')}"
    (docs / "secret.txt").write_text(secret)
    (docs / "same.md").write_text(secret + "\n\n\n")
    (docs / "nearly.txt").write_text(secret.replace("payment", "payments", 1))
    records = [{"text": prose("first")}, {"text": f"{MARKER} {prose('record')}"}, {"text": prose("third")}]
    (docs / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in records))
    return tmp_path


def make(folder: Path, until: str = "tokenize", **sections: Any) -> Path:
    return build(recipe(folder, **sections), progress=SilentProgress(), until=until)


def holding(root: Path, words: str) -> set[str]:
    """Return the files of a run that hold some words, tables decoded and tokens included."""
    found = set()
    for path in (path for path in root.rglob("*") if path.is_file()):
        name = path.relative_to(root).as_posix()
        if path.suffix == ".parquet":
            content = json.dumps(pq.read_table(path).to_pylist(), ensure_ascii=False)
        elif path.name == "tokens.bin":
            content = decoded(path)
        else:
            content = path.read_bytes().decode("utf-8", "replace")
        if words in content:
            found.add(name)
    return found


def decoded(path: Path) -> str:
    import numpy as np

    from tinsmith.tokens.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(path.parent / "tokenizer")
    return str(tokenizer.decode(np.fromfile(path, dtype=np.uint32).tolist()))


def test_a_forgotten_document_is_in_no_file_of_the_next_build(folder: Path) -> None:
    root = make(folder)
    # What is in the table of ingested documents has passed no rule; everything else is learnt from or shown.
    assert {"ingest/documents.parquet", "curate/documents.parquet"} <= holding(root, "Amalia Quentin")
    before = trace(root, "lighthouse keeper amalia quentin, hid seven: brass lanterns below")
    assert {Path(each["source"]).name for each in before["documents"] if each["exact"]} == {
        "secret.txt",
        "same.md",
        "nearly.txt",
        "records.jsonl",
    }
    (one,) = trace(root, "secret.txt")["documents"]
    assert [Path(source).name for source in one["copies"]] == ["same.md"]
    assert [Path(source).name for source in one["relatives"]] == ["nearly.txt"]

    found = forget(root, "secret.txt", reason="asked to")
    assert [Path(each["source"]).name for each in found["documents"]] == ["secret.txt", "same.md"]
    assert [Path(source).name for source in found["relatives"]] == ["nearly.txt"]
    assert "--with-copies" in render_forgotten(found, "secret.txt")
    forget(root, "secret.txt", with_copies=True)
    (record,) = [each for each in before["documents"] if each["source"].endswith("records.jsonl")]
    forget(root, record["found"][0]["doc_id"][:12])
    rows = read_rows(root)
    assert sorted((Path(row["source"]).name, row["whole_file"]) for row in rows) == [
        ("nearly.txt", True),
        ("records.jsonl", False),
        ("same.md", True),
        ("secret.txt", True),
    ]
    assert "Amalia" not in (root / "forgotten.jsonl").read_text()

    assert make(folder) == root
    assert holding(root, "Amalia Quentin") == set()
    assert trace(root, "lighthouse keeper amalia quentin hid")["documents"] == []
    (gone,) = trace(root, "secret.txt")["documents"]
    assert gone["forgotten"]
    assert (gone["read"]["reason"], gone["sequences"]) == ("forgotten", [])
    assert [each["where"] for each in gone["artefacts"]] == ["ingest/files.jsonl"]  # its name and the reason
    # The other records of the file are still there, and so is every plain document.
    texts = pq.read_table(root / "ingest" / "documents.parquet")["source"].to_pylist()
    assert sum(source.endswith("records.jsonl") for source in texts) == 2
    assert len(texts) == 14

    for name in ("secret.txt", "same.md", "nearly.txt"):
        remember(root, name)
    make(folder, "curate")
    assert "ingest/documents.parquet" in holding(root, "Amalia Quentin")
    (back,) = trace(root, "secret.txt")["documents"]
    assert not back["forgotten"]
    with pytest.raises(RunError, match="is not forgotten"):
        remember(root, "secret.txt")


def test_a_refused_document_reaches_no_later_stage(folder: Path) -> None:
    (folder / "docs" / "nearly.txt").unlink()
    (folder / "docs" / "records.jsonl").unlink()
    rights = {"rules": [{"path": "s*", "access": "secret"}], "deny_access": ["secret"]}
    root = make(folder, curate={"rights": rights})
    assert holding(root, "Amalia Quentin") == {"ingest/documents.parquet"}
    (one,) = trace(root, "secret.txt")["documents"]
    assert [(row["became"], row["detail"]) for row in one["curated"]] == [
        ("access_refused", "secret is denied by secret")
    ]


def test_what_became_of_a_document_is_told_from_file_to_tokens(folder: Path) -> None:
    root = make(folder)
    parts = {}
    for number in range(12):
        (one,) = trace(root, f"plain{number}.txt")["documents"]
        (row,) = one["curated"]
        parts.setdefault(row["part"], (one, row["doc_id"]))
    learnt, doc_id = parts["train"]
    assert learnt["sequences"][0]["tokens"] > 100
    assert {"split/documents.parquet", "tokenize/sequences.jsonl", "tokenize/tokens.bin"} <= {
        row["where"] for row in learnt["artefacts"]
    }
    assert parts["held_out"][0]["sequences"] == []
    assert "part train" in render_trace(trace(root, doc_id[:8]))


def test_what_a_teacher_wrote_from_a_document_is_traced_and_goes_with_it(folder: Path) -> None:
    with rule_teacher() as server:
        teacher = {"kind": "openai", "model": "m", "url": server.url}
        synthesis = {"items": 6, "passage_words": 60, "teacher": teacher}
        root = make(folder, "refine", refine={"synthesis": synthesis})
        written = _written(root)
        doc_id, texts = next((origin, texts) for origin, texts in written.items() if origin)
        assert all(holding(root, text.partition("\n\n")[2][:60]) for text in texts.values())
        (one,) = trace(root, doc_id)["documents"]
        assert {row["doc_id"] for row in one["synthetic"]} == set(texts)
        assert f"written   {next(iter(texts))} from it" in render_trace(trace(root, doc_id))
        # It would be written again from the same passage, so it cannot be forgotten by itself.
        with pytest.raises(RunError, match=f"was written from the document {doc_id}"):
            forget(root, next(iter(texts)))
        assert read_rows(root) == []
        (marked, *_) = forget(root, doc_id, with_copies=True)["documents"]
        assert {row["doc_id"] for row in marked["synthetic"]} == set(texts)
        make(folder, "refine", refine={"synthesis": synthesis})
    assert doc_id not in _written(root)
    assert all(holding(root, text.partition("\n\n")[2][:60]) == set() for text in texts.values())


def _written(root: Path) -> dict[str, dict[str, str]]:
    """Return by the document that they were written from the ids and texts of the written documents."""
    written: dict[str, dict[str, str]] = {}
    for row in pq.read_table(root / "refine" / "documents.parquet").to_pylist():
        if "#written-" in row["source"]:
            origin = json.loads(row["meta"])["written_from"]
            written.setdefault(origin, {})[row["doc_id"]] = row["text"]
    return written


def test_a_bundle_of_an_earlier_package_may_contain_the_document(tmp_path: Path) -> None:
    for name, digest, inputs in (("package", "new", {}), ("bundle", "b", {"package": "old"})):
        write_json(tmp_path / name / MANIFEST, {"digest": digest, "inputs": inputs})
    (tmp_path / "bundle" / "model").mkdir()
    (row,) = artefacts(tmp_path, ["0" * 32], [])
    assert row["where"] == "bundle/model"
    assert "may contain it" in row["what"]


def test_shared_words_are_ranked_and_placed(folder: Path) -> None:
    root = make(folder, "ingest")
    text = (folder / "docs" / "secret.txt").read_text()
    other = "entirely different words that no document holds in this order at all " * 3
    found = search(root, f"{other} {MARKER} {other}")
    best = found["documents"][0]
    assert not best["exact"]
    assert best["words"] == 15
    row = next(
        row
        for entry in found["documents"]
        if entry["source"].endswith("secret.txt")
        for row in entry["found"]
    )
    assert text[row["start"] : row["end"]] == MARKER.rstrip(".")
    assert search(root, other)["documents"] == []
    assert longest_run("Der ﬁnal-Count: (ZWÖLF)", ["final", "count", "zwölf"]) == (3, 4, 22)


def test_mistakes_of_a_person_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(folder, "ingest")
    with pytest.raises(RunError, match=r"(?s)no document 'secrets\.txt'.*did you mean .*secret\.txt\?"):
        forget(root, "secrets.txt")
    with pytest.raises(RunError, match="another build"), locked(root):
        forget(root, "secret.txt")
    assert not (root / "forgotten.jsonl").exists()
    with pytest.raises(RunError, match="has no words"):
        trace(root, " -- ")
    with pytest.raises(RunError, match="is not a run"):
        find_run(folder)
    monkeypatch.chdir(folder)
    assert find_run(None) == Path("runs/mine")
    write_jsonl(root / "forgotten.jsonl", [{"source": "a"}])
    with pytest.raises(RunError, match=r"forgotten\.jsonl: is damaged"):
        make(folder, "ingest")


def test_the_two_verbs_speak_text_and_json(folder: Path) -> None:
    root = make(folder, "ingest")
    told = tinsmith("trace", "Amalia Quentin hid seven brass lanterns", "--run", root)
    assert told.returncode == 0, told.stderr
    assert "secret.txt: all of it" in told.stdout
    found = json.loads(tinsmith("forget", "secret.txt", "--run", root, "--json").stdout)
    assert found["documents"][0]["source"].endswith("secret.txt")
    assert "FORGOTTEN" in tinsmith("trace", "secret.txt", "--run", root).stdout
    assert "will include again" in tinsmith("forget", "secret.txt", "--run", root, "--undo").stdout
