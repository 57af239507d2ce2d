"""The stages of a build, in order. Each package says what its stage is; its `run` module does the work."""

from tinsmith.stages.curate import STAGE as CURATE
from tinsmith.stages.evaluate import STAGE as EVALUATE
from tinsmith.stages.ingest import STAGE as INGEST
from tinsmith.stages.package import STAGE as PACKAGE
from tinsmith.stages.refine import STAGE as REFINE
from tinsmith.stages.report import STAGE as REPORT
from tinsmith.stages.split import STAGE as SPLIT
from tinsmith.stages.stage import Stage
from tinsmith.stages.tokenize import STAGE as TOKENIZE
from tinsmith.stages.train import STAGE as TRAIN

STAGES: tuple[Stage, ...] = (INGEST, CURATE, SPLIT, REFINE, TOKENIZE, TRAIN, PACKAGE, EVALUATE, REPORT)
PURPOSES = {stage.name: stage.purpose for stage in STAGES}

__all__ = ["PURPOSES", "STAGES", "Stage"]
