"""Which message of a stream each grid row takes, and how numbers are combined: the arithmetic behind alignment.

Messages are ordered by native time with a stable sort; of messages with equal stamps the last recorded one counts, so
unsorted or repeated stamps give the same answer on every machine (the ``stamps`` check reports them). Everything is
vectorised over the grid with :func:`numpy.searchsorted`.

Shape legend: N messages, M distinct stamps, T grid rows, D channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from worldgate.core.streams import Array, BoolArray, FloatArray, IntArray


class Policy(StrEnum):
    """How a stream is brought onto the grid."""

    NEAREST = "nearest"
    """The message closest in time; of two equally close the earlier."""
    HOLD = "hold"
    """The newest message at or before the row: what a robot could have known."""
    LINEAR = "linear"
    """Linear between the messages around the row; never extrapolated."""
    SLERP = "slerp"
    """Poses: positions linear, rotations along the shortest arc."""
    WINDOW_MEAN = "window_mean"
    """Mean of the messages in the half-open window ``(row - window, row]``."""
    WINDOW_RMS = "window_rms"
    """Root of the mean square in the window: how strong a force was that changes sign."""
    WINDOW_MIN = "window_min"
    """Least value in the window."""
    WINDOW_MAX = "window_max"
    """Greatest value in the window, for peaks of force or contact."""
    WINDOW_PEAK = "window_peak"
    """Value of greatest size in the window, with its sign: a push and a pull both count."""
    WINDOW_LAST = "window_last"
    """Newest message in the window; older ones do not count."""


BETWEEN = frozenset({Policy.LINEAR, Policy.SLERP})
"""Policies that combine the messages before and after a row."""
WINDOWS = frozenset(policy for policy in Policy if policy.startswith("window_"))
BY_INDEX = frozenset({Policy.NEAREST, Policy.HOLD, Policy.WINDOW_LAST})
"""Policies that take one message as it is, so they fit images, events and text too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A stream's stamps in time order."""

    order: IntArray
    """(N,) recorded position of each message in time order; equal stamps keep their recorded order."""
    times_ns: IntArray
    """(N,) sorted stamps."""
    last: IntArray
    """(M,) position within ``order`` of the last message of each distinct stamp."""
    stamps_ns: IntArray
    """(M,) distinct stamps."""


def timeline(times_ns: IntArray) -> Timeline:
    """Sort stamps stably and find the last message of each distinct one."""
    order = np.argsort(times_ns, kind="stable").astype(np.int64)
    ordered = times_ns[order]
    is_last = np.append(ordered[1:] != ordered[:-1], True) if len(ordered) else np.zeros(0, bool)
    last = np.flatnonzero(is_last).astype(np.int64)
    return Timeline(order=order, times_ns=ordered, last=last, stamps_ns=ordered[last])


@dataclass(frozen=True, slots=True, kw_only=True)
class Picks:
    """What every grid row takes from a stream; (T,) each."""

    index: IntArray
    """Recorded position of the message used (the earlier one between two), -1 where there is none."""
    source_ns: IntArray
    """Its stamp; 0 where there is none."""
    skew_ns: IntArray
    """Stamp minus row; 0 where there is none."""
    staleness_ns: IntArray
    """Row minus the newest stamp at or before it; -1 where nothing came before."""
    gap: BoolArray
    """No message within tolerance, or older than the allowed staleness."""
    after: IntArray
    """Recorded position of the later message where two are combined, else the same as ``index``."""
    weight: FloatArray
    """Share of the later message, 0 to 1."""
    low: IntArray
    """First position in time order of the row's window; with ``high`` empty for policies without one."""
    high: IntArray
    future: BoolArray
    """The row uses a message stamped later than itself."""


def pick(
    line: Timeline,
    grid_ns: IntArray,
    policy: Policy,
    *,
    tolerance_ns: int | None,
    max_staleness_ns: int | None,
    window_ns: int,
) -> Picks:
    """Choose messages for every row.

    Args:
        line: the stream's stamps.
        grid_ns: (T,) rows.
        policy: how to choose.
        tolerance_ns: greatest distance of a used message from its row, inclusive; ``None``: any.
        max_staleness_ns: rows whose newest past message is older are gaps; ``None``: any age.
        window_ns: length of the window of the window policies.
    """
    m, rows = len(line.stamps_ns), len(grid_ns)
    before = np.searchsorted(line.stamps_ns, grid_ns, side="right") - 1
    after = np.searchsorted(line.stamps_ns, grid_ns, side="left")
    has_before, has_after = before >= 0, after < m
    padded = np.append(line.stamps_ns, np.int64(0))
    before_ns, after_ns = padded[np.where(has_before, before, m)], padded[np.where(has_after, after, m)]
    staleness = np.where(has_before, grid_ns - before_ns, np.int64(-1))

    low = high = np.zeros(rows, np.int64)
    second, weight = before, np.zeros(rows)
    if policy is Policy.NEAREST:
        closer_after = has_after & (~has_before | (after_ns - grid_ns < grid_ns - before_ns))
        chosen, ok = np.where(closer_after, after, before), has_before | has_after
        second = chosen
    elif policy in BETWEEN:
        chosen, ok, second = before, has_before & has_after, after
        span = np.maximum(after_ns - before_ns, 1)
        weight = np.where(ok, (grid_ns - before_ns) / span, 0.0)
    elif policy is Policy.HOLD:
        chosen, ok = before, has_before
    else:
        low = np.searchsorted(line.times_ns, grid_ns - window_ns, side="right")
        high = np.searchsorted(line.times_ns, grid_ns, side="right")
        chosen, ok = before, high > low

    chosen, second = np.where(ok, chosen, m), np.where(ok, second, m)
    if tolerance_ns is not None:
        far = np.maximum(np.abs(padded[chosen] - grid_ns), np.abs(padded[second] - grid_ns)) > tolerance_ns
        ok = ok & ~far
    stale = np.zeros(rows, bool)
    if max_staleness_ns is not None:
        stale = (staleness > max_staleness_ns) | (staleness < 0)
    recorded = np.append(line.order[line.last], np.int64(-1))
    source = np.where(ok, padded[chosen], np.int64(0))
    return Picks(
        index=np.where(ok, recorded[chosen], -1),
        source_ns=source,
        skew_ns=np.where(ok, source - grid_ns, np.int64(0)),
        staleness_ns=staleness,
        gap=~ok | stale,
        after=np.where(ok, recorded[second], -1),
        weight=np.where(ok, weight, 0.0),
        low=np.where(ok, low, 0),
        high=np.where(ok, high, 0),
        future=ok & (np.maximum(padded[chosen], padded[second]) > grid_ns),
    )


def combine(values: Array, picks: Picks, line: Timeline, policy: Policy) -> FloatArray:
    """Numbers on the grid, NaN where a row has no message: (N, ...) -> (T, ...).

    Floating types are kept; integers and booleans become float64.
    """
    kind = values.dtype if np.issubdtype(values.dtype, np.floating) else np.dtype(np.float64)
    missing = picks.index < 0
    if len(values) == 0:
        return np.full((len(missing), *values.shape[1:]), np.nan, kind)
    with np.errstate(invalid="ignore"):  # infinite source values are the finite check's to report
        out = _combined(values, picks, line, policy).astype(kind)
    out[missing] = np.nan
    return out


def _combined(values: Array, picks: Picks, line: Timeline, policy: Policy) -> Array:
    if policy is Policy.LINEAR:
        return _lerp(values[picks.index], values[picks.after], picks.weight)
    if policy is Policy.SLERP:
        first, second = values[picks.index].astype(np.float64), values[picks.after].astype(np.float64)
        position = _lerp(first[:, :3], second[:, :3], picks.weight)
        return np.concatenate([position, slerp(first[:, 3:], second[:, 3:], picks.weight)], axis=1)
    if policy in WINDOWS and policy is not Policy.WINDOW_LAST:
        return _reduce(values[line.order], picks, policy)
    return np.asarray(values[picks.index])


def _lerp(first: Array, second: Array, weight: FloatArray) -> FloatArray:
    share = weight.reshape(-1, *([1] * (first.ndim - 1)))
    low, high = first.astype(np.float64), second.astype(np.float64)
    blended = (1.0 - share) * low + share * high
    return np.where(share == 0.0, low, blended)  # an exact hit must not see a NaN in the later message


def slerp(first: FloatArray, second: FloatArray, weight: FloatArray) -> FloatArray:
    """Unit quaternions on the shortest arc: (T, 4), (T, 4), (T,) -> (T, 4).

    Source: Shoemake, Animating rotation with quaternion curves, SIGGRAPH 1985.
    """
    a = first / np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-300)
    b = second / np.maximum(np.linalg.norm(second, axis=1, keepdims=True), 1e-300)
    cosine = np.sum(a * b, axis=1, keepdims=True)
    b = np.where(cosine < 0, -b, b)
    angle = 2.0 * np.arctan2(np.linalg.norm(a - b, axis=1, keepdims=True), np.linalg.norm(a + b, axis=1, keepdims=True))
    share = weight[:, None]
    sine = np.sin(angle)
    tiny = sine < 1e-9
    safe = np.where(tiny, 1.0, sine)
    left = np.where(tiny, 1.0 - share, np.sin((1.0 - share) * angle) / safe)
    right = np.where(tiny, share, np.sin(share * angle) / safe)
    out = np.where(share == 0.0, a, left * a + right * b)
    return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-300))


def _reduce(ordered: Array, picks: Picks, policy: Policy) -> FloatArray:
    """One number a channel over each row's window."""
    values = ordered.astype(np.float64)
    if policy is Policy.WINDOW_MIN:
        return _over(np.minimum, values, picks)
    if policy is Policy.WINDOW_MAX:
        return _over(np.maximum, values, picks)
    if policy is Policy.WINDOW_PEAK:
        low, high = _over(np.minimum, values, picks), _over(np.maximum, values, picks)
        return np.where(-low > high, low, high)
    count = np.maximum(picks.high - picks.low, 1).reshape(-1, *([1] * (ordered.ndim - 1)))
    if policy is Policy.WINDOW_MEAN:
        return np.asarray(_over(np.add, values, picks) / count)
    scale = np.abs(values).max(axis=0, initial=0.0, where=np.isfinite(values))
    scale = np.where(scale > 0, scale, 1.0)  # squares of large numbers must not overflow
    return np.asarray(scale * np.sqrt(_over(np.add, (values / scale) ** 2, picks) / count))


def _over(ufunc: np.ufunc, values: FloatArray, picks: Picks) -> FloatArray:
    """``ufunc.reduceat`` over the [low, high) pairs."""
    wide = np.concatenate([values, np.zeros((1, *values.shape[1:]))])
    bounds = np.stack([picks.low, picks.high], axis=1).reshape(-1)
    if len(bounds) == 0:
        return np.zeros((0, *values.shape[1:]))
    return np.asarray(ufunc.reduceat(wide, bounds, axis=0)[::2])
