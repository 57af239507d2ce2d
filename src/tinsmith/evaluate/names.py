"""Names of models in a comparison. A model's role follows from its name, so each name belongs to one model."""

from __future__ import annotations

import re
from pathlib import Path

from tinsmith.base.assets import KNOWN
from tinsmith.base.errors import RecipeError
from tinsmith.evaluate.baselines import BASELINES
from tinsmith.evaluate.job_baselines import ENCODER, JOB_BASELINES
from tinsmith.evidence.schema import BASE, GGUF_SUBJECTS, OURS
from tinsmith.recipe import EvaluateConfig

RESERVED = (
    OURS,
    BASE,
    *GGUF_SUBJECTS.values(),
    *dict.fromkeys(baseline.name for baseline in (*BASELINES, *JOB_BASELINES)),
    ENCODER,
)


def file_name(name: str) -> str:
    """Return a model's name as it appears in file names and tables."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "rival"


def rival_name(rival: str) -> str:
    """Return the name of a rival in file names and tables: of a file or directory, the last part of its path."""
    path = Path(rival).expanduser()
    if rival in KNOWN or not path.exists():
        return file_name(rival)
    return file_name(path.stem if path.is_file() else path.name)


def possible_names(rival: str) -> set[str]:
    """Return the names that a rival may have in a bundle, whose machine may hold other files than this one."""
    path = Path(rival)
    return {file_name(rival), file_name(path.name), file_name(path.stem)}


def scored_formats(config: EvaluateConfig) -> tuple[str, ...]:
    """Return the GGUF formats that the recipe wants scored, where they are built."""
    return tuple(GGUF_SUBJECTS) if config.all_formats else ("q4_k_m",) if config.quantised else ()


def check_names(config: EvaluateConfig) -> None:
    """Raise RecipeError where two subjects would have one name, our own and the baselines included."""
    named = [("evaluate.rivals", rival_name(rival)) for rival in config.rivals]
    named += [
        (f"evaluate.endpoints.{number}.name", endpoint.name)
        for number, endpoint in enumerate(config.endpoints)
    ]
    named += [
        (f"evaluate.recorded.{number}.name", recorded.name) for number, recorded in enumerate(config.recorded)
    ]
    taken = set(RESERVED)
    for where, name in named:
        if name in taken:
            raise RecipeError(
                f"two models are called {name!r}",
                where=where,
                next_step="leave one out, or give it another name: a rival has that of its file or directory; "
                f"Tinsmith itself uses {', '.join(RESERVED)}",
            )
        taken.add(name)
