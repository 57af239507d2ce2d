"""Curate, split and refine a folder in a process of its own: python curate_and_refine.py native|cluster INGEST OUT.

As cluster it starts two Ray nodes of one core each here, and the engine runs on them.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from tinsmith.base.progress import SilentProgress
from tinsmith.corpus import engine
from tinsmith.recipe import CurateConfig, RefineConfig, SplitConfig
from tinsmith.stages.curate.run import curate
from tinsmith.stages.refine.run import refine
from tinsmith.stages.split.run import split

CURATE = CurateConfig(rules=("gopher_quality",), languages=("en",), keep="newest")
REFINE = RefineConfig.model_validate(
    {
        "planted": {"instructions": "drop", "triggers": "drop", "min_trigger_documents": 5},
        "contamination": {"held_out": True, "action": "passage"},
        "boilerplate": {"min_documents": 3, "min_words_left": 5},
        "semantic": {"max_similarity": 0.95},
        "score": {"kind": "ready", "keep": 0.8},
    }
)


def start_cluster() -> Any:
    """Start two nodes of one core each; the engine finds them by the environment."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 200_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.add_node(**node)
    os.environ |= {"RAY_ADDRESS": cluster.address, "DAFT_RUNNER": "ray"}
    return cluster


def facts() -> dict[str, Any]:
    """Return what the engine ran on and the memory that took, asked after it ran."""
    import ray
    from ray._common.usage.usage_lib import usage_stats_enabled

    nodes = [node for node in ray.nodes() if node["Alive"]] if ray.is_initialized() else []
    # getrusage would tell the peak of the process that started this one, if it was higher.
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    return {"nodes": len(nodes), "reports_usage": usage_stats_enabled(), "peak_rss_bytes": peak}


def main(runner: str, ingest: Path, out: Path) -> None:
    """Run the three stages with all steps that need no teacher; print what they ran on."""
    cluster = start_cluster() if runner == "cluster" else None
    for name in ("curate", "split", "refine"):
        (out / name).mkdir(parents=True)
    silent = SilentProgress()
    curate(CURATE, inputs={"ingest": ingest}, seed=7, out=out / "curate", progress=silent)
    split(
        SplitConfig(held_out=6), inputs={"curate": out / "curate"}, seed=7, out=out / "split", progress=silent
    )
    refine(REFINE, inputs={"split": out / "split"}, seed=7, out=out / "refine", progress=silent)
    on_engine = engine.read_parquet(str(out / "refine" / "documents.parquet")).count_rows()
    print(json.dumps({**facts(), "documents": on_engine}))
    if cluster:
        import ray

        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
