"""Many questions: several at a time, answers in order, out of the cache where it has them, within a budget."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from tinsmith.base.completion import Answer, Failure, Request
from tinsmith.base.errors import LLMError
from tinsmith.llm.cache import AnswerCache
from tinsmith.llm.client import Teacher, estimate_tokens

MAX_FAILURES_IN_A_ROW = 8
OVER = "budget"  # the reason of questions that were not asked any more
_AHEAD = 2  # questions taken per thread before their turn


@dataclass
class Budget:
    """What may be spent, and what was: money 0 is no limit; `until` is a time of the monotonic clock.

    Cached answers count as paid, so that a build that was killed and goes on spends no more than one that was
    not.
    """

    max_cost: float = 0.0
    until: float = float("inf")
    spent: float = 0.0
    over: str = ""

    @classmethod
    def of_minutes(cls, max_cost: float, max_minutes: float) -> Budget:
        """Return a budget whose time runs from now on."""
        return cls(max_cost, time.monotonic() + 60 * max_minutes)


@dataclass
class Tally:
    """What the questions of a run took; `joules` is None where an answer's could not be measured."""

    answers: int = 0
    cached: int = 0
    failures: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    estimated: int = 0
    cost: float = 0.0
    joules: float | None = 0.0

    def add(self, outcome: Answer | Failure) -> None:
        """Count an outcome."""
        if isinstance(outcome, Failure):
            self.failures += 1
            return
        self.answers += 1
        self.cached += outcome.cached
        self.input_tokens += outcome.input_tokens
        self.output_tokens += outcome.output_tokens
        self.estimated += outcome.estimated
        self.cost += outcome.cost
        known = self.joules is not None and outcome.joules is not None
        self.joules = (self.joules or 0.0) + (outcome.joules or 0.0) if known else None


@dataclass
class _Pending:
    """A question on its way, and the most that its answer may cost."""

    request: Request
    outcome: Future[Answer | Failure]
    bound: float = 0.0
    settled: bool = False


@dataclass
class _Run:
    teacher: Teacher
    cache: AnswerCache | None
    budget: Budget
    parallel: int
    joules: Callable[[], float] | None
    waiting: deque[_Pending] = field(default_factory=deque)
    todo: queue.SimpleQueue[_Pending | None] = field(default_factory=queue.SimpleQueue)
    threads: list[threading.Thread] = field(default_factory=list)
    refused: BaseException | None = None

    def submit(self, request: Request) -> None:
        """Take a question on: out of the cache, to a thread, or not any more."""
        pending = _Pending(request, Future())
        self.waiting.append(pending)
        found = self.cache.get(self.teacher.identity, request) if self.cache else None
        if found is not None:
            pending.outcome.set_result(found)
        elif self._may_ask(pending):
            self._start_threads()
            self.todo.put(pending)
        else:
            pending.outcome.set_result(Failure(OVER, self.budget.over))

    def _may_ask(self, pending: _Pending) -> bool:
        budget, teacher = self.budget, self.teacher
        if not budget.over and time.monotonic() >= budget.until:
            budget.over = "max_minutes is used up"
        if budget.over or not budget.max_cost:
            return not budget.over
        pending.bound = _cost(teacher, estimate_tokens(pending.request), pending.request.max_tokens)
        # Answers under way count with the most that they may cost. Before one more is refused, all of them are
        # waited for, so that it hangs on costs alone and not on who was faster.
        for earlier in self.waiting:
            held = sum(other.bound for other in self.waiting if not other.settled)
            if budget.spent + held <= budget.max_cost:
                return True
            if earlier is not pending:
                self._settle(earlier)
        if budget.spent + pending.bound <= budget.max_cost:
            return True
        budget.over, pending.bound = f"max_cost of {budget.max_cost:g} would be exceeded", 0.0
        return False

    def _settle(self, pending: _Pending) -> Answer | Failure:
        """Wait for an outcome and book what it cost, once."""
        outcome = pending.outcome.result()
        if isinstance(outcome, Answer):
            outcome = replace(outcome, cost=_cost(self.teacher, outcome.input_tokens, outcome.output_tokens))
        if not pending.settled:
            pending.settled = True
            self.budget.spent += outcome.cost if isinstance(outcome, Answer) else 0.0
        return outcome

    def take(self) -> Answer | Failure:
        """Return the outcome of the oldest question."""
        return self._settle(self.waiting.popleft())

    def _start_threads(self) -> None:
        if len(self.threads) < self.parallel:
            # Daemons, so that Ctrl-C need not wait for a slow answer.
            self.threads.append(threading.Thread(target=self._work, daemon=True, name="asking"))
            self.threads[-1].start()

    def _work(self) -> None:
        while (pending := self.todo.get()) is not None:
            if self.refused is not None:  # who wants a key or money wants it for the next question too
                pending.outcome.set_exception(self.refused)
                continue
            try:
                pending.outcome.set_result(self._ask(pending.request))
            except BaseException as error:
                self.refused = error
                pending.outcome.set_exception(error)

    def _ask(self, request: Request) -> Answer | Failure:
        outcome = self.teacher.ask(request, until=self.budget.until)
        if isinstance(outcome, Answer):
            outcome = replace(outcome, joules=self.joules() if self.joules else None)
            if self.cache:
                self.cache.put(self.teacher.identity, request, outcome)
        elif outcome.reason == "time":
            outcome = Failure(OVER, "max_minutes is used up")
        return outcome

    def stop(self) -> None:
        """Let the threads end; what nobody has begun is not asked."""
        while True:
            try:
                self.todo.get_nowait()
            except queue.Empty:
                break
        for _ in self.threads:
            self.todo.put(None)


def ask_many(
    teacher: Teacher,
    requests: Iterable[Request],
    *,
    cache: AnswerCache | None = None,
    budget: Budget | None = None,
    parallel: int = 1,
    joules: Callable[[], float] | None = None,
    tally: Tally | None = None,
) -> Iterator[Answer | Failure]:
    """Yield one outcome per question, in order. Questions are taken from `requests` only shortly before.

    `joules` returns what was used since it was last called. Raises LLMError where the teacher refuses, or
    gives nothing MAX_FAILURES_IN_A_ROW times in a row; answers that came before are in the cache.
    """
    run = _Run(teacher, cache, budget or Budget(), parallel, joules)
    failures: list[Failure] = []

    def checked(outcome: Answer | Failure) -> Answer | Failure:
        if tally is not None:
            tally.add(outcome)
        if isinstance(outcome, Answer):
            failures.clear()
        elif outcome.reason != OVER:
            failures.append(outcome)
        if len(failures) >= MAX_FAILURES_IN_A_ROW:
            raise _no_answers(teacher, failures)
        return outcome

    try:
        for request in requests:
            run.submit(request)
            while len(run.waiting) >= _AHEAD * parallel:
                yield checked(run.take())
        while run.waiting:
            yield checked(run.take())
    finally:
        run.stop()


def _no_answers(teacher: Teacher, failures: list[Failure]) -> LLMError:
    seen = "; ".join(dict.fromkeys(f"{failure.reason}: {failure.detail}" for failure in failures[:3]))
    return LLMError(
        f"{len(failures)} questions in a row got no answer ({seen})",
        where=teacher.identity,
        next_step="see whether the endpoint is up and fits teacher.kind; then build again: "
        "what was answered is kept and not asked anew",
    )


def _cost(teacher: Teacher, read: int, written: int) -> float:
    money = read * teacher.price_per_million_input + written * teacher.price_per_million_output
    return money / 1e6
