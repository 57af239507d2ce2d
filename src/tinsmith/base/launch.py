"""The processes of one build: the main process runs all stages, the others join distributed stages when called.

They exchange text through torchrun's key-value store, never through files. They wait by polling, so that hours may
pass and Ctrl-C works.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from tinsmith.base.errors import RunError

_POLL_SECONDS = 0.2
_FAILED = "tinsmith/failed"


class WorkerGroup:
    """One of `size` processes; `store` is the torch.distributed Store that they share."""

    def __init__(self, rank: int, size: int, local_rank: int, store: Any) -> None:
        self.rank, self.size, self.local_rank, self.store = rank, size, local_rank, store
        self._orders = 0

    @property
    def is_main(self) -> bool:
        """Return whether this is the process that writes files and prints."""
        return self.rank == 0

    def call(self, order: dict[str, Any] | None) -> None:
        """Send an order to the other processes; None ends them."""
        self.post(f"order/{self._orders}", json.dumps(order))
        self._orders += 1

    def orders(self) -> Iterator[dict[str, Any]]:
        """Yield the orders of the main process until it sends None."""
        while (order := json.loads(self.read(f"order/{self._orders}"))) is not None:
            self._orders += 1
            yield order

    def reply(self, text: str) -> None:
        """Answer the main process's last order."""
        self.post(f"reply/{self._orders}/{self.rank}", text)

    def replies(self) -> list[str]:
        """Wait for what each other process answers the last order. Raises RunError if one failed or is gone."""
        return [self.read(f"reply/{self._orders}/{rank}") for rank in range(1, self.size)]

    def post(self, name: str, text: str) -> None:
        """Publish a text under a name to all processes."""
        self.store.set(f"tinsmith/{name}", text)

    def read(self, name: str) -> str:
        """Wait for the text under a name. Raises RunError if another process failed or is gone."""
        try:
            while not self.store.check([f"tinsmith/{name}"]):
                if self.store.check([_FAILED]):
                    raise _lost("another process failed")
                time.sleep(_POLL_SECONDS)
            return bytes(self.store.get(f"tinsmith/{name}")).decode()
        except RuntimeError as error:
            raise _lost(str(error).splitlines()[0]) from error

    def first_to_fail(self) -> bool:
        """Return whether no other process failed before, so that this error is the cause and is worth printing."""
        try:
            return int(self.store.add(_FAILED, 1)) == 1
        except RuntimeError:
            return self.is_main


def find_workers(environment: Mapping[str, str]) -> WorkerGroup | None:
    """Return the processes that torchrun started, or None if there is only this one."""
    if int(environment.get("WORLD_SIZE", "1")) == 1:
        return None
    from torch.distributed import rendezvous

    store, rank, size = next(iter(rendezvous("env://")))
    return WorkerGroup(rank, size, int(environment["LOCAL_RANK"]), store)


def _lost(why: str) -> RunError:
    return RunError(
        f"the other processes cannot be reached ({why})",
        where="torchrun",
        next_step="find the error of the process that ended first; the same command then resumes the build",
    )
