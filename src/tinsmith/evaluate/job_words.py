"""What a job's figures say: right in 100, against whom, and whether something simpler does as well."""

from __future__ import annotations

from collections.abc import Sequence

from tinsmith.evidence.family import Results
from tinsmith.evidence.format import count, listing, number, percent, points
from tinsmith.evidence.outcome import BETTER, UNCLEAR, WORSE, Duel, worst
from tinsmith.evidence.schema import LINEAR, Finding, JobSummary, MetricRow, Subject

_RIGHT = ("job_accuracy", "job_exact_match")  # figures that count rows


def say_job(job: JobSummary, results: Results) -> list[Finding]:
    """Return the sentences of one job, the most important first."""
    row = results.row(job.headline, job.subject)
    if row is None:
        return []
    subjects = {subject.subject: subject for subject in results.metrics.subjects}
    duels = [duel for duel in results.duels if duel.metric == job.headline and duel.ours == job.subject]
    found = [Finding(verdict=job.job, text=_right(job, row), outcome=BETTER)]
    if duels:
        found.append(Finding(verdict=job.job, text=_against(duels, subjects), outcome=worst(duels)))
    if simpler := [name for name in job.simpler if name in subjects]:
        found.insert(
            0, Finding(verdict=job.job, text=_use(job, simpler, row, results, subjects), outcome=WORSE)
        )
    if job.shared and (apart := results.row(f"{job.headline}:unshared", job.subject)):
        text = (
            f"{count(job.shared)} of {count(job.items)} test rows also stand in the examples, or are of a group that "
            f"does; without them {_hundred(apart)} are right."
        )
        found.append(Finding(verdict=job.job, text=text, outcome=UNCLEAR))
    if alone := results.row(f"{job.headline}:without_words", job.subject):
        text = (
            "A linear model over words, learnt from the same examples, also counts in each answer. "
            f"The language model alone gets {_hundred(alone)} in 100 right."
        )
        found.append(Finding(verdict=job.job, text=text, outcome=UNCLEAR))
    for recorded in job.recorded:
        lost = (
            *(recorded.unmatched_rows, recorded.ambiguous, recorded.without_answer),
            *(recorded.unanswered, recorded.unreadable, recorded.contradicting),
        )
        if any(lost) and recorded.subject in subjects:
            text = (
                f"Recorded answers of {subjects[recorded.subject].name}: {count(recorded.matched)} of "
                f"{count(recorded.matched + recorded.unanswered)} questions have one, {count(recorded.unreadable)} "
                f"cannot be read and count as wrong, {count(recorded.unmatched_rows)} rows answer other inputs, "
                f"{count(recorded.ambiguous)} do not say which question they answer, "
                f"{count(recorded.without_answer)} have no answer, "
                f"{count(recorded.contradicting)} inputs have different answers, of which the first counts."
            )
            found.append(Finding(verdict=job.job, text=text, outcome=UNCLEAR))
    return found


def _right(job: JobSummary, row: MetricRow) -> str:
    what = "right" if row.name in _RIGHT else row.label.partition(",")[0]
    where = f"{job.job.replace('_', ' ')}: {_hundred(row)} in 100 {what}"
    return f"{where[:1].upper()}{where[1:]} ({_interval(row)}; {count(job.items)} test rows)."


def _hundred(row: MetricRow) -> str:
    return number(100 * row.value, 0)


def _interval(row: MetricRow) -> str:
    low, high = (row.value if end is None else end for end in (row.low, row.high))
    return f"{number(100 * low, 0)} to {number(100 * high, 0)}"


def _against(duels: Sequence[Duel], subjects: dict[str, Subject]) -> str:
    groups = []
    for outcome in (BETTER, UNCLEAR, WORSE):
        named = [
            f"{subjects[duel.other].name} ({points(duel.difference)}{_caution(duel)})"
            for duel in duels
            if duel.outcome == outcome
        ]
        if named:
            groups.append(f"{outcome} than {listing(named)}")
    return f"It is {'; '.join(groups)}."


def _caution(duel: Duel) -> str:
    if duel.by_chance:
        return ", may be chance"
    if duel.outcome == UNCLEAR and duel.detectable:
        return f"; {number(100 * duel.detectable, 0)} would be detected"
    return ""


def _use(
    job: JobSummary, simpler: Sequence[str], row: MetricRow, results: Results, subjects: dict[str, Subject]
) -> str:
    """Advise to use what is simpler and at least as often right, the linear model by its name."""
    linear = [name for name in simpler if name in LINEAR]
    best = (linear or list(simpler))[0]
    other = results.row(job.headline, best)
    assert other is not None
    what = "the linear model" if linear else "the simpler method"
    return (
        f"Use {what} for {job.job.replace('_', ' ')}: {subjects[best].name} is right in {percent(other.value)} of "
        f"rows, this model in {percent(row.value)}."
    )
