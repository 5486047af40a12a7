"""Training configuration shared by the families."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from worldgate.core.choices import settle


class Parallel(StrEnum):
    """How processes that train together hold the weights."""

    DDP = "ddp"
    """Each holds all of them."""
    FSDP = "fsdp"
    """Each holds a part; for families that name their blocks."""


class Clock(StrEnum):
    """What a time budget is measured by."""

    WALL = "wall"
    """The time that passes."""
    PROCESS = "process"
    """Processor time of this process, all its threads: a budget that a busy machine does not shorten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseConfig:
    """One optimisation: its length and its AdamW."""

    steps: int
    batch: int = 32
    """Samples that are held at once, in each process."""
    accumulate: int = 1
    """Batches, in each process, whose gradients make one step."""
    rate: float = 1e-3
    """Peak learning rate; linear warm-up, then a cosine to a twentieth of it."""
    decay: float = 1e-2
    warmup: int = 20
    """Steps of warm-up."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.98
    """Decay of the averaged weights that are evaluated and saved; 0 turns averaging off."""
    share: float = 1.0
    """Part of ``max_seconds`` this phase may take, relative to the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """The loop around the phases."""

    seed: int = 0
    max_seconds: float = 0.0
    """Time budget of the whole training; 0: only the steps bound it. A budget makes runs depend on the machine."""
    clock: Clock = Clock.WALL
    """What ``max_seconds`` is measured by."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""
    evaluate_every: int = 200
    """Steps between evaluations on held-out episodes, with baselines and action sensitivity."""
    shuffle_actions: bool = False
    """Train the deliberately broken control: actions carry nothing."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``mps``, or ``auto``: the fastest there is. Of several GPUs each process takes its own."""
    bf16: bool | None = None
    """Autocast to bfloat16. Unset: on GPUs that have it, not on CPUs, where it measured slower without AMX."""
    compile: bool = False
    """Compile the repeated blocks of a family that names them, or else the loss; takes a minute at the start."""
    recompute: bool = False
    """Keep no activations inside the blocks of a family that names them: less memory, a third more work."""
    parallel: Parallel = Parallel.DDP
    """Only matters under torchrun."""
    workers: int = 0
    """Processes that read clips, for each process that trains; 0: itself."""
    threads: int = 0
    """Torch threads; 0 leaves the process's setting."""

    def __post_init__(self) -> None:
        settle(self)
