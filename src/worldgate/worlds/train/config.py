"""Training configuration shared by the families."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseConfig:
    """One optimisation: its length and its AdamW."""

    steps: int
    batch: int = 32
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
    checkpoint_every: int = 200
    """Steps between checkpoints."""
    evaluate_every: int = 200
    """Steps between evaluations on held-out episodes, with baselines and action sensitivity."""
    shuffle_actions: bool = False
    """Train the deliberately broken control: actions carry nothing."""
    bf16: bool = False
    """Autocast to bfloat16; measured slower than float32 for these sizes on CPUs without AMX."""
    threads: int = 0
    """Torch threads; 0 leaves the process's setting."""
