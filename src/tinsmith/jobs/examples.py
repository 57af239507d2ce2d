"""Examples of a job: read from records, judged, and divided into what is learnt, validated and examined on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from tinsmith.base.errors import CorpusError
from tinsmith.jobs.checks import Checks
from tinsmith.jobs.divide import choose_groups
from tinsmith.jobs.example import Example, Examples
from tinsmith.jobs.records import REASONS as DAMAGED
from tinsmith.jobs.records import Record, Reject
from tinsmith.jobs.rendering import NoExample, Rendering
from tinsmith.jobs.spans import fold
from tinsmith.jobs.write import example_answer
from tinsmith.recipe import JobConfig

FEWEST = 8  # examples to learn from
FEW = 100  # fewer are told
RARE = 5  # examples of a label; fewer are told
VALIDATION, MOST_VALIDATION = 0.15, 1000  # share of the learning side, and rows at most
LEAST_VALIDATION = 2  # rows of each label, where it has twice as many
MOST_DISTINCT = 2 / 3  # of the examples may have a label of their own
# Why rows are left out, where no other note says it.
_WHY_NOT = DAMAGED | {
    "empty_input": "there is nothing to read",
    "empty_question": "there is no question",
    "no_answer": "there is no answer",
    "not_a_label": "the answer is none of the labels",
    "not_of_the_schema": "the answer is not of the schema",
    "span_left_out": "one of several values does not stand in the text, and is left out alone",
    "span_not_in_text": "a value does not stand in the text",
}


class Sides:
    """The records of a job on the side that is learnt from, and on the side of the test if it has one of its own."""

    def __init__(self, config: JobConfig, *, documents: bool = False) -> None:
        """`documents` says that records are documents with their `doc_id` and `cluster`."""
        self.config, self.rendering, self.documents = config, Rendering(config), documents
        self.checks = Checks(config)
        self.broken_tests: list[str] = []  # rows of the test whose right answer breaks a check
        self.rejects: list[Reject] = []
        self.learning: list[Example] = []
        self.test: list[Example] = []
        self._seen: dict[str, str] = {}  # the short names of files

    def add(self, records: Iterable[Record | Reject], *, test: bool) -> None:
        """Add the records of one file, or the documents of one part. Raises RecipeError for an unknown field."""
        known: dict[str, None] = {}
        side = self.test if test else self.learning
        source = ""
        for record in records:
            source = source or record.source
            if isinstance(record, Reject):
                self.rejects.append(record)
                continue
            known |= dict.fromkeys(record.fields)
            try:
                side.append(self._checked(self._example(record), test=test))
            except NoExample as reason:
                self.rejects.append(Reject(record.source, record.row, reason.reason, reason.detail))
        if known:
            where = "the documents" if self.documents else source
            self.rendering.check_fields(list(known), source=where)
            self.checks.check_names(list(known))

    def _example(self, record: Record) -> Example:
        text = self.rendering.input(record.fields)
        answer = self._answer(record, text)
        group = self.rendering.group(record.fields)
        if self.documents:
            name, group = record.fields["doc_id"], group or record.fields["cluster"]
        else:
            name = f"{self._short(record.source)}:{record.row}"
            group = group or hashlib.sha256(fold(text).casefold().encode("utf-8", "replace")).hexdigest()[:16]
        asked = self.rendering.question(record.fields)
        return Example(name, group, text, answer, record.fields, record.source, record.row, question=asked)

    def _checked(self, example: Example, *, test: bool) -> Example:
        """Return an example whose answer breaks no check; a row of the test is kept, and told.

        Raises NoExample for one that would teach what is never given.
        """
        why = self.checks.broken({"input": example.input, "record": example.record}, example.answer)
        if why and not test:
            raise NoExample("breaks_check", why)
        if why:
            self.broken_tests.append(example.id)
        return example

    def _short(self, source: str) -> str:
        """Return the name of a file without its directory, or with it where another file is called the same."""
        short = source.rpartition("/")[2]
        return short if self._seen.setdefault(short, source) == source else source

    def _answer(self, record: Record, input_text: str) -> Any:
        kind = self.config.kind
        if kind == "extract":
            answer, missing = self.rendering.spans(record.fields, input_text)
            self.rejects += [Reject(record.source, record.row, "span_left_out", detail) for detail in missing]
            return answer
        if kind == "classify":
            labels = self.rendering.labels(record.fields)
            if not labels and not self.config.several:
                raise NoExample("no_answer")
            return labels if self.config.several else labels[0]
        text = self.rendering.text_answer(record.fields)
        if kind == "answer":
            return {"answer": text, "quote": self.rendering.quote(record.fields)} if text else None
        if not text:
            raise NoExample("no_answer")
        try:
            return example_answer(self.checks, text)
        except ValueError as error:
            raise NoExample("not_of_the_schema", str(error)) from None


def divide(sides: Sides, seed: int) -> Examples:
    """Return the examples of a job, divided. Raises CorpusError if there are too few to learn or to be examined on."""
    config = sides.config
    sides.checks.refuse_never_held()
    found = Examples(rejects=sides.rejects, learn=sides.learning, test=sides.test)
    if config.kind == "classify":
        _use_labels(found, config)
    _enough(found, config)
    if not found.test:
        _hold_out(found, config, seed)
    _mark_shared(found, config)
    if config.kind == "classify":
        _leave_out_contradictions(found)
    elif config.kind == "answer":
        rows = _contradicting(found.learn)
        found.note(
            "contradiction", f"{len(rows)} examples ask the same with another answer; they are kept.", rows
        )
    _enough(found, config)
    found.note(
        "test_breaks_check",
        f"The right answers of {len(sides.broken_tests)} rows of the test break a check.",
        sides.broken_tests,
    )
    broken = [f"{one.source}:{one.row}" for one in found.rejects if one.reason == "breaks_check"]
    found.note("breaks_check", f"{len(broken)} examples break a check and are not learnt from.", broken)
    _note_rows(found, config)
    _validate(found, config, seed)
    return found


def _where(config: JobConfig) -> str:
    return f"jobs.{config.name}"


def _labels_of(example: Example) -> list[str]:
    return example.answer if isinstance(example.answer, list) else [example.answer]


def _choose(found: Examples, wanted: Callable[[int], float], seed: int, what: str) -> set[str]:
    """Return the groups of a part that has its share of every label, or of the examples without an answer."""
    strata: list[Sequence[str]] = [
        _labels_of(example) if found.labels else [str(example.answer is None)] for example in found.learn
    ]
    return choose_groups([example.group for example in found.learn], strata, wanted, seed, what)


def _use_labels(found: Examples, config: JobConfig) -> None:
    """Give every answer the spelling of its label, and reject answers that are no label."""
    spelt = Counter(label for example in (*found.learn, *found.test) for label in _labels_of(example))
    given = {fold(label).casefold(): fold(label) for label in config.labels}
    usual = sorted(spelt, key=lambda label: (-spelt[label], label))
    names = given or {label.casefold(): label for label in reversed(usual)}
    others = sorted(label for label in spelt if names.get(label.casefold(), label) != label)
    pairs = ", ".join(f"{label} ({spelt[label]}) as {names[label.casefold()]}" for label in others)
    rows = [
        example.id
        for example in (*found.learn, *found.test)
        if any(label in others for label in _labels_of(example))
    ]
    found.note(
        "alike_labels",
        f"Labels that differ in case alone are read as one: {pairs}.",
        rows,
    )
    for side in ("learn", "test"):
        kept = []
        for example in getattr(found, side):
            labels = _labels_of(example)
            foreign = [label for label in labels if label.casefold() not in names]
            if foreign:
                detail = f"{foreign[0]!r} is not one of the labels"
                found.rejects.append(Reject(example.source, example.row, "not_a_label", detail))
                continue
            own = [names[label.casefold()] for label in labels]
            kept.append(replace(example, answer=sorted(set(own)) if config.several else own[0]))
        setattr(found, side, kept)
    counts = Counter(label for example in found.learn for label in _labels_of(example))
    tested = {label for example in found.test for label in _labels_of(example)}
    order = sorted(counts.keys() | tested, key=lambda label: (-counts[label], label))
    found.labels = tuple(given.values()) or tuple(order)
    _check_labels(found, config, counts)


def _check_labels(found: Examples, config: JobConfig, counts: Counter[str]) -> None:
    if len(found.learn) >= FEWEST and len(counts) < 2 - config.several:
        only = next(iter(counts), "none")
        raise CorpusError(
            f"all {len(found.learn)} examples have one label, {only!r}: there is nothing to tell apart",
            where=_where(config),
            next_step="add examples of another label, or name another field in `answer`",
        )
    if len(counts) > max(FEWEST, MOST_DISTINCT * len(found.learn)) and not config.labels:
        raise CorpusError(
            f"{len(counts)} different answers in {len(found.learn)} examples are not labels",
            where=_where(config),
            next_step="name the field of the label in `answer`, list `labels`, or use another kind, such as write",
        )
    rare = {label: counts[label] for label in found.labels if 0 < counts[label] < RARE}
    listed = ", ".join(f"{label} ({count})" for label, count in rare.items())
    found.note(
        "rare_label",
        f"Labels with fewer than {RARE} examples can hardly be learnt: {listed}.",
        [example.id for example in found.learn if any(label in rare for label in _labels_of(example))],
        len(rare),
    )
    unseen = [label for label in found.labels if not counts[label]]
    found.note(
        "unseen_label", f"Labels without an example are never learnt: {', '.join(unseen)}.", (), len(unseen)
    )


def _enough(found: Examples, config: JobConfig) -> None:
    if len(found.learn) < FEWEST:
        reasons = Counter(reject.reason for reject in found.rejects)
        left_out = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        raise CorpusError(
            f"{len(found.learn)} usable examples are too few to learn from"
            + (f" (left out: {left_out})" if left_out else ""),
            where=_where(config),
            next_step=f"give at least {FEWEST}; a few hundred are a good beginning",
        )
    if config.test and not found.test:
        raise CorpusError(
            "no row of the test is usable",
            where=f"{_where(config)}.test",
            next_step="see why in the examples' rejects, or leave `test` out to hold examples out",
        )


def _take(examples: list[Example], chosen: set[str]) -> tuple[list[Example], list[Example]]:
    """Return the examples of the chosen groups, and the others."""
    return (
        [example for example in examples if example.group in chosen],
        [example for example in examples if example.group not in chosen],
    )


def _hold_out(found: Examples, config: JobConfig, seed: int) -> None:
    chosen = _choose(found, lambda count: config.held_out * count, seed, "test")
    found.test, found.learn = _take(found.learn, chosen)
    if not found.test:
        raise CorpusError(
            f"all {len(found.learn)} examples are of one group, so that none can be held out",
            where=_where(config),
            next_step="give a `test` of its own, or another `group`",
        )


def _leave_out_contradictions(found: Examples) -> None:
    """Of examples with the same input and different answers keep the answer that most have, if there is one."""
    answers: dict[str, Counter[str]] = {}
    for example in found.learn:
        answers.setdefault(example.key, Counter())[example.answer_key] += 1
    keep = {}
    for key, counts in answers.items():
        (best, most), *rest = counts.most_common(2)
        keep[key] = best if not rest or rest[0][1] < most else ""
    against = [example for example in found.learn if example.answer_key != keep[example.key]]
    doubtful = sum(len(counts) > 1 for counts in answers.values())
    found.note(
        "contradiction",
        f"{doubtful} inputs stand in the examples with different answers. The answer that most rows give was kept, "
        f"none where two are as frequent: {len(against)} rows are not learnt from.",
        [example.id for example in against],
    )
    found.rejects += [
        Reject(example.source, example.row, "contradiction", f"another row says otherwise: {example.answer}")
        for example in against
    ]
    found.learn = [example for example in found.learn if example.answer_key == keep[example.key]]
    found.note(
        "contradiction_in_test",
        "Some inputs stand in the test with different answers, so that not all of them can be answered right.",
        _contradicting(found.test),
    )


def _contradicting(examples: list[Example]) -> list[str]:
    """Return the ids of the examples whose input another one has with another answer."""
    answers: dict[str, set[str]] = {}
    for example in examples:
        answers.setdefault(example.key, set()).add(example.answer_key)
    return [example.id for example in examples if len(answers[example.key]) > 1]


def _mark_shared(found: Examples, config: JobConfig) -> None:
    """Mark and note the rows of the test that stand in the examples, or belong to a group of theirs."""
    learnt = {example.key for example in found.learn}
    groups = {example.group for example in found.learn} if config.group else set()
    repeated = [example.id for example in found.test if example.key in learnt]
    found.test = [
        replace(example, shared=example.key in learnt or example.group in groups) for example in found.test
    ]
    found.note(
        "shared_with_test",
        f"{len(repeated)} of {len(found.test)} rows of the test also stand in the examples; the figures are given "
        "with and without them.",
        repeated,
    )
    rows = [example for example in found.test if example.group in groups]
    of = {example.group for example in rows}
    found.note(
        "groups_in_both",
        f"{len(rows)} of {len(found.test)} rows of the test belong to {len(of)} groups {config.group} that also stand "
        f"in the examples, in {sum(example.group in of for example in found.learn)} rows; the figures are given with "
        "and without them.",
        [example.id for example in rows],
    )


def _note_rows(found: Examples, config: JobConfig) -> None:
    first: dict[str, str] = {}
    repeated = [
        example.id for example in found.learn if first.setdefault(example.key, example.id) != example.id
    ]
    found.note(
        "duplicate",
        f"{len(repeated)} of {len(found.learn)} examples have the input of another; they are kept.",
        repeated,
    )
    if len(found.learn) < FEW:
        found.note(
            "few_examples",
            f"{len(found.learn)} examples to learn from are few; more would probably help.",
            (),
            len(found.learn),
        )
    reasons: dict[str, list[str]] = {}
    for reject in found.rejects:
        reasons.setdefault(reject.reason, []).append(f"{reject.source}:{reject.row}")
    for reason, rows in sorted(reasons.items()):
        if reason in _WHY_NOT:
            found.note(f"rejected_{reason}", f"{len(rows)} rows are left out: {_WHY_NOT[reason]}.", rows)


def _validate(found: Examples, config: JobConfig, seed: int) -> None:
    """Choose the validation part from the learning side."""
    share = min(VALIDATION, MOST_VALIDATION / len(found.learn))

    def wanted(count: int) -> float:
        return max(share * count, min(LEAST_VALIDATION, count // 2))

    chosen = _choose(found, wanted, seed, "validation")
    found.validation, found.learn = _take(found.learn, chosen)
    if not found.validation:
        found.note(
            "no_validation",
            f"All {len(found.learn)} examples to learn from are of one group, so that none is left for validation: "
            "settings are those that are usual, and confidence is not calibrated.",
            (),
            len(found.learn),
        )
