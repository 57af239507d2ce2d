"""The training engine: one loop for every objective, exact to the bit on budgets that count."""

from __future__ import annotations

import math
import platform
import shutil
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from tinsmith.foundation.errors import TrainingError
from tinsmith.foundation.files import read_json, write_json
from tinsmith.foundation.progress import Advance, Progress
from tinsmith.recipe import Budget, TrainConfig
from tinsmith.tokens.batches import Batch, Batches, make_batch
from tinsmith.train.attention import isolate_sequences
from tinsmith.train.budget import Decision, Done, Stopwatch, progress_of, rate_at
from tinsmith.train.checkpoint import load_checkpoint, save_checkpoint
from tinsmith.train.journal import Journal, uninterrupted
from tinsmith.train.memory import keep_freed_memory
from tinsmith.train.objectives import NextToken, Objective, check_output_layer
from tinsmith.train.optim import Optimizers, clip_gradients

_COMPILE_PAYS_SECONDS = 2400.0  # compiling takes minutes and gains some percent
_REHEARSAL_TOKENS = 128
_BFLOAT16_PAYS = 1.1  # how many times as fast bfloat16 must be: it rounds, so it must be worth it


@dataclass(frozen=True)
class Settings:
    """How steps are computed; decided once and kept over kills, since a change would change the bits."""

    precision: str
    compiled: bool
    seconds_per_token: float


class Engine:
    """One model in training: `gradients` and then `update` make one optimiser step."""

    def __init__(
        self, model: PreTrainedModel, config: TrainConfig, *, seed: int, objective: Objective | None = None
    ) -> None:
        """Prepare a float32 model for training. Raises TrainingError where documents could not be kept apart."""
        keep_freed_memory()
        isolate_sequences(model)
        self.model, self.config, self.seed = model.train(), config, seed
        self.objective: Objective = objective or NextToken()
        self.optimizers = Optimizers(model, config)
        self.precision = "float32"

    def use(self, settings: Settings) -> None:
        """Compute in the precision, and compiled, as decided."""
        self.precision = settings.precision
        if settings.compiled:
            self.model.base_model.compile(dynamic=True)

    def gradients(self, number: int, batches: Sequence[Batch]) -> dict[str, float]:
        """Compute step `number`'s gradients. Returns loss (mean over the step), supervised and grad_norm.

        The gradient is that of the sum of losses over the sum of weights, whatever the micro-batches are.
        Raises TrainingError where loss or gradient is not finite; the weights are then untouched.
        """
        total = sum(map(self.objective.weight, batches))
        # Dropout, where a model has any, is drawn from the step's number: a resumed run draws the same.
        torch.manual_seed(self.seed * 1_000_003 + number)
        loss = math.fsum(self._accumulate(batch, total) for batch in batches)
        norm = clip_gradients(self.optimizers.parameters, self.config.clip_norm)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self.optimizers.drop_gradients()
            raise TrainingError(
                f"the {'gradient' if math.isfinite(loss) else 'loss'} is not finite at step {number}",
                where="train",
                next_step=f"lower train.learning_rate (it is {self.config.learning_rate:g}), "
                "or set train.precision to float32",
            )
        return {"loss": loss, "supervised": total, "grad_norm": norm}

    def update(self, learning_rate: float) -> None:
        """Move the weights by the gradients."""
        self.optimizers.step(learning_rate)

    def rehearse(self, batch: Batch, precision: str) -> float:
        """Measure the seconds of a micro-batch forward and backward, and leave everything as it was."""
        kept, self.precision = self.precision, precision
        start = time.perf_counter()
        self._accumulate(batch, self.objective.weight(batch))
        seconds = time.perf_counter() - start
        self.optimizers.drop_gradients()
        self.precision = kept
        return seconds

    def _accumulate(self, batch: Batch, total: int) -> float:
        if not self.objective.weight(batch):
            return 0.0
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.precision == "bfloat16"):
            loss, _ = self.objective.loss(self.model, batch)
        share = loss / total
        torch.autograd.backward(share)
        return float(share.detach())


def fit(engine: Engine, batches: Batches, *, out: Path, progress: Progress) -> list[dict[str, Any]]:
    """Train up to the budget, going on from `out/checkpoints`; return the rows of `out/log.jsonl`.

    Budgets in steps, tokens and epochs are exact to the bit however often the run is killed. A budget in time
    counts the seconds inside steps, and `out/schedule.jsonl` holds what `replay` needs to repeat the run.
    """
    config, budget = engine.config, Budget.parse(engine.config.budget)
    checkpoints, journal = out / "checkpoints", Journal(out)
    settings = _settle(engine, batches, checkpoints, progress)
    done = load_checkpoint(checkpoints, engine.model, engine.optimizers, progress.say)
    journal.resume(done, progress.say)
    watch, saved = Stopwatch(settings.seconds_per_token), done.seconds
    try:
        with _bar(budget, batches, done, progress) as advance:
            while True:
                tokens = batches.step_tokens(done.step)
                at = progress_of(budget, batches.tokens.tokens, done, tokens, watch.foretell(tokens))
                if at is None:
                    break
                rate = rate_at(at, config.learning_rate, config.warmup, config.decay)
                before, decision = done, Decision(done.step, at, rate)
                start = time.perf_counter()
                facts = engine.gradients(done.step, batches.step(done.step))
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


def replay(engine: Engine, batches: Batches, decisions: Sequence[Decision]) -> None:
    """Repeat a run on a time budget from its schedule: the same weights, bit for bit."""
    for decision in decisions:
        engine.gradients(decision.step, batches.step(decision.step))
        engine.update(decision.learning_rate)


def _settle(engine: Engine, batches: Batches, checkpoints: Path, progress: Progress) -> Settings:
    """Decide how steps are computed, once, and tell; a resumed run keeps what was decided."""
    path = checkpoints / "settings.json"
    if path.exists():
        settings = Settings(**read_json(path))
    else:
        sample = _sample(batches)
        check_output_layer(engine.model, sample)
        precision, pace = _choose_precision(engine, sample, progress)
        compiled = _choose_compile(engine.config, batches, pace, progress)
        settings = Settings(precision, compiled, pace)
        write_json(path, asdict(settings))
    engine.use(settings)
    return settings


def _sample(batches: Batches) -> Batch:
    """Return the beginning of the first step: enough to measure and to check."""
    first = batches.step(0)[0]
    length = min(_REHEARSAL_TOKENS, first.lengths[0])
    ids = first.ids[0, :length].numpy()
    return make_batch([(ids, (ids == ids).astype("uint8"))])


def _choose_precision(engine: Engine, sample: Batch, progress: Progress) -> tuple[str, float]:
    """Return the precision and its seconds per token."""
    asked, size = engine.config.precision, len(sample.ids[0])
    engine.rehearse(sample, "float32")  # the first pass pays for memory that later ones find ready
    if asked == "auto" and not _has_bfloat16():
        progress.say("  precision: float32 (this processor multiplies no bfloat16)")
        asked = "float32"
    if asked != "auto":
        return asked, engine.rehearse(sample, asked) / size
    # In turns and the best of three: a neighbour's burst must not decide the whole run.
    rounds = [{name: engine.rehearse(sample, name) for name in ("float32", "bfloat16")} for _ in range(3)]
    seconds = {name: min(each[name] for each in rounds) for name in rounds[0]}
    faster = seconds["bfloat16"] * _BFLOAT16_PAYS < seconds["float32"]
    precision = "bfloat16" if faster else "float32"
    figures = ", ".join(f"{name} {size / value:,.0f} tokens/s" for name, value in seconds.items())
    progress.say(f"  precision: {precision} (measured on {size} tokens: {figures})")
    return precision, seconds[precision] / size


def _has_bfloat16() -> bool:
    """Say whether the processor may have instructions for bfloat16: without, it is several times slower."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _choose_compile(config: TrainConfig, batches: Batches, pace: float, progress: Progress) -> bool:
    if config.compile == "off":
        return False
    budget = Budget.parse(config.budget)
    tokens = {
        "steps": config.batch_tokens,
        "tokens": 1.0,
        "epochs": batches.tokens.tokens,
        "seconds": 1 / pace,
    }
    seconds = budget.amount * tokens[budget.kind] * pace
    if config.compile == "auto" and seconds < _COMPILE_PAYS_SECONDS:
        return False
    if not any(map(shutil.which, ("g++", "c++", "clang++"))):
        progress.say("  eager mode: this machine has no C++ compiler")
        return False
    progress.say("  compiling the model, which takes minutes at the first step")
    return True


def _bar(budget: Budget, batches: Batches, done: Done, progress: Progress) -> AbstractContextManager[Advance]:
    """Open the progress bar over what is left, in seconds or in tokens."""
    if budget.kind == "seconds":
        return progress.task("training", max(0.0, budget.amount - done.seconds), "s")
    if budget.kind == "steps":
        left = float(sum(map(batches.step_tokens, range(done.step, math.ceil(budget.amount)))))
    else:
        share = batches.tokens.tokens if budget.kind == "epochs" else 1
        left = max(0.0, budget.amount * share - done.tokens)
    return progress.task("training", left, "tokens")
