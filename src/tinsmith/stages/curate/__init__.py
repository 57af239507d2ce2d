"""The stage *curate*: keep the documents worth learning from, by fixed rules."""

from __future__ import annotations

from pathlib import Path

from tinsmith.base.errors import RecipeError
from tinsmith.base.files import sha256_file
from tinsmith.meter.planner import BASE_MEMORY_BYTES, COMPRESSED, CURATE_BYTES_PER_SECOND, Cost, Scale
from tinsmith.recipe import Recipe
from tinsmith.recipe.corpus import ONLY_WITH_RECOGNISER
from tinsmith.stages.stage import Stage


def _estimate(recipe: Recipe, scale: Scale) -> Cost:
    corpus = scale.corpus_bytes
    return Cost(5 + corpus / CURATE_BYTES_PER_SECOND, corpus * COMPRESSED, BASE_MEMORY_BYTES + 6 * corpus)


def _register_stamp(recipe: Recipe) -> list[str] | None:
    """Return the hash of the file of licences and access labels; None if the recipe names none."""
    register = recipe.curate.rights.file
    if not register:
        return None
    try:
        return [sha256_file(Path(register).expanduser())]
    except OSError as error:
        raise RecipeError(
            f"{register} cannot be read ({error.strerror})",
            where="curate.rights.file",
            next_step="name a CSV file that exists",
        ) from None


def _check(recipe: Recipe) -> None:
    """Refuse an action on personal data that nothing would find."""
    privacy = recipe.curate.privacy
    for name in sorted(ONLY_WITH_RECOGNISER):
        if not privacy.recogniser and (action := privacy.actions.get(name, "keep")) != "keep":
            raise RecipeError(
                f"{action!r}, but no rule finds this type, so none would be found",
                where=f"curate.privacy.actions.{name}",
                next_step="name a recogniser (curate.privacy.recogniser), or leave the type at keep",
            )


STAGE = Stage(
    "curate",
    version=3,
    purpose="fixed rules, duplicates",
    estimate=_estimate,
    inputs=("ingest",),
    files=_register_stamp,
    check=_check,
    honours_erasure=True,
)
