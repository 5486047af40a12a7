"""One optimisation step: gradients of the batches of all processes, AdamW, and the running average of the weights.

Processes share weights by DistributedDataParallel, or by FSDP2 (``fully_shard``), where each holds a part of every
block. Snapshots hold whole tensors either way, so a run may go on with another number of processes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from worldgate.core.errors import UsageError
from worldgate.worlds.batches import Batch
from worldgate.worlds.family import Anywhere, Phase, Stacked, Trainable
from worldgate.worlds.train.config import LoopConfig, Parallel
from worldgate.worlds.train.parallel import Ranks


class Learner(nn.Module):
    """The model as the thing whose forward pass is a phase's loss: what wrappers of torch are put around.

    Args:
        model: all weights.
        loop: how they are held.
        device: where they learn.
        ranks: who else holds them.

    Raises:
        UsageError: a way of training that the family does not offer.
    """

    def __init__(self, model: Trainable, loop: LoopConfig, device: torch.device, ranks: Ranks) -> None:
        super().__init__()
        self.model, self.loop, self.device, self.ranks = cast(nn.Module, model), loop, device, ranks
        self.phase: Phase | None = None
        self.blocks = model.blocks() if isinstance(model, Stacked) else []
        self.sharded = loop.parallel is Parallel.FSDP and ranks.count > 1
        if (loop.recompute or self.sharded) and not self.blocks:
            raise UsageError("this family names no blocks to recompute or to share out", hint="parallel = 'ddp'")
        if loop.recompute:
            for block in self.blocks:
                _recompute(block)
        if loop.compile:
            for block in self.blocks or [self]:
                block.compile()

    def forward(self, batch: Batch) -> Tensor:
        """The phase's loss."""
        assert self.phase is not None
        return self.phase.loss(batch)

    def attend(self, phase: Phase) -> nn.Module:
        """Turn to a phase: only its weights learn. Returns what to call for its loss."""
        self.phase = phase
        if self.sharded:
            self._share_out()
            return self
        mine = {id(parameter) for parameter in phase.parameters()}
        for parameter in self.model.parameters():
            parameter.requires_grad_(id(parameter) in mine)
        if self.ranks.count == 1:
            return self
        with warnings.catch_warnings():
            # The newest torch calls it forward_sync_buffers, which the oldest that serves here does not know.
            warnings.simplefilter("ignore", FutureWarning)
            return DistributedDataParallel(self, broadcast_buffers=False, find_unused_parameters=True)

    def _share_out(self) -> None:
        if isinstance(self, FSDPModule):
            return
        mesh = init_device_mesh(self.device.type, (self.ranks.count,))
        for block in self.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(self, mesh=mesh)

    def release(self) -> None:
        """Let all weights learn again."""
        if not self.sharded:
            self.model.requires_grad_(True)

    def leave_home(self) -> None:
        """The weights go where they learn."""
        self.model.to(self.device)

    def come_home(self) -> None:
        """The weights come back to the CPU, unless several processes share them."""
        if not self.sharded:
            self.model.to("cpu")

    def settle(self, phase: Phase) -> None:
        """The weights go where a phase prepares, judges and finishes."""
        if isinstance(phase, Anywhere) and phase.anywhere:
            self.leave_home()
        else:
            self.come_home()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Parts that other processes hold are here, for the duration; all processes enter together."""
        if not isinstance(self, FSDPModule):
            yield
            return
        self.unshard()
        try:
            yield
        finally:
            self.reshard()

    def weights(self) -> dict[str, Tensor]:
        """All weights, whole; all processes ask together."""
        return {name: _whole(tensor) for name, tensor in self.model.state_dict().items()}

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take over weights."""
        if not isinstance(self, FSDPModule):
            self.model.load_state_dict(dict(weights))
            return
        for name, tensor in self.model.state_dict().items():
            tensor.copy_(_like(weights[name], tensor))


class Steps:
    """AdamW over a phase's parameters, with their running average."""

    def __init__(self, phase: Phase, learner: Learner) -> None:
        self.config, self.learner, self.device = phase.config, learner, learner.device
        self.call = learner.attend(phase)
        self.parameters = phase.parameters()
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=self.config.rate, weight_decay=self.config.decay, fused=True
        )
        self.average_of = [p.detach().clone() for p in self.parameters]
        self.bf16 = _bf16(learner.loop.bf16, self.device)
        self.count = 0

    def step(self, draw: Callable[[], Batch], batches: int, place: float) -> tuple[float, float]:
        """One update; returns the mean loss of this process's batches and the gradient's norm."""
        warm = min(1.0, (self.count + 1) / max(1, self.config.warmup))
        rate = self.config.rate * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * place)))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        losses = []
        for left in reversed(range(batches)):
            with self._alone(left > 0):
                loss = self.loss(draw())
                (loss if batches == 1 else loss / batches).backward()  # type: ignore[no-untyped-call]  # torch's
            losses.append(loss.detach())
        norm = _whole(torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip))
        self.optimiser.step()
        self.count += 1
        decay = min(self.config.ema, self.count / (10 + self.count))
        with torch.no_grad():
            torch._foreach_lerp_(self.average_of, [p.detach() for p in self.parameters], 1 - decay)
        # One wait for the device a step, and only here.
        mean, size = torch.stack([torch.stack(losses).mean(), norm]).cpu().tolist()
        return mean, size

    def loss(self, batch: Batch) -> Tensor:
        """Of a batch, with the graph."""
        if batch.seed is not None:
            torch.manual_seed(batch.seed)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            loss: Tensor = self.call(batch if self.device.type == "cpu" else batch.to(self.device))
        return loss

    @contextmanager
    def _alone(self, yes: bool) -> Iterator[None]:
        """Gradients stay in this process: the last batch of a step brings all of them together."""
        if isinstance(self.call, FSDPModule):
            self.call.set_requires_gradient_sync(not yes)
            yield
            return
        with self.call.no_sync() if yes and isinstance(self.call, DistributedDataParallel) else nullcontext():
            yield

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model with averaged weights, for the duration."""
        raw = [p.detach().clone() for p in self.parameters]
        self.average()
        try:
            with self.learner.whole():
                yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self.parameters, raw, strict=True):
                    parameter.copy_(value)

    @torch.no_grad()
    def average(self) -> None:
        """Put the averaged weights into the model."""
        for parameter, value in zip(self.parameters, self.average_of, strict=True):
            parameter.copy_(value)

    def state(self) -> dict[str, Tensor]:
        """Averages and moments by name, whole; all processes ask together."""
        out = {f"ema.{i:04d}": _whole(value) for i, value in enumerate(self.average_of)}
        for i, moments in self.optimiser.state_dict()["state"].items():
            out |= {f"adam.{i:04d}.{field}": _whole(torch.as_tensor(value)) for field, value in moments.items()}
        return out | {"count": torch.tensor(self.count)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of :meth:`state`."""
        self.count = int(state["count"])
        self.average_of = [_like(state[f"ema.{i:04d}"], p) for i, p in enumerate(self.parameters)]
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            if name.startswith("adam."):
                _, index, field = name.split(".")
                like = self.parameters[int(index)]
                mine = _like(value, like) if value.shape == like.shape else value.clone()
                moments.setdefault(int(index), {})[field] = mine
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})


def _bf16(asked: bool | None, device: torch.device) -> bool:
    if asked is None:
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return asked


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def _like(tensor: Tensor, other: Tensor) -> Tensor:
    """A copy that lies as another tensor does."""
    if isinstance(other, DTensor):
        return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements)
    return tensor.to(other.device, copy=True)


def _recompute(block: nn.Module) -> None:
    """Keep nothing of a block's forward pass but its inputs, and go through it again on the way back."""
    inner = block.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return inner(*args, **kwargs)
        return checkpoint(inner, *args, use_reentrant=False, **kwargs)

    block.forward = forward


def drawn(phase: Phase, generators: Sequence[Any]) -> Callable[[], Batch]:
    """Draws the batches of a step one after the other, each by its own generator."""
    place = 0

    def draw() -> Batch:
        nonlocal place
        rng = generators[place % len(generators)]
        place += 1
        return phase.draw(rng)

    return draw
