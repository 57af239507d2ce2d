"""What several tests need: the project's root, its smoke recipe, the command line."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "recipes" / "smoke.toml"


def tinsmith(*arguments: object, **options) -> subprocess.CompletedProcess:
    """Run the command line as a person would."""
    command = [sys.executable, "-m", "tinsmith", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, **options)
