"""The meter sees processor time, memory and energy of the whole process tree, and says how it knows."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tinsmith.base.cores import usable_cores
from tinsmith.meter import counters, energy
from tinsmith.meter.counters import WrappingCounters, open_gpu, open_rapl
from tinsmith.meter.energy import BUSY_WATTS_PER_CORE, IDLE_WATTS_PER_CORE, EnergyMeter, Reading, load_model

BURN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass"


def make_zone(powercap: Path, zone: str, name: str, microjoules: int, limit: int = 1_000_000) -> Path:
    directory = powercap / zone
    directory.mkdir(parents=True)
    (directory / "name").write_text(name + "\n")
    (directory / "energy_uj").write_text(f"{microjoules}\n")
    (directory / "max_energy_range_uj").write_text(f"{limit}\n")
    return directory / "energy_uj"


@pytest.fixture
def no_hardware(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(energy, "open_gpu", lambda: None)
    return tmp_path / "none"


def test_a_child_that_ended_counts(no_hardware: Path) -> None:
    # No sample is taken while the child lives, so only what the kernel keeps of ended children can tell.
    with EnergyMeter(powercap=no_hardware, tree_seconds=600.0) as meter:
        subprocess.run([sys.executable, "-c", BURN.format(seconds=0.4)], check=True)
    assert 0.4 - 1e-6 <= meter.reading.cpu_seconds < 2.0
    assert meter.reading.seconds >= 0.4


def test_processor_time_never_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    totals = iter([1.0, 6.0, 4.0])  # the last without a child that has ended and was not waited for
    monkeypatch.setattr(energy._Tree, "_cpu_now", lambda self, children: next(totals))
    tree = energy._Tree()
    tree.sample()
    tree.sample()
    assert tree.cpu_seconds == 5.0


def test_work_before_the_block_does_not_count(no_hardware: Path) -> None:
    exec(compile(BURN.format(seconds=0.3), "burn", "exec"), {})
    with EnergyMeter(powercap=no_hardware) as meter:
        time.sleep(0.05)
    assert meter.reading.cpu_seconds < 0.2


def test_peak_memory_is_that_of_the_tree(no_hardware: Path) -> None:
    hog = "b = bytearray(200_000_000); print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with EnergyMeter(powercap=no_hardware, tree_seconds=0.05) as meter:
        own = meter._tree.process.memory_info().rss
        children = [subprocess.Popen([sys.executable, "-c", hog], **pipes) for _ in range(2)]
        for child in children:
            child.stdout.readline()
        patience = time.monotonic() + 20
        while meter._tree.peak_rss_bytes < own + 300_000_000 and time.monotonic() < patience:
            time.sleep(0.05)
        for child in children:
            child.communicate(b"\n")
    # Two at once: no high-water mark of a single process would show it.
    assert meter.reading.peak_rss_bytes > own + 300_000_000


AFTER_A_PEAK = """
import subprocess, sys, tempfile
from pathlib import Path
from tinsmith.meter import counters, energy
energy.open_gpu = lambda: None
b = bytearray(b"x") * 600_000_000
del b
with tempfile.TemporaryDirectory() as nowhere, energy.EnergyMeter(powercap=Path(nowhere)) as meter:
    subprocess.run([sys.executable, "-c", "import time; time.sleep(0.5)"], check=True)
print(meter.reading.peak_rss_bytes)
"""


def test_a_child_does_not_bring_its_parents_former_peak() -> None:
    done = subprocess.run([sys.executable, "-c", AFTER_A_PEAK], check=True, capture_output=True, text=True)
    assert 10_000_000 < int(done.stdout) < 400_000_000


def test_reading_stands_still_after_the_block(no_hardware: Path) -> None:
    with EnergyMeter(powercap=no_hardware) as meter:
        first = meter.reading
    last = meter.reading
    time.sleep(0.05)
    assert meter.reading == last
    assert last.seconds >= first.seconds


def test_samples_arrive_from_the_start_and_a_full_disk_does_not_stop_them(no_hardware: Path) -> None:
    seen: list[Reading] = []

    def save(reading: Reading) -> None:
        seen.append(reading)
        raise OSError("disk full")

    with EnergyMeter(save, sample_seconds=0.1, tree_seconds=0.02, powercap=no_hardware):
        time.sleep(1.0)
    assert len(seen) >= 2
    assert seen[0].seconds < 0.1 < seen[-1].seconds


def test_load_model_is_a_range_with_its_name() -> None:
    low, central, high, method = load_model(seconds=10, cpu_seconds=4)
    assert low == pytest.approx(10 * usable_cores() * IDLE_WATTS_PER_CORE[0] + 4 * BUSY_WATTS_PER_CORE[0])
    assert low < central < high
    assert method.startswith("load model: ")
    assert "3 to 12 W" in method
    # What the page says of its width: four times for a busy core, eight for an idle machine.
    idle, busy = load_model(seconds=10, cpu_seconds=0), load_model(seconds=0, cpu_seconds=4)
    assert (busy[2] / busy[0], idle[2] / idle[0]) == pytest.approx((4, 8))


def test_readings_add_up_over_attempts_and_survive_json() -> None:
    first = Reading(1, 2, 3, "load model: a", 10, 5, 100)
    second = Reading(1, 2, 3, "load model: a", 20, 6, 80)
    total = first + second
    assert total == Reading(2, 4, 6, "load model: a", 30, 11, 100)
    assert Reading.from_dict(json.loads(json.dumps(total.to_dict()))) == total
    mixed = total + Reading(1, 1, 1, "RAPL: b", 1, 1, 1) + second
    assert mixed.method == "load model: a; then RAPL: b"


def test_processes_beside_each_other_add_up_and_their_time_is_one() -> None:
    first = Reading(1, 2, 3, "load model: a", 10, 5, 100)
    both = first.beside(Reading(0.5, 1, 2, "load model: a", 11, 4, 80))
    assert both == Reading(1.5, 3, 5, "load model: a", 11, 9, 180)
    assert both.beside(Reading(1, 1, 1, "RAPL: b", 1, 1, 1)).method == "load model: a, and RAPL: b"


def test_a_share_leaves_out_what_counts_once_for_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "open_gpu", lambda: open_gpu(FakeNvml()))
    with EnergyMeter(powercap=tmp_path) as modelled:
        pass
    reading, share = modelled.reading, modelled.share
    assert share.joules_low == load_model(0.0, reading.cpu_seconds)[0] < reading.joules_low - 250
    assert (share.cpu_seconds, share.method) == (reading.cpu_seconds, reading.method)
    package = make_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    with EnergyMeter(powercap=tmp_path) as metered:
        package.write_text("500000\n")
    assert metered.reading.joules > 0.5
    assert (metered.share.joules_low, metered.share.joules, metered.share.joules_high) == (0, 0, 0)


def test_rapl_counts_packages_and_memory_and_survives_a_wrap(tmp_path: Path) -> None:
    package = make_zone(tmp_path, "intel-rapl:0", "package-0", 900_000)
    make_zone(tmp_path, "intel-rapl:0:0", "core", 500_000)
    memory = make_zone(tmp_path, "intel-rapl:0:1", "dram", 100_000)
    make_zone(tmp_path, "intel-rapl:1", "psys", 5_000_000)
    counter = open_rapl(tmp_path)
    assert counter is not None
    package.write_text("100000\n")  # 0.1 J to the limit of 1 J, 0.1 J beyond
    memory.write_text("150000\n")
    counter.sample()
    assert counter.joules == pytest.approx(0.2 + 0.05)
    assert counter.name == "RAPL: 1 processor package with memory, the whole machine's load"


def test_meter_prefers_rapl_and_says_what_it_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "open_gpu", lambda: None)
    package = make_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    with EnergyMeter(powercap=tmp_path) as meter:
        package.write_text("500000\n")
    reading = meter.reading
    assert (reading.joules_low, reading.joules) == (0.5, 0.5)
    assert reading.joules_high == pytest.approx(0.675)
    assert "RAPL" in reading.method
    assert "35%" in reading.method


class Clock:
    """Time that passes when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(counters.time, "monotonic", lambda: self.now)


@pytest.mark.parametrize(
    ("before", "after", "seconds", "joules", "regular"),
    [
        (100_000_000_000, 5_000_000, 5, 5.0, False),  # after a suspend, or with a reloaded driver
        (262_143_000_000, 100_000_000, 5, 100.32885, True),  # past the limit
        (100_000_000_000, 100_000_000_000, 5, 0.0, True),
        (100_000_000_000, 0, 5, 0.0, False),
        (1_000_000, 200_000_000_000, 5, 0.0, False),  # a jump that no package can draw
        (200_000_000_000, 99_000_000_000, 5, 0.0, False),  # the same, downwards
        (100_000_000_000, 1_000_000_000, 60, 1000.0, False),
        (1_000_000, 200_001_000_000, 600, 200_000.0, True),
    ],
)
def test_no_counter_adds_more_than_can_be_drawn(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: int,
    after: int,
    seconds: float,
    joules: float,
    regular: bool,
) -> None:
    clock = Clock(monkeypatch)
    package = make_zone(tmp_path, "intel-rapl:0", "package-0", before, 262_143_328_850)
    counter = open_rapl(tmp_path)
    assert counter is not None
    clock.now += seconds
    package.write_text(str(after))
    counter.sample()
    assert counter.joules == pytest.approx(joules)
    assert ("began again" not in counter.name) == regular
    # What follows counts as ever.
    clock.now += 1
    package.write_text(str(after + 50_000_000))
    counter.sample()
    assert counter.joules == pytest.approx(joules + 50)


def test_a_failed_or_empty_read_is_made_up_for_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    package = make_zone(tmp_path, "intel-rapl:0", "package-0", 0, 262_143_328_850)
    counter = open_rapl(tmp_path)
    assert counter is not None
    for seconds, text in enumerate(["", "\n", "no number", "8000000000"]):
        clock.now += seconds
        package.write_text(text)
        counter.sample()
    assert counter.joules == pytest.approx(8000)
    assert "began" not in counter.name


def test_zones_are_left_out_where_memory_cannot_be_read_and_all_where_a_package_cannot(
    tmp_path: Path,
) -> None:
    make_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    second = make_zone(tmp_path, "intel-rapl:1", "package-1", 0)
    memory = make_zone(tmp_path, "intel-rapl:1:0", "dram", 0)
    make_zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0)
    name = "RAPL: 2 processor packages {} memory, the whole machine's load"
    assert open_rapl(tmp_path).name == name.format("with")
    memory.write_text("")
    assert open_rapl(tmp_path).name == name.format("without")
    for file in (second, second.parent / "max_energy_range_uj"):
        kept = file.read_text()
        file.write_text("")
        assert open_rapl(tmp_path) is None
        file.write_text(kept)
    assert open_rapl(tmp_path) is not None


def test_unreadable_rapl_is_no_rapl(tmp_path: Path) -> None:
    make_zone(tmp_path, "intel-rapl:0", "package-0", 0).unlink()
    assert open_rapl(tmp_path) is None
    assert open_rapl(tmp_path / "missing") is None


def test_a_counter_without_limit_that_falls_began_again() -> None:
    values = iter([5_000, 7_000, 1_000])
    counter = WrappingCounters("board", [lambda: next(values)], [0], 1e-3)
    counter.sample()
    counter.sample()
    assert counter.joules == pytest.approx(2 + 1)


class FakeNvml:
    """The six calls of the driver's library that are used; the energy grows by 250 J a read."""

    def __init__(self) -> None:
        self.millijoules = 0

    def nvmlDeviceGetCount_v2(self, count: object) -> int:
        count._obj.value = 1
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: object) -> int:
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object, value: object) -> int:
        self.millijoules += 250_000
        value._obj.value = self.millijoules
        return 0


def test_gpu_energy_stands_beside_that_of_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "open_gpu", lambda: open_gpu(FakeNvml()))
    with EnergyMeter(powercap=tmp_path) as meter:
        pass
    reading = meter.reading
    assert reading.joules_low >= 250
    assert reading.method.startswith("load model: ")
    assert reading.method.endswith("+ NVML: 1 board, their whole load")
