"""The page: evidence in, one self-contained HTML file out."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tinsmith.base.files import write_atomic, write_json
from tinsmith.evidence import format as words
from tinsmith.evidence.family import Family
from tinsmith.report.evidence import build_evidence
from tinsmith.report.item_pages import classes, shortened, write_item_pages
from tinsmith.report.schema import Evidence
from tinsmith.report.view_model import View

_FILTERS = (
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
    "readable",
    "quiet_asides",
)


def rebuild_report(bundle: Path, families: Sequence[Family], purposes: Mapping[str, str]) -> Path:
    """Write report.html, evidence.json and the pages of items of a bundle: same bundle, same bytes.

    `families` are the families of measurements, `purposes` says in a few words what each stage is for.
    """
    evidence = build_evidence(bundle, families)
    write_json(bundle / "evidence.json", evidence.to_json())
    write_atomic(bundle / "report.html", render(evidence, families, purposes))
    write_item_pages(bundle, View(evidence, families), _environment())
    return bundle / "report.html"


def render(evidence: Evidence, families: Sequence[Family], purposes: Mapping[str, str]) -> str:
    """Draw the page from evidence alone: each section of a family by the template of its name."""
    page = _environment().get_template("page.html")
    return page.render(e=evidence, view=View(evidence, families), purposes=purposes)


@functools.cache
def _environment() -> Environment:
    """Return the environment of all templates, which compiles each of them once."""
    environment = Environment(
        loader=PackageLoader("tinsmith.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(words, name) for name in _FILTERS}
    style, _, _ = environment.loader.get_source(environment, "style.css")  # type: ignore[union-attr]
    environment.globals |= {
        "words": words,
        "style": Markup(style),
        "classes": classes,
        "shortened": shortened,
    }
    return environment
