"""The first screen of the page: at most three sentences and one picture, for a person who decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tinsmith.evidence import format as words
from tinsmith.evidence.outcome import BETTER, NOT_SHOWN, UNCLEAR, WORSE, Duel
from tinsmith.evidence.schema import MetricRow, Role
from tinsmith.report.job_front import in_100, job_results, job_screen
from tinsmith.report.schema import Evidence, FirstScreen
from tinsmith.report.verdict import HEADLINE

_EXAM = "accuracy"  # the metric of multiple choice
_BAD = ("leaks", "found")  # outcomes of findings that are reasons to worry
_MODELS = (Role.OURS, Role.BASE, Role.RIVAL)


@dataclass(frozen=True)
class Pointer:
    """A few words of the first screen with a link to what stands below: another job, what is bad, or not shown."""

    outcome: str
    text: str
    section: str


def pointers(evidence: Evidence) -> list[Pointer]:
    """Return what the first screen names besides its sentences: other jobs, what is bad, and what is not shown."""
    told = [
        Pointer(row.outcome, f"{words.readable(row.name)}: {in_100(row.ours)} in 100", f"job-{row.job.job}")
        for row in job_results(evidence)[1:]
    ]
    named = [(name, row) for name, rows in evidence.findings.items() for row in rows if row.front]
    bad = [Pointer(WORSE, row.verdict, name) for name, row in named if row.outcome in _BAD]
    outside = [row for row in evidence.bounds if not row.kept]
    bad += [Pointer(WORSE, f"Out of bounds: {row.label}", "summary") for row in outside]
    gaps = {gap.what for gap in evidence.gaps or ()}
    unknown = [(name, row) for name, row in named if row.outcome == NOT_SHOWN]
    unknown.sort(key=lambda pair: pair[1].verdict not in gaps)
    told += [*_first_of(bad), *_first_of([Pointer(UNCLEAR, row.verdict, name) for name, row in unknown])]
    if count := len(evidence.not_proven):
        told.append(Pointer(UNCLEAR, f"{words.plural(count, 'thing')} not proven", "not-proven"))
    return told


def _first_of(found: Sequence[Pointer]) -> list[Pointer]:
    """Return the first by name, and how many more there are."""
    more = [Pointer(row.outcome, f"{len(found) - 1} more", "summary") for row in found[1:2]]
    return [*found[:1], *more]


def first_screen(evidence: Evidence) -> FirstScreen:
    """Return what the first screen says: of the first job, or else of documents, questions, and what it all took."""
    if results := job_results(evidence):
        return job_screen(evidence, results[0])
    sentences = (_text(evidence), _questions(evidence), _making(evidence))
    roles = {subject.subject: subject.role for subject in evidence.subjects}
    rows = [row for row in evidence.metrics if row.metric == HEADLINE and roles[row.subject] in _MODELS]
    rows.sort(key=lambda row: (roles[row.subject] is not Role.OURS, row.value))
    return FirstScreen(
        sentences=tuple(filter(None, sentences)),
        outcome=evidence.verdict.outcome,
        metric=HEADLINE if rows else "",
        subjects=tuple(row.subject for row in rows),
    )


def _text(evidence: Evidence) -> str:
    """Say with how many fewer bits than others the model predicts unseen documents."""
    ours = evidence.verdict.subject
    values = {row.subject: row.value for row in evidence.metrics if row.metric == HEADLINE}
    duels = [duel for duel in _against_models(evidence) if duel.ours == ours and values.get(duel.other)]
    if not duels:
        return evidence.verdict.headline
    clauses = [_bits(duel, values[duel.other], _name(evidence, duel.other)) for duel in _ranked(duels)]
    return f"It predicts unseen documents {words.listing(clauses)}."


def _against_models(evidence: Evidence) -> list[Duel]:
    return [duel for duel in evidence.verdict.duels if duel.metric == HEADLINE and duel.role in _MODELS]


def _ranked(duels: Iterable[Duel]) -> list[Duel]:
    """Return the worst outcomes first, so that no gain hides a loss."""
    return sorted(duels, key=lambda duel: [WORSE, UNCLEAR, BETTER].index(duel.outcome))


def _bits(duel: Duel, other: float, name: str) -> str:
    if duel.outcome == UNCLEAR:
        return f"no better than {name} as far as is shown"
    share, word = abs(duel.difference) / other, "fewer" if duel.outcome == BETTER else "more"
    return f"with {words.percent(share)} {word} bits than {name}"


def _name(evidence: Evidence, subject: str) -> str:
    named = next((row for row in evidence.subjects if row.subject == subject), None)
    if named is None:
        return subject
    return f"its base {named.name}" if named.role is Role.BASE else named.name


def _questions(evidence: Evidence) -> str:
    """Say what the model gets right in multiple choice, and who does better: where one does, that set of questions."""
    ours = evidence.verdict.subject
    rows = [row for row in evidence.metrics if row.name == _EXAM and row.subject == ours]
    if not rows:
        return ""
    beaten = [(row, winner) for row in rows if (winner := _winner(evidence, row)) is not None]
    row, winner = max(beaten, key=lambda pair: abs(pair[1].difference), default=(rows[0], None))
    asked = f"In multiple choice ({row.label.partition(', ')[2]})"
    right = f"it is right for {in_100(row)} of 100 questions"
    if winner is None:
        return f"{asked} {right}, and no other is shown to do better."
    theirs = next(
        found for found in evidence.metrics if found.subject == winner.other and found.metric == row.metric
    )
    hint = "; use that there" if winner.role is Role.BASELINE else ""
    return f"{asked} {right}, {_name(evidence, winner.other)} for {in_100(theirs)}{hint}."


def _winner(evidence: Evidence, row: MetricRow) -> Duel | None:
    """Return the duel with the best of those that do better than ours, as far as that is shown."""
    duels: Sequence[Duel] = [
        duel
        for duel in evidence.verdict.duels
        if duel.metric == row.metric and duel.ours == row.subject and duel.outcome == WORSE
    ]
    return min(duels, key=lambda duel: duel.difference, default=None)


def _making(evidence: Evidence) -> str:
    if not evidence.stages:
        return ""
    totals = evidence.totals
    made = f"Making it took {words.duration(totals.seconds)} and {words.energy(totals.kwh)}"
    files = [export.bytes for export in evidence.gguf]
    return f"{made}; its smallest file has {words.size(min(files))}." if files else f"{made}."
