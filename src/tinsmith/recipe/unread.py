"""Find the settings of a recipe that nothing would read, so that none is taken in silence."""

from __future__ import annotations

from collections.abc import Iterator

from tinsmith.base.errors import RecipeError
from tinsmith.recipe.recipe import Recipe
from tinsmith.recipe.section import ReadWhen, Section


def refuse_unread(recipe: Recipe, *, where: str) -> None:
    """Raise RecipeError that names every setting which differs from its default and which nothing would read.

    Only for a recipe that a person hands in: a stored one was built as it is.
    """
    if found := list(_unread(recipe, recipe, "", "")):
        raise RecipeError(
            "; ".join(f"nothing would read {place}: {remedy}, or leave it out" for place, remedy in found),
            where=where,
            next_step="correct the recipe; `tinsmith init` writes one that explains every field",
        )


def _unread(recipe: Recipe, section: Section, here: str, remedy: str) -> Iterator[tuple[str, str]]:
    """Yield place and remedy of the unread settings in a section; with a `remedy` given none of it is read."""
    for name, field in type(section).model_fields.items():
        value, default = getattr(section, name), field.default
        rules = section.conditions_of(name)
        place = f"{here}.{name}" if here else name
        missing = remedy or _missing(rules, recipe, section, here)
        inner = _sections(value, place)
        for inner_place, each in inner.items():
            yield from _unread(recipe, each, inner_place, missing)
        if missing and not inner and value != default:
            yield place, missing
        elif any(rule.by_key for rule in rules) and not missing:
            unequal = [key for key in value if value[key] != default.get(key)]
            found = {f"{place}.{key}": _missing(rules, recipe, section, here, key) for key in unequal}
            yield from ((each, why) for each, why in found.items() if why)


def _sections(value: object, place: str) -> dict[str, Section]:
    """Return the sections in a field's value, by their place in the recipe."""
    if isinstance(value, Section):
        return {place: value}
    numbered = enumerate(value) if isinstance(value, tuple) else ()
    return {f"{place}.{number}": each for number, each in numbered if isinstance(each, Section)}


def _missing(rules: list[ReadWhen], recipe: Recipe, section: Section, here: str, *key: str) -> str:
    """Return what would make the first unmet condition true, or nothing where all are met."""
    unmet = (rule for rule in rules if rule.by_key == bool(key) and not rule.condition(recipe, section, *key))
    return next((rule.remedy.replace("{here}", here) for rule in unmet), "")
