"""Write the recipe of a job after a look at its examples: what was found, in one page, ready to build."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinsmith.base.errors import RecipeError
from tinsmith.base.files import JsonObject
from tinsmith.jobs.columns import Column, find_groups, find_label, find_named, find_text, look_at
from tinsmith.jobs.example import Examples
from tinsmith.jobs.examples import Sides, divide
from tinsmith.jobs.records import Record, read_records
from tinsmith.jobs.rendering import as_list
from tinsmith.jobs.spans import FoldedText, fold
from tinsmith.recipe import JobConfig, Recipe
from tinsmith.recipe.toml import new_recipe, toml_value
from tinsmith.tokens.templates import template_fields

_LOOKED_AT = 300  # records whose values are looked for in their texts
_LEAST_VERBATIM = 0.5  # of the values of a field must stand in the text
_BYTES_PER_TOKEN = 4
_SHOWN_LABELS = 12
_MOST_CUT, _LONGER = 0.05, 1024  # share of passages that may be cut before the context, in tokens, is raised
_QUESTION, _PASSAGE = "question query", "passage context text document body paragraph excerpt"
_ANSWER = "answer response target output label"
_WRITTEN = "text paragraph report summary output target answer completion response description letter"


@dataclass(frozen=True)
class Wanted:
    """What a person asked for on the command line; empty where the data shall say."""

    kind: str
    examples: str
    test: str = ""
    label: str = ""
    input: str = ""
    documents: str = ""


@dataclass
class Proposal:
    """The fields of a job, each with a comment, and sentences on what was found."""

    fields: dict[str, object]
    schema: dict[str, dict[str, str]] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    offers: list[str] = field(default_factory=list)  # lines that are commented out
    found: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def propose(directory: Path, wanted: Wanted) -> tuple[Path, Proposal]:
    """Write DIR/recipe.toml for a job; return its path and what was found. Raises TinsmithError; overwrites nothing.

    The examples are read and divided as the build will, so what the build would refuse is refused here.
    """
    recipe = new_recipe(directory, wanted.documents)
    name = re.sub(r"[^a-z0-9]+", "_", recipe.name.lower()).strip("_")
    proposal = _look(name if name[:1].isalpha() else f"job_{name}", wanted)
    recipe.write(_render(proposal, recipe.head))
    return recipe.path, proposal


def _look(name: str, wanted: Wanted) -> Proposal:
    place = str(Path(wanted.examples).expanduser().resolve())
    records = [each for each in read_records(place) if isinstance(each, Record)]
    if not records:
        raise RecipeError("holds no records", where=wanted.examples, next_step="give a table with a header")
    columns = look_at([record.fields for record in records])
    for column in [wanted.label] if wanted.label else []:
        if column not in columns:
            raise RecipeError(
                f"there is no column {column!r}",
                where="--label",
                next_step=f"use one of {', '.join(columns)}",
            )
    proposal = {
        "classify": _classify,
        "extract": _extract,
        "answer": _answer,
        "write": _write,
    }[wanted.kind](columns, wanted, [record.fields for record in records])
    test = {"test": [str(Path(wanted.test).expanduser().resolve())]} if wanted.test else {}
    proposal.fields = {"name": name, "kind": wanted.kind} | proposal.fields | {"examples": [place]} | test
    if wanted.documents:
        proposal.fields["start"] = "documents"
        proposal.comments["start"] = 'the model that went on with the documents; "base" leaves them out'
    proposal.found.insert(0, f"{len(records):,} records with the columns {', '.join(columns)}")
    _offer_groups(proposal, columns)
    _try(proposal, records)
    return proposal


def _classify(columns: dict[str, Column], wanted: Wanted, records: Sequence[JsonObject]) -> Proposal:
    label = wanted.label or find_label(
        {name: columns[name] for name in columns if name not in _given(wanted)}
    )
    column = columns[label]
    several = column.several
    counts = column.labels if several else column.counts
    shown = [f"{name} {count:,}" for name, count in counts.most_common(_SHOWN_LABELS)]
    more = f" and {len(counts) - _SHOWN_LABELS} more" if len(counts) > _SHOWN_LABELS else ""
    text = f"{len(counts)} labels in {label}: {', '.join(shown)}{more}"
    proposal = Proposal(
        {"input": _input(columns, wanted, [label]), "question": _asked(label), "answer": f"{{{label}}}"}
        | ({"several": True} if several else {}),
        found=[text + (", several for a text" if several else "")],
    )
    proposal.comments["answer"] = f"{len(counts)} labels; list them in `labels` to fix them and their order"
    return proposal


def _extract(columns: dict[str, Column], wanted: Wanted, records: Sequence[JsonObject]) -> Proposal:
    given = _given(wanted) or find_text(columns, [])[-1:]
    shares = {name: _verbatim_share(name, given, records) for name in columns if name not in given}
    fields = {name: share for name, share in shares.items() if share >= _LEAST_VERBATIM}
    if not fields:
        raise RecipeError(
            f"no column holds what stands in {', '.join(given)}",
            where="--examples",
            next_step="give a table with a column for each field, whose values are copied from the text",
        )
    schema = {
        name: {"type": "array" if columns[name].listed else "string"} | {"title": _asked(name).rstrip(":")}
        for name in fields
    }
    proposal = Proposal({"input": wanted.input or f"{{{given[0]}}}"}, schema)
    proposal.found.append(
        f"fields: {', '.join(f'{name} ({share:.0%} verbatim)' for name, share in fields.items())}"
    )
    others = [f"{name} ({share:.0%})" for name, share in shares.items() if 0 < share < _LEAST_VERBATIM]
    if others:
        proposal.warnings.append(
            f"not taken as fields, since the text holds too few of them: {', '.join(others)}"
        )
    return proposal


def _answer(columns: dict[str, Column], wanted: Wanted, records: Sequence[JsonObject]) -> Proposal:
    answer = wanted.label or find_named(columns, _ANSWER)
    left = {name: columns[name] for name in columns if name not in (answer, "quote")}
    question = find_named(left, _QUESTION)
    if not answer or not question:
        raise RecipeError(
            f"no column is called like {'an answer' if not answer else 'a question'}; there are {', '.join(columns)}",
            where="--examples",
            next_step="name the answer with --label, and call the column of the question `question`",
        )
    left.pop(question)
    passage = find_named(left, _PASSAGE) or find_text(left, [])[-1]
    proposal = Proposal(
        {"input": wanted.input or f"{{{passage}}}", "question": f"{{{question}}}", "answer": f"{{{answer}}}"}
    )
    absent = len(records) - len(columns[answer].values)
    proposal.found.append(f"{absent:,} questions have no answer: it is not in the text")
    return proposal


def _write(columns: dict[str, Column], wanted: Wanted, records: Sequence[JsonObject]) -> Proposal:
    written = {name: columns[name] for name in columns if name not in _given(wanted)}
    longest = max(written.values(), key=lambda column: column.words) if written else None
    answer = wanted.label or (longest.name if longest else "")
    if not answer:
        raise RecipeError("no column is left to write", where="--input", next_step="name fewer columns")
    others = [name for name in columns if name != answer and columns[name].values]
    own = "\n".join(f"{name}: {{{name}}}" for name in others)
    proposal = Proposal(
        {"input": wanted.input or own, "question": _asked(answer), "answer": f"{{{answer}}}"},
        found=[f"the text in {answer} is written, {columns[answer].words:.0f} words on average"],
    )
    proposal.offers.append('checks = ["numbers_in(output, input)"]  # no number that the input lacks')
    return proposal


def _given(wanted: Wanted) -> list[str]:
    return template_fields("input", wanted.input, where="--input") if wanted.input else []


def _input(columns: dict[str, Column], wanted: Wanted, without: list[str]) -> str:
    if wanted.input:
        return wanted.input
    names = find_text(columns, without)
    return f"{{{names[0]}}}" if len(names) == 1 else "\n".join(f"{name}: {{{name}}}" for name in names)


def _asked(name: str) -> str:
    """Return a column's name as a question."""
    words = re.sub(r"[_\W]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).strip()
    return f"{words[:1].upper()}{words[1:]}" + ("?" if name.rstrip().endswith("?") else ":")


def _verbatim_share(name: str, given: Sequence[str], records: Sequence[JsonObject]) -> float:
    """Return the share of a column's values that stand in the text of their record."""
    held: list[bool] = []
    for record in records:
        value = record.get(name)
        members = value if isinstance(value, list) else as_list(str(value or "")) or [value]
        spans = [fold(str(each)) for each in members if each is not None]
        if any(spans) and len(held) < _LOOKED_AT:
            text = FoldedText("\n".join(str(record.get(each) or "") for each in given))
            held += [bool(text.find(span)) for span in spans if span]
    return sum(held) / len(held) if held else 0.0


def _offer_groups(proposal: Proposal, columns: dict[str, Column]) -> None:
    used = {str(proposal.fields.get("answer", ""))[1:-1], *proposal.schema}
    groups = find_groups(columns, used)
    for column in groups:
        proposal.offers.append(
            f'group = "{{{column.name}}}"  # {len(column.counts):,} values: rows of one are never both learnt and asked'
        )
    if groups and "test" not in proposal.fields:
        names = " or ".join(f"{{{column.name}}}" for column in groups)
        proposal.warnings.append(
            f"rows that belong together may be on both sides: see whether `group` is {names}"
        )


def _try(proposal: Proposal, records: Sequence[Record]) -> None:
    """Divide the examples as the build will, and take over what it tells."""
    schema = {"type": "object", "properties": proposal.schema} if proposal.schema else ""
    job = JobConfig.model_validate(proposal.fields | {"json_schema": schema, "start": "base"})
    sides = Sides(job)
    sides.add(records, test=False)
    for name in job.test:
        sides.add(read_records(name), test=True)
    examples = divide(sides, Recipe.model_fields["seed"].default)
    sizes = {
        "to learn from": examples.learn,
        "to validate": examples.validation,
        "to be asked": examples.test,
    }
    proposal.found.append(", ".join(f"{len(rows):,} {what}" for what, rows in sizes.items()))
    proposal.warnings += [note.text for note in examples.notes]
    _offer_context(proposal, job, examples)


def _offer_context(proposal: Proposal, job: JobConfig, examples: Examples) -> None:
    if job.kind == "extract":
        return
    inputs = [len(example.input.encode()) / _BYTES_PER_TOKEN for example in (*examples.learn, *examples.test)]
    longer = sum(length > job.context - 32 for length in inputs) / len(inputs)
    if job.kind == "answer" and longer > _MOST_CUT:
        # What is cut off cannot be answered.
        proposal.fields["context"] = _LONGER
        proposal.comments["context"] = f"tokens; {longer:.0%} of the passages would be cut at {job.context}"
        return
    said = f"about {longer:.0%} of the inputs are longer; their start is kept" if longer else "all inputs fit"
    proposal.offers.append(f"context = {job.context}  # tokens; {said}")
    if longer:
        proposal.offers.append('keep = "end"')
        proposal.warnings.append(
            f"about {longer:.0%} of the inputs are longer than {job.context} tokens, and are cut"
        )


def _render(proposal: Proposal, head: Sequence[str]) -> str:
    lines = [*head, "", "[[jobs]]"]
    lines[:0] = [
        "# Written by `tinsmith init` after a look at the examples:",
        *(f"#   {s}" for s in proposal.found),
    ]
    for name, value in proposal.fields.items():
        comment = proposal.comments.get(name, "")
        lines.append(f"{name} = {toml_value(value)}" + (f"  # {comment}" if comment else ""))
    lines.append('budget = "20m"  # learning, the search for settings included; more examples want more')
    lines += ["# What may be changed; lines with # show defaults or proposals:"]
    lines += [f"# {offer}" for offer in proposal.offers]
    lines.append(
        "# ask_a_person = 0.9  # share of given answers that must be right; the others go to a person"
    )
    if proposal.schema:
        lines += ["", "[jobs.json_schema]", 'type = "object"', "", "[jobs.json_schema.properties]"]
        lines += [f"{json.dumps(name)} = {toml_value(part)}" for name, part in proposal.schema.items()]
    lines += ["", "[evaluate]", '# rivals = ["gemma-3-270m"]  # other models, asked the same']
    lines.append('precision = "auto"  # bfloat16 where the processor has it, which halves the time')
    return "\n".join(lines) + "\n"
