"""LeRobot's per-feature statistics: min, max, mean, std, count and five quantiles, of an episode and over episodes.

Pooled as ``lerobot.datasets.compute_stats`` does: mean and variance exactly, quantiles as the count-weighted mean of
the episodes' quantiles, an approximation that lerobot makes too. Images are sampled, scaled to 0..1, channels first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np

from worldgate.core.errors import UsageError
from worldgate.core.streams import Array, ByteArray

Statistics: TypeAlias = Mapping[str, Array]

_QUANTILES: Final = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_SAMPLED_FRAMES: Final = 32
_SAMPLED_PIXELS: Final = 32


def of_rows(values: Array) -> Statistics:
    """Statistics of (T, D) numbers, each (D,); a row without a value (NaN) does not enter.

    Raises:
        UsageError: a channel without any finite value, which has no statistics.
    """
    numbers = values.astype(np.float64)
    numbers = numbers[np.isfinite(numbers).all(axis=1)]
    if not len(numbers):
        raise UsageError("a stream without one row of finite values has no statistics", got=f"{len(values)} rows")
    exponent = _exponent(numbers)
    scaled = np.ldexp(numbers, -exponent)
    return {
        "min": numbers.min(axis=0),
        "max": numbers.max(axis=0),
        "mean": np.ldexp(scaled.mean(axis=0), exponent),
        "std": np.ldexp(scaled.std(axis=0), exponent),
        "count": np.array([len(numbers)], dtype=np.int64),
        **{name: np.ldexp(np.quantile(scaled, q, axis=0), exponent) for name, q in _QUANTILES.items()},
    }


def _exponent(numbers: Array) -> Array:
    """Of each channel's largest number, (D,): divided by this power of two, exactly, no square or sum overflows."""
    return np.asarray(np.frexp(np.abs(numbers).max(axis=0))[1])


class Sampled:
    """Statistics of (T, H, W, 3) images, each (3, 1, 1), from a grid of pixels of some frames, shown one by one."""

    def __init__(self, length: int) -> None:
        self.rows = np.linspace(0, length - 1, min(_SAMPLED_FRAMES, length)).astype(np.int64)
        """Frames that enter."""
        self._wanted = set(self.rows.tolist())
        self._pixels: list[Array] = []

    def see(self, row: int, image: ByteArray) -> None:
        """Look at a frame, if it is one that enters."""
        if row in self._wanted:
            y, x = (np.linspace(0, n - 1, min(_SAMPLED_PIXELS, n)).astype(np.int64) for n in image.shape[:2])
            self._pixels.append(image[np.ix_(y, x)].reshape(-1, 3))

    def statistics(self) -> Statistics:
        """Of what was seen."""
        rows = of_rows(np.concatenate(self._pixels) / 255.0)
        stats = {name: value.reshape(3, 1, 1) for name, value in rows.items() if name != "count"}
        return {**stats, "count": np.array([len(self._pixels)], dtype=np.int64)}


def aggregate(episodes: Sequence[Mapping[str, Statistics]]) -> dict[str, Statistics]:
    """Statistics over episodes."""
    return {key: _pool([episode[key] for episode in episodes]) for key in episodes[0]}


def _pool(parts: Sequence[Statistics]) -> Statistics:
    counts = np.array([part["count"][0] for part in parts], dtype=np.float64)
    weights = counts / counts.sum()
    least, most = (np.stack([part[name] for part in parts]) for name in ("min", "max"))
    exponent = _exponent(np.concatenate([least, most]))

    def scaled(name: str) -> Array:
        return np.asarray(np.ldexp(np.stack([part[name] for part in parts]), -exponent))

    def weighted(values: Array) -> Array:
        pooled: Array = np.tensordot(weights, values, axes=1)
        return pooled

    mean = weighted(scaled("mean"))
    variance = weighted(scaled("std") ** 2 + (scaled("mean") - mean) ** 2)
    return {
        "min": least.min(axis=0),
        "max": most.max(axis=0),
        "mean": np.ldexp(mean, exponent),
        "std": np.ldexp(np.sqrt(variance), exponent),
        "count": np.array([int(counts.sum())], dtype=np.int64),
        **{name: np.ldexp(weighted(scaled(name)), exponent) for name in _QUANTILES},
    }
