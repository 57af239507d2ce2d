"""What calibration is fitted on: asks of the validation part by field, and by whether their input holds a value."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from tinsmith.jobs.ask import NONE, Ask
from tinsmith.jobs.look import FieldLook, Look
from tinsmith.jobs.spec import Calibration, Job
from tinsmith.recipe import JobConfig
from tinsmith.train.job_finish import _none_chances

PARTIES = {"type": "array", "items": {"type": "string"}}
SCHEMA = {"properties": {"law": {"type": "string"}, "parties": PARTIES}}


def test_a_passage_of_an_input_with_a_value_elsewhere_is_no_input_without_one() -> None:
    look = Look(
        fields={
            name: FieldLook(weights={}, asked=asked, recall=1.0)
            for name, asked in (("law", 3), ("parties", 6))
        }
    )
    job = Job(config=JobConfig(name="j", kind="extract", json_schema=SCHEMA), look=look)
    rows = [{"answer": {"law": ["Ohio"], "parties": []}}, {"answer": {"law": [], "parties": ["Acme"]}}]
    asks = [
        Ask("a", "?", "Ohio", "law"),
        Ask("b", "?", NONE, "law"),
        Ask("a", "?", NONE, "parties"),
        Ask("c", "?", NONE, "law"),
        Ask("d", "?", "Acme", "parties"),
    ]
    asked = SimpleNamespace(rows=(0, 0, 0, 1, 1), asks=tuple(asks))
    found = _none_chances(job, asked, rows, np.array([0.1, 0.2, 0.3, 0.4, 0.5]))  # type: ignore[arg-type]
    law, parties = found["law"], found["parties"]
    assert (law.present, law.elsewhere, law.absent, law.asked, law.several) == ([0.1], [0.2], [0.4], 3, False)
    assert (parties.present, parties.elsewhere, parties.absent) == ([0.5], (), [0.3])
    assert (parties.asked, parties.several) == (6, True)


def test_an_answer_has_one_field_without_a_name() -> None:
    job = Job(config=JobConfig(name="j", kind="answer", answer="{a}"))
    asked = SimpleNamespace(rows=(0, 1), asks=(Ask("a", "?", "yes"), Ask("b", "?", NONE)))
    rows = [{"answer": {"answer": "yes", "quote": ""}}, {"answer": None}]
    (found,) = _none_chances(job, asked, rows, np.array([0.1, 0.9])).items()  # type: ignore[arg-type]
    assert found[0] == ""
    assert (found[1].present, found[1].absent, found[1].asked) == ([0.1], [0.9], 1)


def test_the_one_threshold_of_an_earlier_bundle_holds_for_all_fields() -> None:
    calibration = Calibration.model_validate({"none_at": 0.2})
    assert calibration.says_none(0.3, "law")
    assert not calibration.says_none(0.1, "law")
    assert not Calibration(none_at={"law": 0.9}).says_none(0.8, "law")
    assert Calibration(none_at={"law": 0.9}).says_none(0.8, "parties")
