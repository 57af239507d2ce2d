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
from tinsmith.stages.stage import Inputs


def report(
    config: ReportConfig, *, settings: Recipe, inputs: Inputs, out: Path, progress: Progress
) -> dict[str, float]:
    """Fill `out` with the bundle of the finished stages `inputs`; write report.html and evidence.json."""
    collect(settings.model_copy(update={"report": config}), dict(inputs), out, progress)
    page = rebuild_report(out, families(), PURPOSES)
    sizes = [(out / name).stat().st_size for name in list_files(out)]
    return {"files": float(len(sizes)), "bytes": float(sum(sizes)), "page_bytes": float(page.stat().st_size)}
