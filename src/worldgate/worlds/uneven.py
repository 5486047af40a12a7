"""Tracks with gaps, jitter and streams slower than their rows, as windows that a telemetry model learns from.

A row that comes late is preceded by the rows that are missing, so that time is told by counting, and what is left over
by the row's pace. A number that was not measured since the row before is not known; see ``nn/window.py`` for what a
model is told in its place. Commands hold until the next one, as they do on a robot.

Shape legend: T rows, R rows over all tracks, N windows, C context rows, K steps, D state channels, A action channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from worldgate.core.streams import BoolArray, IntArray
from worldgate.worlds.nn.window import Window, filled
from worldgate.worlds.tracks import Timing, Track

_HELD = 64
"""Most rows that are put in for missing ones, and for which a command is held: none of a longer gap is learned from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Windows with what came after them."""

    window: Window
    actions_NTA: Tensor
    """(N, C - 1 + K, A), the first in force from the first row of the window."""
    future_NKD: Tensor
    known_NKD: Tensor
    """1 where a number was measured at that row, else 0."""
    pace_NK: Tensor
    """Time of each step, in periods."""


class Looks:
    """Tracks laid end to end, drawn by the row that is ``now``."""

    def __init__(self, tracks: Sequence[Track], circular_D: Tensor) -> None:
        self.tracks = [evenly(track) for track in tracks]
        self.circular_D = circular_D.cpu()
        self.offsets = np.concatenate([[0], np.cumsum([len(t) for t in self.tracks])]).astype(np.int64)
        timings = [timing_of(track) for track in self.tracks]
        self.states_RD = torch.cat([torch.as_tensor(t.states_TD) for t in self.tracks])
        self.actions_RA = torch.cat([torch.as_tensor(t.actions_TA) for t in self.tracks])
        self.known_RD = torch.cat([torch.as_tensor(t.known_TD) for t in timings])
        self.age_RD = torch.cat([torch.as_tensor(t.age_TD) for t in timings])
        self.pace_R = torch.cat([torch.as_tensor(t.pace_T) for t in timings])
        plain = bool(self.known_RD.all()) and not bool(self.age_RD.any()) and bool((self.pace_R == 1).all())
        self.even = plain
        """Whether every number was measured at its row, on an even grid."""

    def rows(self, context: int, horizon: int, only: Iterable[int] | None = None) -> IntArray:
        """Rows ``now`` that can be learned from, of all tracks or only of these."""
        chosen = range(len(self.tracks)) if only is None else only
        parts = [starts(self.tracks[i], context, horizon) + self.offsets[i] for i in chosen]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def track_of(self, now: IntArray) -> IntArray:
        """(N,) index of the track each row belongs to."""
        return np.asarray(np.searchsorted(self.offsets, now, side="right") - 1)

    def take(self, now: IntArray, context: int, horizon: int) -> Look:
        """Windows of ``context`` rows up to these, and ``horizon`` steps after them."""
        past = now[:, None] + np.arange(1 - context, 1)
        drive = now[:, None] + np.arange(1 - context, horizon)
        future = now[:, None] + np.arange(1, horizon + 1)
        states_NCD = self.states_RD[past]
        if self.even:
            window = Window.even(states_NCD)
        else:
            known, age, pace = self.known_RD[past], self.age_RD[past], self.pace_R[past]
            window = filled(states_NCD, known, age, pace, self.circular_D)
        return Look(
            window=window,
            actions_NTA=self.actions_RA[drive],
            future_NKD=self.states_RD[future],
            known_NKD=self.known_RD[future].float(),
            pace_NK=self.pace_R[future],
        )


def timing_of(track: Track) -> Timing:
    """What the track says of its rows' times, or that all of its valid rows are whole and on time."""
    if track.timing is not None:
        return track.timing
    shape = track.states_TD.shape
    return Timing(
        known_TD=np.broadcast_to(track.valid_T[:, None], shape).copy(),
        age_TD=np.zeros(shape, np.float32),
        pace_T=np.ones(len(track), np.float32),
        driven_T=track.valid_T,
    )


def evenly(track: Track) -> Track:
    """The track with a row for every period: what is missing is put in, unknown, under the command before it."""
    timing = timing_of(track)
    parts = np.maximum(np.rint(timing.pace_T), 1).astype(np.int64)
    parts[:1] = 1
    broken = parts > _HELD
    parts = np.minimum(parts, _HELD)
    source = np.repeat(np.arange(len(track)), parts)
    real = np.append(source[1:] != source[:-1], True) if len(source) else np.zeros(0, bool)
    acting, driven = _held(timing.driven_T)
    before = np.where(real, source, np.maximum(source - 1, 0))
    pace = (timing.pace_T / parts).astype(np.float32)
    pace[broken] = 1.0
    return replace(
        track,
        states_TD=track.states_TD[source],
        actions_TA=track.actions_TA[acting[before]],
        valid_T=track.valid_T[source] & real,
        timing=Timing(
            known_TD=timing.known_TD[source] & real[:, None],
            age_TD=timing.age_TD[source] * (timing.known_TD[source] & real[:, None]),
            pace_T=pace[source],
            driven_T=driven[before] & (real | ~broken[source]),
        ),
    )


def _held(driven_T: BoolArray) -> tuple[IntArray, BoolArray]:
    """The row whose command is in force at each row, and whether there is one that is not too old."""
    row = np.arange(len(driven_T))
    last = np.maximum.accumulate(np.where(driven_T, row, -1)) if len(row) else row
    return np.maximum(last, 0), (last >= 0) & (row - last <= _HELD)


def starts(track: Track, context: int, horizon: int) -> IntArray:
    """Rows ``now`` of an even track that can be learned from.

    Each channel was measured within the ``context`` rows up to now, something was within ``horizon`` rows after it,
    and a command was in force all the while.
    """
    timing, length = timing_of(track), context + horizon
    if len(track) < length:
        return np.zeros(0, np.int64)
    first = np.arange(len(track) - length + 1)
    quiet = np.concatenate([[0], np.cumsum(~timing.driven_T)])
    seen = np.concatenate([np.zeros((1, timing.known_TD.shape[1])), np.cumsum(timing.known_TD, axis=0)])
    usable = quiet[first + length - 1] == quiet[first]
    usable &= (seen[first + context] > seen[first]).all(axis=1)
    usable &= (seen[first + length] > seen[first + context]).any(axis=1)
    now: IntArray = first[usable] + context - 1
    return now


def thinned(track: Track, share: float, seed: int) -> Track:
    """The track without a random share of its rows, as a recorder that drops messages leaves it; times stay true."""
    rng, timing = np.random.default_rng(seed), timing_of(track)
    keep = rng.random(len(track)) >= share
    keep[:1] = True
    kept = np.flatnonzero(keep)
    at = np.cumsum(timing.pace_T, dtype=np.float64)[kept]
    pace = np.diff(at, prepend=at[0] - 1.0).astype(np.float32)
    held = Timing(
        known_TD=timing.known_TD[kept], age_TD=timing.age_TD[kept], pace_T=pace, driven_T=timing.driven_T[kept]
    )
    return replace(
        track,
        states_TD=track.states_TD[kept],
        actions_TA=track.actions_TA[kept],
        valid_T=track.valid_T[kept],
        frames={},
        timing=held,
    )
