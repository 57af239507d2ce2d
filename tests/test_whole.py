"""The whole way through all stages: cached, killed, cut off from the network, two at once."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import ROOT, SMOKE, cut_off, tinsmith
from tinsmith.base.files import read_json, read_jsonl
from tinsmith.stages import STAGES

DETERMINISTIC = ("ingest", "curate", "split", "refine", "tokenize", "train", "examples", "learn", "package")


def digests(run: Path) -> dict[str, dict[str, str]]:
    """Return the hashes of what must be equal in equal runs: everything but measurements."""
    stages = {stage.name: stage for stage in STAGES}
    return {
        stage: {
            name: row["sha256"]
            for name, row in read_json(run / stage / "manifest.json")["outputs"].items()
            if not stages[stage].is_nondeterministic(name)
        }
        for stage in DETERMINISTIC
    }


def test_every_stage_leaves_a_manifest_with_what_it_took(smoke):
    for stage in STAGES:
        manifest = read_json(smoke / stage.directory / "manifest.json")
        assert manifest["seconds"] > 0
        assert (
            manifest["energy"]["joules_low"]
            <= manifest["energy"]["joules"]
            <= manifest["energy"]["joules_high"]
        )
        assert manifest["peak_rss_bytes"] > 10e6
        assert manifest["outputs"]


def test_a_second_build_runs_nothing(smoke):
    before = {path: path.stat().st_mtime_ns for path in smoke.rglob("manifest.json")}
    result = tinsmith("build", SMOKE, "--set", f"runs={smoke.parent}")
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(": cached") == len(STAGES)
    assert before == {path: path.stat().st_mtime_ns for path in smoke.rglob("manifest.json")}


def test_plan_says_what_would_run_and_why(smoke):
    same = tinsmith("plan", SMOKE, "--set", f"runs={smoke.parent}")
    assert same.stdout.count("cached") == len(STAGES)
    changed = tinsmith("plan", SMOKE, "--set", f"runs={smoke.parent}", "--set", "train.learning_rate=0.1")
    lines = {line.split()[0]: line for line in changed.stdout.splitlines() if line.strip()}
    assert "cached" in lines["tokenize"]
    assert "changed: train.learning_rate" in lines["train"]
    assert "an earlier stage runs" in lines["package"]


def test_killed_at_many_instants_it_ends_with_the_same_bytes(smoke, tmp_path, at_length):
    kills = at_length(12, 100)
    command = [sys.executable, ROOT / "tests" / "kill_worker.py", SMOKE, tmp_path, "11", str(kills)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stderr[-3000:]
    outcome = json.loads(result.stdout.splitlines()[-1])
    assert outcome["status"] == 0
    assert len(outcome["hits"]) >= 0.8 * kills
    where = " ".join(outcome["hits"])
    for stage in ("package", "evaluate", "train", "rename"):
        assert stage in where, outcome["hits"]
    assert digests(tmp_path / "smoke") == digests(smoke)
    assert exam_answers(tmp_path / "smoke") == exam_answers(smoke)
    assert tinsmith("verify", tmp_path / "smoke" / "bundle").returncode == 0
    assert not list((tmp_path / "smoke").glob("*.partial")) + list((tmp_path / "smoke").glob("*.old"))


def exam_answers(run):
    items = sorted((run / "evaluate" / "items").glob("*.jsonl"))
    kept = [path for path in items if "speed" not in path.name]
    assert kept
    return {path.name: list(read_jsonl(path)) for path in kept}


def test_two_builds_in_one_directory_do_not_meet(tmp_path):
    arguments = ("build", SMOKE, "--set", f"runs={tmp_path}", "--until", "ingest")
    (tmp_path / "smoke").mkdir()
    with (tmp_path / "smoke" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711")
        lock.flush()
        second = tinsmith(*arguments)
    assert second.returncode == 2
    assert "another build (process 4711)" in second.stderr
    assert tinsmith(*arguments).returncode == 0


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path):
    command = [sys.executable, "-m", "tinsmith", "build", str(SMOKE), "--set", f"runs={tmp_path}"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    for line in process.stderr:
        if "curate: runs" in line:
            break
    os.killpg(process.pid, 2)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "The same command continues from here" in errors
    assert "Traceback" not in errors
    assert (tmp_path / "smoke" / "ingest" / "manifest.json").exists()


# Arguments: the disk, a finished run, Python, recipe, last stage, megabytes at first and by which the disk grows.
FULL_DISK = """
size=$6
mount -t tmpfs -o size="$size"m tmpfs "$1" || exit 77
mkdir "$1"/smoke
[ "$5" = report ] || cp -r "$2"/ingest "$2"/curate "$2"/split "$2"/refine "$2"/tokenize "$1"/smoke/
for attempt in $(seq 300); do
    "$3" -m tinsmith build "$4" --until "$5" --set "runs=$1"
    status=$?
    echo "status=$status"
    [ $status = 2 ] || break
    size=$((size + $7))
    mount -o remount,size="$size"m "$1"
done
cp -r "$1"/smoke "$1"/../grown
"""


def test_a_full_disk_is_named_and_what_is_done_is_kept(smoke, tmp_path, at_length):
    """Build on a file system that is too small, and again whenever it has grown by a little."""
    (tmp_path / "disk").mkdir()
    unshare = ["unshare", "--user", "--mount", "--map-root-user", "sh", "-c", FULL_DISK, "sh"]
    until, first, more = at_length(("train", 8, 2000), ("report", 1, 2))
    command = [*unshare, tmp_path / "disk", smoke, sys.executable, SMOKE, until, str(first), str(more)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if result.returncode == 77 or "status=" not in result.stdout:
        pytest.skip("this machine allows no mounts in a namespace")
    *full, last = [line for line in result.stdout.splitlines() if line.startswith("status=")]
    assert (set(full), last) == ({"status=2"}, "status=0"), result.stderr[-3000:]
    assert len(full) >= at_length(1, 15)
    named = result.stderr.count("No space left") + result.stderr.count("the disk is full")
    assert named >= len(full)
    assert result.stderr.count("-> free disk space") >= len(full)
    assert "Traceback" not in result.stderr
    assert (tmp_path / "grown" / "tokenize" / "manifest.json").exists()
    if until == "report":
        assert digests(tmp_path / "grown") == digests(smoke)


def test_nothing_leaves_the_machine(smoke, shared_directory):
    """Build and serve where there is no network; the kernel counts every packet without a route."""
    served = cut_off(ROOT / "tests" / "serve_once.py", smoke / "bundle")
    if served is None:
        pytest.skip("this machine allows no network namespaces")
    assert served.returncode == 0, served.stderr[-3000:]
    assert "answered" in served.stdout
    for said in (served.stdout, (shared_directory / "smoke.network").read_text()):
        assert said.splitlines()[-1] == "attempts=0 seen_by_probe=2"
