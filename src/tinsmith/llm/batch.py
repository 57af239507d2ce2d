"""Ask many questions concurrently, with outcomes in order, a cache and a budget."""

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
from tinsmith.llm.client import LLMClient, estimate_tokens
from tinsmith.llm.gate import WITHHELD, Gate

MAX_FAILURES_IN_A_ROW = 8
OVER = "budget"  # the failure reason of questions that exceed the budget
_AHEAD = 2  # questions read from the input in advance, per thread


@dataclass
class Budget:
    """Limits on money (0: unlimited) and time (`until` on the monotonic clock), and the money spent so far.

    Cached answers count as paid, so that a resumed build spends no more than an uninterrupted one.
    """

    max_cost: float = 0.0
    until: float = float("inf")
    price_per_million_input: float = 0.0
    price_per_million_output: float = 0.0
    spent: float = 0.0
    over: str = ""  # why no more questions are asked

    @classmethod
    def of_minutes(cls, max_cost: float, max_minutes: float) -> Budget:
        """Return a budget whose time starts now."""
        return cls(max_cost, time.monotonic() + 60 * max_minutes)

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """Return the price of a number of tokens."""
        millions = input_tokens * self.price_per_million_input + output_tokens * self.price_per_million_output
        return millions / 1e6


@dataclass
class Tally:
    """Totals over questions; `joules` is None if they were not measured for every answer."""

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
    """A submitted question, its outcome, and the highest cost of its answer."""

    request: Request
    outcome: Future[Answer | Failure]
    bound: float = 0.0
    settled: bool = False


@dataclass
class _Run:
    client: LLMClient
    cache: AnswerCache | None
    budget: Budget
    parallel: int
    joules: Callable[[], float] | None
    gate: Gate | None
    waiting: deque[_Pending] = field(default_factory=deque)
    todo: queue.SimpleQueue[_Pending | None] = field(default_factory=queue.SimpleQueue)
    threads: list[threading.Thread] = field(default_factory=list)
    error: BaseException | None = None  # of an earlier question; every other one would meet it too

    def submit(self, request: Request) -> None:
        """Answer a question from the cache, queue it, or fail it if it may not leave or the budget is used up."""
        pending = _Pending(request, Future())
        self.waiting.append(pending)
        if self.gate and (why := self.gate.refusal(self.client.identity, request)):
            pending.outcome.set_result(Failure(WITHHELD, why))
            return
        cached = self.cache.get(self.client.identity, request) if self.cache else None
        if cached is not None:
            if self.gate:
                self.gate.record(self.client.identity, request)
            pending.outcome.set_result(cached)
        elif self._may_ask(pending):
            self._start_threads()
            self.todo.put(pending)
        else:
            pending.outcome.set_result(Failure(OVER, self.budget.over))

    def _may_ask(self, pending: _Pending) -> bool:
        budget = self.budget
        if not budget.over and time.monotonic() >= budget.until:
            budget.over = "max_minutes is used up"
        if budget.over or not budget.max_cost:
            return not budget.over
        pending.bound = budget.cost(estimate_tokens(pending.request), pending.request.max_tokens)
        # Pending answers count with their highest cost. Before the next question is refused, wait for all of them,
        # so that the decision depends on costs alone and not on timing.
        for earlier in self.waiting:
            reserved = sum(other.bound for other in self.waiting if not other.settled)
            if budget.spent + reserved <= budget.max_cost:
                return True
            if earlier is not pending:
                self._settle(earlier)
        if budget.spent + pending.bound <= budget.max_cost:
            return True
        budget.over, pending.bound = f"max_cost of {budget.max_cost:g} would be exceeded", 0.0
        return False

    def _settle(self, pending: _Pending) -> Answer | Failure:
        """Wait for an outcome and add its cost to the budget, once."""
        outcome = pending.outcome.result()
        if isinstance(outcome, Answer):
            outcome = replace(outcome, cost=self.budget.cost(outcome.input_tokens, outcome.output_tokens))
        if not pending.settled:
            pending.settled = True
            self.budget.spent += outcome.cost if isinstance(outcome, Answer) else 0.0
        return outcome

    def take(self) -> Answer | Failure:
        """Return the outcome of the oldest question."""
        return self._settle(self.waiting.popleft())

    def _start_threads(self) -> None:
        if len(self.threads) < self.parallel:
            # Daemons, so that Ctrl-C does not wait for a slow answer.
            self.threads.append(threading.Thread(target=self._work, daemon=True, name="llm"))
            self.threads[-1].start()

    def _work(self) -> None:
        while (pending := self.todo.get()) is not None:
            if self.error is not None:
                pending.outcome.set_exception(self.error)
                continue
            try:
                pending.outcome.set_result(self._ask(pending.request))
            except BaseException as error:
                self.error = error
                pending.outcome.set_exception(error)

    def _ask(self, request: Request) -> Answer | Failure:
        if self.gate:
            self.gate.record(self.client.identity, request)
        outcome = self.client.ask(request, until=self.budget.until)
        if isinstance(outcome, Answer):
            outcome = replace(outcome, joules=self.joules() if self.joules else None)
            if self.cache:
                self.cache.put(self.client.identity, request, outcome)
        elif outcome.reason == "time":
            outcome = Failure(OVER, "max_minutes is used up")
        return outcome

    def stop(self) -> None:
        """Drop queued questions and let the threads end."""
        while True:
            try:
                self.todo.get_nowait()
            except queue.Empty:
                break
        for _ in self.threads:
            self.todo.put(None)


def ask_many(
    client: LLMClient,
    requests: Iterable[Request],
    *,
    cache: AnswerCache | None = None,
    budget: Budget | None = None,
    parallel: int = 1,
    joules: Callable[[], float] | None = None,
    tally: Tally | None = None,
    gate: Gate | None = None,
) -> Iterator[Answer | Failure]:
    """Yield one outcome per question, in order. `requests` is read only shortly in advance.

    `joules` returns the energy used since its last call; `gate` stands before a model on another machine. Raises
    LLMError if the endpoint refuses, or fails MAX_FAILURES_IN_A_ROW times in a row; earlier answers are in the cache.
    """
    run = _Run(client, cache, budget or Budget(), parallel, joules, gate)
    failures: list[Failure] = []

    def checked(outcome: Answer | Failure) -> Answer | Failure:
        if tally is not None:
            tally.add(outcome)
        if isinstance(outcome, Answer):
            failures.clear()
        elif outcome.reason not in (OVER, WITHHELD):
            failures.append(outcome)
        if len(failures) >= MAX_FAILURES_IN_A_ROW:
            raise _no_answers(client, failures)
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


def _no_answers(client: LLMClient, failures: list[Failure]) -> LLMError:
    reasons = "; ".join(dict.fromkeys(f"{failure.reason}: {failure.detail}" for failure in failures[:3]))
    return LLMError(
        f"{len(failures)} questions in a row got no answer from {client.identity} ({reasons})",
        where=client.where,
        next_step="check that the endpoint is up and its `kind` is right, then build again: answers so far are kept",
    )
