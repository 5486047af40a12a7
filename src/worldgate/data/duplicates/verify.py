"""Verification: two streams laid over each other at an offset, tick by tick, where they move.

Numbers: the difference of the two, as a share of their spread, over 1.2 s around each tick; the offset is first moved
to where it is least. Pictures: the correlation of what changes, over the same time, after one of the two was scaled and
shifted to fit the other as well as crops and shifts of a few per cent can. Ticks at which one rests do not count.

Shape legend: K ticks, D width, G cells a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from worldgate.core.streams import BoolArray, FloatArray, IntArray
from worldgate.data.duplicates.rules import MatchConfig
from worldgate.data.duplicates.sketches import SIDE, TICK_NS, Film, Numbers
from worldgate.data.duplicates.vectors import CROPS, WINDOW, change, lowest, sampling

_LEAST_ROWS: Final = 5
"""Fewer different rows of a stream say nothing of whether it was copied."""
_SAME_NS: Final = TICK_NS // 2
"""How far apart equal rows may lie at the offset."""
_STILL: Final = 0.05
"""Deviation in a window, as a share of the stream's, below which a stream rests."""
_FAR: Final = 0.25
"""Square difference, by the spread, beyond which a finer offset cannot help."""
_SCALES: Final = (1.0, 0.95, 0.9, 0.85, 0.8)
_REACH: Final = (-3, -2, -1, 0, 1, 2, 3)
"""Cells of 32 that a picture may have moved by, either way."""
_LOOKED: Final = 24
"""Changes of a camera that the search for a crop looks at."""
_FEW: Final = 4
"""Fewer ticks with motion of a camera say nothing."""
SHORTEST: Final = 8
"""Ticks below which an overlap says nothing."""
_GLANCE: Final = 0.6
"""Least correlation of the lowest coefficients that is worth a closer look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """How far two streams agree at one offset."""

    first: str
    second: str
    """Names of the streams."""
    offset_ns: int
    good: BoolArray
    """(K,) ticks of the first at which both move alike."""
    start_ns: int
    """Of the first."""
    coverage: float
    """Good ticks, as a share of those at which the one that moves less moves."""
    moving: int
    """Ticks within the overlap at which both move."""
    error: float = 0.0
    """Numbers: median difference over the overlap, as a share of the spread. Pictures: 1 - correlation."""
    copied: float = 0.0
    """Numbers: share of the different rows that both hold at this offset, to the bit."""
    scale: float = 1.0
    """Pictures: share of the picture's side that the other shows; above 1: the second is the larger part."""
    shift: tuple[float, float] = (0.0, 0.0)
    """Pictures: down and right, as shares of the side."""

    @property
    def span_ns(self) -> tuple[int, int]:
        """Half-open, on the first's clock; empty where nothing agrees."""
        ticks = np.flatnonzero(self.good)
        if not len(ticks):
            return (0, 0)
        return self.start_ns + int(ticks[0]) * TICK_NS, self.start_ns + (int(ticks[-1]) + 1) * TICK_NS


def _box(values_K: FloatArray) -> FloatArray:
    """Mean over 1.2 s around each tick."""
    ones = np.ones(min(WINDOW, len(values_K)))
    sums: FloatArray = np.convolve(values_K, ones, "same") / np.convolve(np.ones(len(values_K)), ones, "same")
    return sums


def _moves(values_KD: FloatArray) -> BoolArray:
    """(K,) whether a stream moves around a tick, measured by its own spread."""
    spread = values_KD.std(axis=0)
    spread = np.maximum(spread, 0.01 * spread.max(initial=0.0) + 1e-12)
    scaled = (values_KD - values_KD.mean(axis=0)) / spread
    variance = sum(_box(c**2) - _box(c) ** 2 for c in scaled.T) / scaled.shape[1]
    moving: BoolArray = np.asarray(variance) > _STILL**2
    return moving


def at(values: FloatArray, ticks: FloatArray) -> FloatArray:
    """Values between the ticks, by a straight line."""
    low = np.clip(np.floor(ticks).astype(np.int64), 0, max(len(values) - 2, 0))
    share = (ticks - low).reshape(-1, *[1] * (values.ndim - 1))
    high = np.minimum(low + 1, len(values) - 1)
    between: FloatArray = values[low] * (1 - share) + values[high] * share
    return between


def overlap(first: int, second: int, lag: float) -> tuple[IntArray, FloatArray]:
    """Ticks of the first that the second covers, and where they fall on its own."""
    ticks = np.arange(first)
    other = ticks + lag
    inside = (other >= -1e-9) & (other <= second - 1 + 1e-9)
    return ticks[inside], other[inside]


def numbers(first: Numbers, second: Numbers, offset_ns: int, config: MatchConfig) -> Overlay | None:
    """Lay one numeric stream over another of the same width.

    Returns:
        None where they overlap by less than a window.
    """
    a, b = first.values.astype(np.float64), second.values.astype(np.float64)
    lag = (first.start_ns + offset_ns - second.start_ns) / TICK_NS
    for step, reach in ((0.5, 2.0), (0.1, 0.4), (0.02, 0.08)):
        lags = lag + np.arange(-reach, reach + step / 2, step)
        errors = [_apart(a, b, float(x)) for x in lags]
        lag = float(lags[int(np.argmin(errors))])
        if min(errors) > _FAR:
            break
    ticks, other = overlap(len(a), len(b), lag)
    if len(ticks) < SHORTEST:
        return None
    error = np.sqrt(_box(_squares(a[ticks], at(b, other))))
    moves_a, moves_b = _moves(a), _moves(b)
    both = moves_a[ticks] & moves_b[np.rint(other).astype(np.int64)]
    good = np.zeros(len(a), dtype=np.bool_)
    good[ticks] = both & (error < config.numbers)
    least = max(1, min(int(moves_a.sum()), int(moves_b.sum())))
    return Overlay(
        first=first.name,
        second=second.name,
        offset_ns=round(second.start_ns - first.start_ns + lag * TICK_NS),
        good=good,
        start_ns=first.start_ns,
        coverage=min(1.0, float(good.sum()) / least),
        moving=int(both.sum()),
        error=float(np.median(error)),
        copied=_copied(first, second, offset_ns),
    )


def _copied(first: Numbers, second: Numbers, offset_ns: int) -> float:
    """Share of the different rows of the one with fewer that the other holds, at this offset."""
    fewer = min(len(first.rows), len(second.rows))
    if fewer < _LEAST_ROWS or first.width == 1:
        return 0.0
    _, mine, other = np.intersect1d(first.rows, second.rows, assume_unique=True, return_indices=True)
    apart = (second.start_ns + second.row_ns[other]) - (first.start_ns + first.row_ns[mine])
    return float((np.abs(apart - offset_ns) <= _SAME_NS).sum()) / fewer


def _squares(a_KD: FloatArray, b_KD: FloatArray) -> FloatArray:
    """(K,) mean square difference over the channels, each by its spread."""
    spread = np.sqrt((a_KD.var(axis=0) + b_KD.var(axis=0)) / 2)
    spread = np.maximum(spread, 0.01 * spread.max(initial=0.0) + 1e-12)
    squares: FloatArray = (((a_KD - b_KD) / spread) ** 2).mean(axis=1)
    return squares


def _apart(a: FloatArray, b: FloatArray, lag: float) -> float:
    ticks, other = overlap(len(a), len(b), lag)
    if len(ticks) < SHORTEST:
        return np.inf
    # The median: where one log goes on after the other was cut or spliced, the rest still finds its offset.
    return float(np.median(_squares(a[ticks], at(b, other))))


def films(first: Film, second: Film, offset_ns: int, config: MatchConfig, *, unseen: bool = False) -> Overlay | None:
    """Lay one camera over another.

    Args:
        first: one film.
        second: the other.
        offset_ns: instants of the second minus those of the first.
        config: what counts as alike.
        unseen: fit a crop and a shift even where a glance sees no likeness. A glance is blind to small shifts of small
            motions.

    Returns:
        None where they overlap by less than a window, or nothing moves in one of them.
    """
    a, b = change(first), change(second)
    moves_a, moves_b = energy(a) > config.floor, energy(b) > config.floor
    lag = (first.start_ns + offset_ns - second.start_ns) / TICK_NS
    ticks, other = overlap(len(a), len(b), lag)
    if len(ticks) < SHORTEST or min(moves_a.sum(), moves_b.sum()) < _FEW:
        return None
    scale, shift = 1.0, (0.0, 0.0)
    alike = _glance(a, b, lag)
    fitted = unseen or alike > _GLANCE
    good = np.zeros(len(a), dtype=np.bool_)
    if fitted:
        there = at(b, other)
        weight = energy(a[ticks]) * energy(there)
        chosen = np.sort(np.argsort(-weight)[:_LOOKED])
        scale, shift = _fit(a[ticks[chosen]], there[chosen])
        a, b = (_warp(a, scale, shift), b) if scale <= 1 else (a, _warp(b, 1 / scale, shift))
        lags = lag + np.arange(-2.0, 2.01, 0.5)
        lag = float(lags[int(np.argmax([_alike(a, b, float(x)) for x in lags]))])
        ticks, other = overlap(len(a), len(b), lag)
        alike = _alike(a, b, lag)
    both = moves_a[ticks] & moves_b[np.rint(other).astype(np.int64).clip(0, len(b) - 1)]
    if alike > _GLANCE:
        good[ticks] = both & (local(a[ticks], at(b, other)) > config.pictures)
    return Overlay(
        first=first.name,
        second=second.name,
        offset_ns=round(second.start_ns - first.start_ns + lag * TICK_NS),
        good=good,
        start_ns=first.start_ns,
        coverage=min(1.0, float(good.sum()) / max(1, min(int(moves_a.sum()), int(moves_b.sum())))),
        moving=int(both.sum()),
        error=1.0 - alike,
        scale=scale,
        shift=(shift[0] / SIDE, shift[1] / SIDE),
    )


def _glance(a: FloatArray, b: FloatArray, lag: float) -> float:
    """The best correlation of the lowest coefficients over the overlap, at any crop; blind to small shifts."""
    ticks, other = overlap(len(a), len(b), lag)
    whole_a, whole_b = lowest(a, 1.0)[ticks], at(lowest(b, 1.0), other)
    found = [correlation(whole_a, whole_b)]
    for crop in CROPS[1:]:
        found += [
            correlation(lowest(a, crop)[ticks], whole_b),
            correlation(whole_a, at(lowest(b, crop), other)),
        ]
    return max(found)


def local(a: FloatArray, b: FloatArray) -> FloatArray:
    """(K,) correlation over 1.2 s around each tick."""
    product = _box((a * b).sum(axis=(1, 2)))
    norm = np.sqrt(_box((a**2).sum(axis=(1, 2))) * _box((b**2).sum(axis=(1, 2))))
    found: FloatArray = product / (norm + 1e-9)
    return found


def energy(change_KGG: FloatArray) -> FloatArray:
    """(K,) RMS of each change, in grey levels."""
    root: FloatArray = np.sqrt((change_KGG**2).mean(axis=(1, 2)))
    return root


def _alike(a: FloatArray, b: FloatArray, lag: float) -> float:
    """Correlation over the whole overlap."""
    ticks, other = overlap(len(a), len(b), lag)
    return correlation(a[ticks], at(b, other)) if len(ticks) >= SHORTEST else -1.0


def correlation(a: FloatArray, b: FloatArray) -> float:
    """Of all values at once, around 0."""
    return float((a * b).sum() / (np.sqrt((a**2).sum() * (b**2).sum()) + 1e-9))


def _warp(change_KGG: FloatArray, scale: float, shift: tuple[float, float]) -> FloatArray:
    warped: FloatArray = sampling(scale, shift[0]) @ change_KGG @ sampling(scale, shift[1]).T
    return warped


def _fit(a: FloatArray, b: FloatArray) -> tuple[float, tuple[float, float]]:
    """The scale and shift in cells that bring one onto the other best; a scale above 1 is the second's.

    All whole shifts of a scale are scored at once, by the product of spectra; then half cells around the best.
    """

    def score(scale: float, shift: tuple[float, float]) -> float:
        return correlation(*((_warp(a, scale, shift), b) if scale <= 1 else (a, _warp(b, 1 / scale, shift))))

    whole = [(*_shifted(a, b, s), s) for s in (*_SCALES, *(1 / s for s in _SCALES[1:]))]
    _, (down, right), scale = max(whole)
    tried = {(y, x): score(scale, (y, x)) for y in _around(down) for x in _around(right)}
    return scale, max(tried, key=lambda key: tried[key])


def _around(shift: int) -> tuple[float, ...]:
    return shift - 0.5, float(shift), shift + 0.5


def _shifted(a: FloatArray, b: FloatArray, scale: float) -> tuple[float, tuple[int, int]]:
    """The best correlation at a scale, and the shift in whole cells of what is scaled."""
    moved, fixed = (_warp(a, scale, (0.0, 0.0)), b) if scale <= 1 else (_warp(b, 1 / scale, (0.0, 0.0)), a)
    spectrum = (np.fft.rfft2(moved) * np.conj(np.fft.rfft2(fixed))).sum(axis=0)
    scores = np.fft.irfft2(spectrum, s=(SIDE, SIDE)) / (np.sqrt((moved**2).sum() * (fixed**2).sum()) + 1e-9)
    near = scores[np.ix_(_REACH, _REACH)]
    row, column = np.unravel_index(int(np.argmax(near)), near.shape)
    return float(near[row, column]), (_REACH[row], _REACH[column])


def union(overlays: Sequence[Overlay]) -> tuple[int, int]:
    """The span from the first to the last agreement of any."""
    spans = [o.span_ns for o in overlays if o.good.any()]
    return (min(s for s, _ in spans), max(e for _, e in spans)) if spans else (0, 0)
