"""Scanned pages are recognised where the recipe asks, and dropped as scanned where it does not."""

import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pypdfium2
import pytest

from corpus.test_read_formats import pdf_of
from tinsmith.base.errors import RecipeError
from tinsmith.base.progress import SilentProgress
from tinsmith.corpus.read import REASONS, read_file
from tinsmith.corpus.readers import ocr
from tinsmith.corpus.readers.boxes import Box, Page
from tinsmith.recipe import IngestConfig
from tinsmith.stages.ingest.run import ingest

SAID = "The tenant shall pay the rent on the first day of each month."


def scan(path: Path, pages: int = 1) -> Path:
    """Write a PDF whose pages are pictures of a page with text."""
    printed = pypdfium2.PdfDocument(pdf_of(SAID))[0]
    picture = printed.render(scale=3, grayscale=True).to_numpy()
    height, width = picture.shape[:2]
    packed = zlib.compress(picture.tobytes())
    image = (
        b"<< /Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 8 "
        b"/Filter /FlateDecode /Length %d >> stream\n%s\nendstream" % (width, height, len(packed), packed)
    )
    draw = b"q %d 0 0 %d 0 0 cm /Im Do Q" % (width // 3, height // 3)
    kids = b" ".join(b"%d 0 R" % (5 + number) for number in range(pages))
    page = (
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents 4 0 R "
        b"/Resources << /XObject << /Im 3 0 R >> >> >>" % (width // 3, height // 3)
    )
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count %d /Kids [%s] >>" % (pages, kids),
        image,
        b"<< /Length %d >> stream\n%s\nendstream" % (len(draw), draw),
        *[page] * pages,
    ]
    body = b"".join(b"%d 0 obj %s endobj\n" % (number, each) for number, each in enumerate(objects, 1))
    path.write_bytes(
        b"%PDF-1.4\n" + body + b"trailer << /Root 1 0 R /Size %d >>\n%%%%EOF" % (len(objects) + 1)
    )
    return path


def test_a_scan_is_dropped_as_such_unless_asked_for(tmp_path: Path):
    result = read_file(scan(tmp_path / "scan.pdf"))
    assert (result.reason, result.documents) == ("scanned", [])
    assert "scanned" in REASONS


def test_what_is_recognised_goes_the_way_of_all_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lines = [Box(SAID, 72, 700, 400, 712, 10), Box("And it was so paid by him.", 72, 686, 300, 698, 10)]
    monkeypatch.setattr(ocr, "recognise_page", lambda page: Page(lines, 712))
    result = read_file(scan(tmp_path / "scan.pdf"), ocr=True)
    assert result.reason == ""
    assert result.documents[0]["text"] == f"{SAID} And it was so paid by him."


@pytest.mark.parametrize("quarters", range(4))
def test_a_page_laid_wrongly_is_turned(monkeypatch: pytest.MonkeyPatch, quarters: int):
    """The stand-in reads a line well only where the dark band of the page lies across its upper half."""

    def engine(picture: np.ndarray) -> SimpleNamespace:
        rows, columns = np.nonzero(picture[:, :, 0] == 0)
        box = [(columns.min(), rows.min()), (columns.max(), rows.max())]
        upright = rows.max() < picture.shape[0] / 2
        return SimpleNamespace(
            boxes=[box], txts=[SAID if upright else "pis"], scores=[0.99 if upright else 0.6]
        )

    laid = np.full((400, 300, 3), 255, np.uint8)
    laid[40:60, 30:270] = 0
    laid = np.rot90(laid, quarters)
    page = SimpleNamespace(render=lambda **_: SimpleNamespace(to_numpy=lambda: laid))
    monkeypatch.setattr(ocr, "_engine", lambda: engine)
    boxes = ocr.recognise_page(page).boxes
    assert [box.text for box in boxes] == [SAID]
    assert boxes[0].x1 - boxes[0].x0 > 10 * (boxes[0].y1 - boxes[0].y0)


def test_a_page_without_text_is_looked_at_once(monkeypatch: pytest.MonkeyPatch):
    asked = []
    page = SimpleNamespace(render=lambda **_: SimpleNamespace(to_numpy=lambda: np.zeros((9, 9, 3), np.uint8)))
    nothing = SimpleNamespace(boxes=None, txts=None, scores=None)
    monkeypatch.setattr(ocr, "_engine", lambda: lambda picture: asked.append(1) or nothing)
    assert ocr.recognise_page(page).boxes == []
    assert len(asked) == 1


def test_pages_with_text_of_their_own_are_not_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ocr, "recognise_page", lambda page: pytest.fail("asked"))
    (tmp_path / "a.pdf").write_bytes(pdf_of(SAID))
    assert read_file(tmp_path / "a.pdf", ocr=True).documents[0]["text"] == SAID


def test_without_the_extra_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scan(tmp_path / "scan.pdf")
    monkeypatch.setattr("tinsmith.stages.ingest.run.missing_packages", lambda: ["rapidocr"])
    with pytest.raises(RecipeError, match=r"tinsmith\[ocr\]"):
        ingest(
            IngestConfig(sources=(str(tmp_path),), ocr=True), out=tmp_path / "out", progress=SilentProgress()
        )


@pytest.mark.skipif(bool(ocr.missing_packages()), reason="the extra tinsmith[ocr] is not installed")
def test_a_real_scan_is_read_by_the_reader_processes(tmp_path: Path):
    docs, out = tmp_path / "docs", tmp_path / "out"
    docs.mkdir()
    out.mkdir()
    scan(docs / "scan.pdf", pages=2)
    ingest(IngestConfig(sources=(str(docs),), ocr=True), out=out, progress=SilentProgress())
    import pyarrow.parquet as pq

    (row,) = pq.read_table(out / "documents.parquet").to_pylist()
    assert " ".join(row["text"].split()).count(SAID) == 2
