"""The stages of a build, in order. Each package says what its stage is; its `run` module does the work."""

from tinsmith.recipe import Recipe
from tinsmith.stages.curate import STAGE as CURATE
from tinsmith.stages.evaluate import STAGE as EVALUATE
from tinsmith.stages.examples import STAGE as EXAMPLES
from tinsmith.stages.ingest import STAGE as INGEST
from tinsmith.stages.learn import STAGE as LEARN
from tinsmith.stages.package import STAGE as PACKAGE
from tinsmith.stages.refine import STAGE as REFINE
from tinsmith.stages.report import STAGE as REPORT
from tinsmith.stages.split import STAGE as SPLIT
from tinsmith.stages.stage import Stage, applies
from tinsmith.stages.tokenize import STAGE as TOKENIZE
from tinsmith.stages.train import STAGE as TRAIN

STAGES: tuple[Stage, ...] = (
    INGEST,
    CURATE,
    SPLIT,
    REFINE,
    TOKENIZE,
    TRAIN,
    EXAMPLES,
    LEARN,
    PACKAGE,
    EVALUATE,
    REPORT,
)
PURPOSES = {stage.name: stage.purpose for stage in STAGES}


def stages_for(recipe: Recipe) -> tuple[Stage, ...]:
    """Return the stages that a recipe needs, in order."""
    return tuple(stage for stage in STAGES if applies(stage.name, recipe))


__all__ = ["PURPOSES", "STAGES", "Stage", "stages_for"]
