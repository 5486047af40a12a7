"""Figures as functions of sums: what is kept of each episode, how sums become a figure, and its interval over episodes.

A measure adds a short vector of numbers for each window; vectors of one episode are added up. A figure is a function
of the vector summed over episodes: a mean, a correlation, an F1. So a resample of episodes is a sum of rows, and
nothing of a rollout has to be kept. Intervals are the expanded percentile intervals of
:mod:`worldgate.evidence.bootstrap`; they are asymptotic in the number of episodes, and not given for fewer than could
ever support one.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 6 (plug-in functions of means);
Hesterberg, The American Statistician 69 (2015), section 3.

Shape legend: E episodes, R resamples, S sums of a figure; ``...`` any leading axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from worldgate.core.streams import Array, FloatArray, IntArray
from worldgate.evidence.bootstrap import draws, expanded_level, least_episodes

Reduction = Callable[[FloatArray], FloatArray]
"""(..., S) sums -> (...) figure; NaN where the sums hold nothing."""


def _over(above: FloatArray, below: FloatArray) -> FloatArray:
    """A quotient; NaN where there is nothing to divide by."""
    out = np.full(np.shape(above), np.nan)
    return np.asarray(np.divide(above, below, out=out, where=np.asarray(below) > 0))


def mean(sums: FloatArray) -> FloatArray:
    """(total, weight): the weighted mean, a share or a rate."""
    return _over(sums[..., 0], sums[..., 1])


def decibel(sums: FloatArray) -> FloatArray:
    """(total squared error, weight): 10 log10(1 / mean squared error) of intensities from 0 to 1, at most 100 dB."""
    return np.asarray(-10.0 * np.log10(np.maximum(mean(sums), 1e-10)))


def f1(sums: FloatArray) -> FloatArray:
    """(true positives, false positives, false negatives): 2 TP / (2 TP + FP + FN)."""
    hits = 2.0 * sums[..., 0]
    return _over(hits, hits + sums[..., 1] + sums[..., 2])


def correlation(sums: FloatArray) -> FloatArray:
    """(n, x, y, xx, yy, xy): Pearson's r; 0 where x never varies, because a constant follows nothing."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread_x, spread_y = n * xx - x * x, n * yy - y * y
    flat = spread_x <= 1e-9 * np.maximum(n * xx, 1e-300)
    product = np.sqrt(np.maximum(spread_x, 0.0) * np.maximum(spread_y, 0.0))
    found = np.divide(n * xy - x * y, product, out=np.zeros(np.shape(n)), where=~flat & (product > 0))
    return np.where((n > 0) & (spread_y > 0), found, np.nan)


def r2(sums: FloatArray) -> FloatArray:
    """(n, squared error, y, yy): 1 - squared error / variance of y."""
    n, error, y, yy = np.moveaxis(sums, -1, 0)
    return 1.0 - _over(error, yy - _over(y * y, n))


def slope(sums: FloatArray) -> FloatArray:
    """(xx, xy): least squares through the origin, y = slope x."""
    return _over(sums[..., 1], sums[..., 0])


def uniformity(sums: FloatArray) -> FloatArray:
    """(counts of ten equal bins of values in [0, 1]): mean distance of their distribution from the uniform one."""
    total = sums.sum(axis=-1)
    cumulative = _over(np.cumsum(sums, axis=-1)[..., :-1], np.repeat(total[..., None], sums.shape[-1] - 1, axis=-1))
    ideal = np.arange(1, sums.shape[-1]) / sums.shape[-1]
    return np.asarray(np.abs(cumulative - ideal).mean(axis=-1))


def middle(sums: FloatArray) -> FloatArray:
    """(counts of whole numbers -r to r): their median, of an even number the mean of the two in the middle."""
    reach, total = sums.shape[-1] // 2, sums.sum(axis=-1)
    cumulative = np.cumsum(sums, axis=-1)
    low = (cumulative < total[..., None] / 2).sum(axis=-1)
    high = (cumulative <= total[..., None] / 2).sum(axis=-1)
    return np.where(total > 0, (low + np.minimum(high, 2 * reach)) / 2.0 - reach, np.nan)


def calibration(sums: FloatArray) -> FloatArray:
    """(count, total probability, times it was so) of bins in turn: mean distance of the two shares, by count (ECE)."""
    bins = sums.reshape(*sums.shape[:-1], -1, 3)
    return _over(np.abs(bins[..., 1] - bins[..., 2]).sum(axis=-1), bins[..., 0].sum(axis=-1))


REDUCTIONS: Mapping[str, Reduction] = MappingProxyType(
    {
        "mean": mean,
        "decibel": decibel,
        "f1": f1,
        "correlation": correlation,
        "r2": r2,
        "slope": slope,
        "uniformity": uniformity,
        "calibration": calibration,
        "middle": middle,
    }
)
"""By the name that a figure gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its interval over episodes, each side one-sided at the report's level."""

    value: float | None
    """None: nothing was measured, or something was not finite."""
    lower: float | None = None
    """None: too few episodes for a bound at this level (five at 0.05)."""
    upper: float | None = None
    episodes: int = 0


class Table:
    """Sums by figure, situation, step and contender, and by episode."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str, int, str], dict[int, FloatArray]] = {}

    def add(self, key: tuple[str, str, int, str], episode: int, values: FloatArray) -> None:
        """Add a window's vector: key is (figure, situation, step, contender)."""
        held = self._sums.setdefault(key, {})
        held[episode] = values if episode not in held else held[episode] + values

    def entries(self) -> list[tuple[str, str, int, str]]:
        """All of them, in the order they came."""
        return list(self._sums)

    def of(self, key: tuple[str, str, int, str]) -> Mapping[int, FloatArray]:
        """Episode -> (S,) sums; empty where there are none."""
        return self._sums.get(key, {})


def estimate(held: Mapping[int, FloatArray], reduction: str, *, level: float, resamples: int, seed: int) -> Estimate:
    """A figure and its interval.

    Args:
        held: episode -> (S,) sums.
        reduction: one of :data:`REDUCTIONS`.
        level: one-sided, of each bound.
        resamples: of episodes.
        seed: of the resamples.
    """
    if not held:
        return Estimate(value=None)
    rows_ES = np.stack([held[e] for e in sorted(held)])
    reduce = REDUCTIONS[reduction]
    resampled = reduce(_resampled(rows_ES, resamples, seed)) if len(rows_ES) > 1 else np.zeros(0)
    return _interval(reduce(rows_ES.sum(axis=0)), resampled, len(rows_ES), level)


def advantage(
    model: Mapping[int, FloatArray],
    base: Mapping[int, FloatArray],
    reduction: str,
    *,
    relative: bool,
    level: float,
    resamples: int,
    seed: int,
) -> Estimate:
    """By how much a model beats a baseline on the episodes that both measured, resampled together.

    Relative: 1 - model / baseline, of errors. Else: model - baseline, of scores.
    """
    both = sorted(set(model) & set(base))
    if not both:
        return Estimate(value=None)
    reduce = REDUCTIONS[reduction]
    pairs = [np.stack([held[e] for e in both]) for held in (model, base)]

    def compare(m: FloatArray, b: FloatArray) -> FloatArray:
        return 1.0 - _over(m, b) if relative else np.asarray(m - b)

    whole = compare(*(reduce(rows.sum(axis=0)) for rows in pairs))
    spread = compare(*(reduce(_resampled(rows, resamples, seed)) for rows in pairs)) if len(both) > 1 else np.zeros(0)
    return _interval(whole, spread, len(both), level)


def _resampled(rows_ES: FloatArray, resamples: int, seed: int) -> FloatArray:
    """(R, S) sums of as many episodes drawn with replacement."""
    count = len(rows_ES)
    index_RE = draws(seed, resamples * count, count).reshape(resamples, count)
    return np.asarray(counts(index_RE, count) @ rows_ES)


def counts(index_RE: IntArray, count: int) -> Array:
    """(R, E) how often each episode was drawn."""
    flat = (np.arange(len(index_RE))[:, None] * count + index_RE).ravel()
    return np.bincount(flat, minlength=len(index_RE) * count).reshape(len(index_RE), count)


def _interval(whole: FloatArray, resampled: FloatArray, episodes: int, level: float) -> Estimate:
    if not np.isfinite(whole):
        return Estimate(value=None, episodes=episodes)
    finite = np.sort(resampled[np.isfinite(resampled)])
    if episodes < least_episodes(level) or len(finite) < 20:
        return Estimate(value=float(whole), episodes=episodes)
    rank = max(0, math.floor(expanded_level(episodes, level) * len(finite)) - 1)
    low, high = float(finite[rank]), float(finite[len(finite) - 1 - rank])
    return Estimate(value=float(whole), lower=low, upper=high, episodes=episodes)
