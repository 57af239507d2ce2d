"""Charts and diagrams (SmartArt) of Office as text: titles, series and values; the texts of shapes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tinsmith.corpus.readers.archive import local
from tinsmith.corpus.readers.ooxml.drawing import paragraphs
from tinsmith.corpus.readers.ooxml.package import Element, Package, attribute, child, children, number

_CODES = re.compile(
    r'"[^"]*"|\\.|\[[^\]]*\]|_.|\*.|General|Standard', re.IGNORECASE
)  # what stands for itself
_PLACES = re.compile(r"[0#?](?:\.([0#?]*))?(?!.*[0#?])")
_THOUSANDS = re.compile(r"[0#?],[0#?]")
_Column = dict[int, str]


def read_chart(package: Package, part: str) -> list[str]:
    """Return the blocks of a chart: its title, its axes, a row of values for each category, its text boxes."""
    root = package.parse(part)
    if root.tag.endswith("}chartSpace") and child(root, "chartData") is not None:
        blocks = _extended(root)
    else:
        chart = child(root, "chart")
        blocks = [] if chart is None else _plain_chart(chart)
    for drawing in package.related(part, "chartUserShapes"):
        blocks += _all_paragraphs(package.parse(drawing))
    for workbook in (*package.related(part, "package"), *package.related(part, "oleObject")):
        package.opened.add(workbook.lower())  # the sheet behind the chart, which is not shown
    return blocks


def _plain_chart(chart: Element) -> list[str]:
    plot = child(chart, "plotArea")
    kinds = [] if plot is None else [node for node in children(plot) if child(node, "ser") is not None]
    series = [node for kind in kinds for node in children(kind) if local(node) == "ser"]
    axes = [] if plot is None else [node for node in children(plot) if local(node).endswith("Ax")]
    titles = [_text(child(node, "title", "tx")) for node in (chart, *axes)]
    labels = [text for node in series for text in _labels(node)]
    return [titles[0], "\n".join(filter(None, titles[1:])), _table(series), "\n".join(labels)]


def _labels(series: Element) -> list[str]:
    """Return the labels of points that somebody wrote."""
    found = child(series, "dLbls")
    labels = [] if found is None else [node for node in children(found) if local(node) == "dLbl"]
    return [text for node in labels if (text := _text(child(node, "tx")))]


def _table(series: Sequence[Element]) -> str:
    """Return a line for each category, with its value in each series, below the names of the series."""
    columns: list[_Column] = []
    heads: list[str] = []
    categories: list[_Column] = []
    for node in series:
        names = _points(child(node, "cat")) or _points(child(node, "xVal"))
        if names and names not in categories:
            categories.append(names)
            columns.append(names)
            heads.append("")
        heads.append(_text(child(node, "tx")))
        columns.append(_points(child(node, "val")) or _points(child(node, "yVal")))
        if sizes := _points(child(node, "bubbleSize")):
            heads.append("")
            columns.append(sizes)
    return _lines(heads, columns)


def _lines(heads: Sequence[str], columns: Sequence[_Column]) -> str:
    rows = sorted({index for column in columns for index in column})
    lines = ["\t".join(column.get(index, "") for column in columns).rstrip() for index in rows]
    return "\n".join(["\t".join(heads).rstrip(), *lines] if any(heads) else lines)


def _points(source: Element | None) -> _Column:
    """Return the stored points of a source of data by their place; those of several levels side by side."""
    stored = (
        [] if source is None else [node for node in source.iter() if local(node).endswith(("Cache", "Lit"))]
    )
    if not stored:
        return {}
    cache = stored[0]
    code = "@" if local(cache).startswith(("str", "multi")) else _content(child(cache, "formatCode"))
    # The last level is the outermost, which stands on the left.
    levels = [node for node in cache if local(node) == "lvl"][::-1] or [cache]
    columns = [
        {
            number(attribute(point, "idx")): write_value(
                _content(child(point, "v")), attribute(point, "formatCode", code)
            )
            for point in level
            if local(point) == "pt"
        }
        for level in levels
    ]
    places = sorted({place for column in columns for place in column})
    return {place: "\t".join(column.get(place, "") for column in columns) for place in places}


def _content(node: Element | None) -> str:
    return "" if node is None else node.text or ""


def _text(source: Element | None) -> str:
    """Return a title or a name: written out, or taken from a cell."""
    if source is None:
        return ""
    rich = child(source, "rich")
    if rich is not None:
        return " ".join(filter(None, paragraphs(rich)))
    found = _points(source)
    return " ".join(found[place] for place in sorted(found)) or _content(child(source, "v"))


def write_value(text: str, code: str) -> str:
    """Return a stored number in the way its format shows it: percentages, decimals, thousands and dates."""
    plain = _CODES.sub("", code.partition(";")[0])
    try:
        figure = float(text)
    except ValueError:
        return text
    if code == "@":
        return text
    if re.search(r"[dmyh]", plain, re.IGNORECASE):
        return _date(figure)
    percent = "%" if "%" in plain else ""
    figure = figure * 100 if percent else figure
    digits = _PLACES.search(plain)
    if digits is None or "E" in plain.upper() or "/" in plain:
        return f"{figure:.15g}{percent}"
    comma = "," if _THOUSANDS.search(plain) else ""
    return f"{figure:{comma}.{len(digits[1] or '')}f}{percent}"


def _date(serial: float) -> str:
    from openpyxl.utils.datetime import from_excel

    moment = from_excel(serial)
    return str(moment).removesuffix(" 00:00:00")


def _extended(root: Element) -> list[str]:
    """Return the blocks of a chart of a newer kind, such as a waterfall or a funnel."""
    titles = [" ".join(filter(None, _all_paragraphs(node))) for node in root.iter() if local(node) == "title"]
    names = [
        "".join(node.itertext()).strip()
        for node in root.iter()
        if local(node) == "txData" and child(node, "v") is not None
    ]
    tables = []
    data = child(root, "chartData")
    for source in () if data is None else (node for node in data if local(node) == "data"):
        columns = []
        for dimension in (node for node in source if local(node) in ("strDim", "numDim")):
            for level in reversed([node for node in dimension if local(node) == "lvl"]):
                code = attribute(level, "formatCode") if local(dimension) == "numDim" else "@"
                points = [node for node in level if local(node) == "pt"]
                columns.append(
                    {number(attribute(node, "idx")): write_value(node.text or "", code) for node in points}
                )
        tables.append(_lines([], columns))
    return [*titles, "\n".join(names), *tables]


def _all_paragraphs(node: Element) -> list[str]:
    return [text for each in node.iter() if local(each) in ("txBody", "rich") for text in paragraphs(each)]


def read_diagram(package: Package, part: str) -> list[str]:
    """Return the texts of a diagram in the order of its tree."""
    root = package.parse(part)
    points = [node for node in root.iter() if local(node) == "pt"]
    texts = {attribute(node, "modelId"): "\n".join(_point_text(node)) for node in points}
    below: dict[str, list[tuple[int, str]]] = {}
    for node in root.iter():
        if local(node) == "cxn" and attribute(node, "type", "parOf") == "parOf":
            place = (number(attribute(node, "srcOrd")), attribute(node, "destId"))
            below.setdefault(attribute(node, "srcId"), []).append(place)
    tops = [attribute(node, "modelId") for node in points if attribute(node, "type") == "doc"]
    order: list[str] = []
    waiting = [*tops[::-1]]
    while waiting:
        identity = waiting.pop()
        if identity not in order:
            order.append(identity)
            waiting.extend(child_id for _, child_id in sorted(below.get(identity, []), reverse=True))
    # Texts outside the tree are shown too: those of arrows, and of diagrams without connections.
    order += [identity for identity in texts if identity not in order]
    return [texts[identity] for identity in order if texts.get(identity)]


def _point_text(point: Element) -> list[str]:
    body = child(point, "t")
    return [] if body is None else [text for text in paragraphs(body) if text.strip()]
