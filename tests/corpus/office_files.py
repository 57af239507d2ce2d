"""Small Word and PowerPoint files, written by hand."""

import zipfile
from pathlib import Path
from typing import NamedTuple

from tinsmith.corpus.read import read_file

_PLACES = {
    "w": "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
    "r": "http://schemas.openxmlformats.org/officeDocument/2006/relationships",
    "m": "http://schemas.openxmlformats.org/officeDocument/2006/math",
    "a": "http://schemas.openxmlformats.org/drawingml/2006/main",
    "c": "http://schemas.openxmlformats.org/drawingml/2006/chart",
    "cx": "http://schemas.microsoft.com/office/drawing/2014/chartex",
    "dgm": "http://schemas.openxmlformats.org/drawingml/2006/diagram",
    "p": "http://schemas.openxmlformats.org/presentationml/2006/main",
    "mc": "http://schemas.openxmlformats.org/markup-compatibility/2006",
    "wp": "http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing",
    "wps": "http://schemas.microsoft.com/office/word/2010/wordprocessingShape",
    "w14": "http://schemas.microsoft.com/office/word/2010/wordml",
    "v": "urn:schemas-microsoft-com:vml",
    "o": "urn:schemas-microsoft-com:office:office",
    "a14": "http://schemas.microsoft.com/office/drawing/2010/main",
}
_NAMES = " ".join(f'xmlns:{name}="{place}"' for name, place in _PLACES.items())
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


class Reading(NamedTuple):
    """What a file gave: its text, and of each loss the part's name, reason, detail and count."""

    text: str
    lost: list[tuple[str, str, str, int]]

    @property
    def blocks(self) -> list[str]:
        """The paragraphs and tables."""
        return self.text.split("\n\n")


def element(name: str, content: str) -> str:
    """Return an element that knows all namespaces."""
    return f"<{name} {_NAMES}>{content}</{name}>"


def inside(path: str, content: str) -> str:
    """Return content within elements, named from the outermost on with slashes between; names may have attributes."""
    for name in reversed(path.split("/")):
        content = f"<{name}>{content}</{name.split()[0]}>"
    return content


def alternatives(requires: str, choice: str, fallback: str) -> str:
    """Return content for programs that know an extension, and for those that do not."""
    choices = f'<mc:Choice Requires="{requires}">{choice}</mc:Choice><mc:Fallback>{fallback}</mc:Fallback>'
    return f"<mc:AlternateContent>{choices}</mc:AlternateContent>"


def relations(*rows: tuple[str, str, str]) -> str:
    """Return a part of relations, rows of id, kind and target."""
    nodes = "".join(
        f'<Relationship Id="{i}" Type="{_RELATIONS}/{kind}" Target="{to}"/>' for i, kind, to in rows
    )
    return f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{nodes}</Relationships>'


def run(text: str, properties: str = "") -> str:
    """Return a run of Word."""
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def paragraph(content: str, properties: str = "") -> str:
    """Return a paragraph of Word; text that is not XML is one run."""
    return f"<w:p><w:pPr>{properties}</w:pPr>{content if content.startswith('<') else run(content)}</w:p>"


def read_docx(folder: Path, body: str, parts: dict[str, str | bytes] | None = None) -> Reading:
    """Read a document with a body and other parts, named from the folder word on; styles and numbering are wrapped."""
    members: dict[str, str | bytes] = {"word/document.xml": element("w:document", f"<w:body>{body}</w:body>")}
    for name, content in (parts or {}).items():
        wrapped = name in ("styles.xml", "numbering.xml", "settings.xml") and isinstance(content, str)
        whole = element(f"w:{name.removesuffix('.xml')}", str(content)) if wrapped else content
        members[f"word/{name}"] = whole
    return read_members(folder / "a.docx", members)


def slide(shapes: str, attributes: str = "") -> str:
    """Return a slide with shapes."""
    return element("p:sld", f"<p:cSld><p:spTree>{shapes}</p:spTree></p:cSld>").replace(
        " ", f" {attributes} ", 1
    )


def shape(
    paragraphs: str, properties: str = "<p:cNvPr id='1' name=''/><p:cNvSpPr/><p:nvPr/>", frame: str = ""
) -> str:
    """Return a shape with text."""
    body = f"<p:txBody><a:bodyPr/>{paragraphs}</p:txBody>"
    return f"<p:sp><p:nvSpPr>{properties}</p:nvSpPr><p:spPr>{frame}</p:spPr>{body}</p:sp>"


def line(text: str, properties: str = "") -> str:
    """Return a paragraph of PowerPoint."""
    return f"<a:p>{properties}<a:r><a:t>{text}</a:t></a:r></a:p>"


def read_pptx(folder: Path, slides: list[str], parts: dict[str, str] | None = None) -> Reading:
    """Read a show of some slides, which are named slide1.xml and on; other parts are named from the folder ppt on."""
    ids = "".join(f'<p:sldId id="{256 + n}" r:id="s{n}"/>' for n in range(1, len(slides) + 1))
    show = element("p:presentation", f'<p:sldIdLst>{ids}</p:sldIdLst><p:sldSz cx="9000" cy="6000"/>')
    rows = [(f"s{n}", "slide", f"slides/slide{n}.xml") for n in range(1, len(slides) + 1)]
    members = {"ppt/presentation.xml": show, "ppt/_rels/presentation.xml.rels": relations(*rows)}
    members |= {f"ppt/slides/slide{n}.xml": content for n, content in enumerate(slides, 1)}
    return read_members(
        folder / "a.pptx", members | {f"ppt/{name}": part for name, part in (parts or {}).items()}
    )


def read_members(path: Path, members: dict[str, str | bytes] | dict[str, str]) -> Reading:
    """Read a file with these members."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    result = read_file(path)
    assert len(result.documents) < 2, result
    text = str(result.documents[0]["text"]) if result.documents else ""
    return Reading(text, [(row["part"], row["reason"], row["detail"], row["count"]) for row in result.lost])
