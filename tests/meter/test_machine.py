"""The machine describes itself without torch."""

import json
import subprocess
import sys
from pathlib import Path

from tinsmith.meter.machine import _cpuinfo, describe_gpus, describe_machine


def test_description_is_json_and_plausible(tmp_path: Path) -> None:
    machine = json.loads(json.dumps(describe_machine(tmp_path)))
    assert machine["cpu"]
    assert machine["cores"] >= 1
    assert machine["memory_bytes"] > machine["memory_available_bytes"] > 0
    assert machine["disk_free_bytes"] > 0
    assert isinstance(machine["gpus"], list)


def test_no_torch_is_imported() -> None:
    code = "import sys, tinsmith.meter.machine as m; m.describe_machine(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_first_processor_of_the_kernels_list(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("model name\t: Example 1\nflags\t\t: avx2 amx_bf16\n\nmodel name\t: Example 2\n")
    assert _cpuinfo(path) == {"model name": "Example 1", "flags": "avx2 amx_bf16"}
    assert _cpuinfo(tmp_path / "missing") == {}


class FakeNvml:
    """The calls of the driver's library that describe one board."""

    def nvmlDeviceGetCount_v2(self, count: object) -> int:
        count._obj.value = 1
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: object) -> int:
        return 0

    def nvmlDeviceGetName(self, handle: object, name: object, length: int) -> int:
        name.value = b"Example board"
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle: object, memory: object) -> int:
        memory._obj.total = 80 * 2**30
        return 0


def test_boards_are_named() -> None:
    assert describe_gpus(FakeNvml()) == [{"name": "Example board", "memory_bytes": 80 * 2**30}]
