"""The processes that train one model together, as torchrun starts them; without it there is one.

Every process runs the same program on its own part of each step's samples. Only the first writes. What they must agree
on (has the time run out, has somebody pressed Ctrl-C, is the loss still finite) is averaged or taken from the first, so
that all of them take the same turn.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed

from worldgate.core.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """This process among those that train together."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether it is the one that writes."""
        return self.rank == 0

    def mean(self, values: Sequence[float]) -> list[float]:
        """The means over all processes."""
        if self.count == 1:
            return list(values)
        held = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(held)
        return [float(value) / self.count for value in held]

    def same(self, value: T) -> T:
        """What the first process says; anything with a JSON form."""
        return value if self.count == 1 else self.all(value)[0]

    def all(self, value: T) -> list[T]:
        """What each process says; anything with a JSON form, for torch's own way would unpickle."""
        if self.count == 1:
            return [value]
        data = json.dumps(value).encode()
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        distributed.all_gather(lengths, torch.tensor([len(data)]))
        longest = max(int(length) for length in lengths)
        held = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.count)]
        distributed.all_gather(held, torch.frombuffer(bytearray(data.ljust(longest)), dtype=torch.uint8))
        return [json.loads(bytes(part.numpy())) for part in held]

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            distributed.barrier()


def current() -> Ranks:
    """This process among those of the group that :func:`group` opened."""
    if not distributed.is_initialized():
        return Ranks()
    return Ranks(rank=distributed.get_rank(), count=distributed.get_world_size())


@contextmanager
def group() -> Iterator[Ranks]:
    """Join the processes that torchrun started; within another group, or without torchrun, nothing happens."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield current()
        return
    # Numbers that are agreed upon lie in ordinary memory on every machine; gradients where the weights are.
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield current()
    finally:
        distributed.destroy_process_group()
        # Models that were shared out keep the group and its threads; one that wants Python while it ends aborts it.
        gc.collect()


def device_of(name: str) -> torch.device:
    """The device that a configuration asks for; among several GPUs, this process's own.

    Raises:
        UsageError: this machine has none of that kind.
    """
    found = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    chosen = next(kind for kind in ("cuda", "mps", "cpu") if found[kind]) if name == "auto" else name
    if not found.get(chosen.partition(":")[0], False):
        have = ", ".join(kind for kind, there in found.items() if there)
        raise UsageError("this machine lacks the device", got=name, hint=f"--set loop.device=auto; it has {have}")
    if chosen == "cuda":
        chosen = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return torch.device(chosen)
