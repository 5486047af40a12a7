"""Whether and how fast the robot moves, from the streams of numbers of a log, noise told apart from motion.

A channel moves while its change over a few samples stands out of its own noise, which is measured from its second
differences: a smooth motion has almost none. Speeds are shares of the channel's range, so radians and metres compare.

Shape legend: N messages, D channels, T times asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from worldgate.core.streams import NUMERIC, FloatArray, IntArray, Kind, Log, Stream
from worldgate.core.times import SECOND
from worldgate.data.checks._spans import columns, sampled

_STRIDES: Final = (1, 2, 3)
"""Noise is the same at every stride; values held for some messages are smooth at one of them."""
_NOISES: Final = 6.0
"""A change of this many standard deviations of a channel's noise is motion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """Channels of a log that move at some time, cleaned: measured ones where there are any, else commanded ones."""

    channels: tuple[tuple[IntArray, FloatArray, FloatArray], ...]
    """(N,) ascending times; (N, D) values as shares of each channel's range; (D,) noise in the same shares."""
    rate_hz: float
    """Of the fastest of these streams."""
    known: bool
    """Whether the log holds streams of numbers at all: without them nothing is known of the robot."""

    def during(self, span: tuple[int, int], share: float) -> bool:
        """Whether any channel covers this share of its range within a half-open span, and more than noise would."""
        for times, values, noise in self.channels:
            first, last = np.searchsorted(times, span)
            part = values[first:last]
            if len(part) > 1 and (np.ptp(part, axis=0) > np.maximum(share, _NOISES * noise)).any():
                return True
        return False

    def travelled(self, starts: IntArray, ends: IntArray) -> FloatArray:
        """(T,) greatest change of any channel between two times, as a share of its range; below noise it is 0."""
        most = np.zeros(len(starts))
        for times, values, noise in self.channels:
            for channel in range(values.shape[1]):
                way = np.abs(np.interp(ends, times, values[:, channel]) - np.interp(starts, times, values[:, channel]))
                most = np.maximum(most, np.where(way > 3.0 * noise[channel], way, 0.0))
        return most


def motion_of(log: Log) -> Motion:
    """What moves in a log."""
    streams = [s for s in sampled(log) if s.info.kind in NUMERIC and len(s) > 2]
    measured = [s for s in streams if s.info.kind is not Kind.ACTION]
    held = [found for found in map(_channels, measured) if found] or [f for f in map(_channels, streams) if f]
    rates = [(len(times) - 1) * SECOND / max(int(times[-1] - times[0]), 1) for times, _, _ in held]
    return Motion(channels=tuple(held), rate_hz=max(rates, default=0.0), known=bool(streams))


def _channels(stream: Stream) -> tuple[IntArray, FloatArray, FloatArray] | None:
    order = np.argsort(stream.times_ns, kind="stable")
    times, values = stream.times_ns[order], columns(stream)[order]
    finite = np.isfinite(values).all(axis=1)
    times, values = times[finite], values[finite]
    if len(times) < 3:
        return None
    reach = np.ptp(values, axis=0)
    noise = np.min([_noise(values, stride) for stride in _STRIDES], axis=0)
    moves = reach > np.maximum(_NOISES * 1.5 * noise, 1e-9)
    if not moves.any():
        return None
    scale = reach[moves]
    return times, values[:, moves] / scale, noise[moves] / scale


def _noise(values: FloatArray, stride: int) -> FloatArray:
    """(D,) standard deviation of the noise, of whose variance a second difference has six times as much."""
    if len(values) <= 2 * stride:
        return np.full(values.shape[1], np.inf)
    bent = values[2 * stride :] - 2 * values[stride:-stride] + values[: -2 * stride]
    return np.asarray(np.median(np.abs(bent), axis=0) * 1.4826 / np.sqrt(6.0))
