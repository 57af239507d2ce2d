"""What a finished job is: its recipe section, its labels, and what validation taught about its confidence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tinsmith.base.files import read_json, write_json
from tinsmith.jobs.look import Look
from tinsmith.jobs.none_scale import NoneScale
from tinsmith.jobs.none_thresholds import EITHER
from tinsmith.jobs.word_model import FILE as WORDS
from tinsmith.jobs.word_model import WordModel, read_words
from tinsmith.recipe import JobConfig
from tinsmith.tokens.templates import fill

FILE = "job.json"


class Calibration(BaseModel):
    """How scores become confidence, fitted on the validation part.

    A label's probability is softmax((ln p(label | input) - prior_weight * ln p(label | no input)
    + word_weight * ln q(label | words)) / temperature), where q is the job's word model.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    temperature: float = 1.0
    prior_weight: float = 0.0
    prior: dict[str, float] = {}  # ln p of each label without any input
    word_weight: float = 0.0  # of the word model; 0: it is not asked
    # Below this confidence an answer goes to a person; 0 gives all answers.
    least_confidence: float = 0.0
    # Slope and offset: ln of the odds that a written value is right, given its ln p; none: the temperature alone.
    value_odds: tuple[float, float] | None = None
    # Of an extraction: turns the model's probability of "none" and the look's score into one probability.
    none_scale: NoneScale = NoneScale()
    # By field of an extraction: above this probability of "none" the text holds no value; "" is any other field.
    none_at: dict[str, float] = {}

    @field_validator("none_at", mode="before")
    @classmethod
    def _one_for_all(cls, stored: Any) -> Any:
        """Read the one threshold that earlier bundles hold."""
        return {"": stored} if isinstance(stored, float) else stored

    def says_none(self, chance: float, field: str = "") -> bool:
        """Say whether a probability of "none" means that there is no value."""
        return chance > self.none_at.get(field, self.none_at.get("", EITHER))


class Job(BaseModel):
    """A job as a bundle holds it, in `jobs/NAME/job.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    config: JobConfig
    labels: tuple[str, ...] = ()
    calibration: Calibration = Calibration()
    answer_tokens: int = 0  # of the longest answer of the examples, if they were looked at
    most_labels: int = 0  # with several labels: of an answer, at most; 0: any number
    verbatim: bool = False  # kind answer: no example answers in other words than its text, with a quote
    look: Look | None = None  # of an extraction from long inputs
    words: WordModel | None = Field(default=None, exclude=True)  # of one label; in a file of its own

    def question(self, record: Mapping[str, Any]) -> str:
        """Return the question about a record; a field without a value is empty."""
        return fill(self.config.asked, record)

    def write(self, directory: Path) -> None:
        """Write `job.json` into a directory, and before it `words.json` if there is a word model."""
        if self.words:
            self.words.write(directory)
        write_json(directory / FILE, self.model_dump(mode="json"))


def answer_room(job: Job) -> int:
    """Return the tokens of the context that are kept for the answer: as many as the longest example needs.

    Without examples, half of it where a text is written, else an eighth.
    """
    return job.answer_tokens or job.config.context // (2 if job.config.kind == "write" else 8)


def read_job(directory: Path) -> Job:
    """Read `job.json` of a directory, and its word model if it has one.

    Raises BundleError where that is damaged, or missing though answers depend on it.
    """
    stored: dict[str, Any] = read_json(directory / FILE)
    job = Job.model_validate(stored)
    if job.calibration.word_weight or (directory / WORDS).is_file():
        job = job.model_copy(update={"words": read_words(directory)})
    return job
