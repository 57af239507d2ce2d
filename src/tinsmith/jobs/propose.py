"""Write the recipe of a job after a look at its examples: what was found, in one page, ready to build."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinsmith.base.errors import RecipeError
from tinsmith.base.files import JsonObject
from tinsmith.base.numerals import missing_numbers, numerals
from tinsmith.jobs.advice import (
    Identify,
    choose_context,
    find_language,
    say_header,
    say_labels,
    say_test,
    warn_language,
    warn_lopsided,
)
from tinsmith.jobs.columns import (
    Column,
    find_groups,
    find_label,
    find_named,
    find_text,
    is_sure_group,
    look_at,
    type_of,
)
from tinsmith.jobs.example import Examples
from tinsmith.jobs.examples import Sides, divide
from tinsmith.jobs.records import Record, read_records
from tinsmith.jobs.rendering import as_list
from tinsmith.jobs.spans import FoldedText, fold
from tinsmith.recipe import JobConfig, ModelConfig, Recipe
from tinsmith.recipe.toml import new_recipe, toml_value
from tinsmith.tokens.templates import readable, template_fields

_NUMBERS = "numbers_in(output, input)"
_HOLDS, _WITH_NUMBERS = 0.99, 0.2  # shares of examples: with no other number, and with a number at all
_LOOKED_AT = 300  # records whose values are looked for in their texts
_LEAST_VERBATIM = 0.5  # of the values of a field must stand in the text
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
    schema: dict[str, dict[str, Any]] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    offers: list[str] = field(default_factory=list)  # lines that are commented out
    found: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def propose(directory: Path, wanted: Wanted, identify: Identify | None = None) -> tuple[Path, Proposal]:
    """Write DIR/recipe.toml for a job; return its path and what was found. Raises TinsmithError; overwrites nothing.

    The examples are read and divided as the build will, so what the build would refuse is refused here. `identify`
    tells the language of a text; without it, texts are taken to be English.
    """
    recipe = new_recipe(directory, wanted.documents)
    name = re.sub(r"[^a-z0-9]+", "_", recipe.name.lower()).strip("_")
    proposal = _look(name if name[:1].isalpha() else f"job_{name}", wanted, identify)
    recipe.write(_render(proposal, recipe.head))
    return recipe.path, proposal


def _look(name: str, wanted: Wanted, identify: Identify | None) -> Proposal:
    place, records = _read(wanted.examples)
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
    tested, asked = _read(wanted.test) if wanted.test else ("", [])
    test = {"test": [tested]} if tested else {}
    proposal.fields = {"name": name, "kind": wanted.kind} | proposal.fields | {"examples": [place]} | test
    if wanted.documents:
        proposal.fields["start"] = "documents"
        proposal.comments["start"] = 'the model that went on with the documents; "base" leaves them out'
    proposal.found.insert(0, f"{len(records):,} records with the columns {', '.join(columns)}")
    proposal.warnings += say_header(columns)
    _choose_group(proposal, columns, look_at([record.fields for record in asked]) if tested else columns)
    _advise(proposal, *_try(proposal, records, asked), identify)
    return proposal


def _read(name: str) -> tuple[str, list[Record]]:
    """Return the absolute path of a file, and its records. Raises RecipeError if it holds none."""
    place = str(Path(name).expanduser().resolve())
    records = [each for each in read_records(place) if isinstance(each, Record)]
    if not records:
        raise RecipeError("holds no records", where=name, next_step="give a table with a header")
    return place, records


def _classify(columns: dict[str, Column], wanted: Wanted, records: Sequence[JsonObject]) -> Proposal:
    given = _given(wanted)
    names = (
        [wanted.label]
        if wanted.label
        else find_label({name: columns[name] for name in columns if name not in given})
    )
    column = columns[names[0]]
    answer = "; ".join(f"{{{name}}}" for name in names)
    proposal = Proposal(
        {
            "input": _input(columns, wanted, names),
            "question": _asked(names[0]),
            "answer": answer,
        }
    )
    if len(names) > 1:
        proposal.fields |= {"question": "Labels:", "several": True}
        proposal.found.append(
            f"{len(names)} columns that say by 0 and 1 whether a label fits, several for a text"
        )
        return proposal
    if not column.several and column.at_commas:
        proposal.fields["labels"] = list(column.at_commas)
        proposal.comments["labels"] = "each is listed, so that a comma can part them"
    if column.several or column.at_commas:
        proposal.fields["several"] = True
    proposal.comments["answer"] = "list the labels in `labels` to fix them and their order"
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
    schema = {name: type_of(columns[name]) | {"title": _asked(name).rstrip(":")} for name in fields}
    proposal = Proposal({"input": wanted.input or f"{{{given[0]}}}"}, schema)
    proposal.found.append(
        f"fields: {', '.join(_say_field(name, schema[name], share) for name, share in fields.items())}"
    )
    others = [name for name, share in shares.items() if share < _LEAST_VERBATIM and columns[name].values]
    if others:
        listed = ", ".join(
            f"{name} ({shares[name]:.0%}, such as {columns[name].values[0][:30]})" for name in others
        )
        proposal.warnings.append(
            f"not taken as fields, since too few of their values stand in the text: {listed}. To have one found, write "
            "its values as the text does; a date or a number is normalised afterwards"
        )
    return proposal


def _say_field(name: str, part: dict[str, Any], share: float) -> str:
    kind = part.get("format") or part["type"]
    return f"{name} ({kind}, {share:.0%} verbatim)"


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
    others = [
        name for name in columns if name != answer and columns[name].values and not columns[name].numbers_rows
    ]
    own = "\n".join(f"{name}: {{{name}}}" for name in others)
    proposal = Proposal(
        {"input": wanted.input or own, "question": _asked(answer), "answer": f"{{{answer}}}"},
        found=[f"the text in {answer} is written, {columns[answer].words:.0f} words on average"],
    )
    if not wanted.input and _numbers_come_from(others, answer, records):
        proposal.fields["checks"] = [_NUMBERS]
        proposal.comments["checks"] = "no number that the input lacks, as in all examples"
    else:
        proposal.offers.append(f"checks = {toml_value([_NUMBERS])}  # no number that the input lacks")
    return proposal


def _numbers_come_from(names: Sequence[str], answer: str, records: Sequence[JsonObject]) -> bool:
    """Say whether texts have numbers, and hardly any has one that the other columns lack."""
    texts = [readable(record) for record in records[:_LOOKED_AT]]
    pairs = [
        (" ".join(f"{name}: {text.get(name, '')}" for name in names), text[answer])
        for text in texts
        if answer in text
    ]
    lacking = sum(bool(missing_numbers(written, [given])) for given, written in pairs)
    counted = sum(bool(numerals(written)) for _, written in pairs)
    return counted >= _WITH_NUMBERS * len(pairs) and lacking <= (1 - _HOLDS) * len(pairs)


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


def _choose_group(proposal: Proposal, columns: dict[str, Column], asked: dict[str, Column]) -> None:
    """Take the column that surely tells which rows belong together, and offer others. `asked` are those of the test."""
    used = {
        *template_fields("answer", str(proposal.fields.get("answer", "")), where="answer"),
        *proposal.schema,
    }
    groups = [column for column in find_groups(columns, used) if column.name in asked]
    sure = [column for column in groups if is_sure_group(column)]
    if sure:
        chosen = sure[0]
        proposal.fields["group"] = f"{{{chosen.name}}}"
        proposal.comments["group"] = "rows with the same value are never split between learning and test"
        proposal.found.append(
            f"rows with the same {chosen.name} stay on one side ({len(chosen.counts):,} values): no test row shares "
            "it with a row that is learnt from; remove `group` if such rows are unrelated"
        )
    for column in groups:
        if column not in sure[:1]:
            meaning = f"{len(column.counts):,} values; rows with the same value stay on one side"
            proposal.offers.append(f'group = "{{{column.name}}}"  # {meaning}')
    if groups and not sure and "test" not in proposal.fields:
        names = " or ".join(f"{{{column.name}}}" for column in groups)
        proposal.warnings.append(
            f"rows that belong together may be split between learning and test: consider {names} as `group`"
        )


def _try(
    proposal: Proposal, records: Sequence[Record], asked: Sequence[Record]
) -> tuple[JobConfig, Examples]:
    """Divide the examples as the build will, and return them with the job."""
    schema = {"type": "object", "properties": proposal.schema} if proposal.schema else ""
    job = JobConfig.model_validate(proposal.fields | {"json_schema": schema, "start": "base"})
    sides = Sides(job)
    sides.add(records, test=False)
    if asked:
        sides.add(asked, test=True)
    return job, divide(sides, Recipe.model_fields["seed"].default)


def _advise(proposal: Proposal, job: JobConfig, examples: Examples, identify: Identify | None) -> None:
    """Add what a person should know of the divided examples, and a context that holds the inputs."""
    language = find_language(examples, identify) if identify else ""
    if job.kind == "classify":
        proposal.found.append(say_labels(job, examples))
        proposal.warnings += warn_lopsided(job, examples)
    proposal.found.append(f"{len(examples.learn):,} to learn from, {len(examples.validation):,} to validate")
    said, small = say_test(job, examples)
    proposal.found.append(said)
    proposal.warnings += [*warn_language(language, ModelConfig.model_fields["base"].default), *small]
    proposal.warnings += [note.text.rstrip(".") for note in examples.notes]
    if job.kind != "extract":
        _choose_context(proposal, job, examples, language)


def _choose_context(proposal: Proposal, job: JobConfig, examples: Examples, language: str) -> None:
    every = [*examples.learn, *examples.validation, *examples.test]
    context, cut, usual = choose_context(every, job.kind, language, job.context)
    if context > job.context:
        proposal.fields["context"] = context
        times = context // job.context
        proposal.comments["context"] = f"tokens; at {job.context}, {usual:.0%} of the inputs would be cut"
        proposal.warnings.append(
            f"about {usual:.0%} of the inputs are longer than {job.context} tokens, so `context` is {context}: "
            f"learning and asking take up to {times} times as long, and more memory; a smaller one is faster"
        )
    elif not cut:
        proposal.offers.append(f"context = {context}  # tokens; all inputs fit")
    if not cut:
        return
    if context == job.context:
        proposal.offers.append(
            f"context = {2 * context}  # tokens; at {context}, {cut:.0%} of the inputs are cut"
        )
    proposal.offers.append('keep = "end"  # of a longer input; its start is kept otherwise')
    proposal.warnings.append(
        f"about {cut:.0%} of the inputs are longer than {context} tokens: their start is kept and the rest is never "
        'read. Set keep = "end" if what matters stands at the end, or a larger `context`, which takes longer'
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
