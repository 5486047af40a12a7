"""What a telemetry model sees of the past: rows on an even or uneven grid, and how old the last numbers are.

Numbers that were not measured at a row are filled from the rows up to now alone: between two measured ones on the line
between them, after the last one by holding it. What was held is said: its age, and how far its last speed would have
carried it since. So a dropped message, a stream slower than the rows or a grid with jitter is a row like any other.

Shape legend: X any leading axes, N windows, C rows up to now, D state channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Window:
    """The last rows; the last one is now."""

    states_XCD: Tensor
    """Filled states, in the streams' units."""
    span_XCD: Tensor
    """(..., C - 1, D) time from the entry before to each entry after the first, in periods; 1 on an even grid."""
    age_XD: Tensor
    """How long before now the newest number was measured, in periods."""
    drift_XD: Tensor
    """How far its last speed would have carried it in that time, in the stream's unit."""

    @classmethod
    def even(cls, states_XCD: Tensor) -> Window:
        """Rows of an even grid, all measured."""
        now_XD = torch.zeros_like(states_XCD[..., -1, :])
        return cls(states_XCD, torch.ones_like(states_XCD[..., 1:, :]), now_XD, now_XD)

    @property
    def now_XD(self) -> Tensor:
        """The newest number of each channel."""
        return self.states_XCD[..., -1, :]

    def expand(self, count: int) -> Window:
        """The same for every member, before the other axes."""
        parts = (self.states_XCD, self.span_XCD, self.age_XD, self.drift_XD)
        return Window(*(part.expand(count, *part.shape) for part in parts))

    def folded(self, count: int) -> Window:
        """The first axis as two, of which the first is so long: what each member sees."""
        parts = (self.states_XCD, self.span_XCD, self.age_XD, self.drift_XD)
        return Window(*(torch.unflatten(part, 0, (count, -1)) for part in parts))

    def last(self, rows: int) -> Window:
        """The newest rows alone."""
        if self.states_XCD.shape[-2] <= rows:
            return self
        states, span = self.states_XCD[..., -rows:, :], self.span_XCD[..., 1 - rows :, :]
        return Window(states, span, self.age_XD, self.drift_XD)

    def push(self, next_XD: Tensor, pace_X: Tensor | None = None) -> Window:
        """One row on: ``next_XD`` is now, ``pace_X`` periods later (1 where not given)."""
        span_XD = self.age_XD + (1.0 if pace_X is None else pace_X.unsqueeze(-1))
        states = torch.cat([self.states_XCD[..., 1:, :], next_XD.unsqueeze(-2)], dim=-2)
        span = torch.cat([self.span_XCD[..., 1:, :], span_XD.unsqueeze(-2)], dim=-2)
        fresh = torch.zeros_like(next_XD)
        return Window(states, span, fresh, fresh)


def filled(states_NCD: Tensor, known_NCD: Tensor, age_NCD: Tensor, pace_NC: Tensor, circular_D: Tensor) -> Window:
    """Rows of which some numbers are missing, as a window.

    Args:
        states_NCD: numbers; what stands where none is known does not matter.
        known_NCD: which were measured; at least one a channel.
        age_NCD: how long before its row each known one was measured, in periods.
        pace_NC: time since the row before, in periods.
        circular_D: above 0 for angles that wrap.
    """
    count = states_NCD.shape[1]
    at_NC = pace_NC.cumsum(dim=1)
    at_NCD = (at_NC - at_NC[:, -1:]).unsqueeze(-1).expand_as(states_NCD)
    index = torch.arange(count, device=states_NCD.device).view(1, -1, 1).expand_as(states_NCD)
    before = torch.where(known_NCD, index, -1).cummax(dim=1).values
    after = torch.where(known_NCD, index, count).flip(1).cummin(dim=1).values.flip(1)
    low, high = before.clamp(min=0), after.clamp(max=count - 1)
    first, second = states_NCD.gather(1, low), states_NCD.gather(1, high)
    begun, ended = at_NCD.gather(1, low), at_NCD.gather(1, high)
    share = (at_NCD - begun) / (ended - begun).clamp(min=1e-6)
    between = turned(first + share * apart(second, first, circular_D), circular_D)
    held = torch.where(before < 0, second, torch.where(after >= count, first, between))
    states = torch.where(known_NCD, states_NCD, held)
    span = pace_NC[:, 1:].unsqueeze(-1).expand(-1, -1, states.shape[-1])
    last_N1D = before[:, -1:].clamp(min=0)
    age_ND = (age_NCD.gather(1, last_N1D) - at_NCD.gather(1, last_N1D)).squeeze(1)
    speed = apart(states[:, 1:], states[:, :-1], circular_D) / span
    speed_ND = speed.gather(1, (last_N1D - 1).clamp(min=0)).squeeze(1) * (last_N1D.squeeze(1) > 0)
    return Window(states, span, age_ND, age_ND * speed_ND)


def noted(states_NCD: Tensor, circular_D: Tensor) -> Window:
    """Rows of an even grid as a window; NaN where nothing was measured, at least one number a channel."""
    known = torch.isfinite(states_NCD)
    if bool(known.all()):
        return Window.even(states_NCD)
    on_time = torch.zeros_like(states_NCD)
    return filled(states_NCD.nan_to_num(0.0), known, on_time, on_time[..., 0] + 1, circular_D)


def apart(a_D: Tensor, b_D: Tensor, circular_D: Tensor) -> Tensor:
    """``a - b``, wrapped on circular channels."""
    delta_D = a_D - b_D
    return torch.where(circular_D > 0, wrapped(delta_D), delta_D)


def turned(a_D: Tensor, circular_D: Tensor) -> Tensor:
    """Angles back on the circle."""
    return torch.where(circular_D > 0, wrapped(a_D), a_D)


def wrapped(angle: Tensor) -> Tensor:
    """In rad to [-pi, pi)."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
