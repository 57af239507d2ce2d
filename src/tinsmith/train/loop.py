"""The loop: budgets, schedule, checkpoints and journal around the engine, exact over any kill."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tinsmith.foundation.progress import Advance, Progress
from tinsmith.recipe import Budget
from tinsmith.train.budget import Decision, Done, Stopwatch, progress_of, rate_at
from tinsmith.train.checkpoint import load_checkpoint, save_checkpoint
from tinsmith.train.engine import Engine
from tinsmith.train.journal import Journal, uninterrupted
from tinsmith.train.mixture import Mixture
from tinsmith.train.settle import settle


def fit(engine: Engine, *, out: Path, progress: Progress) -> list[dict[str, Any]]:
    """Train up to the budget, going on from `out/checkpoints`; return the rows of `out/log.jsonl`.

    Budgets in steps, tokens and epochs are exact to the bit however often the run is killed. A budget in time
    counts the seconds inside steps, and `out/schedule.jsonl` holds what `replay` needs to repeat the run.
    """
    config, mixture, budget = engine.config, engine.mixture, Budget.parse(engine.config.budget)
    checkpoints, journal = out / "checkpoints", Journal(out)
    engine.prepare(out / "cache", progress)
    settings = settle(engine, checkpoints, progress)
    done = load_checkpoint(checkpoints, engine.model, engine.optimizers, progress.say)
    journal.resume(done, progress.say)
    watch, saved = Stopwatch(settings.seconds_per_token), done.seconds
    try:
        with _bar(budget, mixture, done, progress) as advance:
            while True:
                tokens = mixture.step_tokens(done.step)
                at = progress_of(budget, mixture.epoch_tokens, done, tokens, watch.foretell(tokens))
                if at is None:
                    break
                rate = rate_at(at, config)
                before, decision = done, Decision(done.step, at, rate)
                start = time.perf_counter()
                facts = engine.gradients(done.step)
                with uninterrupted():
                    engine.update(rate)
                    seconds = time.perf_counter() - start
                    done = Done(done.step + 1, done.tokens + tokens, done.seconds + seconds)
                    row = {"step": before.step, "tokens": tokens, "seconds": seconds, "learning_rate": rate}
                    journal.add(row | facts, asdict(decision) if budget.kind == "seconds" else None)
                watch.record(tokens, seconds)
                advance(seconds if budget.kind == "seconds" else tokens)
                if done.seconds - saved >= config.checkpoint_seconds:
                    journal.flush()
                    save_checkpoint(checkpoints, engine.model, engine.optimizers, done)
                    saved = done.seconds
    except KeyboardInterrupt:
        progress.say(f"  interrupted: keeping step {done.step}")
        engine.optimizers.drop_gradients()
        journal.flush()
        save_checkpoint(checkpoints, engine.model, engine.optimizers, done)
        raise
    journal.flush()
    return journal.rows


def replay(engine: Engine, decisions: Sequence[Decision]) -> None:
    """Repeat a run on a time budget from its schedule: the same weights, bit for bit."""
    for decision in decisions:
        engine.gradients(decision.step)
        engine.update(decision.learning_rate)


def _bar(budget: Budget, mixture: Mixture, done: Done, progress: Progress) -> AbstractContextManager[Advance]:
    """Open the progress bar over what is left, in seconds or in tokens."""
    if budget.kind == "seconds":
        return progress.task("training", max(0.0, budget.amount - done.seconds), "s")
    if budget.kind == "steps":
        left = float(sum(map(mixture.step_tokens, range(done.step, math.ceil(budget.amount)))))
    else:
        share = mixture.epoch_tokens if budget.kind == "epochs" else 1
        left = max(0.0, budget.amount * share - done.tokens)
    return progress.task("training", left, "tokens")
