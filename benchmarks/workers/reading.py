"""Read files with one reader: tinsmith, tinsmith that recognises scans, kreuzberg, pdfium or markitdown."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.workers.job import Job, read_job, write_json


def tinsmith(*, ocr: bool = False) -> Callable[[Path], str]:
    """Return Tinsmith's reader; what it drops with a reason it says so."""
    from tinsmith.corpus.read import read_file

    def read(path: Path) -> str:
        result = read_file(path, ocr=ocr)
        if result.reason:
            raise ValueError(result.reason)
        return "\n\n".join(document["text"] for document in result.documents)

    return read


def kreuzberg() -> Callable[[Path], str]:
    """Return kreuzberg as it comes, without OCR."""
    import kreuzberg as package

    config = package.ExtractionConfig(use_cache=False, disable_ocr=True)  # type: ignore[call-arg]
    return lambda path: str(package.extract_file_sync(str(path), config=config).content)


def pdfium() -> Callable[[Path], str]:
    """Return pdfium's own text, page after page."""
    import pypdfium2

    def read(path: Path) -> str:
        document = pypdfium2.PdfDocument(path)
        return "\n".join(document[n].get_textpage().get_text_bounded() for n in range(len(document)))

    return read


def markitdown() -> Callable[[Path], str]:
    """Return markitdown as it comes, without plugins."""
    from markitdown import MarkItDown

    converter = MarkItDown(enable_plugins=False)
    return lambda path: str(converter.convert(str(path)).text_content)


def main(job: Job) -> None:
    """Write the text of each path of the list `data`, and for those that fail the reason."""
    readers: dict[str, Callable[[], Callable[[Path], str]]] = {
        "tinsmith": tinsmith,
        "recognising": partial(tinsmith, ocr=True),
        "kreuzberg": kreuzberg,
        "pdfium": pdfium,
        "markitdown": markitdown,
    }
    read = readers[job.more["reader"]]()
    texts, failed = {}, {}
    began = time.perf_counter()
    for name in json.loads(Path(job.data).read_text()):
        try:
            texts[name] = read(Path(name))
        except Exception as error:  # whatever a reader throws at a file is its answer
            failed[name] = f"{type(error).__name__}: {error}"[:200]
    write_json(job, {"texts": texts, "failed": failed, "seconds": time.perf_counter() - began})


if __name__ == "__main__":
    main(read_job())
