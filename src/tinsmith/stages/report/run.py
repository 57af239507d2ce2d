"""The stage *report*: gather the bundle, draw its page."""

from __future__ import annotations

from pathlib import Path

from tinsmith.base.files import list_files
from tinsmith.base.progress import Progress
from tinsmith.evaluate.families import families
from tinsmith.recipe import Recipe, ReportConfig
from tinsmith.report.collect import collect
from tinsmith.report.page import rebuild_report
from tinsmith.stages import PURPOSES


def report(
    config: ReportConfig, *, recipe: Recipe, runs: dict[str, Path], out: Path, progress: Progress
) -> dict[str, float]:
    """Fill `out` with the bundle of the finished stages `runs`; write report.html and evidence.json."""
    collect(recipe.model_copy(update={"report": config}), runs, out, progress)
    page = rebuild_report(out, families(), PURPOSES)
    sizes = [(out / name).stat().st_size for name in list_files(out)]
    return {"files": float(len(sizes)), "bytes": float(sum(sizes)), "page_bytes": float(page.stat().st_size)}
