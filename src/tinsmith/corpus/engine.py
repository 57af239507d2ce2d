"""The dataframe engine with its telemetry switched off. Nothing else imports Daft.

By default Daft reports imports to two outside servers and sends traces to any OpenTelemetry collector or dashboard
that the environment names; Ray reports its usage. All are switched off before the import. The runner stays Daft's
choice: native by default, a Ray cluster with DAFT_RUNNER=ray.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import pyarrow.parquet as pq

SILENT = {
    "DO_NOT_TRACK": "1",
    "SCARF_NO_ANALYTICS": "1",
    "DAFT_ANALYTICS_ENABLED": "0",
    "DAFT_PROGRESS_BAR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
_OUTLETS = ("OTEL_EXPORTER_OTLP_", "DAFT_DEV_OTEL_EXPORTER_OTLP_", "DAFT_DASHBOARD_URL")

os.environ.update(SILENT)
for _name in [name for name in os.environ if name.startswith(_OUTLETS)]:
    del os.environ[_name]

import daft  # noqa: E402
from daft import DataFrame, DataType, Series, col  # noqa: E402
from daft.functions import list_agg, when  # noqa: E402

batch_function = daft.func.batch
from_arrow = daft.from_arrow
_MAX_TASKS = 2000  # of one table; planning takes time for each


def read_parquet(paths: str | Sequence[str]) -> DataFrame:
    """Open a table of one or more files, with a task per row group.

    As a single task, the engine would read gigabytes ahead, and one worker of a cluster would do all the work.
    """
    files = [paths] if isinstance(paths, str) else list(paths)
    counts = [pq.read_metadata(file).num_row_groups for file in files]
    step = 1 + sum(counts) // _MAX_TASKS
    tasks = [
        (file, list(range(start, min(start + step, count))))
        for file, count in zip(files, counts, strict=True)
        for start in range(0, count, step)
    ]
    if not tasks:
        return daft.read_parquet(files)
    return daft.read_parquet([file for file, _ in tasks], row_groups=[groups for _, groups in tasks])


__all__ = [
    "DataFrame",
    "DataType",
    "Series",
    "batch_function",
    "col",
    "from_arrow",
    "list_agg",
    "read_parquet",
    "when",
]
