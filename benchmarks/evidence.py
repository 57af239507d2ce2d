"""Write a benchmark's result as JSON and as a Markdown page, with machine, versions, date and commit."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.paths import RESULTS, ROOT
from benchmarks.processes import THREADS
from tinsmith.base.files import write_atomic, write_json
from tinsmith.meter.machine import describe_machine


def write_evidence(name: str, title: str, facts: dict[str, Any], body: Sequence[str]) -> None:
    """Write `results/NAME.json` and `results/NAME.md`."""
    machine = describe_machine(ROOT)
    about = {
        "benchmark": name,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit(),
        "machine": {
            key: machine[key] for key in ("cpu", "cores", "virtual", "flags", "memory_bytes", "system")
        },
        "threads": THREADS,
        "python": machine["python"],
    }
    write_json(RESULTS / f"{name}.json", {**about, **facts})
    versions = ", ".join(
        f"{package} {number}" for package, number in sorted(facts.get("versions", {}).items())
    )
    lines = [
        f"# {title}",
        "",
        f"{about['date']}, commit {about['commit']}. {machine['cpu']}, {machine['cores']} cores "
        f"({', '.join(machine['flags'])}), {machine['memory_bytes'] / 2**30:.0f} GiB, {THREADS} threads, "
        f"Python {machine['python']}, {machine['system']}.",
        "",
        *([f"Versions: {versions}.", ""] if versions else []),
        *body,
    ]
    write_atomic(RESULTS / f"{name}.md", "\n".join(lines).rstrip() + "\n")
    print(f"wrote {RESULTS / name}.json and .md", flush=True)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return the lines of a Markdown table; the first column is text, the others are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return [*("| " + " | ".join(map(str, line)) + " |" for line in lines), ""]


def commit() -> str:
    """Return the commit, and whether what is measured differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--", "src", "benchmarks/*.py", "benchmarks/workers")
    return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")
