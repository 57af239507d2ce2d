"""Read recipes from TOML with overrides, explain what is wrong with them, and write commented ones."""

from __future__ import annotations

import difflib
import json
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from pydantic import ValidationError

from tinsmith.base.assets import is_corpus
from tinsmith.base.errors import RecipeError
from tinsmith.recipe import Recipe, Section
from tinsmith.recipe.renamed import use_new_keys
from tinsmith.recipe.unread import refuse_unread

# What `tinsmith init` sets instead of the defaults: with a base and minutes of training, trials found adapters better
# than training all weights (docs/LOG.md).
_ADVISED: dict[str, dict[str, Any]] = {
    "train": {"trainable": "lora", "learning_rate": 0.002, "batch_tokens": 1024}
}


def load_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a TOML recipe and apply overrides such as 'train.budget=20m'. Raises RecipeError, also for unread settings.

    Old names of renamed keys are accepted, with a note on standard error.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise RecipeError(
            "no such recipe", where=str(path), next_step="write one with: tinsmith init DIR --documents PATH"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"cannot be read ({error})", where=str(path), next_step="name a TOML file that you may read"
        ) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RecipeError(
            f"is not valid TOML: {error}", where=str(path), next_step="correct the line that it names"
        ) from None
    for override in overrides:
        _apply_override(data, override)
    data, notes = use_new_keys(data)
    for note in notes:
        print(f"{path}: {note}", file=sys.stderr)
    recipe = parse_recipe(data, where=str(path))
    refuse_unread(recipe, where=str(path))
    return recipe


def parse_recipe(data: dict[str, Any], *, where: str) -> Recipe:
    """Validate a recipe's data. Raises RecipeError that names every wrong field and the nearest known one."""
    try:
        return Recipe.model_validate(use_new_keys(data)[0])
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise RecipeError(
            "; ".join(lines),
            where=where,
            next_step="correct the recipe; `tinsmith init` writes one that explains every field",
        ) from None


@dataclass
class NewRecipe:
    """A recipe that is being written: where, its name, and its first lines."""

    path: Path
    name: str
    source: str  # of the documents, as the recipe names it; empty without
    head: tuple[str, ...]

    def write(self, text: str) -> None:
        """Write it, once it is known to be a recipe. Raises RecipeError otherwise."""
        refuse_unread(parse_recipe(tomllib.loads(text), where=str(self.path)), where=str(self.path))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(text, encoding="utf-8")


def new_recipe(directory: Path, documents: str) -> NewRecipe:
    """Return a recipe to be written to DIR/recipe.toml. Raises RecipeError if it or the documents are not there."""
    path = directory / "recipe.toml"
    if path.exists():
        raise RecipeError(
            "exists already", where=str(path), next_step="name another directory, or edit that recipe"
        )
    place = Path(documents).expanduser()
    is_glob = any(letter in documents for letter in "*?[")
    if documents and not is_glob and not place.exists() and not is_corpus(documents):
        raise RecipeError(
            "no such file, folder or known corpus",
            where=documents,
            next_step="give the path of your documents; `tinsmith models` lists the corpora",
        )
    # The recipe may be built from any directory.
    absolute = str(place.absolute() if is_glob else place.resolve()) if documents else ""
    source = documents if is_corpus(documents) else absolute
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", directory.resolve().name).strip("-.") or "mine"
    runs = str((directory / "runs").resolve())
    head: tuple[str, ...] = (
        f"name = {toml_value(name)}",
        f"runs = {toml_value(runs)}  # directory of the stages and the bundle",
    )
    if source:
        head = (*head, "", "[ingest]", f"sources = [{toml_value(source)}]")
    return NewRecipe(path, name, source, head)


def write_recipe(directory: Path, documents: str) -> Path:
    """Write DIR/recipe.toml with every field explained. Raises RecipeError; overwrites nothing."""
    recipe = new_recipe(directory, documents)
    recipe.write(render_recipe(recipe.name, recipe.source, runs=str((directory / "runs").resolve())))
    return recipe.path


def render_recipe(name: str, source: str, *, runs: str) -> str:
    """Return a recipe as TOML; fields with a default are commented out."""
    lines = [
        "# A recipe. Lines that start with # show defaults.",
        f"name = {toml_value(name)}",
        f"runs = {toml_value(runs)}  # directory of the stages and the bundle",
        "# seed = 7",
        f"# may_leave = []  # {Recipe.model_fields['may_leave'].description}",
    ]
    for section, field in Recipe.model_fields.items():
        if _is_section(field.annotation):
            lines += ["", f"[{section}]  # {_first_line(field.annotation)}"]
            lines += _render_fields(section, field.annotation, source)
    lines += [
        "",
        "# A job: its answers are learnt from examples. `tinsmith init DIR --job classify --examples FILE` writes one.",
        "",
        "# A task: a question about a document, answered from its front matter or record.",
        "# [[tasks]]",
    ]
    lines += [
        '# name = "category"',
        '# question = "{text}\\n\\nCategory of this document:"',
        '# answer = "{category}"',
    ]
    return "\n".join(lines) + "\n"


def _render_fields(name: str, section: type[Section], source: str) -> list[str]:
    lines, inner = [], []
    for key, info in section.model_fields.items():
        meaning = f"  # {info.description}" if info.description else ""
        if (name, key) == ("ingest", "sources"):
            lines.append(f"sources = [{toml_value(source)}]{meaning}")
        elif _is_section(info.annotation):
            inner += [f"# [{name}.{key}]  # {_first_line(info.annotation)}"]
            inner += _render_fields(f"{name}.{key}", info.annotation, source)
        elif key in _ADVISED.get(name, {}):
            said = f"{info.description}; " if info.description else ""
            lines.append(
                f"{key} = {toml_value(_ADVISED[name][key])}  # {said}default {toml_value(info.default)}"
            )
        else:
            default = "" if info.default is None else f" = {toml_value(info.default)}"
            lines.append(f"# {key}{default}{meaning}")
    return lines + inner


def _is_section(annotation: Any) -> TypeGuard[type[Section]]:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _first_line(section: type[Section]) -> str:
    return (section.__doc__ or "").strip().splitlines()[0]


def toml_value(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple | list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        keys = {key: key if re.fullmatch(r"[\w-]+", key, re.ASCII) else toml_value(key) for key in value}
        return "{" + ", ".join(f"{keys[key]} = {toml_value(item)}" for key, item in value.items()) + "}"
    return str(value)


def _apply_override(data: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise RecipeError(f"cannot read {override!r}", where="--set", next_step="write section.field=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text.strip()
    place: Any = data
    for key in keys[:-1]:
        if isinstance(place, list):
            place = place[int(key)] if key.isdigit() and int(key) < len(place) else None
        else:
            place = place.setdefault(key, {})
        if not isinstance(place, dict | list):
            raise RecipeError(
                f"{dotted} does not name a field",
                where="--set",
                next_step="write section.field=value, or section.NUMBER.field=value, counted from 0",
            )
    if isinstance(place, list):
        raise RecipeError(
            f"{dotted} names a whole section of several", where="--set", next_step="name one of its fields"
        )
    place[keys[-1]] = value


def _explain(problem: Any) -> str:
    location = [str(part) for part in problem["loc"]]
    dotted = ".".join(location)
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(location[-1], _fields_at(location[:-1]), n=1, cutoff=0.5)
        return f"{dotted}: unknown field" + (f"; did you mean {near[0]}?" if near else "")
    message = problem["msg"].removeprefix("Value error, ")
    # The contents of a whole section or recipe would bury the message.
    shown = problem["type"] != "missing" and not (len(location) <= 1 and isinstance(problem["input"], dict))
    return (f"{dotted}: " if dotted else "") + message + (f" (it is {problem['input']!r})" if shown else "")


def _fields_at(location: list[str]) -> list[str]:
    model: Any = Recipe
    for part in location:
        if part.isdigit():
            continue
        annotation = model.model_fields[part].annotation
        model = next(
            (arg for arg in getattr(annotation, "__args__", ()) if isinstance(arg, type)), annotation
        )
    return list(model.model_fields)
