"""Several processes of one build: the first leads and goes through the stages, the others follow where they are called.

They speak through the key-value store that torchrun keeps, never in files, and wait by asking, so that hours may pass
and Ctrl-C is heard. What crosses is text.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from tinsmith.base.errors import RunError

_ASK_SECONDS = 0.2
_FAILED = "tinsmith/failed"


class WorkerGroup:
    """One of `size` processes; `store` is a torch.distributed Store that all of them reach."""

    def __init__(self, rank: int, size: int, local_rank: int, store: Any) -> None:
        self.rank, self.size, self.local_rank, self.store = rank, size, local_rank, store
        self._orders = 0

    @property
    def is_main(self) -> bool:
        """Say whether this is the process that writes files and prints."""
        return self.rank == 0

    def call(self, order: dict[str, Any] | None) -> None:
        """Have the followers take part in something; None lets them go."""
        self.post(f"order/{self._orders}", json.dumps(order))
        self._orders += 1

    def orders(self) -> Iterator[dict[str, Any]]:
        """Yield what the leader calls for, until it lets its followers go."""
        while (order := json.loads(self.read(f"order/{self._orders}"))) is not None:
            self._orders += 1
            yield order

    def post(self, name: str, text: str) -> None:
        """Tell all processes something under a name."""
        self.store.set(f"tinsmith/{name}", text)

    def read(self, name: str) -> str:
        """Wait for what is told under a name. Raises RunError where a process failed or is gone."""
        try:
            while not self.store.check([f"tinsmith/{name}"]):
                if self.store.check([_FAILED]):
                    raise _lost("another process failed")
                time.sleep(_ASK_SECONDS)
            return bytes(self.store.get(f"tinsmith/{name}")).decode()
        except RuntimeError as error:
            raise _lost(str(error).splitlines()[0]) from error

    def first_to_fail(self) -> bool:
        """Say whether no other process failed before: then the error is the cause, and worth telling."""
        try:
            return int(self.store.add(_FAILED, 1)) == 1
        except RuntimeError:
            return self.is_main


def find_workers(environment: Mapping[str, str]) -> WorkerGroup | None:
    """Return the processes that torchrun started, or None where this one is alone."""
    if int(environment.get("WORLD_SIZE", "1")) == 1:
        return None
    from torch.distributed import rendezvous

    store, rank, size = next(iter(rendezvous("env://")))
    return WorkerGroup(rank, size, int(environment["LOCAL_RANK"]), store)


def _lost(why: str) -> RunError:
    return RunError(
        f"the other processes cannot be reached ({why})",
        where="torchrun",
        next_step="look for the error of the one that ended first; the same command goes on from there",
    )
