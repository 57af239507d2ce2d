"""The plan of a build in words: what is cached, what would run, and what that will probably take."""

from __future__ import annotations

from pathlib import Path

from tinsmith.foundation import assets
from tinsmith.meter.planner import estimate, measure_gflops
from tinsmith.pipeline import plan, run_directory
from tinsmith.recipe import Recipe

# A model of which nothing but a hub's name is known is taken to be this big.
UNKNOWN_PARAMETERS = 500_000_000


def describe_plan(recipe: Recipe, until: str | None = None) -> str:
    """Return a table: stage, cached or to run, minutes, tokens, disk, memory, and why."""
    steps = plan(recipe, until)
    rate = measure_gflops()
    expected = {
        row["stage"]: row for row in estimate(recipe, _corpus_bytes(recipe), parameters(recipe), rate)
    }
    lines = [f"{'stage':10} {'state':8} {'minutes':>7} {'tokens':>10} {'disk':>9} {'memory':>9}  why"]
    minutes = disk = 0.0
    for step in steps:
        row = expected[step.stage.name]
        state = "cached" if step.cached else "to run"
        cells = f"{'':>7} {'':>10} {'':>9} {'':>9}"
        if not step.cached:
            minutes, disk = minutes + row["minutes"], disk + row["disk_bytes"]
            tokens = f"{row['tokens']:,}" if row["tokens"] else ""
            disk_size, memory_size = _size(row["disk_bytes"]), _size(row["memory_bytes"])
            cells = f"{row['minutes']:>7.1f} {tokens:>10} {disk_size:>9} {memory_size:>9}"
        lines.append(f"{step.stage.name:10} {state:8} {cells}  {step.why}")
    lines.append(
        f"\nto run: about {minutes:.0f} minutes (within a factor of two; this machine multiplies matrices at "
        f"{rate:,.0f} GFLOP/s), {_size(disk)} of disk, in {run_directory(recipe)}"
    )
    return "\n".join(lines)


def parameters(recipe: Recipe) -> int:
    """Return about how many parameters the model of a recipe has, without opening or fetching it."""
    if recipe.model.scratch:
        return _scratch_parameters(recipe.model.scratch)
    base = recipe.model.base
    if base in assets.KNOWN:
        return assets.KNOWN[base].parameters
    path = Path(base).expanduser()
    if path.is_file():
        # Between 4 and 16 bits a weight; the middle is near enough for a plan.
        return path.stat().st_size
    if path.is_dir():
        return sum(file.stat().st_size for file in path.glob("*.safetensors")) // 2
    return UNKNOWN_PARAMETERS


def _scratch_parameters(scratch: str) -> int:
    size = scratch.partition("@")[2]
    return int(float(size[:-1]) * {"k": 1e3, "m": 1e6, "b": 1e9}[size[-1]])


def _corpus_bytes(recipe: Recipe) -> int:
    """Return the bytes of the sources; a named corpus not fetched yet counts with its known size."""
    from tinsmith.stages.sources import look_at, present_files

    total = sum(look_at(path).st_size for path in present_files(recipe.ingest))
    for name in recipe.ingest.sources:
        if assets.is_corpus(name) and not assets.is_cached(name):
            total += int(assets.KNOWN[name].megabytes * 1e6)
    return total


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
