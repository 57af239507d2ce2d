"""The first screen of a bundle with jobs: how often the model is right, how sure that is, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinsmith.evidence import format as words
from tinsmith.evidence.outcome import BETTER, UNCLEAR, WORSE, Duel, worst
from tinsmith.evidence.schema import LINEAR, JobSummary, MetricRow, Role, Subject
from tinsmith.report.schema import Evidence, FirstScreen

ROWS = 7  # of the picture, so that it fits a phone together with three sentences
_NAMED = 2  # others that a sentence names
_ENOUGH_RIGHT = 0.9  # of the answers that are given, where the recipe asks for no share
# By the metric of a job's headline: what is done with how many of 100, and the word before another's number.
_DOES = {
    "job_accuracy": ("gives the right {job} for {n} of 100 texts", "for"),
    "job_exact_match": ("gives the exact {job} for {n} of 100 questions", "for"),
    "job_micro_f1": ("finds the labels of {job} with an F1 of {n} in 100", "with"),
    "job_span_f1": ("finds the fields of {job} with an F1 of {n} in 100", "with"),
    "job_agreement": ("writes a {job} that agrees with the right text in {n} of 100 parts", "in"),
}
_OTHERWISE = ("is right at {job} in {n} of 100 cases", "in")


@dataclass(frozen=True)
class JobResult:
    """A job's headline figure: ours, those of the others from the best to the worst, and the differences to them."""

    job: JobSummary
    ours: MetricRow
    others: tuple[MetricRow, ...]
    duels: tuple[Duel, ...]
    subjects: dict[str, Subject]

    @property
    def name(self) -> str:
        """Return the job in words."""
        return self.job.job.replace("_", " ")

    @property
    def outcome(self) -> str:
        """Return the worst outcome against the others; against a simpler method, equal is not enough."""
        return WORSE if self.job.simpler else worst(self.duels)

    def called(self, subject: str) -> str:
        """Return a subject's name in a sentence."""
        known = self.subjects.get(subject)
        named = known.name if known else subject
        if known and known.shots:
            named = named.replace(", ", " with ")
        if subject in LINEAR:  # the picture beside it has the technical name
            return f"a linear model over words ({'TF-IDF' if subject == 'tfidf' else 'naive Bayes'})"
        return f"the base {named}" if self.role(subject) is Role.BASE else named

    def role(self, subject: str) -> Role:
        """Return a subject's role."""
        return self.subjects[subject].role if subject in self.subjects else Role.RIVAL


def job_results(evidence: Evidence) -> list[JobResult]:
    """Return the headline figure of each job that was measured."""
    subjects = {subject.subject: subject for subject in evidence.subjects}
    found = []
    for job in evidence.jobs or ():
        rows = [row for row in evidence.metrics if row.metric == job.headline]
        ours = next((row for row in rows if row.subject == job.subject), None)
        others = [
            row for row in rows if row.subject not in subjects or not subjects[row.subject].role.is_ours
        ]
        others.sort(key=lambda row: (-row.value, row.subject))
        duels = [
            duel
            for duel in evidence.verdict.duels
            if duel.metric == job.headline and duel.ours == job.subject and not duel.role.is_ours
        ]
        if ours is not None:
            found.append(JobResult(job, ours, tuple(others), tuple(duels), subjects))
    return found


def job_screen(evidence: Evidence, result: JobResult) -> FirstScreen:
    """Return what the first screen says of a job."""
    named = _named(result)
    shown = [*named, *(row for row in result.others if row not in named)][: ROWS - 1]
    shown.sort(key=result.others.index)
    return FirstScreen(
        sentences=(_right(result, named), _sure(result), _costs(evidence, result)),
        outcome=result.outcome,
        metric=result.ours.metric,
        subjects=(result.ours.subject, *(row.subject for row in shown)),
    )


def _named(result: JobResult) -> list[MetricRow]:
    """Return whom the first sentence names: the best rival, or else the base, and the best linear model."""

    def best(role: Role, names: Sequence[str] = ()) -> list[MetricRow]:
        of_role = [row for row in result.others if result.role(row.subject) is role]
        return [row for row in of_role if not names or row.subject in names][:1]

    rival = best(Role.RIVAL) or best(Role.BASE)
    named = [*rival, *(best(Role.BASELINE, LINEAR) or best(Role.BASELINE))]
    return sorted(named, key=lambda row: -row.value)


def _right(result: JobResult, named: Sequence[MetricRow]) -> str:
    simpler = [*(name for name in result.job.simpler if name in LINEAR), *result.job.simpler][:1]
    does, word = _DOES.get(result.ours.name, _OTHERWISE)
    if simpler:
        other = next(row for row in result.others if row.subject == simpler[0])
        what = "the linear model" if simpler[0] in LINEAR else result.called(simpler[0])
        theirs = does.format(job=result.name, n=in_100(other))
        return f"Use {what}: it {theirs}, this model {word} {in_100(result.ours)}."
    others = [f"{result.called(row.subject)} {word} {in_100(row)}" for row in named]
    ours = does.format(job=result.name, n=in_100(result.ours))
    return f"It {ours}{'; ' if others else ''}{', '.join(others)}."


def in_100(row: MetricRow) -> str:
    """Return a share as a number out of 100."""
    return words.number(100 * row.value, 0)


def _sure(result: JobResult) -> str:
    groups = {
        outcome: [duel for duel in result.duels if duel.outcome == outcome]
        for outcome in (BETTER, UNCLEAR, WORSE)
    }
    total, better = len(result.duels), len(groups[BETTER])
    if not total:
        return "Nobody else was asked, so how good that is remains unknown."
    if better == total:
        return f"That it is better than {_each(total)} is shown."
    ours = "This model" if result.job.simpler else "It"  # the sentence before may speak of the simpler one
    if total == 1:
        judged = "shown to be worse" if groups[WORSE] else "not shown to be better"
        return f"{ours} is {judged} than {_some(result, result.duels, 1)}."
    shown = f"is shown to be better than {better}" if better else "is not shown to be better than any"
    parts = [f"{ours} {shown} of {total} others"]
    # With losses beside what is not shown, fewer names, so that the picture fits a phone below them.
    most = 1 if groups[UNCLEAR] and groups[WORSE] else _NAMED
    if groups[UNCLEAR]:
        parts.append(f"against {_some(result, groups[UNCLEAR], most)} the difference may be chance")
    if groups[WORSE]:
        many = "is" if len(groups[WORSE]) == 1 else "are"
        parts.append(f"{_some(result, groups[WORSE], most)} {many} shown to be better")
    return f"{'; '.join(parts)}."


def _each(total: int) -> str:
    return "the one other" if total == 1 else f"each of the {total} others"


def _some(result: JobResult, duels: Sequence[Duel], most: int) -> str:
    """Name the first of the others, and how many more there are."""
    named = list(dict.fromkeys(result.called(duel.other) for duel in duels))
    more = [f"{len(named) - most} more"] if len(named) > most else []
    return words.listing([*named[:most], *more])


def _costs(evidence: Evidence, result: JobResult) -> str:
    """Say what 1,000 rows take here and cost elsewhere, as recorded, and what is left to a person."""
    figures = {
        row.name: row
        for row in evidence.metrics
        if row.subject == result.job.subject and row.qualifiers == (result.job.job,)
    }
    write = {
        "job_seconds": lambda row: words.duration(row.value),
        "job_joules": lambda row: f"{words.significant(row.value)} J",
        "job_energy_price": lambda row: f"{words.money(row.value, row.unit)} of electricity",
    }
    here = [write[name](figures[name]) for name in write if name in figures]
    told = [f"1,000 texts take {words.listing(here)} here"] if here else []
    prices = [row for row in evidence.metrics if row.metric == f"job_price:{result.job.job}"]
    if prices:
        row = max(prices, key=lambda row: row.value)
        recorded = "recorded " * (row.method == "recorded")
        told.append(
            f"the {recorded}price of {result.called(row.subject)} is {words.money(row.value, row.unit)}"
        )
    text = "; ".join([*told, _left_to_a_person(result.job, figures)])
    return f"{text[:1].upper()}{text[1:]}."


def _left_to_a_person(job: JobSummary, figures: dict[str, MetricRow]) -> str:
    if given := figures.get("job_given"):
        left = words.number(100 * (1 - given.value), 0)
        if job.kind == "write":
            text = f"{left} of 100 are withheld and go to a person"
            return f"{text}, the others keep all checks" if "job_checks_kept" in figures else text
        text = f"{left} of 100 go to a person"
        right = figures.get("job_right_given")
        return f"{text}, of the others {words.percent(right.value)} are right" if right else text
    enough = [point for point in job.coverage if point.right >= _ENOUGH_RIGHT]
    if not job.coverage or job.coverage[-1].right >= _ENOUGH_RIGHT:
        return "nothing is left to a person"
    if not enough:
        return f"no answers are so sure that {_in_10(_ENOUGH_RIGHT)} of them are right"
    left = words.number(100 * (1 - max(point.given for point in enough)), 0)
    return f"for {_in_10(_ENOUGH_RIGHT)} answers to be right, {left} of 100 go to a person"


def _in_10(share: float) -> str:
    return f"{words.number(10 * share, 0)} of 10"
