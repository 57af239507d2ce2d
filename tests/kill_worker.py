"""Build a recipe, killed with SIGKILL at seeded random instants, until it is done; print what was hit.

Everything heavy is imported once and each attempt is a fork: many attempts do not pay for as many imports.
Usage: python kill_worker.py RECIPE RUNS SEED KILLS
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import daft  # noqa: F401
import torch  # noqa: F401
import transformers  # noqa: F401

from tinsmith.base.progress import SilentProgress
from tinsmith.pipeline.build import build
from tinsmith.recipe.toml import load_recipe
from tinsmith.stages import STAGES


def schedule(seed, kills):
    """Yield what to wait for (a stage, a rename, or nothing) and how long after it to kill."""
    draw, each = random.Random(seed), kills // 10
    moments = [("rename", n) for n in (1, 2) for _ in range((each + 1) // 2)]
    longest = {"train": 1.5, "package": 1.5, "evaluate": 1.5, "report": 0.2}
    moments += [(name, draw.uniform(0, most)) for name, most in longest.items() for _ in range(each)]
    moments += [("any", draw.expovariate(1 / 1.5)) for _ in range(kills - len(moments))]
    order = {stage.name: index for index, stage in enumerate(STAGES)}
    spread = [draw.random() * len(order) for _ in moments]
    place = [order.get(what, spread[i]) + draw.random() for i, (what, _) in enumerate(moments)]
    return [moment for _, moment in sorted(zip(place, moments), key=lambda pair: pair[0])]


def die_at_rename(count):
    real, seen = os.rename, 0

    def rename(*arguments, **options):
        nonlocal seen
        seen += 1
        if seen == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)

    os.rename = rename


def attempt(recipe, rename_to_die_at):
    pid = os.fork()
    if pid:
        return pid
    try:
        if rename_to_die_at:
            die_at_rename(rename_to_die_at)
        build(recipe, progress=SilentProgress())
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def wait(pid, until):
    """Wait for a child until a moment; return its status, or None if it still runs."""
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.01)
    return None


def working_on(root):
    partials = sorted(root.glob("*.partial"))
    return partials[0].name.removesuffix(".partial") if partials else "between stages"


def kill_one(recipe, root, what, amount):
    """Start an attempt and kill it at the given moment; return where it was hit, or None if it had finished."""
    pid = attempt(recipe, amount if what == "rename" else 0)
    status = None
    if what in {stage.name for stage in STAGES}:
        directory = "bundle" if what == "report" else what
        while status is None and not (root / f"{directory}.partial").exists():
            status = wait(pid, time.monotonic() + 0.02)
    if status is None:
        status = wait(pid, time.monotonic() + (600 if what == "rename" else amount))
    if status is None:
        where = working_on(root)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return f"{what}: {where}"
    if os.WIFSIGNALED(status):
        return f"{what}: {working_on(root)}"
    if os.WEXITSTATUS(status):
        sys.exit("an attempt failed by itself")
    return None


def main():
    recipe = load_recipe(Path(sys.argv[1]), (f"runs={sys.argv[2]}",))
    root, seed, kills = Path(sys.argv[2]) / recipe.name, int(sys.argv[3]), int(sys.argv[4])
    hits, draw = [], random.Random(seed)
    for what, amount in schedule(seed, kills):
        directory = root / ("bundle" if what == "report" else what)
        if directory.exists():
            # An earlier attempt came further than planned: what it finished is lost, and made again.
            shutil.rmtree(directory)
        hit = kill_one(recipe, root, what, amount)
        if hit is None:
            shutil.rmtree(root / draw.choice(("evaluate", "bundle")))
        else:
            hits.append(hit)
    _, status = os.waitpid(attempt(recipe, 0), 0)
    print(json.dumps({"status": os.waitstatus_to_exitcode(status), "hits": hits}))


main()
