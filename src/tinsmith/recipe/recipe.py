"""A whole recipe: one pydantic model per section."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from tinsmith.recipe.corpus import CurateConfig, IngestConfig, RefineConfig, SplitConfig
from tinsmith.recipe.evaluation import EvaluateConfig, MeterConfig, PackageConfig, ReportConfig
from tinsmith.recipe.jobs import JobConfig
from tinsmith.recipe.objectives import EXAMPLE_FILES, OBJECTIVES
from tinsmith.recipe.section import ReadWhen, Section
from tinsmith.recipe.training import ModelConfig, TaskConfig, TokenizeConfig, TrainConfig

_ENDPOINT_ASKED = ReadWhen(
    lambda recipe, _: any(
        model.kind != "local" for model in (*recipe.refine.teachers, *recipe.evaluate.endpoints)
    ),
    "have an endpoint asked, as a teacher in refine or in evaluate.endpoints",
)


class Recipe(Section):
    """Everything that determines a build."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="names the run directory")
    seed: int = Field(7, ge=0)
    runs: str = Field("runs", description="directory for runs, relative to the working directory")
    may_leave: Annotated[tuple[str, ...], _ENDPOINT_ASKED] = Field(
        (),
        description="access labels of documents whose text may go into requests to endpoints and teachers on other "
        'machines; patterns; "unknown" is a document without a label',
    )
    ingest: IngestConfig = IngestConfig()
    curate: CurateConfig = CurateConfig()
    split: SplitConfig = SplitConfig()
    refine: RefineConfig = RefineConfig()
    model: ModelConfig = ModelConfig()
    tasks: tuple[TaskConfig, ...] = ()
    jobs: tuple[JobConfig, ...] = ()
    tokenize: TokenizeConfig = TokenizeConfig()
    train: TrainConfig = TrainConfig()
    package: PackageConfig = PackageConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    meter: MeterConfig = MeterConfig()
    report: ReportConfig = ReportConfig()

    @model_validator(mode="after")
    def _something_is_learnt(self) -> Recipe:
        if not self.ingest.sources and not self.jobs:
            raise ValueError("name documents in ingest.sources, or write a job ([[jobs]]) with examples")
        for job in self.jobs:
            if not job.examples and not self.ingest.sources:
                raise ValueError(f"job {job.name}: name files in `examples`, or documents in ingest.sources")
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> Recipe:
        for what, sections in (("tasks", self.tasks), ("jobs", self.jobs)):
            names = [section.name for section in sections]
            if len(set(names)) != len(names):
                raise ValueError(f"two {what} have the same name")
        return self

    @model_validator(mode="after")
    def _objectives_have_examples(self) -> Recipe:
        for name in self.train.shares:
            field = EXAMPLE_FILES.get(OBJECTIVES[name].tokens)
            if field and not getattr(self.tokenize, field) and not self.tasks:
                raise ValueError(
                    f"train.objective has {name}: name files in tokenize.{field}, or write a task"
                )
        return self

    @model_validator(mode="after")
    def _adapters_have_a_base(self) -> Recipe:
        if self.model.scratch and self.train.trainable == "lora":
            raise ValueError(
                "train.trainable = 'lora' would leave the fresh weights of model.scratch random; set it to 'all'"
            )
        return self
