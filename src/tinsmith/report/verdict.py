"""The verdict on held-out text in sentences (better, not shown to be better, worse), and what was not proven."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tinsmith.evidence import format as words
from tinsmith.evidence.family import Family
from tinsmith.evidence.outcome import UNCLEAR, WORSE, Duel, find_duels, worst
from tinsmith.evidence.schema import Metrics, Role, Subject
from tinsmith.report.schema import Evidence, Sentence, Verdict

HEADLINE = "bits_per_byte"  # the metric that the headline is about
_UNLIKE = (
    "overlap_low",
)  # its qualifiers on the half of the documents that shares least with training documents
_MODELS = (Role.BASE, Role.RIVAL)
_FEW_BITS = 7  # a weight, below which a file is quantised enough to lose quality


def judge(metrics: Metrics, confidence: float, *, by_interval: bool = False) -> Verdict:
    """Return the verdict on held-out text, and every comparison that our model takes part in.

    `by_interval` decides as earlier versions did, for `verify` alone.
    """
    subjects = {subject.subject: subject for subject in metrics.subjects}
    ours = next((subject.subject for subject in metrics.subjects if subject.role is Role.OURS), None)
    duels = find_duels(metrics.comparisons, subjects, confidence, by_interval=by_interval)
    on_text = [duel for duel in duels if duel.name == HEADLINE and duel.role in _MODELS]
    main = [duel for duel in on_text if duel.ours == ours and not duel.qualifiers]
    unlike = [duel for duel in on_text if duel.ours == ours and duel.qualifiers == _UNLIKE]
    small = [
        duel for duel in on_text if duel.ours != ours and duel.role is Role.RIVAL and not duel.qualifiers
    ]
    return Verdict(
        subject=ours,
        outcome=worst(main),
        headline=_headline(main, subjects),
        unlike=Sentence(text=_unlike(unlike, subjects), outcome=worst(unlike)),
        quantised=Sentence(text=_quantised(small, subjects), outcome=worst(small)),
        duels=tuple(duels),
    )


def _headline(duels: Sequence[Duel], subjects: Mapping[str, Subject]) -> str:
    if not duels:
        return "Nothing was compared on held-out documents, so the quality of this model is unknown."
    items = next((duel.items for duel in duels if duel.items), None)
    where = f"On {words.count(items)} held-out documents" if items else "On held-out documents"
    clauses = [
        _clause(duel, ("its base " if duel.role is Role.BASE else "") + subjects[duel.other].name)
        for duel in duels
    ]
    return f"{where} the model is {words.listing(clauses)}."


def _clause(duel: Duel, other: str) -> str:
    # Both gains and losses are written as positive numbers of bits.
    sign = 1 if duel.outcome == WORSE else -1
    low, high = sorted((sign * duel.low, sign * duel.high))
    amount, interval = f"{words.number(sign * duel.difference)} bits per byte", words.span(low, high)
    if duel.outcome == UNCLEAR:
        detectable = (
            f"; a difference of {words.number(duel.detectable)} would be detected four times in five"
            if duel.detectable
            else ""
        )
        zero = "includes zero"
        if duel.by_chance:
            # An interval alone does not account for the number of differences that were tested.
            zero = f"excludes zero, but among so many comparisons it may be chance: p {words.significant(duel.p_holm)}"
        return (
            f"{UNCLEAR} than {other} (measured gain {amount}; its interval, {interval}, {zero}{detectable})"
        )
    return f"{duel.outcome} than {other} by {amount} ({interval})"


def _unlike(duels: Sequence[Duel], subjects: Mapping[str, Subject]) -> str:
    """Say what is left of the headline where held-out documents share least with training documents."""
    if not duels:
        return ""
    where = f"On the {words.count(duels[0].items)} of them that share least with training documents"
    return f"{where} it is {_clauses(duels, subjects)}."


def _quantised(duels: Sequence[Duel], subjects: Mapping[str, Subject]) -> str:
    return f"Its 4-bit file is {_clauses(duels, subjects)}." if duels else ""


def _clauses(duels: Iterable[Duel], subjects: Mapping[str, Subject]) -> str:
    return words.listing([_clause(duel, subjects[duel.other].name) for duel in duels])


def not_proven(evidence: Evidence, families: Iterable[Family]) -> tuple[str, ...]:
    """List what this report does not show, from what is missing in its files."""
    return (
        *_gaps_of_jobs(evidence),
        *(_gaps_of_comparison(evidence) if evidence.has_documents else ()),
        *(text for family in families for text in _gaps_of_family(family, evidence)),
        *_gaps_of_training(evidence),
        *_gaps_of_footprint(evidence),
    )


def _gaps_of_family(family: Family, evidence: Evidence) -> list[str]:
    """Return why a family could not be measured, or else that it was not."""
    told = [gap.text for gap in evidence.gaps or () if gap.kind == family.kind]
    # Without documents, nobody expects figures of them.
    silent = evidence.has_documents and family.not_measured and not family.measured(evidence)
    return told or ([family.not_measured] if silent else [])


def _gaps_of_jobs(evidence: Evidence) -> list[str]:
    measured = {job.job: job for job in evidence.jobs or ()}
    gaps = []
    for files in evidence.job_files:
        name, job = words.readable(files.job), measured.get(files.job)
        if job is None:
            gaps.append(f"{name}: nobody was asked the rows of a test, so how good it is remains unknown.")
            continue
        duels = [
            duel
            for duel in evidence.verdict.duels
            if duel.metric == job.headline and duel.ours == job.subject
        ]
        names = {subject.subject: subject.name for subject in evidence.subjects}
        unclear = [names.get(duel.other, duel.other) for duel in duels if duel.outcome == UNCLEAR]
        if unclear:
            gaps.append(f"{name}: the difference to {words.listing(unclear)} may be chance.")
        if all(duel.role is not Role.RIVAL for duel in duels):
            gaps.append(f"{name}: no other model was asked, so whether a larger one does better is unknown.")
        gaps.append(
            f"{name}: the test is like the examples; how it does on texts of another kind is unknown."
        )
        if not files.parity:
            gaps.append(
                f"{name}: that its files agree with the trained model is unknown, as no check was found."
            )
    return gaps


def _gaps_of_comparison(evidence: Evidence) -> list[str]:
    names = {subject.subject: subject.name for subject in evidence.subjects}
    others = [subject for subject in evidence.subjects if subject.role in _MODELS]
    quantised = [
        f"{other.name} ({words.number(other.bits_per_weight, 1)})"
        for other in others
        if other.bits_per_weight and other.bits_per_weight < _FEW_BITS
    ]
    pretrained = [other.name for other in others if other.chat_template is False]
    gaps = []
    if evidence.metrics and all(subject.role is not Role.BASE for subject in evidence.subjects):
        gaps.append(
            "The model was not compared with a base: how much of its quality training gave is unknown."
        )
    if not evidence.rivals:
        gaps.append("The recipe names no rival: whether another model does better is unknown.")
    if not evidence.tasks:
        gaps.append("The recipe has no task: whether the model answers questions was not tested.")
    if quantised:
        gaps.append(
            "These models were compared in files quantised below 7 bits per weight, and may do better at full "
            f"precision (bits per weight in brackets): {words.listing(quantised)}."
        )
    if pretrained:
        gaps.append(
            "Pretrained only, without a chat template, so questions may not suit them: "
            f"{words.listing(pretrained)}."
        )
    for duel in evidence.verdict.duels:
        if duel.metric == HEADLINE and duel.role in _MODELS and duel.outcome == UNCLEAR:
            pair = f"{names[duel.ours]} and {names[duel.other]}"
            gaps.append(
                f"{duel.label}: the difference between {pair} may be {'chance' if duel.by_chance else 'zero'}."
            )
    return gaps


def _gaps_of_training(evidence: Evidence) -> list[str]:
    over = "documents" if evidence.has_documents else "rows of the test"
    gaps = [f"One training run with one seed: intervals are over {over}, not over training runs."]
    if any(machine.gpus for machine in evidence.machines):
        gaps.append("A GPU was present; how much of the work ran on it was not recorded.")
    else:
        gaps.append("Nothing ran on a GPU: speed and energy there are unknown.")
    if evidence.has_documents and not evidence.parity:
        gaps.append("No parity check was found: whether the exports agree with the trained model is unknown.")
    return gaps


def _gaps_of_footprint(evidence: Evidence) -> list[str]:
    methods = evidence.totals.methods
    gaps = [evidence.grid.embodied]
    if any("load model" in method for method in methods):
        gaps.append("Energy was modelled from processor time, not measured, so its range is wide.")
    if not methods:
        gaps.append("No stage left a manifest, so time and energy are unknown.")
    borrowed = {"base": "" if evidence.fresh else evidence.base, "teacher": evidence.teacher}
    for role, name in borrowed.items():
        if name:
            gaps.append(f"The pretraining of the {role} {name} is not included in these figures.")
    return gaps
