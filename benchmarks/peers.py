"""Install each peer in a virtual environment of its own, once."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.paths import PEERS, VENVS

OURS = "tinsmith"  # the environment that runs the benchmarks


def python_of(name: str) -> Path:
    """Return the interpreter of a peer's environment, or our own."""
    return Path(sys.executable) if name == OURS else VENVS / name / "bin" / "python"


def install(names: Sequence[str], pip_flags: Sequence[str]) -> None:
    """Install the pinned requirements of peers whose environment is missing or out of date."""
    for name in sorted(set(names) - {OURS}):
        pins = PEERS / name / "requirements.txt"
        stamp, digest = VENVS / name / ".pins", hashlib.sha256(pins.read_bytes()).hexdigest()
        if stamp.exists() and stamp.read_text() == digest:
            continue
        print(f"installing {name} into {VENVS / name} (about 1 GB)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", VENVS / name], check=True)
        pip = [str(python_of(name)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *pip_flags, "--requirement", str(pins)], check=True)
        stamp.write_text(digest)
