"""Offset and drift of a sensor's clock against the recorder's, from stamps alone, although messages arrive late.

A message is stamped by the sensor and reaches the recorder a delay later, never earlier. So the clocks' difference
is the lower edge of (log time minus stamp), not its middle, and congestion lifts points but cannot lower them. Moon,
Skelly and Towsley, Estimation and removal of clock skew from network delay measurements, INFOCOM 1999, fit the line
under all points whose distance to them is least; Zhang, Liu and Xia, INFOCOM 2002, take the edge of the lower convex
hull over the mean stamp, which is the same line. Neither says how sure it is. So the hull only levels the series;
then the least residual of each of some tens of blocks is taken, and a line is laid through those by Theil and Sen,
whose interval (Sen, JASA 1968) holds whatever the distribution of the blocks' minima; the offset is their median
with its interval from order statistics.

What no one-way stamp can tell apart is the clock's offset and the least delay: the offset found is their sum.

Shape legend: N messages, K blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from worldgate.core.streams import FloatArray, IntArray

LEAST = 16
"""Messages below which no drift is estimated."""
_BLOCKS = (8, 40)
_A_BLOCK = 8
"""Messages of a block, at least: fewer have no least delay to speak of."""
_ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A line under (log time minus stamp): ``offset + drift * (stamp - zero)``; errors are 95 % half widths."""

    zero_ns: int
    """Stamp in the middle of the series, where the offset is surest."""
    offset_ns: int
    """Of the clock, and the least delay of its messages, together."""
    offset_error_ns: int
    drift_ppm: float
    drift_error_ppm: float
    delay_ns: int
    """Median height of the messages over the line: the usual delay beyond the least."""

    def at(self, stamps_ns: IntArray) -> IntArray:
        """(N,) the line."""
        rise = np.rint((stamps_ns - self.zero_ns) * (self.drift_ppm * 1e-6))
        return np.asarray(rise, np.int64) + self.offset_ns


def envelope(stamps_ns: IntArray, log_ns: IntArray) -> Envelope | None:
    """Fit the line; None below :data:`LEAST` messages or where all stamps are equal.

    Args:
        stamps_ns: (N,) of a clock that was not set meanwhile.
        log_ns: (N,) arrival.
    """
    if len(stamps_ns) < LEAST or stamps_ns.min() == stamps_ns.max():
        return None
    order = np.argsort(stamps_ns, kind="stable")
    stamps, delay = stamps_ns[order], (log_ns - stamps_ns)[order]
    zero = int(stamps[0] + (stamps[-1] - stamps[0]) // 2)
    base = int(np.median(delay))
    x, height = (stamps - zero).astype(np.float64), (delay - base).astype(np.float64)
    level = hull_slope(x, height)
    rest = height - level * x
    at = block_minima(rest)
    slope, low, high = _theil_sen(x[at], rest[at])
    least = np.sort(rest[at] - slope * x[at])
    middle, error = _median(least)
    above = rest - slope * x - middle
    return Envelope(
        zero_ns=zero,
        offset_ns=base + round(middle),
        offset_error_ns=max(1, round(error)),
        drift_ppm=(level + slope) * 1e6,
        drift_error_ppm=max(high - slope, slope - low) * 1e6,
        delay_ns=max(0, round(float(np.median(above)))),
    )


def hull_slope(x: FloatArray, y: FloatArray) -> float:
    """Slope of the lower convex hull's edge over the mean of rising x: the line under all points nearest to them."""
    hull: list[int] = []
    for i in range(len(x)):
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            if (y[b] - y[a]) * (x[i] - x[a]) < (y[i] - y[a]) * (x[b] - x[a]):
                break
            hull.pop()
        if hull and x[i] == x[hull[-1]]:
            if y[i] >= y[hull[-1]]:
                continue
            hull.pop()
        hull.append(i)
    corners = np.asarray(hull)
    if len(corners) < 2:
        return 0.0
    right = int(np.clip(np.searchsorted(x[corners], x.mean()), 1, len(corners) - 1))
    a, b = corners[right - 1], corners[right]
    return float((y[b] - y[a]) / (x[b] - x[a]))


def block_minima(values: FloatArray) -> IntArray:
    """(K,) position of the least value of each of K blocks of equally many messages."""
    count = int(np.clip(len(values) // _A_BLOCK, *_BLOCKS))
    edges = np.linspace(0, len(values), min(count, len(values)) + 1).astype(np.int64)
    return np.asarray([a + int(values[a:b].argmin()) for a, b in pairwise(edges)], np.int64)


def _theil_sen(x: FloatArray, y: FloatArray) -> tuple[float, float, float]:
    from scipy import stats  # a second to import, and most commands estimate no clock

    found = stats.theilslopes(y, x, alpha=1.0 - _ALPHA)
    return float(found.slope), float(found.low_slope), float(found.high_slope)


def _median(ordered: FloatArray) -> tuple[float, float]:
    """Median and the half width of its distribution-free interval, from order statistics."""
    from scipy import stats  # a second to import, and most commands estimate no clock

    count = len(ordered)
    rank = int(stats.binom.ppf(_ALPHA / 2, count, 0.5))
    middle = float(np.median(ordered))
    low, high = ordered[max(rank - 1, 0)], ordered[min(count - rank, count - 1)]
    return middle, float(max(high - middle, middle - low))
