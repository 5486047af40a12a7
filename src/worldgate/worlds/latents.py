"""Latents to plan in: what a model offers to planners beside the protocol of all world models.

Shape legend: N samples, H known rows, L rows ahead, K rows that are looked at or of a chunk, D latent, A action
channels, M members, C channels of a stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from torch import Tensor

from worldgate.core.choices import settle
from worldgate.core.errors import ConfigError
from worldgate.core.worlds import Observation, Prompt
from worldgate.worlds.tracks import Layout


class Shaper(StrEnum):
    """A head that can shape latents."""

    INVERSE = "inverse"
    """Inverse dynamics, as in PLDM: what actions change is sure to be in the latents; no label is needed."""
    PROBE = "probe"
    """The probe: what is read out is sure to be in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentConfig:
    """What is learned."""

    steps: int = 4
    """K, rows ahead that are looked at in a clip."""
    every: int = 5
    """They are so many rows apart in the mean: a prediction reaches ``steps * every`` rows."""
    span: int = 50
    """How many rows ahead a goal lies at most."""
    sigreg: float = 0.09
    """Weight against collapse; 0 turns it off."""
    projections: int = 256
    """Random directions that SIGReg looks along."""
    straighten: float = 0.0
    """Weight of straight paths of latents."""
    shaped_by: tuple[Shaper, ...] = (Shaper.INVERSE,)
    """Heads whose errors shape the latents, too. Without any, latents may hold what stands still and nothing else."""

    def __post_init__(self) -> None:
        settle(self)
        if self.steps < 1 or self.every < 1 or self.span < self.steps * self.every:
            got = f"steps = {self.steps}, every = {self.every}, span = {self.span}"
            hint = "one step at least, and goals at least as far as predictions: span >= steps * every"
            raise ConfigError("rows that cannot be learned from", got=got, where="learn", hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """A goal as latents."""

    latent_D: Tensor
    weight_D: Tensor
    """1 where the goal shows it, 0 elsewhere."""


class Latent(Protocol):
    """What a model offers to planners beside :class:`worldgate.core.worlds.WorldModel`; all on the weights' device."""

    layout: Layout
    context: int
    members: int
    """M heads that predict; 1 tells no uncertainty."""
    points: bool
    """Whether :meth:`toward` was learned."""
    reaches: bool
    """Whether :meth:`reachable` was."""
    tells: bool
    """Whether :meth:`read` was."""

    def perceive(self, prompt: Prompt) -> Tensor:
        """(H, D) latents of the last rows."""
        ...

    def aim(self, goal: Observation) -> Aim:
        """What a goal shows."""
        ...

    def foresee(self, known_HD: Tensor, actions_NLA: Tensor, rows: Sequence[int]) -> Tensor:
        """(M, N, K, D) latents after the actions of these K rows, counted from 0; differentiable by the actions."""
        ...

    def toward(self, now_ND: Tensor, goal_ND: Tensor, left_N: Tensor) -> Tensor:
        """(N, K, A) actions towards goals with so many rows left."""
        ...

    def reachable(self, now_ND: Tensor, goal_ND: Tensor, left_N: Tensor) -> Tensor:
        """(N,) probability that a goal is reached within so many rows."""
        ...

    def read(self, latents_XD: Tensor) -> dict[str, Tensor]:
        """Stream -> (X, C) numbers that latents tell."""
        ...


@runtime_checkable
class HasLatent(Protocol):
    """A world model that can be planned in by its latents."""

    @property
    def latent(self) -> Latent: ...
