"""Choose how steps are computed by timing real ones; the choice is saved, so resumed runs stay bit-identical.

Timed in turns on the micro-batches that a step will read are: the precision, and the compiled model where a run is long
enough to repay compiling; on a time budget also the tokens of a micro-batch, and the threads where the processor has
more of them than cores. Early in such a run the other precision is tried again if steps are slower than was measured.
"""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tinsmith.base.cores import usable_cores
from tinsmith.base.errors import TrainingError
from tinsmith.base.files import JsonObject, read_json, write_json
from tinsmith.base.progress import Progress
from tinsmith.model.load import has_bfloat16
from tinsmith.model.packed import obstacle_to_packing
from tinsmith.recipe import Budget, TrainConfig
from tinsmith.tokens.batches import Batch, make_batch
from tinsmith.train.attention import check_output_layer, shared_if_isolated
from tinsmith.train.dry_run import memory_shortage
from tinsmith.train.engine import Engine
from tinsmith.train.memory import available_bytes, is_out_of_memory
from tinsmith.train.mixture import Mixture, MixtureComponent
from tinsmith.train.objectives import Objective
from tinsmith.train.objectives.next_token import NextToken

_COMPILE_PAYS_SECONDS = 2400.0  # compiling takes minutes and gains some percent
# Where memory is short, fewer tokens than a micro-batch has must do.
_LEAST_SAMPLE_TOKENS = 16
_BFLOAT16_PAYS = 1.1  # bfloat16 rounds, so it must be this many times as fast
_CHANGE_PAYS = 1.03  # another setting replaces the default one where it is this many times as fast
_CLEAR = (1.5, 1.25, 1.0)  # by how much the best must lead after one, two and three turns to end them
_MICRO_ROWS = (1, 2, 4)
_SECOND_LOOK = 10  # steps, after which a run looks again
_SLOWER = 1.25  # times what was measured: steps so slow are worth a second look
_PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class RuntimeChoice:
    """How steps are computed; `settings.json` beside the checkpoints.

    From the step `changed_at` on the precision is `precision_later`; before the first step none is.
    """

    precision: str
    compiled: bool
    seconds_per_token: float
    threads: int = 0  # 0: as torch chooses
    micro_rows: int = 0  # 0: as the recipe says
    packed: bool = False  # frozen weights, see model/packed.py
    precision_later: str = ""
    changed_at: int = 0
    micro_tokens: dict[str, int] | None = None  # of each component, once a dry run has found them to fit
    measured: dict[str, float] = field(default_factory=dict)  # tokens a second of each setting that was tried

    def precision_at(self, step: int) -> str:
        """Return the precision of a step."""
        return self.precision_later if self.precision_later and step >= self.changed_at else self.precision


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
    chosen = (
        _choose(engine, checkpoints / "settings.json", obstacle, progress) if engine.ranks.is_main else None
    )
    choice = RuntimeChoice(**engine.ranks.broadcast(chosen))
    apply_choice(engine, choice)
    return choice


def apply_choice(engine: Engine, choice: RuntimeChoice) -> None:
    """Make an engine compute as it was chosen."""
    if choice.threads:
        torch.set_num_threads(choice.threads)
    for component in engine.mixture.components:
        batches = component.batches
        if choice.micro_rows:
            batches.micro_tokens = choice.micro_rows * batches.tokens.context
        if choice.micro_tokens:
            batches.micro_tokens = choice.micro_tokens[component.name]
    engine.compute_in(choice.precision, compiled=choice.compiled, packed=choice.packed)


def compute_as_chosen(engine: Engine, choice: RuntimeChoice, step: int) -> None:
    """Make an engine compute a step in the precision that was chosen for it."""
    if engine.precision != (precision := choice.precision_at(step)):
        engine.compute_in(precision, compiled=choice.compiled, packed=choice.packed)


def look_again(
    engine: Engine, checkpoints: Path, step: int, rows: Sequence[JsonObject], progress: Progress
) -> RuntimeChoice | None:
    """Before the step `_SECOND_LOOK`, time the other precision once more if steps are slower than was measured.

    `rows` are those of the log. Returns the new choice, which is saved, or None where all stays as it is.
    """
    path = checkpoints / "settings.json"
    config = engine.config
    by_the_clock = config.precision == "auto" and Budget.parse(config.budget).kind == "seconds"
    if step != _SECOND_LOOK or not by_the_clock or engine.ranks.size > 1:
        return None
    if not all(_is_plain(component.objective) for component in engine.mixture.components):
        return None  # what others have prepared is of the first precision
    choice = RuntimeChoice(**read_json(path))
    if choice.precision_later or not has_bfloat16(engine.ranks.device):
        return None
    pace = statistics.median(row["seconds"] / row["tokens"] for row in rows[-_SECOND_LOOK // 2 :])
    if pace <= _SLOWER * choice.seconds_per_token:
        return None
    component = engine.mixture.components[0]
    batch = component.batches.step(step)[0].to(engine.ranks.device)
    precision, timed = _faster_precision(engine, component, batch)
    progress.say(
        f"  steps run at {_rate(pace):,.0f} tokens/s where {_rate(choice.seconds_per_token):,.0f} were measured; "
        f"tried again: {_told(timed)}; going on in {precision}"
    )
    choice = replace(
        _with(choice, timed, " again"),
        precision_later=precision,
        changed_at=step,
        seconds_per_token=timed[precision],
    )
    write_json(path, asdict(choice))
    return choice


def _obstacle_to_compiling(processes: int) -> str:
    """Return why the model cannot be compiled, or nothing."""
    if processes > 1:
        return "several processes train together"
    has_compiler = any(map(shutil.which, ("g++", "c++", "clang++")))
    return "" if has_compiler else "this machine has no C++ compiler"


def _choose(engine: Engine, path: Path, obstacle: str, progress: Progress) -> dict[str, Any]:
    if path.exists():
        return dict(read_json(path))
    # Other objectives need preparation first, in the precision that is to be chosen.
    component = MixtureComponent("next_token", NextToken(), engine.mixture.components[0].batches)
    first = component.batches.step(0)[0]
    check_output_layer(engine.model, _first_tokens(first, first.lengths[0]).to(engine.ranks.device))
    packed = _can_pack(engine, progress)
    # Packed in the precision that is likely: both at once would take a gigabyte more at 135M parameters.
    likely = (
        "bfloat16"
        if engine.config.precision != "float32" and has_bfloat16(engine.ranks.device)
        else "float32"
    )
    engine.compute_in(likely, compiled=False, packed=packed)
    sample, choice = _measure_precision(engine, component, first, progress)
    choice = replace(choice, packed=packed)
    # Both change the order of sums, and the result of a counted budget depends on inputs and seed alone.
    by_the_clock = Budget.parse(engine.config.budget).kind == "seconds"
    if by_the_clock:
        choice = _choose_threads(engine, component, sample, choice, progress)
    if by_the_clock and not engine.config.micro_rows:
        choice = _choose_micro_rows(engine, component, choice, progress)
    choice = replace(choice, seconds_per_token=choice.seconds_per_token / engine.ranks.size)
    if _wants_compiling(engine.config, engine.mixture, choice.seconds_per_token):
        if obstacle:
            progress.say(f"  eager mode: {obstacle}")
        else:
            progress.say("  compiling the model, which takes minutes at the first step")
            choice = _choose_compiling(engine, component, sample, choice, progress)
    write_json(path, asdict(choice))
    return asdict(choice)


def _can_pack(engine: Engine, progress: Progress) -> bool:
    """Say whether there are frozen weights to pack and room for them."""
    if not (weights := engine.packable):
        return False
    if obstacle := obstacle_to_packing(weights, available_bytes()):
        progress.say(
            f"  frozen weights are packed again for each product, which is some percent slower: {obstacle}"
        )
    return not obstacle


def _measure_precision(
    engine: Engine, component: MixtureComponent, first: Batch, progress: Progress
) -> tuple[Batch, RuntimeChoice]:
    """Choose the precision on a micro-batch, or on as many of its tokens as fit into memory, which are returned."""
    size = first.ids.shape[1]
    while True:
        sample = _as_read(engine, first if size == first.ids.shape[1] else _first_tokens(first, size))
        problem = memory_shortage(engine, sample)
        try:
            if not problem:
                return sample, _choose_precision(engine, component, sample, progress)
        except (RuntimeError, MemoryError) as error:
            if size <= _LEAST_SAMPLE_TOKENS or not is_out_of_memory(error):
                raise
        if size <= _LEAST_SAMPLE_TOKENS:
            raise MemoryError(problem)
        engine.optimizers.drop_gradients()
        progress.say(f"  {size} tokens do not fit into memory; measuring on {size // 2}")
        size //= 2


def _choose_precision(
    engine: Engine, component: MixtureComponent, sample: Batch, progress: Progress
) -> RuntimeChoice:
    wanted, size = engine.config.precision, sample.ids.shape[1]
    if wanted == "auto" and not has_bfloat16(engine.ranks.device):
        progress.say("  precision: float32 (this processor has no bfloat16 instructions)")
        wanted = "float32"
    # The first pass allocates memory that later ones reuse.
    engine.time_microbatch(component, sample, "bfloat16" if wanted == "auto" else wanted)
    if wanted != "auto":
        return RuntimeChoice(wanted, False, engine.time_microbatch(component, sample, wanted) / size)
    precision, timed = _faster_precision(engine, component, sample)
    progress.say(f"  precision: {precision} (measured on {size:,} tokens: {_told(timed)})")
    return _with(RuntimeChoice(precision, False, timed[precision]), timed)


def _faster_precision(
    engine: Engine, component: MixtureComponent, sample: Batch
) -> tuple[str, dict[str, float]]:
    """Return bfloat16 where it is enough faster, else float32, and the seconds per token of both."""
    size = sample.ids.shape[1]
    timed = _in_turns(_PRECISIONS, lambda name: engine.time_microbatch(component, sample, name) / size)
    faster = timed["bfloat16"] * _BFLOAT16_PAYS < timed["float32"]
    return ("bfloat16" if faster else "float32"), timed


def _choose_threads(
    engine: Engine, component: MixtureComponent, sample: Batch, choice: RuntimeChoice, progress: Progress
) -> RuntimeChoice:
    """Try a thread for each that the processor runs, where torch takes one for each core and nobody has chosen."""
    plain, all_of_them = torch.get_num_threads(), usable_cores()
    chosen_outside = "OMP_NUM_THREADS" in os.environ or "MKL_NUM_THREADS" in os.environ
    if engine.ranks.device.type != "cpu" or plain >= all_of_them or chosen_outside:
        return choice
    size = sample.ids.shape[1]

    def seconds(threads: str) -> float:
        torch.set_num_threads(int(threads))
        return engine.time_microbatch(component, sample, choice.precision) / size

    timed = _in_turns((str(plain), str(all_of_them)), seconds)
    more = timed[str(all_of_them)] * _CHANGE_PAYS < timed[str(plain)]
    threads = all_of_them if more else plain
    torch.set_num_threads(threads)
    progress.say(f"  threads: {threads} (measured: {_told(timed)})")
    choice = replace(choice, threads=threads, seconds_per_token=timed[str(threads)])
    return _with(choice, timed, " threads")


def _choose_micro_rows(
    engine: Engine, component: MixtureComponent, choice: RuntimeChoice, progress: Progress
) -> RuntimeChoice:
    """Choose the size of micro-batches, of which a step's gradient does not depend, where a step has room for several.

    Sizes that do not fit into memory are left out.
    """
    batches = component.batches
    context, kept = batches.tokens.context, batches.micro_tokens
    samples: dict[str, Batch] = {}
    for rows in _MICRO_ROWS:
        batches.micro_tokens = rows * context
        found = _as_read(engine, batches.step(0)[0])
        if rows == 1 or ((rows - 1) * context < batches.batch_tokens and not memory_shortage(engine, found)):
            samples[str(rows * context)] = found
    batches.micro_tokens = kept
    sizes = {name: batch.ids.shape[1] for name, batch in samples.items()}
    # Where documents are short, several sizes may give the same micro-batch.
    if len(set(sizes.values())) < 2:
        return choice

    def seconds(name: str) -> float:
        try:
            return engine.time_microbatch(component, samples[name], choice.precision) / sizes[name]
        except (RuntimeError, MemoryError) as error:
            if name == str(context) or not is_out_of_memory(error):
                raise
            engine.optimizers.drop_gradients()
            return float("inf")

    timed = _in_turns(tuple(samples), seconds)
    best = min(timed, key=lambda name: timed[name])
    if timed[best] * _CHANGE_PAYS >= timed[str(context)]:
        best = str(context)
    progress.say(f"  micro-batches: up to {int(best):,} tokens (measured: {_told(timed)})")
    choice = replace(choice, micro_rows=int(best) // context, seconds_per_token=timed[best])
    return _with(choice, timed, " tokens at once")


def _choose_compiling(
    engine: Engine, component: MixtureComponent, sample: Batch, choice: RuntimeChoice, progress: Progress
) -> RuntimeChoice:
    """Compile, and keep it where it is faster, or where the recipe asks for it."""
    size, eager = sample.ids.shape[1], choice.seconds_per_token
    engine.compute_in(choice.precision, compiled=True)
    for _ in range(2):  # it compiles in the first pass, and may do so for another length in the next
        engine.time_microbatch(component, sample, choice.precision)
    timed = {
        "eager": eager,
        "compiled": min(engine.time_microbatch(component, sample, choice.precision) for _ in range(2)) / size,
    }
    compiled = engine.config.compile == "on" or timed["compiled"] * _CHANGE_PAYS < eager
    if not compiled:
        engine.compute_in(choice.precision, compiled=False, packed=choice.packed)
    progress.say(f"  {'compiled' if compiled else 'eager'} (measured: {_told(timed)})")
    choice = replace(choice, compiled=compiled, seconds_per_token=timed["compiled" if compiled else "eager"])
    return _with(choice, timed)


def _in_turns(names: Sequence[str], seconds: Callable[[str], float]) -> dict[str, float]:
    """Time each in turns and return its best: the load of other programs must not decide the whole run."""
    timed: dict[str, float] = {}
    for lead in _CLEAR:
        for name in names:
            timed[name] = min(seconds(name), timed.get(name, float("inf")))
        best, second, *_ = sorted(timed.values())
        if second > lead * best:
            break
    return timed


def _with(choice: RuntimeChoice, timed: dict[str, float], what: str = "") -> RuntimeChoice:
    """Return a choice that also holds what was measured, given seconds per token."""
    rates = {f"{name}{what}": round(_rate(seconds), 1) for name, seconds in timed.items()}
    return replace(choice, measured=choice.measured | rates)


def _told(timed: dict[str, float]) -> str:
    """Say the pace of each, given seconds per token."""
    return ", ".join(f"{name} {_rate(seconds):,.0f} tokens/s" for name, seconds in timed.items())


def _rate(seconds_per_token: float) -> float:
    return 1 / max(seconds_per_token, 1e-9)


def _is_plain(objective: Objective) -> bool:
    return isinstance(objective, NextToken) and not objective.has_frozen


def _as_read(engine: Engine, batch: Batch) -> Batch:
    """Return a micro-batch as the first component's objective reads it, on the engine's device."""
    if engine.mixture.components[0].objective.shares_prefixes:
        batch = shared_if_isolated(engine.model, batch)
    return batch.to(engine.ranks.device)


def _first_tokens(batch: Batch, most: int) -> Batch:
    """Return the first sequences of a batch, up to `most` tokens, with their targets."""
    marks = np.zeros(batch.ids.shape[1] + 1, dtype=np.uint8)
    marks[batch.target_positions.numpy() + 1] = 1
    taken: list[tuple[np.ndarray, np.ndarray]] = []
    start = 0
    for length in batch.lengths:
        end = min(start + length, most)
        if start < end:
            taken.append((batch.ids[0, start:end].numpy().astype(np.uint32), marks[start:end]))
        start += length
    return make_batch(taken)


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
