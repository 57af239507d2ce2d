"""What a finished job is: its recipe section, its labels, and what validation taught about its confidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tinsmith.base.files import read_json, write_json
from tinsmith.recipe import JobConfig

FILE = "job.json"


class Calibration(BaseModel):
    """How scores become confidence, fitted on the validation part.

    A label's probability is softmax((ln p(label | input) - prior_weight * ln p(label | no input)) / temperature).
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    temperature: float = 1.0
    prior_weight: float = 0.0
    prior: dict[str, float] = {}  # ln p of each label without any input
    # Below this confidence an answer goes to a person; 0 gives all answers.
    least_confidence: float = 0.0


class Job(BaseModel):
    """A job as a bundle holds it, in `jobs/NAME/job.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    config: JobConfig
    labels: tuple[str, ...] = ()
    calibration: Calibration = Calibration()

    def write(self, directory: Path) -> None:
        """Write `job.json` into a directory."""
        write_json(directory / FILE, self.model_dump(mode="json"))


def read_job(directory: Path) -> Job:
    """Read `job.json` of a directory."""
    stored: dict[str, Any] = read_json(directory / FILE)
    return Job.model_validate(stored)
