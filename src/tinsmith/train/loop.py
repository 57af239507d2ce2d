"""The loop: budgets, schedule, checkpoints and journal around the engine, exact over any kill and any return."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinsmith.base.errors import TrainingError
from tinsmith.base.progress import Advance, Progress
from tinsmith.recipe import Budget
from tinsmith.train.budget import Decision, Pace, TrainProgress, progress_of, rate_at
from tinsmith.train.checkpoint import drop_after, load_checkpoint, save_checkpoint
from tinsmith.train.dry_run import exhaustion_named, fit_into_memory
from tinsmith.train.engine import Engine
from tinsmith.train.journal import Journal, seconds_of, uninterrupted
from tinsmith.train.loss_spikes import (
    PAST,
    REACH,
    Diverged,
    Rollback,
    detect_spike,
    is_of_the_data,
    is_skipped,
    rate_factor,
    rollback_step,
)
from tinsmith.train.mixture import Mixture
from tinsmith.train.runtime import choose_runtime


def fit(engine: Engine, *, out: Path, progress: Progress) -> list[dict[str, Any]]:
    """Train up to the budget, going on from `out/checkpoints`; return the rows of `out/log.jsonl`.

    Budgets in steps, tokens and epochs are exact to the bit however often the run is killed. A budget in time
    counts the seconds inside steps, and `out/schedule.jsonl` holds what `replay` needs to repeat the run. A loss
    that is not finite or jumps makes the run go back, `train.rollbacks` times; then it raises TrainingError.
    """
    ranks, checkpoints, journal = engine.ranks, out / "checkpoints", Journal(out, engine.ranks)
    with exhaustion_named("before the first step"):
        settings = choose_runtime(engine, checkpoints, progress)
        engine.prepare(out / "cache", progress)
    watch = Pace(settings.seconds_per_token)
    engine.shard()
    fit_into_memory(engine, checkpoints / "settings.json", progress)
    while True:
        # A return is a resumption: the same door, and one more line in the journal.
        done = load_checkpoint(checkpoints, engine.model, engine.optimizers, progress.say, ranks)
        done = journal.resume(done, progress.say)
        if not done.step and engine.config.rollbacks:
            save_checkpoint(checkpoints, engine.model, engine.optimizers, done, ranks)
        try:
            with ranks.coordinated_stop() as check:
                _train(engine, done, checkpoints, journal, watch, progress, check)
            _check_that_something_moved(journal.rows, engine.config.budget)
            return journal.rows
        except Diverged as trouble:
            _go_back(trouble, engine, checkpoints, journal, progress)


def replay(engine: Engine, decisions: Sequence[Decision]) -> None:
    """Repeat a run on a time budget from its schedule: the same weights, bit for bit.

    Steps that were left out after trouble are not in the schedule, and rates that were halved are halved there.
    """
    for decision in decisions:
        engine.gradients(decision.step)
        engine.update(decision.learning_rate)


def _train(
    engine: Engine,
    done: TrainProgress,
    checkpoints: Path,
    journal: Journal,
    watch: Pace,
    progress: Progress,
    check: Callable[[], None],
) -> None:
    """Train on from `done` to the end of the budget. Raises Diverged; the weights have then not moved by it."""
    config, mixture, budget = engine.config, engine.mixture, Budget.parse(engine.config.budget)
    saved = done.seconds
    for row in journal.rows[-Pace.KEPT :]:
        watch.record(row["tokens"], row["seconds"])
    try:
        with _bar(budget, mixture, done, progress) as advance:
            while True:
                check()
                tokens = mixture.step_tokens(done.step)
                at = progress_of(budget, mixture.epoch_tokens, done, tokens, watch.estimate(tokens))
                if at is None:
                    break
                if is_skipped(done.step, journal.rollbacks):
                    # Its tokens count: the run ends where in the data it would have ended.
                    done = replace(done, step=done.step + 1, tokens=done.tokens + tokens)
                    advance(0.0 if budget.kind == "seconds" else tokens)
                    continue
                rate = rate_at(at, config) * rate_factor(done.step, journal.rollbacks)
                step, start = done.step, time.perf_counter()
                facts = _gradients(engine, step, journal)
                with uninterrupted():
                    engine.update(rate)
                    # The first process's clock is everybody's: what hangs on time is then decided alike.
                    seconds = engine.ranks.broadcast(time.perf_counter() - start)
                    done = TrainProgress(step + 1, done.tokens + tokens, done.seconds + seconds)
                    row = {"step": step, "tokens": tokens, "seconds": seconds, "learning_rate": rate}
                    journal.add(row | facts, Decision(step, at, rate) if budget.kind == "seconds" else None)
                watch.record(tokens, seconds)
                advance(seconds if budget.kind == "seconds" else tokens)
                if done.seconds - saved >= config.checkpoint_seconds:
                    journal.flush()
                    save_checkpoint(
                        checkpoints, engine.model, engine.optimizers, done, engine.ranks, reach=REACH
                    )
                    saved = done.seconds
    except KeyboardInterrupt:
        progress.say(f"  interrupted: keeping step {done.step}")
        engine.optimizers.drop_gradients()
        journal.flush()
        save_checkpoint(checkpoints, engine.model, engine.optimizers, done, engine.ranks, reach=REACH)
        raise
    journal.flush()


def _gradients(engine: Engine, step: int, journal: Journal) -> dict[str, float]:
    """Compute a step's gradients. Raises Diverged, which then knows the seconds that it cost, or TrainingError."""
    start, config = time.perf_counter(), engine.config
    try:
        with exhaustion_named(f"at step {step}"):
            facts = engine.gradients(step)
        losses = [*(row["loss"] for row in journal.rows[-PAST:]), facts["loss"]]
        trouble = detect_spike(losses, step, factor=config.spike, rate=config.learning_rate)
        if trouble and not _came_with_the_data(engine, trouble, journal):
            engine.optimizers.drop_gradients()
            raise trouble
        return facts
    except Diverged as trouble:
        trouble.seconds = time.perf_counter() - start
        raise


def _came_with_the_data(engine: Engine, trouble: Diverged, journal: Journal) -> bool:
    """Read the last step before a jump again: weights that took harm read it worse than they did then."""
    before = next(row for row in reversed(journal.rows) if row["step"] < trouble.first)
    return is_of_the_data(trouble, before["loss"], engine.loss(before["step"]))


def _go_back(
    trouble: Diverged, engine: Engine, checkpoints: Path, journal: Journal, progress: Progress
) -> None:
    """Note in the journal what is left out from now on, and leave no checkpoint that the trouble may be in.

    Checkpoints go first: killed between the two, the run meets the same trouble again and comes here again.
    """
    times = len(journal.rollbacks)
    if times >= engine.config.rollbacks:
        tried = f", after going back {times} times already" if times else ""
        raise TrainingError(trouble.what + tried, where=trouble.where, next_step=trouble.next_step)
    back_to = rollback_step(trouble)
    kept = engine.ranks.broadcast(drop_after(checkpoints, back_to) if engine.ranks.is_main else None)
    lost = seconds_of([row for row in journal.rows if row["step"] >= kept]) + trouble.seconds
    skipped = {str(step): engine.mixture.step_tokens(step) for step in range(trouble.first, trouble.step + 1)}
    journal.go_back(Rollback(trouble.step, trouble.what, back_to, skipped, lost))
    progress.say(
        f"  {trouble.what}: back to step {back_to}, from there on at half the rate "
        f"and without step {' and '.join(skipped) if len(skipped) < 3 else f'{trouble.first} to {trouble.step}'}"
    )


def _check_that_something_moved(rows: Sequence[dict[str, Any]], budget: str) -> None:
    """Raise TrainingError where the schedule was over before the first step: the weights are then the start's."""
    if rows and not any(row["learning_rate"] for row in rows):
        raise TrainingError(
            f"nothing was learnt: a step takes {rows[0]['seconds']:.3g} s here, the whole budget is {budget}",
            where="train.budget",
            next_step="raise it, or lower train.batch_tokens; a few dozen steps are the least that teach",
        )


def _bar(
    budget: Budget, mixture: Mixture, done: TrainProgress, progress: Progress
) -> AbstractContextManager[Advance]:
    """Open the progress bar over what is left, in seconds or in tokens."""
    if budget.kind == "seconds":
        return progress.task("training", max(0.0, budget.amount - done.seconds), "s")
    if budget.kind == "steps":
        left = float(sum(map(mixture.step_tokens, range(done.step, math.ceil(budget.amount)))))
    else:
        share = mixture.epoch_tokens if budget.kind == "epochs" else 1
        left = max(0.0, budget.amount * share - done.tokens)
    return progress.task("training", left, "tokens")
