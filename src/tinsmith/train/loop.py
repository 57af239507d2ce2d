"""The training loop: budgets, schedule, checkpoints and journal around the engine, bit-exact over crashes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinsmith.base.errors import TrainingError
from tinsmith.base.files import read_json, write_json
from tinsmith.base.progress import Advance, Progress
from tinsmith.recipe import Budget, TrainConfig
from tinsmith.train.budget import Decision, Pace, TrainProgress, progress_of, rate_at
from tinsmith.train.checkpoint import drop_after, load_checkpoint, save_checkpoint
from tinsmith.train.dry_run import explain_exhaustion, fit_into_memory
from tinsmith.train.engine import Engine
from tinsmith.train.journal import Journal, seconds_of, uninterrupted
from tinsmith.train.loss_spikes import (
    PAST,
    REACH,
    Diverged,
    Rollback,
    caused_by_data,
    detect_spike,
    is_skipped,
    rate_factor,
    rollback_step,
)
from tinsmith.train.mixture import Mixture
from tinsmith.train.runtime import RuntimeChoice, apply_choice, choose_runtime, compute_as_chosen, look_again

_FEW_STEPS = 20

Watch = Callable[[TrainProgress], None]


def fit(
    engine: Engine, *, out: Path, progress: Progress, watch: Watch = lambda done: None
) -> list[dict[str, Any]]:
    """Train up to the budget, resuming from `out/checkpoints`; return the rows of `out/log.jsonl`.

    Budgets in steps, tokens and epochs are bit-exact however often the run is killed. A time budget counts the
    seconds inside steps; `out/schedule.jsonl` and `out/runtime.json` hold what `replay` needs to repeat the run. A
    loss that is not finite or jumps rolls the run back, `train.rollbacks` times; then it raises TrainingError. `watch`
    is called after each step, and its time counts towards no budget.
    """
    ranks, checkpoints, journal = engine.ranks, out / "checkpoints", Journal(out, engine.ranks)
    with explain_exhaustion("before the first step"):
        runtime = choose_runtime(engine, checkpoints, progress)
        engine.prepare(out / "cache", progress)
    pace = Pace(runtime.seconds_per_token)
    _warn_of_few_steps(engine.config, pace, progress)
    engine.shard()
    fit_into_memory(engine, checkpoints / "settings.json", progress)

    def ready(step: int) -> None:
        nonlocal runtime
        runtime = look_again(engine, checkpoints, step, journal.rows, progress) or runtime
        compute_as_chosen(engine, runtime, step)

    while True:
        # A rollback is a resumption from an earlier checkpoint, with one more line in the journal.
        done = load_checkpoint(checkpoints, engine.model, engine.optimizers, progress.say, ranks)
        done = journal.resume(done, progress.say)
        if not done.step and engine.config.rollbacks:
            save_checkpoint(checkpoints, engine.model, engine.optimizers, done, ranks)
        try:
            with ranks.coordinated_stop() as check:

                def before(step: int, check: Callable[[], None] = check) -> None:
                    check()
                    ready(step)

                _train(engine, done, checkpoints, journal, pace, progress, before, watch)
            _check_weights_moved(journal.rows, engine.config.budget)
            if ranks.is_main:
                # The checkpoints will be removed, and to repeat the run takes what was chosen.
                write_json(out / "runtime.json", read_json(checkpoints / "settings.json"))
            return journal.rows
        except Diverged as diverged:
            _roll_back(diverged, engine, checkpoints, journal, progress)


def replay(engine: Engine, decisions: Sequence[Decision], choice: RuntimeChoice) -> None:
    """Repeat a run on a time budget from its schedule and `runtime.json`, with bit-identical weights.

    The schedule lacks the steps that were skipped after a divergence, and holds the rates that were halved.
    """
    apply_choice(engine, choice)
    for decision in decisions:
        compute_as_chosen(engine, choice, decision.step)
        engine.gradients(decision.step)
        engine.update(decision.learning_rate)


def _train(
    engine: Engine,
    done: TrainProgress,
    checkpoints: Path,
    journal: Journal,
    pace: Pace,
    progress: Progress,
    before_step: Callable[[int], None],
    watch: Watch,
) -> None:
    """Train from `done` to the end of the budget. Raises Diverged before the weights move."""
    config, mixture, budget = engine.config, engine.mixture, Budget.parse(engine.config.budget)
    saved = done.seconds

    def save() -> None:
        journal.flush()
        save_checkpoint(checkpoints, engine.model, engine.optimizers, done, engine.ranks, reach=REACH)

    for row in journal.rows[-Pace.KEPT :]:
        pace.record(row["tokens"], row["seconds"])
    try:
        with _bar(budget, mixture, done, progress) as advance:
            while True:
                before_step(done.step)
                tokens = mixture.step_tokens(done.step)
                at = progress_of(budget, mixture.epoch_tokens, done, tokens, pace.estimate(tokens))
                if at is None:
                    break
                if is_skipped(done.step, journal.rollbacks):
                    # Its tokens count, so that the run ends at the same place in the data.
                    done = replace(done, step=done.step + 1, tokens=done.tokens + tokens)
                    advance(0.0 if budget.kind == "seconds" else tokens)
                    continue
                rate = rate_at(at, config) * rate_factor(done.step, journal.rollbacks)
                step, start = done.step, time.perf_counter()
                facts = _gradients(engine, step, journal)
                with uninterrupted():
                    engine.update(rate)
                    # All processes use the main one's clock, so that they decide alike.
                    seconds = engine.ranks.broadcast(time.perf_counter() - start)
                    done = TrainProgress(step + 1, done.tokens + tokens, done.seconds + seconds)
                    row = {"step": step, "tokens": tokens, "seconds": seconds, "learning_rate": rate}
                    journal.add(row | facts, Decision(step, at, rate) if budget.kind == "seconds" else None)
                pace.record(tokens, seconds)
                advance(seconds if budget.kind == "seconds" else tokens)
                watch(done)
                if done.seconds - saved >= config.checkpoint_seconds:
                    save()
                    saved = done.seconds
    except KeyboardInterrupt:
        progress.say(f"  interrupted: keeping step {done.step}")
        engine.optimizers.drop_gradients()
        save()
        raise
    journal.flush()


def _gradients(engine: Engine, step: int, journal: Journal) -> dict[str, float]:
    """Compute a step's gradients. Raises Diverged, with the seconds that the step took, or TrainingError."""
    start, config = time.perf_counter(), engine.config
    try:
        with explain_exhaustion(f"at step {step}"):
            facts = engine.gradients(step)
        losses = [*(row["loss"] for row in journal.rows[-PAST:]), facts["loss"]]
        diverged = detect_spike(losses, step, factor=config.spike, rate=config.learning_rate)
        if diverged:
            # Damaged weights read the last step before the jump worse than it was read then.
            before = next(row for row in reversed(journal.rows) if row["step"] < diverged.first)
            if not caused_by_data(diverged, before["loss"], engine.loss(before["step"])):
                engine.optimizers.drop_gradients()
                raise diverged
        return facts
    except Diverged as diverged:
        diverged.seconds = time.perf_counter() - start
        raise


def _roll_back(
    diverged: Diverged, engine: Engine, checkpoints: Path, journal: Journal, progress: Progress
) -> None:
    """Record in the journal the steps to skip, after removing checkpoints that may be affected.

    Checkpoints go first: killed between the two, the run diverges again at the same step and returns here.
    """
    times = len(journal.rollbacks)
    if times >= engine.config.rollbacks:
        tried = f", after {times} rollbacks" if times else ""
        raise TrainingError(diverged.what + tried, where=diverged.where, next_step=diverged.next_step)
    back_to = rollback_step(diverged)
    kept = engine.ranks.broadcast(drop_after(checkpoints, back_to) if engine.ranks.is_main else None)
    lost = seconds_of([row for row in journal.rows if row["step"] >= kept]) + diverged.seconds
    steps = range(diverged.first, diverged.step + 1)
    skipped = {str(step): engine.mixture.step_tokens(step) for step in steps}
    journal.go_back(Rollback(diverged.step, diverged.what, back_to, skipped, lost))
    progress.say(
        f"  {diverged.what}: back to step {back_to}, from there on at half the rate "
        f"and without step {' and '.join(skipped) if len(skipped) < 3 else f'{steps[0]} to {steps[-1]}'}"
    )


def _check_weights_moved(rows: Sequence[dict[str, Any]], budget: str) -> None:
    """Raise TrainingError where the learning rate was 0 in every step, so that nothing was learnt."""
    if rows and not any(row["learning_rate"] for row in rows):
        raise TrainingError(
            f"nothing was learnt: a step takes {rows[0]['seconds']:.3g} s here, and the whole budget is {budget}",
            where="train.budget",
            next_step="raise it, or lower train.batch_tokens; a model needs at least a few dozen steps",
        )


def _warn_of_few_steps(config: TrainConfig, pace: Pace, progress: Progress) -> None:
    """Say so where a time budget holds so few steps that the rate has no time to rise."""
    budget = Budget.parse(config.budget)
    if budget.kind != "seconds" or not (seconds := pace.estimate(config.batch_tokens)):
        return
    if (steps := budget.amount / seconds) < _FEW_STEPS:
        progress.say(
            f"  {config.budget} hold about {max(1, round(steps))} steps of {config.batch_tokens:,} tokens here, and a "
            f"model may get worse in fewer than {_FEW_STEPS}: lower train.batch_tokens, raise train.budget, "
            "or set train.trainable = 'lora'"
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
