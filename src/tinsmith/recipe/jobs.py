"""The recipe section of a job: what the model is asked, what it answers, and the examples that it learns from."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from tinsmith.recipe.formula_values import FormulaError
from tinsmith.recipe.formulas import read_formula
from tinsmith.recipe.section import FOR_DOCUMENTS, Fraction, ReadWhen, Section
from tinsmith.recipe.training import Budget

UPPER_SHARE = 1 / 3  # of the blocks that learn with `trainable = "upper"`, and of the time of a pass

JobKind = Literal["classify", "extract", "answer", "write"]

_HAS_FILES = ReadWhen(lambda recipe, job: bool(job.examples), "name files in {here}.examples")
_HELD_OUT = ReadWhen(lambda recipe, job: not job.test, "leave out {here}.test")


def _for_kinds(*kinds: str) -> ReadWhen:
    """Say that a field is read by jobs of some kinds."""
    return ReadWhen(
        lambda recipe, job: job.kind in kinds, f"set {{here}}.kind to {' or '.join(map(repr, kinds))}"
    )


class JobConfig(Section):
    """A job: a question about a record or a document, with examples of its answer."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$", description="its name in files, in the API and in the report"
    )
    kind: JobKind = Field(
        description="classify: one of the labels, or several; extract: fields found in the text; answer: a short "
        "answer with its quote; write: a text"
    )
    input: str = Field(
        "{text}", description="template over the fields of a record; {text} is also the text of a document"
    )
    question: str = Field(
        "", description="what stands between the input and the answer; empty: the job's name"
    )
    answer: Annotated[str, _for_kinds("classify", "answer", "write")] = Field(
        "", description="template over the fields of an example, such as {stance}; not needed by extract"
    )
    labels: Annotated[tuple[str, ...], _for_kinds("classify")] = Field(
        (), description="possible answers; empty: those of the examples"
    )
    several: Annotated[bool, _for_kinds("classify")] = Field(
        False,
        description="a text has several labels, or none: parted by ; or commas, a list, or a field of 0 and 1 each",
    )
    json_schema: Annotated[str | dict[str, Any], _for_kinds("extract", "write")] = Field(
        default="", description="the fields of an answer: a JSON Schema of an object, as a file or a table"
    )
    examples: tuple[str, ...] = Field(
        (), description="CSV, JSON Lines or Parquet files; empty: the documents and their metadata"
    )
    test: Annotated[tuple[str, ...], _HAS_FILES] = Field(
        (), description="files to be examined on; empty: part of the examples is held out"
    )
    held_out: Annotated[Fraction, _HAS_FILES, _HELD_OUT] = Field(
        0.2, gt=0, lt=1, description="share of examples in the test"
    )
    group: str = Field(
        "", description="template; rows with the same value, such as {meeting}, stay on one side"
    )
    keep: Literal["start", "end"] = Field(
        "start", description="which end of an input is kept if it is longer than the context"
    )
    context: int = Field(512, ge=64, description="tokens of input, question and answer together, at most")
    checks: tuple[str, ...] = Field(
        (), description="formulas that every answer must satisfy, such as sum(weights) == 100"
    )
    tries: int = Field(3, ge=1, description="how often an answer that breaks a check is asked for")
    ask_a_person: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of given answers that must be right; less certain ones go to a person; 0 gives all",
    )
    start: Annotated[Literal["base", "documents"], FOR_DOCUMENTS] = Field(
        "base", description="weights to start from: the base, or the model that was trained on the documents"
    )
    budget: str = Field(
        "20m",
        description="learning, the search for settings included: time such as 20m; or exactly 3 epochs or 200 steps",
    )
    passes: float = Field(
        0.0, ge=0, description="passes over the examples; 0: as many as help and as the budget allows"
    )
    trainable: Literal["", "upper", "all", "lora"] = Field(
        "",
        description="upper: a third of the blocks, the quickest; all; lora; empty: upper, or what trials prefer",
    )
    learning_rate: float = Field(0.0, ge=0, description="peak; 0: by the model's size, or what trials prefer")
    curve: bool = Field(
        True,
        description="learn from 50, 100, 200 and 500 examples too, as far as a part of the budget allows",
    )

    @field_validator("budget")
    @classmethod
    def _budget_parses(cls, text: str) -> str:
        Budget.parse(text)
        return text

    @model_validator(mode="after")
    def _answer_is_given(self) -> JobConfig:
        if not self.answer and self.kind != "extract":
            raise ValueError(f"job {self.name}: write `answer`, a template over the fields of an example")
        return self

    @field_validator("checks")
    @classmethod
    def _checks_are_formulas(cls, checks: tuple[str, ...]) -> tuple[str, ...]:
        for check in checks:
            try:
                read_formula(check)
            except FormulaError as error:
                raise ValueError(f"the check {check!r}: {error}") from None
        return checks

    @model_validator(mode="after")
    def _labels_differ(self) -> JobConfig:
        folded = Counter(" ".join(label.split()).casefold() for label in self.labels)
        alike = next((label for label in self.labels if folded[" ".join(label.split()).casefold()] > 1), None)
        if alike is not None:
            raise ValueError(f"job {self.name}: two labels read {alike!r} but for case and white space")
        if any(not label.strip() for label in self.labels):
            raise ValueError(f"job {self.name}: a label is empty")
        if len(self.labels) == 1 and not self.several:
            raise ValueError(
                f"job {self.name}: with one label, {self.labels[0]!r}, there is nothing to tell apart"
            )
        return self

    @property
    def asked(self) -> str:
        """Return the question as it is asked."""
        return self.question or f"{self.name.replace('_', ' ').capitalize()}:"
