"""Choose precision and torch.compile once and save the choice, so that resumed runs stay bit-identical."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinsmith.base.errors import TrainingError
from tinsmith.base.files import read_json, write_json
from tinsmith.base.progress import Progress
from tinsmith.model.load import has_bfloat16
from tinsmith.recipe import Budget, TrainConfig
from tinsmith.tokens.batches import Batch, make_batch
from tinsmith.train.attention import check_output_layer
from tinsmith.train.engine import Engine
from tinsmith.train.memory import is_out_of_memory
from tinsmith.train.mixture import Mixture, MixtureComponent
from tinsmith.train.objectives.next_token import NextToken

_COMPILE_PAYS_SECONDS = 2400.0  # compiling takes minutes and gains some percent
# Products of fewer tokens run at another pace than those of a micro-batch. Where memory is short, fewer must do.
_SAMPLE_TOKENS, _LEAST_SAMPLE_TOKENS = 512, 16
_BFLOAT16_PAYS = 1.1  # bfloat16 rounds, so it must be this many times as fast


@dataclass(frozen=True)
class RuntimeChoice:
    """How steps are computed; `settings.json` beside the checkpoints."""

    precision: str
    compiled: bool
    seconds_per_token: float
    micro_tokens: dict[str, int] | None = None  # of each component, once a dry run has found them to fit


def choose_runtime(engine: Engine, checkpoints: Path, progress: Progress) -> RuntimeChoice:
    """Choose how steps are computed, report it and apply it; a resumed run keeps the choice.

    Raises TrainingError where `train.compile` is on and this machine or run cannot compile.
    """
    obstacle = _obstacle_to_compiling(engine.ranks.size)
    if obstacle and engine.config.compile == "on":
        raise TrainingError(
            f"the model cannot be compiled: {obstacle}",
            where="train.compile",
            next_step="remove the obstacle, or set it to auto, which then trains in eager mode",
        )
    # The main process measures for all.
    chosen = _choose(engine, checkpoints / "settings.json", progress) if engine.ranks.is_main else None
    choice = RuntimeChoice(**engine.ranks.broadcast(chosen))
    if choice.compiled:
        eager = f"eager mode: {obstacle}"
        progress.say(
            f"  {eager if obstacle else 'compiling the model, which takes minutes at the first step'}"
        )
    engine.compute_in(choice.precision, compiled=choice.compiled and not obstacle)
    return choice


def _obstacle_to_compiling(processes: int) -> str:
    """Return why the model cannot be compiled, or nothing."""
    if processes > 1:
        return "several processes train together"
    has_compiler = any(map(shutil.which, ("g++", "c++", "clang++")))
    return "" if has_compiler else "this machine has no C++ compiler"


def _choose(engine: Engine, path: Path, progress: Progress) -> dict[str, Any]:
    if path.exists():
        return dict(read_json(path))
    check_output_layer(engine.model, _sample(engine, sequences=1).to(engine.ranks.device))
    precision, pace = _measure(engine, progress)
    pace /= engine.ranks.size
    compiled = _wants_compiling(engine.config, engine.mixture, pace)
    chosen = asdict(RuntimeChoice(precision, compiled, pace))
    write_json(path, chosen)
    return chosen


def _measure(engine: Engine, progress: Progress) -> tuple[str, float]:
    """Choose the precision on as many tokens as fit into memory; return it and its seconds per token."""
    size = _SAMPLE_TOKENS
    while True:
        try:
            return _choose_precision(engine, _sample(engine, size).to(engine.ranks.device), progress)
        except (RuntimeError, MemoryError) as error:
            if size <= _LEAST_SAMPLE_TOKENS or not is_out_of_memory(error):
                raise
        engine.optimizers.drop_gradients()
        progress.say(f"  {size} tokens do not fit into memory; measuring on {size // 2}")
        size //= 2


def _sample(engine: Engine, most: int = _SAMPLE_TOKENS, sequences: int | None = None) -> Batch:
    """Return the first sequences of the first micro-batch, up to `most` tokens, to measure and check with."""
    first = engine.mixture.components[0].batches.step(0)[0]
    taken: list[tuple[np.ndarray, np.ndarray]] = []
    left = most
    for ids in first.ids[0].split(first.lengths)[:sequences]:
        part = ids[:left].numpy()
        taken.append((part, np.ones(len(part), dtype=np.uint8)))
        left -= len(part)
        if not left:
            break
    return make_batch(taken)


def _choose_precision(engine: Engine, sample: Batch, progress: Progress) -> tuple[str, float]:
    """Return the precision and its seconds per token."""
    wanted, size = engine.config.precision, sample.ids.shape[1]
    component = MixtureComponent("next_token", NextToken(), engine.mixture.components[0].batches)
    engine.time_microbatch(
        component, sample, "float32"
    )  # the first pass allocates memory that later ones reuse
    if wanted == "auto" and not has_bfloat16(engine.ranks.device):
        progress.say("  precision: float32 (this processor has no bfloat16 instructions)")
        wanted = "float32"
    if wanted != "auto":
        return wanted, engine.time_microbatch(component, sample, wanted) / size
    # Alternate, and take the best of three: other programs' load must not decide the whole run.
    rounds = [
        {name: engine.time_microbatch(component, sample, name) for name in ("float32", "bfloat16")}
        for _ in range(3)
    ]
    seconds = {name: min(timed[name] for timed in rounds) for name in rounds[0]}
    faster = seconds["bfloat16"] * _BFLOAT16_PAYS < seconds["float32"]
    precision = "bfloat16" if faster else "float32"
    figures = ", ".join(f"{name} {size / value:,.0f} tokens/s" for name, value in seconds.items())
    progress.say(f"  precision: {precision} (measured on {size} tokens: {figures})")
    return precision, seconds[precision] / size


def _wants_compiling(config: TrainConfig, mixture: Mixture, pace: float) -> bool:
    """Say whether the recipe asks for it, or leaves the choice and the run is long enough."""
    if config.compile != "auto":
        return config.compile == "on"
    budget = Budget.parse(config.budget)
    tokens = {
        "steps": config.batch_tokens,
        "tokens": 1.0,
        "epochs": mixture.epoch_tokens,
        "seconds": 1 / pace,
    }
    return budget.amount * tokens[budget.kind] * pace >= _COMPILE_PAYS_SECONDS
