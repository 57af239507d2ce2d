"""Where the benchmarks read and write."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "benchmarks"
WORK = HERE / ".work"  # data, models and cached results; git-ignored
VENVS = HERE / ".venvs"  # one per peer; git-ignored
PEERS = HERE / "peers"
RESULTS = HERE / "results"
# Real documents of several domains, one folder each; they lie beside the project or where the variable says.
DATA = Path(os.environ.get("TINSMITH_BENCH_DATA", ROOT.parent / "shared" / "data"))
