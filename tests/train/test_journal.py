from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinsmith.base.errors import TrainingError
from tinsmith.base.files import write_jsonl
from tinsmith.train.budget import Decision, TrainProgress
from tinsmith.train.journal import Journal, read_rows, summarise
from tinsmith.train.loss_spikes import Rollback


def row(step: int, loss: float = 1.0) -> dict[str, float]:
    facts = {"tokens": 10, "supervised": 8, "seconds": 0.5, "loader_seconds": 0.004}
    return {"step": step, "loss": loss, **facts}


def test_resuming_cuts_both_files_back_and_says_what_is_lost(tmp_path: Path) -> None:
    journal, said = Journal(tmp_path), []
    journal.resume(TrainProgress(), said.append)
    assert said == []
    for step in range(5):
        journal.add(row(step), Decision(step, step / 5, 0.1))
    again = Journal(tmp_path)
    assert again.resume(TrainProgress(3, 30, 1.5), said.append) == TrainProgress(3, 30, 1.5)
    assert said == ["  resuming at step 3; 1 s of work after the last checkpoint is repeated"]
    assert [r["step"] for r in again.rows] == [0, 1, 2]
    for name in ("log", "schedule"):
        assert [r["step"] for r in read_rows(tmp_path / f"{name}.jsonl")] == [0, 1, 2]


def test_a_cut_line_is_no_row(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(json.dumps(row(0)) + '\n{"step": 1, "lo')
    assert [r["step"] for r in read_rows(tmp_path / "log.jsonl")] == [0]
    assert read_rows(tmp_path / "none.jsonl") == []


def test_time_thrown_away_stays_spent_and_steps_left_out_are_not_missed(tmp_path: Path) -> None:
    journal, said = Journal(tmp_path), []
    for step in range(4):
        journal.add(row(step), None)
    journal.go_back(Rollback(4, "the loss is not finite", 0, {"2": 7, "4": 10}, 0.75))
    again = Journal(tmp_path)
    assert again.resume(TrainProgress(2, 20, 1.0), said.append) == TrainProgress(2, 20, 1.75)
    again.add(row(3), None)
    again = Journal(tmp_path)
    assert again.resume(TrainProgress(5, 50, 0.0), said.append) == TrainProgress(5, 50, 2.25)
    assert [r["step"] for r in again.rows] == [0, 1, 3]
    figures = summarise(tmp_path, {"next_token": 100})
    assert (figures["rollbacks"], figures["skipped_steps"], figures["skipped_tokens"]) == (1, 2, 17)


def test_statistics_average_the_first_and_last_twentieth(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "log.jsonl", (row(step, loss=40 - step) for step in range(40)))
    figures = summarise(tmp_path, {"next_token": 100})
    assert figures["loader_share"] == pytest.approx(0.008)
    assert figures["rollbacks"] == figures["skipped_steps"] == figures["skipped_tokens"] == 0
    assert figures["first_loss"] == 39.5
    assert figures["final_loss"] == 1.5
    assert (figures["steps"], figures["tokens"], figures["supervised_tokens"]) == (40, 400, 320)
    assert (figures["epochs"], figures["seconds"]) == (4, 20)
    assert figures["tokens_per_second"] == pytest.approx(20)
    assert "epochs_next_token" not in figures


def test_each_of_several_objectives_has_its_losses_and_epochs(tmp_path: Path) -> None:
    rows = [row(step, loss=float(step)) | {"loss_sft": 10.0 + step, "tokens_sft": 4} for step in range(60)]
    del rows[1]["loss_sft"]  # a step without targets of it
    del rows[1]["tokens_sft"]
    write_jsonl(tmp_path / "log.jsonl", rows)
    figures = summarise(tmp_path, {"next_token": 300, "sft": 100})
    assert (figures["first_loss"], figures["final_loss"]) == (1.0, 58.0)
    assert (figures["first_loss_sft"], figures["final_loss_sft"]) == (11.0, 68.0)
    assert (figures["epochs"], figures["epochs_sft"], figures["epochs_next_token"]) == (1.5, 2.36, 0)


def test_a_log_that_lacks_a_step_is_refused(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "log.jsonl", [row(0), row(2), row(3)])
    with pytest.raises(TrainingError, match="should list each of the 4 steps before the checkpoint"):
        Journal(tmp_path).resume(TrainProgress(4, 40, 2.0), lambda line: None)


def test_a_schedule_is_cut_back_to_nothing_and_not_made_where_there_is_none(tmp_path: Path) -> None:
    Journal(tmp_path).resume(TrainProgress(), lambda line: None)
    assert not (tmp_path / "schedule.jsonl").exists()
    journal = Journal(tmp_path)
    journal.add(row(0), Decision(0, 0.5, 0.25))
    assert read_rows(tmp_path / "schedule.jsonl") == [{"step": 0, "progress": 0.5, "learning_rate": 0.25}]
    said: list[str] = []
    Journal(tmp_path).resume(TrainProgress(), said.append)
    assert said == ["  resuming at step 0; 0 s of work after the last checkpoint is repeated"]
    assert (tmp_path / "schedule.jsonl").read_bytes() == (tmp_path / "log.jsonl").read_bytes() == b""


def test_what_is_written_is_json_that_others_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(ValueError, match="JSON compliant"):
        journal.add(row(0, loss=float("nan")), None)
    assert read_rows(tmp_path / "log.jsonl") == journal.rows == []
    journal.go_back(Rollback(4, "jump", 1, {"4": 10}, 0.75))
    assert read_rows(tmp_path / "rollbacks.jsonl") == [
        {"step": 4, "trouble": "jump", "back_to": 1, "skipped": {"4": 10}, "seconds": 0.75}
    ]
    assert journal.rollbacks == Journal(tmp_path).rollbacks == [Rollback(4, "jump", 1, {"4": 10}, 0.75)]
