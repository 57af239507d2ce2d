from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

import tiny_workers
from small_vocabulary import trained_bpe
from tinsmith.base.errors import RunError, TrainingError
from tinsmith.base.files import read_json, read_jsonl, write_json
from tinsmith.base.launch import WorkerGroup
from tinsmith.base.progress import SilentProgress
from tinsmith.pipeline.plan import run_directory, stage_key
from tinsmith.recipe.toml import load_recipe
from tinsmith.stages import STAGES
from tinsmith.tokens.shards import TokenSet
from tinsmith.train.checkpoint import load_checkpoint
from tinsmith.train.distributed import Ranks, join
from tinsmith.train.engine import Engine
from tinsmith.train.loop import fit
from tiny_training import config, make_engine, tiny_llama, weights_equal, write_pairs, write_tokens
from tiny_workers import GRADIENTS, OPTIMIZERS, STEPS, engine_for, gradients_of, three_steps


class Stopping(SilentProgress):
    """Interrupt at the third advance."""

    @contextmanager
    def task(self, what: str, total: float | None, unit: str) -> Iterator[Callable[[float], None]]:
        left = [3]

        def advance(amount: float) -> None:
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt

        yield advance


def run_together(
    work: Callable[[WorkerGroup, Path], None], directory: Path, seconds: float = 100
) -> list[BaseProcess]:
    store = tiny_workers.new_store()
    processes = tiny_workers.start(work, directory, store)
    end = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
    hanging = [process for process in processes if process.is_alive()]
    for process in hanging:
        process.kill()
        process.join()
    assert not hanging, said(directory)
    return processes


def said(directory: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(directory.glob("said-*.txt")))


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with what two processes computed; a run in it was begun by one process alone."""
    directory = tmp_path_factory.mktemp("together")
    tokens = write_tokens(directory / "tokens")
    write_pairs(directory / "pairs")
    with pytest.raises(KeyboardInterrupt):
        fit(make_engine(tokens, STEPS), out=directory / "begun_alone", progress=Stopping())
    processes = run_together(tiny_workers.compute_together, directory)
    assert [process.exitcode for process in processes] == [0, 0], said(directory)
    return directory


@pytest.fixture(scope="module")
def alone(together: Path) -> Engine:
    """Return an engine that went through all steps in one process."""
    engine = make_engine(TokenSet(together / "tokens"), STEPS)
    fit(engine, out=together / "alone", progress=SilentProgress())
    return engine


def difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Return the largest difference, relative to the largest value of its tensor."""
    assert one.keys() == other.keys()
    pairs = [(one[name].detach(), other[name].detach()) for name in one]
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def weights(engine: Engine) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in engine.model.named_parameters()}


def losses(out: Path) -> list[float]:
    return [row["loss"] for row in read_jsonl(out / "log.jsonl")]


@pytest.mark.parametrize("name", list(GRADIENTS))
def test_loss_and_gradients_are_those_of_one_process(together: Path, tmp_path: Path, name: str) -> None:
    engine = engine_for(name, together, tmp_path)
    counts = [len(engine.mixture.components[0].batches.step(step)) for step in (0, 1)]
    assert any(count % 2 for count in counts), "no step leaves a process without a micro-batch"
    for step in (0, 1):
        wanted, facts = gradients_of(engine, step)
        found = load_file(together / f"{name}-{step}.safetensors")
        assert difference(found, wanted) < 2e-6
        for rank in (0, 1):
            assert read_json(together / f"{name}-{step}.{rank}.json") == pytest.approx(facts, rel=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_three_steps_move_the_weights_as_in_one_process(together: Path, name: str) -> None:
    engine = make_engine(TokenSet(together / "tokens"), config(optimizer=name))
    three_steps(engine)
    moved = difference(weights(engine), weights(make_engine(TokenSet(together / "tokens"), config())))
    assert difference(load_file(together / f"{name}.safetensors"), weights(engine)) < 1e-4 * moved


def test_a_whole_run_is_that_of_one_process(together: Path, alone: Engine) -> None:
    assert losses(together / "straight") == pytest.approx(losses(together / "alone"), rel=1e-5)
    assert difference(load_file(together / "straight" / "final.safetensors"), weights(alone)) < 1e-4


def test_a_signal_to_one_process_stops_both_and_two_go_on_with_the_same_bits(together: Path) -> None:
    assert (together / "stopped.0").exists()
    assert (together / "stopped.1").exists()
    stopped_at = len(losses(together / "copied"))
    assert 3 <= stopped_at < 6
    assert (together / "copied" / "checkpoints" / f"step-{stopped_at:09d}").is_dir()
    finals = [(together / name / "final.safetensors").read_bytes() for name in ("stopped", "straight")]
    assert finals[0] == finals[1]


def test_saved_by_two_it_goes_on_in_one(together: Path) -> None:
    shutil.copytree(together / "copied", together / "copied_again")
    engine = make_engine(TokenSet(together / "tokens"), STEPS)
    fit(engine, out=together / "copied_again", progress=SilentProgress())
    assert losses(together / "copied_again") == pytest.approx(losses(together / "straight"), rel=1e-5)
    final = load_file(together / "straight" / "final.safetensors")
    assert difference(weights(engine), final) < 1e-4


def test_saved_by_one_it_goes_on_in_two(together: Path, alone: Engine) -> None:
    assert losses(together / "begun_alone")[:3] == losses(together / "alone")[:3]
    assert losses(together / "begun_alone") == pytest.approx(losses(together / "alone"), rel=1e-5)
    assert difference(load_file(together / "begun_alone" / "final.safetensors"), weights(alone)) < 1e-4


def test_a_sharded_checkpoint_holds_safetensors_and_json_only(together: Path) -> None:
    for path in (together / "copied" / "checkpoints").glob("step-*"):
        names = sorted(file.name for file in path.iterdir())
        assert [name.split("-")[1] for name in names if name.startswith("shard-")] == ["00001", "00002"]
        for file in path.iterdir():
            if file.suffix == ".safetensors":
                assert load_file(file)
            else:
                assert file.name == "state.json"
                assert json.loads(file.read_text())


@pytest.mark.parametrize("harm", ["remove", "cut"])
def test_without_a_whole_shard_the_checkpoint_before_is_taken(
    together: Path, tmp_path: Path, harm: str
) -> None:
    shutil.copytree(together / "copied" / "checkpoints", tmp_path / "checkpoints")
    newest, before = sorted((tmp_path / "checkpoints").glob("step-*"), reverse=True)[:2]
    (file,) = newest.glob("shard-00001-*")
    if harm == "remove":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-8])
    engine, told = make_engine(TokenSet(together / "tokens"), STEPS), []
    done = load_checkpoint(tmp_path / "checkpoints", engine.model, engine.optimizers, told.append)
    assert f"step-{done.step:09d}" == before.name
    assert f"{newest.name} is damaged" in told[0]


def test_killing_one_process_ends_the_other_and_the_run_goes_on(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens")
    log = tmp_path / "killed" / "log.jsonl"
    store = tiny_workers.new_store()
    leader, follower = tiny_workers.start(tiny_workers.train_long, tmp_path, store)
    while leader.is_alive() and (not log.exists() or log.read_bytes().count(b"\n") < 6):
        time.sleep(0.01)
    follower.kill()
    follower.join(20)
    leader.join(20)
    assert follower.exitcode == -signal.SIGKILL
    assert leader.exitcode == 1, said(tmp_path)
    assert "another process of this run is lost" in (tmp_path / "said-0.txt").read_text()
    engine, told = make_engine(TokenSet(tmp_path / "tokens"), tiny_workers.LONG), []
    done = load_checkpoint(tmp_path / "killed" / "checkpoints", engine.model, engine.optimizers, told.append)
    assert done.step >= 1
    assert not told


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a directory with a recipe whose stages up to tokenize are done, and a tiny base."""
    tiny_llama().save_pretrained(tmp_path / "base")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained_bpe(340), eos_token="<|im_end|>")
    tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "one.txt").write_text("never read: its stages are done")
    section = '[train]\nbudget = "5 steps"\nbatch_tokens = 256\nprecision = "float32"\ncompile = "off"\n'
    (tmp_path / "recipe.toml").write_text(
        f'name = "tiny"\nruns = "{tmp_path}/runs"\n[ingest]\nsources = ["{tmp_path}/documents"]\n'
        f'[model]\nbase = "{tmp_path}/base"\n{section}'
    )
    for runs in ("runs", "alone"):
        recipe = load_recipe(tmp_path / "recipe.toml", (f"runs={tmp_path}/{runs}",))
        root = run_directory(recipe)
        for stage in STAGES[: [stage.name for stage in STAGES].index("train")]:
            (root / stage.name).mkdir(parents=True)
            key = stage_key(stage, recipe, root)
            write_json(root / stage.name / "manifest.json", {"key": key, "digest": stage.name, "outputs": {}})
        write_tokens(root / "tokenize")
    return tmp_path


def command_line(project: Path, *arguments: str) -> tuple[list[int | None], str, str]:
    """Run the command line in two processes; return exit codes and what each wrote to stderr."""
    (project / "arguments").write_text(" ".join(["build", f"{project}/recipe.toml", *arguments]))
    for path in project.glob("said-*.txt"):
        path.unlink()
    processes = run_together(tiny_workers.run_command_line, project)
    texts = [(project / f"said-{rank}.txt").read_text() for rank in (0, 1)]
    return [process.exitcode for process in processes], texts[0], texts[1]


def test_the_command_line_trains_in_two_processes_what_it_trains_in_one(project: Path) -> None:
    from tinsmith.pipeline.build import build

    codes, leader, follower = command_line(project, "--until", "train")
    assert codes == [0, 0], leader + follower
    assert "device: cpu, the first of 2 processes" in leader
    assert follower == ""
    recipe = load_recipe(project / "recipe.toml", (f"runs={project}/alone",))
    build(recipe, progress=SilentProgress(), until="train")
    trained = [
        dict(AutoModelForCausalLM.from_pretrained(project / runs / "tiny/train/model").named_parameters())
        for runs in ("runs", "alone")
    ]
    assert difference(trained[0], trained[1]) < 1e-4
    assert not weights_equal(
        AutoModelForCausalLM.from_pretrained(project / "runs/tiny/train/model"), tiny_llama()
    )
    # Nothing is left to do: the follower is let go without having been called.
    assert command_line(project, "--until", "tokenize")[0] == [0, 0]


def test_a_mistake_is_told_once_and_ends_both(project: Path) -> None:
    codes, leader, follower = command_line(project, "--until", "train", "--set", "train.learning_rate=1e30")
    assert 0 not in codes
    assert (leader + follower).count("error:") == 1
    assert "is not finite" in leader + follower
    assert "Traceback" not in leader + follower


STAND_INS = {
    "scontrol": 'test "$3" = "one,two" && printf "127.0.0.1\\ntwo\\n"',
    # Two nodes on one machine. The option before the command is not for it.
    "srun": 'shift\nSLURM_NODEID=0 "$@" & first=$!\nSLURM_NODEID=1 "$@" & second=$!\nwait $first && wait $second',
    "torchrun": 'echo "$OMP_NUM_THREADS threads: $*" > "$TOLD/$SLURM_NODEID"',
}


def test_the_slurm_script_starts_an_agent_a_node(
    project: Path, at_length: Callable[[list[str], list[str]], list[str]]
) -> None:
    """In full, the agents are torchrun's own and two processes train together."""
    page = Path(__file__).parents[2] / "docs" / "cluster.md"
    (script,) = re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (project / "bin").mkdir()
    names = at_length(["scontrol", "srun", "torchrun"], ["scontrol", "srun"])
    for name in names:
        (project / "bin" / name).write_text(f"#!/bin/bash\n{STAND_INS[name]}\n")
        (project / "bin" / name).chmod(0o755)
    slurm = {"JOB_NODELIST": "one,two", "JOB_ID": str(os.getpid()), "NNODES": "2"}
    environment = {f"SLURM_{name}": value for name, value in slurm.items()}
    cores, processes = ("6", "3") if "torchrun" in names else ("1", "1")
    environment |= {"SLURM_CPUS_PER_TASK": cores, "PROCESSES": processes, "TOLD": str(project)}
    environment["PATH"] = f"{project / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script, "tinsmith.sbatch", str(project / "recipe.toml")],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if "torchrun" not in names:
        assert "device: cpu, the first of 2 processes" in done.stderr
        assert (project / "runs" / "tiny" / "train" / "manifest.json").exists()
        return
    assert done.returncode == 0, done.stderr
    for node in (0, 1):
        assert (project / str(node)).read_text() == (
            f"2 threads: --nnodes 2 --node-rank {node} --master-addr 127.0.0.1 "
            f"--master-port {20000 + os.getpid() % 10000} --nproc-per-node 3 "
            f"-m tinsmith build {project / 'recipe.toml'}\n"
        )


def test_one_process_alone_changes_nothing() -> None:
    ranks = Ranks()
    assert ranks.is_main
    assert ranks.split_microbatches([3, 4, 5]) == [(3, True), (4, True), (5, True)]
    assert ranks.sum([0.1, 0.2]) == [0.1, 0.2]
    value = object()
    assert ranks.broadcast(value) is value


def test_every_process_runs_equally_many_micro_batches_and_each_counts_once() -> None:
    items = list(range(5))
    dealt = []
    for rank in range(3):
        ranks = Ranks()
        ranks.rank, ranks.size = rank, 3
        dealt.append(ranks.split_microbatches(items))
    assert {len(each) for each in dealt} == {2}
    assert sorted(item for each in dealt for item, counts in each if counts) == items


def test_a_device_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with join(None, "auto", SilentProgress()) as ranks:
        assert ranks.device == torch.device("cpu")
    with (
        pytest.raises(TrainingError, match="CUDA device of its own, and there are 0"),
        join(None, "cuda", SilentProgress()),
    ):
        pass


def test_a_follower_that_does_not_see_the_files_says_so(tmp_path: Path) -> None:
    from tinsmith.pipeline.build import _await_key

    with pytest.raises(RunError, match=r"cannot see what the main process wrote\n  -> set `runs`"):
        _await_key(tmp_path / "train.partial", "key", seconds=0.1)
    assert os.listdir(tmp_path) == []
