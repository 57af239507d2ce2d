"""Describe a plan: what is trained, what is cached, and what the rest will probably take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from tinsmith.base import assets
from tinsmith.evidence.bootstrap import detectable
from tinsmith.jobs.size import job_size
from tinsmith.meter.planner import (
    ACTIVATION_GRADIENT_OPERATIONS,
    FORWARD_OPERATIONS,
    MEMORY_FACTOR,
    SHARE_OF_MATMUL_RATE,
    TIME_FACTOR,
    WEIGHT_GRADIENT_OPERATIONS,
    Scale,
    measure_gflops,
    vocabulary_size,
)
from tinsmith.pipeline.plan import Step, plan, run_directory
from tinsmith.recipe import (
    EXAMPLE_FILES,
    OBJECTIVES,
    UPPER_SHARE,
    Budget,
    EvaluateConfig,
    JobConfig,
    Recipe,
    StreamlineConfig,
    TrainConfig,
)
from tinsmith.stages.sources import look_at, present_files
from tinsmith.stages.train import published_shape

# Standard deviations over documents of the difference between two models (135M and 270M, on licences).
_SPREAD_BITS, _SPREAD_EXAM = 0.13, 0.42  # bits per byte; share of right answers
# The assumed size of a model that only a hub knows.
UNKNOWN_PARAMETERS = 500_000_000


def describe_plan(recipe: Recipe, until: str | None = None) -> str:
    """Return lines on what is trained, and a table of stages: state, minutes, tokens, disk, memory, and why."""
    steps = plan(recipe, until)
    gflops = measure_gflops()
    scale = _scale(recipe, gflops)
    power = [describe_power(recipe.evaluate)] if recipe.ingest.sources else []
    lines = [
        *describe_model(recipe),
        *(line for job in recipe.jobs for line in (describe_job(job), *describe_reading(job, scale))),
        *power,
        *describe_leaving(recipe, steps),
        "",
    ]
    lines.append(f"{'stage':10} {'state':8} {'minutes':>7} {'tokens':>10} {'disk':>9} {'memory':>9}  why")
    minutes = disk = 0.0
    for step in steps:
        state = "cached" if step.cached else "to run"
        cells = f"{'':>7} {'':>10} {'':>9} {'':>9}"
        if not step.cached:
            cost = step.stage.estimate(recipe, scale)
            minutes, disk = minutes + cost.seconds / 60, disk + cost.disk_bytes
            tokens = f"{int(cost.tokens):,}" if cost.tokens else ""
            disk_size, memory_size = _size(cost.disk_bytes), _size(cost.memory_bytes)
            cells = f"{cost.seconds / 60:>7.1f} {tokens:>10} {disk_size:>9} {memory_size:>9}"
        lines.append(f"{step.stage.name:10} {state:8} {cells}  {step.why}")
    lines.append(
        f"\nto run: about {minutes:.0f} minutes (stages of recorded builds were within a factor of {TIME_FACTOR}, "
        f"their memory of {MEMORY_FACTOR}; this machine multiplies matrices at "
        f"{gflops:,.0f} GFLOP/s), {_size(disk)} of disk, in {run_directory(recipe)}"
    )
    return "\n".join(lines)


def _scale(recipe: Recipe, gflops: float) -> Scale:
    return Scale(
        corpus_bytes=_corpus_bytes(recipe),
        parameters=parameters(recipe),
        teacher=teacher_parameters(recipe),
        vocabulary=vocabulary_size(recipe.model),
        operations_per_second=gflops * 1e9 * SHARE_OF_MATMUL_RATE,
        example_bytes=_example_bytes(recipe),
    )


def describe_power(config: EvaluateConfig) -> str:
    """Return a line on the smallest differences between two models that the held-out documents could show.

    The spread over documents is that of another comparison, so no document is needed yet.
    """
    bits = detectable(_SPREAD_BITS / math.sqrt(config.documents), config.confidence)
    exam = detectable(_SPREAD_EXAM / math.sqrt(config.exam_items), config.confidence)
    return (
        f"{'can show':10} differences of about {bits:.2f} bits per byte on {config.documents} held-out documents "
        f"and of {exam:.0%} in an exam of {config.exam_items} questions, four times in five; smaller ones need more"
    )


def describe_leaving(recipe: Recipe, steps: Sequence[Step]) -> list[str]:
    """Return a line for each model on another machine that a stage to run would send documents or rows to."""
    asked = [outbound for step in steps if not step.cached for outbound in step.stage.asks(recipe)]
    texts = "documents or rows of jobs" if recipe.jobs else "documents"
    lines = []
    for outbound in asked:
        if outbound.host:
            most, size = outbound.most()
            lines.append(
                f"at most {most:,} {texts} and {_size(size)} of requests to {outbound.host} "
                f"({outbound.where}), of {texts} labelled {' or '.join(recipe.may_leave)}"
            )
    lines = lines or ["no text: every model that is asked runs here"]
    return [f"{'leaves' if not number else '':10} {line}" for number, line in enumerate(lines)]


def describe_model(recipe: Recipe) -> list[str]:
    """Return lines on where the model starts, what it learns, and what differs from the defaults."""
    train, model = recipe.train, recipe.model
    start = f"fresh weights, {model.scratch}" if model.scratch else model.base
    lines = [f"{'start':10} {start}, about {_count(parameters(recipe))} parameters"]
    if not recipe.ingest.sources:
        return lines
    if model.tokenizer != "base":
        size = model.tokenizer.partition("@")[2]
        lines.append(f"{'tokenizer':10} byte-level BPE of {size} tokens, trained on the training documents")
    elif model.scratch:
        lines.append(f"{'tokenizer':10} that of {model.base}")
    if train.streamline != StreamlineConfig():
        lines.append(f"{'pruned':10} {_pruned(train.streamline)}, then trained")
    lines.append(f"{'learns':10} {_objectives(recipe)}")
    lines.append(f"{'trains':10} {_trainable(train)}, with {train.optimizer} over {train.budget}")
    return lines


def describe_job(job: JobConfig) -> str:
    """Return a line on a job: its kind, what it learns from, what it is asked, and for how long it learns."""
    learnt = _files(job.examples) if job.examples else "the documents and their metadata"
    asked = "the held-out documents"
    if job.examples:
        asked = _files(job.test) if job.test else f"{job.held_out:.0%} of them, held out"
    rows = f", by {job.group}" if job.group and not job.test else ""
    start = "the base" if job.start == "base" else "the model of the documents"
    return (
        f"{'job':10} {job.name}: {job.kind}, learnt from {learnt}, examined on {asked}{rows}; "
        f"{job.budget}, from {start}"
    )


def describe_reading(job: JobConfig, scale: Scale) -> list[str]:
    """Return a line on the rows of a job's files: how many there are, their tokens, and the passes that time allows.

    Over the upper third of the blocks, a pass takes about a third of the time that it takes over all weights. Raises
    RecipeError for a file that cannot be read.
    """
    size = job_size(job)
    if size is None or not size.learnt:
        return []
    line = (
        f"{'':10} {size.learnt:,} rows to learn from, {size.asked:,} to be asked, of about "
        f"{size.tokens + size.written:,.0f} tokens each"
    )
    budget = Budget.parse(job.budget)
    if budget.kind != "seconds":
        return [line]
    operations = FORWARD_OPERATIONS + ACTIVATION_GRADIENT_OPERATIONS + WEIGHT_GRADIENT_OPERATIONS
    share = UPPER_SHARE if job.trainable in ("", "upper") else 1.0
    seconds = share * size.learnt_tokens * operations * scale.parameters / scale.operations_per_second
    passes = budget.amount / max(seconds, 1e-9)
    line += f"; {job.budget} are about {passes:,.1f} passes" if passes < 50 else ""
    if passes < 2:
        line += f": too few to learn well; give `budget` at least {math.ceil(2 * seconds / 60)}m, or fewer examples"
    return [line]


def _files(names: Sequence[str]) -> str:
    paths = [Path(name).expanduser() for name in names]
    size = sum(path.stat().st_size for path in paths if path.is_file())
    return f"{', '.join(path.name for path in paths)} ({_size(size)})"


def _objectives(recipe: Recipe) -> str:
    shares = recipe.train.shares
    percent = [f"{share:.0%} " if len(shares) > 1 else "" for share in shares.values()]
    learns = ", ".join(part + OBJECTIVES[name].learns for part, name in zip(percent, shares, strict=True))
    if not recipe.train.has_teacher:
        return learns
    return f"{learns}; the teacher is {recipe.train.distil.teacher or 'the model before it is pruned'}"


def _trainable(train: TrainConfig) -> str:
    if train.trainable == "all":
        return "all weights"
    where = " and ".join(train.lora.targets) or "every linear layer of the blocks"
    return f"adapters of rank {train.lora.rank} on {where} (LoRA)"


def _pruned(config: StreamlineConfig) -> str:
    kept = {
        "tokens": config.vocabulary,
        "layers": config.layers,
        "channels in each MLP": config.mlp,
    }
    return "to " + ", ".join(f"{count:,} {what}" for what, count in kept.items() if count)


def parameters(recipe: Recipe) -> int:
    """Return about how many parameters the model has, without opening or fetching it."""
    return _scratch_parameters(recipe.model.scratch) if recipe.model.scratch else _size_of(recipe.model.base)


def teacher_parameters(recipe: Recipe) -> int:
    """Return about how many parameters the teacher has, 0 without one."""
    if not recipe.train.has_teacher:
        return 0
    teacher = recipe.train.distil.teacher
    return _size_of(teacher) if teacher else parameters(recipe)


def _size_of(model: str) -> int:
    if model in assets.KNOWN:
        return assets.KNOWN[model].parameters
    path = Path(model).expanduser()
    if path.is_file():
        # Between 4 and 16 bits per weight; one byte is close enough for a plan.
        return path.stat().st_size
    if path.is_dir():
        return sum(file.stat().st_size for file in path.glob("*.safetensors")) // 2
    return UNKNOWN_PARAMETERS


def _scratch_parameters(scratch: str) -> int:
    name, _, size = scratch.partition("@")
    if size:
        return int(float(size[:-1]) * {"k": 1e3, "m": 1e6, "b": 1e9}[size[-1]])
    return published_shape(name).parameters


def _corpus_bytes(recipe: Recipe) -> int:
    """Return the bytes of the sources; a corpus not fetched yet counts with its known size."""
    total = sum(look_at(path).st_size for path in present_files(recipe.ingest))
    for name in recipe.ingest.sources:
        if assets.is_corpus(name) and not assets.is_cached(name):
            total += int(assets.KNOWN[name].megabytes * 1e6)
    return total


def _example_bytes(recipe: Recipe) -> dict[str, int]:
    """Return the bytes of the example files of each token set; a missing file counts 0, and the build reports it."""
    return {
        tokens: sum(
            path.stat().st_size
            for path in (Path(name).expanduser() for name in getattr(recipe.tokenize, field))
            if path.is_file()
        )
        for tokens, field in EXAMPLE_FILES.items()
    }


def _count(parameters: int) -> str:
    return f"{parameters / 1e9:.3g}B" if parameters >= 1e9 else f"{parameters / 1e6:.3g}M"


def _size(count: float) -> str:
    if count < 1e6:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
