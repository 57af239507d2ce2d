"""The page: evidence in, one self-contained HTML file out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tinsmith.base.files import write_atomic, write_json
from tinsmith.report import format as words
from tinsmith.report.evidence import build_evidence
from tinsmith.report.item_pages import classes, write_item_pages
from tinsmith.report.view_model import View

FILTERS = (
    "number",
    "significant",
    "setting",
    "count",
    "percent",
    "size",
    "big",
    "energy",
    "mass",
    "duration",
    "listing",
    "metric",
    "quiet_asides",
)


def rebuild_report(bundle: Path, purposes: Mapping[str, str]) -> Path:
    """Make report.html, evidence.json and the pages of items from a bundle: same bundle, same bytes.

    `purposes` says in a few words what each stage is for.
    """
    evidence = build_evidence(bundle)
    write_json(bundle / "evidence.json", evidence)
    write_atomic(bundle / "report.html", render(evidence, purposes))
    environment = _environment()
    environment.globals |= {"style": _style(environment), "classes": classes}
    write_item_pages(bundle, View(evidence), environment)
    return bundle / "report.html"


def render(evidence: dict[str, Any], purposes: Mapping[str, str]) -> str:
    """Draw the page from evidence alone."""
    environment = _environment()
    page = environment.get_template("page.html")
    return page.render(
        e=evidence, view=View(evidence), purposes=purposes, words=words, style=_style(environment)
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tinsmith.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(words, name) for name in FILTERS}
    return environment


def _style(environment: Environment) -> Markup:
    style, _, _ = environment.loader.get_source(environment, "style.css")  # type: ignore[union-attr]
    return Markup(style)
