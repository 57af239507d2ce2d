"""Ask systems behind an API about the test rows of jobs; text leaves only as `may_leave` allows."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow.parquet as pq

from tinsmith.base.completion import Answer, Failure, Request
from tinsmith.base.errors import CorpusError
from tinsmith.base.files import JsonObject
from tinsmith.base.progress import Advance, Progress
from tinsmith.corpus.rights import UNKNOWN, may_leave, stated_access
from tinsmith.evaluate.families.generative import system_name
from tinsmith.evaluate.generated_answers import OWN_FAILURES
from tinsmith.evaluate.job_grades import Grader
from tinsmith.evaluate.job_requests import SYSTEM, job_request, most_bytes, most_sent
from tinsmith.evidence.items import JobQuestion, JobRow
from tinsmith.evidence.schema import Subject, role_of
from tinsmith.jobs.answers import UNREADABLE
from tinsmith.jobs.rendering import Rendering
from tinsmith.jobs.spec import Calibration
from tinsmith.llm.gate import WITHHELD
from tinsmith.recipe import EndpointConfig, EvaluateConfig
from tinsmith.stages.evaluate.answers import outcomes_of
from tinsmith.stages.evaluate.job_store import Answers
from tinsmith.stages.evaluate.job_work import JobWork
from tinsmith.stages.evaluate.measured import Spent
from tinsmith.stages.llm_session import LLMSession, open_llm
from tinsmith.stages.outbound import Outbound
from tinsmith.stages.sent import ANSWERS

_LASTING = {WITHHELD, "too_long"}  # why a row has no answer, and will have none if it is asked again


def endpoint_subject(endpoint: EndpointConfig) -> Subject:
    """Return its row among the subjects."""
    return Subject(subject=endpoint.name, name=system_name(endpoint), role=role_of(endpoint.name))


@dataclass(frozen=True)
class Endpoints:
    """Asks the endpoints of a recipe about the rows of its jobs.

    A row may leave by the access label of its document; one of a file by its own. `documents` is the file with the
    labels of documents, if there are any. `spent` is what questions on documents have taken, by endpoint.
    """

    config: EvaluateConfig
    works: Sequence[JobWork]
    allowed: tuple[str, ...]
    documents: Path | None
    out: Path
    progress: Progress
    spent: dict[str, Spent] = field(default_factory=dict)

    @cached_property
    def outbounds(self) -> Mapping[str, Outbound]:
        """Return the endpoints by name."""
        jobs = [work.job.config for work in self.works]
        return {
            endpoint.name: Outbound(
                f"evaluate.endpoints.{number}", endpoint, lambda: most_sent(self.config.job_items, jobs)
            )
            for number, endpoint in enumerate(self.config.endpoints)
        }

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """Return the access label of each row, by its name in requests."""
        known: dict[str, str] = {}
        if self.documents and "access" in pq.read_schema(self.documents).names:
            table = pq.read_table(self.documents, columns=["doc_id", "access"])
            known = {row["doc_id"]: row["access"] or "" for row in table.to_pylist()}
        return {
            _name(work, row): stated_access(row.get("record", {}))
            if work.job.config.examples
            else known.get(row["id"], "")
            for work in self.works
            for row in (*work.learn, *work.validation, *work.test)
        }

    def may_leave(self, name: str) -> bool:
        """Return whether a row may be sent to another machine."""
        return may_leave(self.labels[name], self.allowed)

    def check(self) -> None:
        """Refuse a job of which no row may be sent, and labels that only rows have that may not.

        Raises CorpusError.
        """
        away = [outbound for outbound in self.outbounds.values() if outbound.host]
        for outbound, work in ((outbound, work) for outbound in away for work in self.works):
            names = [_name(work, row) for row in work.few()[0]]
            if not any(map(self.may_leave, names)):
                found = Counter(self.labels[name] or UNKNOWN for name in names).most_common(10)
                listed = ", ".join(f"{label} ({count})" for label, count in found)
                raise CorpusError(
                    f"no row of {work.name} may be sent to {outbound.where}: the rows have the access labels {listed}",
                    where="may_leave",
                    next_step="list one of these, give the rows of the job's files a field `access` (or "
                    "`classification`, `confidentiality`, `sensitivity`), or leave the endpoint out",
                )
            if hidden := self._hidden_labels(work):
                raise CorpusError(
                    f"{', '.join(sorted(hidden)[:5])} ({len(hidden)} in all) stand in no row that may leave, and every "
                    f"question to {outbound.where} lists all labels",
                    where=f"jobs.{work.name}.labels",
                    next_step="write the labels into the recipe if they may be known, or leave the endpoint out",
                )

    def _hidden_labels(self, work: JobWork) -> set[str]:
        if work.job.config.kind != "classify" or work.job.config.labels:
            return set()
        # The fields of the recipe's answer are labels themselves where they say yes or no.
        shown = set(Rendering(work.job.config).fields["answer"])
        for row in (*work.learn, *work.validation, *work.test):
            if self.may_leave(_name(work, row)):
                shown |= set(row["answer"] if work.job.config.several else [row["answer"]])
        return set(work.job.labels) - shown

    def left_out(self) -> dict[str, frozenset[str]]:
        """Return, for each endpoint on another machine, the rows that may not be sent."""
        away = [outbound.where for outbound in self.outbounds.values() if outbound.host]
        names = [_name(work, row) for work in self.works for row in work.few()[0]] if away else []
        return dict.fromkeys(away, frozenset(name for name in names if not self.may_leave(name)))

    def about(self, endpoint: EndpointConfig) -> list[object]:
        """Return what an endpoint's answers depend on beside the jobs."""
        away = bool(self.outbounds[endpoint.name].host)
        leaving = sorted(name for name in self.labels if self.may_leave(name)) if away else []
        return [endpoint.model_dump(mode="json"), self.config.job_items, SYSTEM, leaving]

    @contextlib.contextmanager
    def open(self, endpoint: EndpointConfig) -> Iterator[LLMSession]:
        """Open an endpoint for all its jobs: its limits on money and bytes count over all of them."""
        outbound = self.outbounds[endpoint.name]
        with open_llm(
            endpoint,
            where=outbound.where,
            folder=self.out / ANSWERS / endpoint.name,
            permitted={name for name in self.labels if self.may_leave(name)} if outbound.host else (),
            most_bytes=outbound.most()[1] if outbound.host else 0,
        ) as asking:
            before = self.spent.get(endpoint.name, Spent())
            asking.budget.spent = before.money
            asking.budget.until -= before.seconds
            yield asking

    def ask(self, endpoint: EndpointConfig, asking: LLMSession, work: JobWork) -> Answers:
        """Ask about the rows of a job; a row without an answer is left out and counted.

        Raises LLMError where the endpoint gives no answer at all.
        """
        away, (rows, questions) = bool(self.outbounds[endpoint.name].host), work.few()
        requests = [
            job_request(
                work.job,
                row,
                max_tokens=endpoint.max_tokens,
                documents=(_name(work, row),) if away else (),
            )
            for row in rows
        ]
        with self.progress.task("rows", len(requests), "rows") as advance:
            outcomes = _outcomes(asking, requests, advance, most=most_bytes(work.job.config) if away else 0)
        grader = work.judged_by(Calibration())
        stored = [_row(grader, *pair) for pair in zip(questions, outcomes, strict=True)]
        lost = Counter(
            outcome.reason
            for outcome in outcomes
            if isinstance(outcome, Failure) and outcome.reason not in OWN_FAILURES
        )
        answered = [outcome.cost for outcome in outcomes if isinstance(outcome, Answer)]
        priced = endpoint.price_per_million_input or endpoint.price_per_million_output
        return Answers(
            [row for row in stored if row is not None],
            price_per_1000=1000 * sum(answered) / len(answered) if priced and answered else None,
            lost=dict(lost),
            final=set(lost) <= _LASTING,
        )


def _name(work: JobWork, row: JsonObject) -> str:
    """Return what a row is called in requests and in `sent.json`: its document, or its job and its place in a file."""
    return f"{work.name}/{row['id']}" if work.job.config.examples else str(row["id"])


def _outcomes(
    asking: LLMSession, requests: Sequence[Request], advance: Advance, *, most: int
) -> list[Answer | Failure]:
    """Return an outcome per request; one of more bytes than `most`, if that is given, is not sent."""
    long = {n for n, request in enumerate(requests) if most and request.bytes > most}
    sent = iter(outcomes_of(asking, [each for n, each in enumerate(requests) if n not in long], advance))
    too_long = Failure("too_long", "more bytes than the plan says of a row")
    return [too_long if n in long else next(sent) for n in range(len(requests))]


def _row(grader: Grader, question: JobQuestion, outcome: Answer | Failure) -> JobRow | None:
    """Return the row of an answer; a refusal counts as unreadable, and what was never answered gives none."""
    if isinstance(outcome, Answer):
        # An answer that is cut off may end in half a character, which no file holds.
        return grader.in_words(question, outcome.text.encode("utf-8", "replace").decode())
    return grader.said(question, UNREADABLE) if outcome.reason in OWN_FAILURES else None
