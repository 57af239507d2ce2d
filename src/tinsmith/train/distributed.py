"""Several processes that train one model: device, sums and broadcasts, coordinated stops, sharded weights."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from tinsmith.base.errors import RunError, TrainingError
from tinsmith.base.launch import WorkerGroup
from tinsmith.base.progress import Progress
from tinsmith.model.blocks import blocks_of
from tinsmith.model.load import choose_device

T = TypeVar("T")


class Ranks:
    """One of the processes that train a model. Alone, it communicates nothing and returns values unchanged."""

    def __init__(self, device: torch.device | None = None, workers: WorkerGroup | None = None) -> None:
        self.device = device or torch.device("cpu")
        self._workers = workers
        self.rank, self.size = (workers.rank, workers.size) if workers else (0, 1)
        self._turns = 0

    @property
    def is_main(self) -> bool:
        """Say whether this process writes files and decides by clocks and measurements."""
        return self.rank == 0

    def split_microbatches(self, items: Sequence[T]) -> list[tuple[T, bool]]:
        """Return this process's items, and whether each counts: those that do not make all processes' lists as long."""
        own = [(item, True) for item in items[self.rank :: self.size]]
        rounds = -(-len(items) // self.size)
        return own + [(items[0], False)] * (rounds - len(own))

    def sum(self, values: Sequence[float]) -> list[float]:
        """Add up each value over all processes, in float64."""
        if self.size == 1 or not values:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(total)
        added: list[float] = total.tolist()
        return added

    def broadcast(self, value: Any) -> Any:
        """Return the main process's value, which must be JSON; those of the others are ignored."""
        if self.size == 1:
            return value
        text = json.dumps(value).encode() if self.is_main else b""
        size = torch.tensor(len(text))
        distributed.broadcast(size, 0)
        data = torch.frombuffer(bytearray(text or bytes(int(size))), dtype=torch.uint8)
        distributed.broadcast(data, 0)
        return json.loads(data.numpy().tobytes())

    def on_main(self, work: Callable[[], None]) -> None:
        """Run `work` in the main process while the others wait; an OSError in it is raised by all."""
        failure: OSError | None = None
        if self.is_main:
            try:
                work()
            except OSError as error:
                failure = error
        message = self.broadcast(str(failure) if failure else None)
        if message is not None:
            raise failure or OSError(message)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the block in the main process before the others, however long that takes."""
        name = f"turn/{self._turns}"
        self._turns += 1
        if self._workers and not self.is_main:
            self._workers.read(name)
        yield
        if self._workers and self.is_main:
            self._workers.post(name, "done")

    @contextmanager
    def coordinated_stop(self) -> Iterator[Callable[[], None]]:
        """Delay Ctrl-C and SIGTERM; the yielded function raises KeyboardInterrupt in all processes or in none.

        In a single process signals act as usual, and the function does nothing.
        """
        if self.size == 1:
            yield lambda: None
            return
        received: list[int] = []

        def check() -> None:
            if self.sum([float(len(received))]) != [0.0]:
                raise KeyboardInterrupt

        signals = (signal.SIGINT, signal.SIGTERM)
        usual = {name: signal.signal(name, lambda number, _: received.append(number)) for name in signals}
        try:
            yield check
        finally:
            for name, handler in usual.items():
                signal.signal(name, handler)


ALONE = Ranks()


@contextmanager
def join(workers: WorkerGroup | None, device: str, progress: Progress) -> Iterator[Ranks]:
    """Choose the device, and connect the processes during the block.

    Raises TrainingError for a missing device, and RunError where another process is lost.
    """
    ranks = Ranks(choose_device(device, workers.local_rank if workers else 0), workers)
    progress.say(f"  device: {_describe(ranks)}")
    if workers is None:
        yield ranks
        return
    if ranks.device.type == "cuda":
        torch.cuda.set_device(ranks.device)
    # Figures and decisions use gloo, whatever the weights use.
    backend = "cpu:gloo,cuda:nccl" if ranks.device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, store=workers.store, rank=workers.rank, world_size=workers.size)
    try:
        _check_devices(ranks)
        yield ranks
    except RuntimeError as error:
        if not _is_lost_process(error):
            raise
        raise RunError(
            f"another process of this run is lost ({str(error).splitlines()[0]})",
            where="torchrun",
            next_step="see its error; the same command resumes from the last checkpoint",
        ) from error
    finally:
        distributed.destroy_process_group()


def shard(root: nn.Module, model: PreTrainedModel, ranks: Ranks) -> None:
    """Divide the weights of `model`, which `root` computes with, among the processes (FSDP2, arXiv:2304.11277).

    Blocks are gathered one at a time; the rest, such as embeddings and output layer, belongs to the root. Gradients
    are summed and not averaged, since the engine divides by the targets of the whole step.
    """
    mesh = init_device_mesh(ranks.device.type, (ranks.size,))
    for module in [*blocks_of(model)[1], root]:
        sharded = fully_shard(module, mesh=mesh)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)


@torch.no_grad()
def gather(model: nn.Module, ranks: Ranks) -> None:
    """Replace shards by whole weights in main memory on the main process, and by nothing on the others.

    The model can then be saved, but no longer trained.
    """
    if ranks.size == 1:
        return
    whole: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) not in whole:
                full = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
                kept = full.cpu() if ranks.is_main else full.new_empty(0)
                whole[id(parameter)] = nn.Parameter(kept, parameter.requires_grad)
            setattr(module, name, whole[id(parameter)])


def _describe(ranks: Ranks) -> str:
    device = ranks.device
    name = f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
    return name if ranks.size == 1 else f"{name}, the first of {ranks.size} processes"


def _check_devices(ranks: Ranks) -> None:
    on_cuda = ranks.sum([float(ranks.device.type == "cuda")])[0]
    if on_cuda not in (0.0, float(ranks.size)):
        raise TrainingError(
            f"only {on_cuda:.0f} of {ranks.size} processes have a CUDA device",
            where="train.device",
            next_step="set train.device to cpu, or start all processes on machines with GPUs",
        )


def _is_lost_process(error: RuntimeError) -> bool:
    if isinstance(error, distributed.DistError):
        return True
    return any(sign in str(error) for sign in ("gloo", "Connection closed", "Connection reset", "Timed out"))
