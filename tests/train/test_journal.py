from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinsmith.train.budget import Done
from tinsmith.train.journal import Journal, read_rows, summarise


def row(step: int, loss: float = 1.0) -> dict[str, float]:
    return {"step": step, "loss": loss, "tokens": 10, "supervised": 8, "seconds": 0.5}


def test_resuming_cuts_both_files_back_and_says_what_is_lost(tmp_path: Path) -> None:
    journal, said = Journal(tmp_path), []
    journal.resume(Done(), said.append)
    assert said == []
    for step in range(5):
        journal.add(row(step), {"step": step, "progress": step / 5, "learning_rate": 0.1})
    again = Journal(tmp_path)
    again.resume(Done(3, 30, 1.5), said.append)
    assert said == ["  going on at step 3; 1 s of work after the last checkpoint is made again"]
    assert [r["step"] for r in again.rows] == [0, 1, 2]
    for name in ("log", "schedule"):
        assert [r["step"] for r in read_rows(tmp_path / f"{name}.jsonl")] == [0, 1, 2]


def test_a_cut_line_is_no_row(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(json.dumps(row(0)) + '\n{"step": 1, "lo')
    assert [r["step"] for r in read_rows(tmp_path / "log.jsonl")] == [0]
    assert read_rows(tmp_path / "none.jsonl") == []


def test_statistics_average_the_first_and_last_twentieth() -> None:
    rows = [row(step, loss=40 - step) for step in range(40)]
    figures = summarise(rows, epoch_tokens=100)
    assert figures["first_loss"] == 39.5
    assert figures["final_loss"] == 1.5
    assert (figures["steps"], figures["tokens"], figures["supervised_tokens"]) == (40, 400, 320)
    assert (figures["epochs"], figures["seconds"]) == (4, 20)
    assert figures["tokens_per_second"] == pytest.approx(20)
