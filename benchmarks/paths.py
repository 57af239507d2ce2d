"""Where the benchmarks read and write."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "benchmarks"
WORK = HERE / ".work"  # data, models and cached results; git-ignored
VENVS = HERE / ".venvs"  # one per peer; git-ignored
PEERS = HERE / "peers"
RESULTS = HERE / "results"
