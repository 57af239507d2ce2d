"""Two processes that train together, forked as torchrun would start them, and what they compute."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.distributed import TCPStore
from transformers import BloomConfig, BloomForCausalLM, PreTrainedModel

from tinsmith.base.files import write_json
from tinsmith.base.launch import WorkerGroup
from tinsmith.base.progress import SilentProgress
from tinsmith.recipe import DistilConfig, DpoConfig
from tinsmith.tokens.shards import TokenSet
from tinsmith.train.distributed import ALONE, Ranks, gather, join
from tinsmith.train.engine import Engine
from tinsmith.train.loop import fit
from tinsmith.train.mixture import Mixture, MixtureComponent
from tinsmith.train.objectives.distil import Distil
from tinsmith.train.objectives.dpo import Dpo
from tinsmith.train.teachers import LiveTeacher, Source, Vocabulary
from tiny_training import VOCABULARY, config, make_batches, make_engine, tiny_llama

SIZE = 2
GRADIENTS = {
    "plain": config(),
    "checkpointing": config(activation_checkpointing=True),
    "clipped": config(clip_norm=0.01),
    "bloom": config(),
    "dpo": config(micro_rows=2),
    "distil": config(),
}
OPTIMIZERS = ("adamw", "muon")
STEPS = config("6 steps")
LONG = config("4000 steps", checkpoint_seconds=0.02)


def start(work: Callable[[WorkerGroup, Path], None], directory: Path, store: TCPStore) -> list[BaseProcess]:
    """Start the processes; the caller keeps the store, as torchrun's agent does."""
    # A server that has imported everything once forks each process in a moment.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["tiny_workers", "tinsmith.cli", "tinsmith.pipeline.build", "tinsmith.stages.train.run"]
    )
    arguments = [(work, directory, rank, store.port) for rank in range(SIZE)]
    processes = [context.Process(target=_enter, args=each) for each in arguments]
    for process in processes:
        process.start()
    return processes


def new_store() -> TCPStore:
    """Return a store on a free port."""
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def _enter(work: Callable[[WorkerGroup, Path], None], directory: Path, rank: int, port: int) -> None:
    torch.set_num_threads(1)
    with (directory / f"said-{rank}.txt").open("a") as said:
        os.dup2(said.fileno(), 2)
        work(WorkerGroup(rank, SIZE, rank, TCPStore("127.0.0.1", port, is_master=False)), directory)


def engine_for(name: str, directory: Path, cache: Path, ranks: Ranks = ALONE) -> Engine:
    """Return an engine ready for an entry of GRADIENTS, with what its objective computes before the first step."""
    section, model = GRADIENTS[name], model_for(name)
    if name == "dpo":
        batches = make_batches(TokenSet(directory / "pairs"), section)
        part = MixtureComponent(name, Dpo(DpoConfig(beta=0.3)), batches)
    elif name == "distil":
        wanted = DistilConfig(teacher="another", share=0.7, reverse=0.5)
        teacher = LiveTeacher(wanted, Source("another", lambda: tiny_llama(9)), Vocabulary(VOCABULARY))
        part = MixtureComponent(
            name, Distil(wanted, teacher), make_batches(TokenSet(directory / "tokens"), section)
        )
    else:
        return make_engine(TokenSet(directory / "tokens"), section, model, ranks=ranks)
    engine = Engine(model, section, Mixture([part]), seed=7, ranks=ranks)
    engine.prepare(cache, SilentProgress())
    # Away from where the reference was taken: at the start every margin is zero.
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return engine


def model_for(name: str) -> PreTrainedModel:
    """Return the model of an entry of GRADIENTS."""
    if name != "bloom":
        return tiny_llama()
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "n_layer": 2, "n_head": 4, "hidden_dropout": 0.0, "attention_dropout": 0.0}
    return BloomForCausalLM(BloomConfig(vocab_size=VOCABULARY, **shape))


def whole(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors with their shards put together."""
    return {
        name: (each.full_tensor() if hasattr(each, "full_tensor") else each).detach().clone()
        for name, each in tensors.items()
    }


def gradients_of(engine: Engine, step: int) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Compute a step's gradients; return them whole, and the step's facts without its seconds."""
    facts = engine.gradients(step)
    facts.pop("loader_seconds")
    facts["read_again"] = engine.loss(step)
    assert abs(facts["read_again"] - facts["loss"]) < 1e-5 * abs(facts["loss"])
    found = {name: p.grad for name, p in engine.model.named_parameters() if p.grad is not None}
    found = whole(found)
    engine.optimizers.drop_gradients()
    return found, facts


class Tripping(SilentProgress):
    """Send this process a signal at one of its advances, as an operator would who saw enough."""

    def __init__(self, at: int) -> None:
        self.left = at

    @contextmanager
    def task(self, what: str, total: float | None, unit: str) -> Iterator[Callable[[float], None]]:
        """Count the advances."""

        def advance(amount: float) -> None:
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), signal.SIGTERM)

        yield advance


def compute_together(workers: WorkerGroup, directory: Path) -> None:
    """Do everything that the tests compare, in one start of the processes."""
    tokens = TokenSet(directory / "tokens")
    with join(workers, "auto", SilentProgress()) as ranks:
        for name in GRADIENTS:
            engine = engine_for(name, directory, directory / "cache" / name, ranks)
            engine.shard()
            for step in (0, 1):
                found, facts = gradients_of(engine, step)
                _keep(ranks, directory / f"{name}-{step}", found)
                write_json(directory / f"{name}-{step}.{ranks.rank}.json", facts)
        for name in OPTIMIZERS:
            engine = make_engine(tokens, config(optimizer=name), ranks=ranks)
            engine.shard()
            three_steps(engine)
            _keep(ranks, directory / name, whole(dict(engine.model.named_parameters())))
        _fit(ranks, tokens, directory / "straight")
        try:
            _fit(ranks, tokens, directory / "stopped", Tripping(3) if workers.rank == 1 else SilentProgress())
        except KeyboardInterrupt:
            (directory / f"stopped.{workers.rank}").touch()
        ranks.broadcast(None)
        if ranks.is_main:
            shutil.copytree(directory / "stopped", directory / "copied")
        ranks.broadcast(None)
        _fit(ranks, tokens, directory / "stopped")
        _fit(ranks, tokens, directory / "begun_alone")


def three_steps(engine: Engine) -> None:
    """Move the weights three times."""
    for step in range(3):
        engine.gradients(step)
        engine.update(3e-3)


def _fit(ranks: Ranks, tokens: TokenSet, out: Path, progress: SilentProgress | None = None) -> None:
    engine = make_engine(tokens, STEPS, ranks=ranks)
    fit(engine, out=out, progress=progress or SilentProgress())
    gather(engine.model, ranks)
    _keep(ranks, out / "final", {name: p.detach() for name, p in engine.model.named_parameters()})


def _keep(ranks: Ranks, path: Path, tensors: dict[str, torch.Tensor]) -> None:
    if ranks.is_main:
        save_file({name: each.contiguous() for name, each in tensors.items()}, f"{path}.safetensors")


def train_long(workers: WorkerGroup, directory: Path) -> None:
    """Train longer than the test lets it; leave 1 where another process was lost."""
    from tinsmith.base.errors import RunError

    try:
        with join(workers, "cpu", SilentProgress()) as ranks:
            engine = make_engine(TokenSet(directory / "tokens"), LONG, ranks=ranks)
            fit(engine, out=directory / "killed", progress=SilentProgress())
    except RunError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def run_command_line(workers: WorkerGroup, directory: Path) -> None:
    """Build as a process that torchrun started would: the command line, and torchrun's variables."""
    from tinsmith.cli import main

    host = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(workers.store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    os.environ |= {
        "RANK": str(workers.rank),
        "WORLD_SIZE": str(workers.size),
        "LOCAL_RANK": str(workers.rank),
        **host,
    }
    os.environ["TORCHELASTIC_RESTART_COUNT"] = "0"
    sys.argv = ["tinsmith", *(directory / "arguments").read_text().split()]
    main()
