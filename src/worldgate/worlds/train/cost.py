"""What a training will cost on this machine, measured before it starts: a few real steps of every phase.

A rehearsal makes the model as training would, from the same tracks, goes through each phase's preparation, times a few
steps and one evaluation, counts the floating point operations of a step, and throws the weights away. A phase that can
prepare on a part does so, and its time is taken for the whole: tokens of a tokenizer that has yet to be trained are of
no use to the run. Memory is the largest that this process has held, rehearsal included; on a GPU what torch allocated
there. What a rehearsal cannot see: tokens it did not make, machines that others use more or less later, snapshots on
slow disks, and the last of a phase (``finish``).

Peaks of GPUs are dense bfloat16 figures of NVIDIA's data sheets. Utilisation is model FLOPs (forward and backward,
without recomputation) over the peak, as in PaLM (arXiv 2204.02311, appendix B).
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from worldgate.core.atomic import write_atomic
from worldgate.core.config import decode
from worldgate.core.digest import canonical
from worldgate.worlds.family import Fed, Phase, Tasting
from worldgate.worlds.feed import Share
from worldgate.worlds.train.config import LoopConfig
from worldgate.worlds.train.parallel import Ranks
from worldgate.worlds.train.snapshots import generator
from worldgate.worlds.train.steps import Learner, Steps, drawn

_FILE = "cost.json"
_TIMED = 3
"""Steps that are timed, at least."""
_TIMED_S = 1.0
"""And for how long."""
_PEAKS = (
    ("H200", 989e12),
    ("H100 PCIe", 756e12),
    ("H100", 989e12),
    ("H20", 148e12),
    ("B200", 2250e12),
    ("A100", 312e12),
    ("A10G", 70e12),
    ("L40S", 362e12),
    ("L4", 121e12),
    ("RTX 4090", 165e12),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseCost:
    """One phase."""

    phase: str
    steps: int
    prepare_s: float
    step_s: float
    evaluate_s: float
    evaluations: int
    flops: float
    """Of a step of one process, forward and backward; operations that torch has no formula for count nothing."""

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.prepare_s + self.steps * self.step_s + self.evaluations * self.evaluate_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a training will take."""

    seconds: float
    memory_bytes: int
    parameters: int
    device: str
    phases: tuple[PhaseCost, ...]

    def __str__(self) -> str:
        name = self.device.partition(":")[0]
        where = "on this machine" if name == "cpu" else f"on this machine's {name}"
        return f"about {_spoken(self.seconds)} {where}, {self.memory_bytes / 1e9:.1f} GB; {self.parameters:,} weights"


def rehearse(make: Callable[[], tuple[Learner, Sequence[Phase]]], loop: LoopConfig, ranks: Ranks, streams: int) -> Cost:
    """Go through the beginning of every phase on weights that are thrown away.

    Args:
        make: the learner and its phases, new ones.
        loop: how they are trained.
        ranks: who else trains.
        streams: processes that the run was started with.
    """
    learner, phases = make()
    costs = []
    for index, phase in enumerate(phases):
        if phase.parameters():
            costs.append(_phase(learner, phase, index, ranks, streams))
        else:
            phase.prepare()
            phase.finish()
    seconds = sum(cost.seconds for cost in costs)
    if loop.max_seconds:
        seconds = min(seconds, loop.max_seconds + sum(cost.prepare_s for cost in costs))
    parameters = sum(p.numel() for p in learner.model.parameters())
    return Cost(
        seconds=seconds,
        memory_bytes=peak_bytes(learner.device),
        parameters=parameters,
        device=str(learner.device),
        phases=tuple(costs),
    )


def _phase(learner: Learner, phase: Phase, index: int, ranks: Ranks, streams: int) -> PhaseCost:
    loop, config = learner.loop, phase.config
    batches = config.accumulate * streams // ranks.count
    if isinstance(phase, Fed):  # which makes the clip cache: once, and not again in the training that follows
        phase.feed.open(Share(rank=ranks.rank, ranks=ranks.count, batches=batches, workers=loop.workers))
    begun = time.monotonic()
    learner.settle(phase)
    share = _prepared(phase)
    prepared = time.monotonic()
    learner.leave_home()
    steps, draw = Steps(phase, learner), drawn(phase, [generator(0, ranks.rank)])
    counter = _Flops()
    with torch.compiler.set_stance("force_eager"), counter:
        steps.step(draw, batches, 0.0)
    steps.step(draw, batches, 0.0)
    took: list[float] = []
    alone = ranks.count == 1  # several processes must take the same number of steps
    while len(took) < _TIMED or (alone and sum(took) < _TIMED_S and len(took) < config.steps):
        timed = _clock(learner.device)
        steps.step(draw, batches, 0.0)
        took.append(_clock(learner.device) - timed)
    if isinstance(phase, Fed):
        phase.feed.close()
    ready = time.monotonic()
    learner.settle(phase)
    with steps.averaged(), torch.no_grad():
        phase.evaluate()
    judged = time.monotonic()
    learner.come_home()
    learner.release()
    return PhaseCost(
        phase=phase.name,
        steps=config.steps,
        prepare_s=(prepared - begun) / share,
        step_s=median(took),
        evaluate_s=judged - ready,
        evaluations=-(-config.steps // loop.evaluate_every),
        flops=float(counter.total),
    )


def _prepared(phase: Phase) -> float:
    """Get it ready for a few steps; the share of its preparation that this was."""
    if isinstance(phase, Tasting):
        return phase.taste()
    phase.prepare()
    return 1.0


class _Flops(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Counts floating point operations of what runs within.

    By torch's own formulas. Its ``FlopCounterMode`` also tells modules apart, and for that fails on a loss that calls
    the network without gradients.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()


def peak_bytes(device: torch.device) -> int:
    """The most memory that this process has held, where its weights learn."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def keep(run_dir: Path, cost: Cost) -> None:
    """Write it beside the run."""
    write_atomic(run_dir / _FILE, canonical(cost))


def kept(run_dir: Path) -> Cost | None:
    """What was measured before a run started; None where nothing was."""
    path = run_dir / _FILE
    return decode(Cost, json.loads(path.read_bytes()), where=str(path)) if path.is_file() else None


def utilisation(flops: float, rate: float, device: torch.device) -> float | None:
    """Share of the GPU's peak that a step's model FLOPs are, at so many steps a second; None where no peak is known."""
    if device.type != "cuda" or not flops:
        return None
    name = torch.cuda.get_device_name(device)
    peak = next((peak for part, peak in _PEAKS if part in name), None)
    return None if peak is None else flops * rate / peak


def _spoken(seconds: float) -> str:
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
