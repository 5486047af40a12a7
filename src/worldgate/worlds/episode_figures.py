"""Figures of episodes with their bounds: sums that pictures of an episode add to, and a bootstrap over episodes.

Episodes are the unit, because rows of one episode are not independent. Indices come from the counter generator of
:mod:`worldgate.evidence.bootstrap`, so that any program finds the same bounds.

Shape legend: N clips, T frames, S pixels a side, E episodes, B resamples, K sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from worldgate.core.streams import Array, FloatArray, Kind
from worldgate.evidence.bootstrap import RESAMPLES, draws, expanded_level
from worldgate.worlds.rates import similarity

ALPHA = 0.05
"""Of each bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of one stream."""

    value: float
    unit: str
    lower: float | None = None
    """One-sided bound over episodes; None: not a sum over episodes, or fewer than two of them."""
    upper: float | None = None
    baseline: float | None = None
    """The same figure of the empty scene alone, for pictures."""


Statistic: TypeAlias = Callable[[FloatArray], FloatArray]
"""Sums (B, K) to (B,)."""


def interval(of: Statistic, sums_EK: FloatArray, unit: str, *, baseline: float | None = None) -> Figure:
    """A figure of sums over episodes with its bounds.

    Args:
        of: (B, K) sums to (B,) figures.
        sums_EK: what each episode adds.
        unit: of the figure.
        baseline: of another, to stand beside it.
    """
    value, count = float(of(sums_EK.sum(axis=0, keepdims=True))[0]), len(sums_EK)
    if count < 2:
        return Figure(value=value, unit=unit, baseline=baseline)
    index = draws(0, RESAMPLES * count, count).reshape(RESAMPLES, count)
    found = of(np.stack([sums_EK[:, k][index].sum(axis=1) for k in range(sums_EK.shape[1])], axis=1))
    found = np.sort(found[np.isfinite(found)])
    if not len(found):
        return Figure(value=value, unit=unit, baseline=baseline)
    rank = max(0, math.floor(expanded_level(count, ALPHA) * len(found)) - 1)
    low, high = float(found[rank]), float(found[len(found) - 1 - rank])
    return Figure(value=value, unit=unit, lower=low, upper=high, baseline=baseline)


def sums(kind: Kind, shown: Array, true: Array, classes: Sequence[int]) -> FloatArray:
    """(K,) what these pictures (N, T, S, S, ...) add to a figure of their kind."""
    if kind is Kind.DEPTH:
        both, either = (shown > 0) & (true > 0), (shown > 0) | (true > 0)
        error = (np.abs(shown - true)[both] / true[both]).sum(dtype=np.float64)
        return np.array([error, both.sum(), either.sum()], np.float64)
    if kind is Kind.SEGMENTATION:
        overlap = [[((shown == i) & (true == i)).sum(), ((shown == i) | (true == i)).sum()] for i in classes]
        return np.array(overlap, np.float64).flatten()
    square = ((shown.astype(np.float64) - true) ** 2).sum()
    alike = similarity(shown, true)
    return np.array([square, true.size, (1 - alike).sum(), alike.size], np.float64)


def _psnr(sums_BK: FloatArray) -> FloatArray:
    out: FloatArray = 10 * np.log10(255.0**2 / np.maximum(sums_BK[:, 0] / sums_BK[:, 1], 1e-9))
    return out


def _ssim(sums_BK: FloatArray) -> FloatArray:
    return np.asarray(1 - sums_BK[:, 2] / sums_BK[:, 3])


def _abs_rel(sums_BK: FloatArray) -> FloatArray:
    return _share(sums_BK[:, 0], sums_BK[:, 1])


def _valid_iou(sums_BK: FloatArray) -> FloatArray:
    return _share(sums_BK[:, 1], sums_BK[:, 2])


def _miou(sums_BK: FloatArray) -> FloatArray:
    """Mean over classes that occur."""
    share = _share(sums_BK[:, 0::2], sums_BK[:, 1::2])
    there = np.isfinite(share)
    return np.asarray(np.where(there, share, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1))


def _share(part: FloatArray, whole: FloatArray) -> FloatArray:
    """NaN where there is nothing."""
    out = np.full(part.shape, np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


FIGURES: Mapping[Kind, Mapping[str, tuple[str, Statistic]]] = {
    Kind.IMAGE: {"psnr": ("dB", _psnr), "ssim": ("1", _ssim)},
    Kind.DEPTH: {"abs_rel": ("1", _abs_rel), "valid_iou": ("1", _valid_iou)},
    Kind.SEGMENTATION: {"miou": ("1", _miou)},
}
"""Kind of picture -> figure -> its unit, and what makes it of :func:`sums`."""
