"""LeRobot's per-feature statistics: min, max, mean, std, count and five quantiles, of an episode and over episodes.

Pooled as ``lerobot.datasets.compute_stats`` does: mean and variance exactly, quantiles as the count-weighted mean of
the episodes' quantiles, an approximation that lerobot makes too. Images are sampled, scaled to 0..1, channels first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np

from worldgate.core.streams import Array, ByteArray

Statistics: TypeAlias = Mapping[str, Array]

_QUANTILES: Final = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_SAMPLED_FRAMES: Final = 32
_SAMPLED_PIXELS: Final = 32


def of_rows(values: Array) -> Statistics:
    """Statistics of (T, D) numbers, each (D,)."""
    numbers = values.astype(np.float64)
    return {
        "min": numbers.min(axis=0),
        "max": numbers.max(axis=0),
        "mean": numbers.mean(axis=0),
        "std": numbers.std(axis=0),
        "count": np.array([len(values)], dtype=np.int64),
        **{name: np.quantile(numbers, q, axis=0) for name, q in _QUANTILES.items()},
    }


def of_images(images: ByteArray) -> Statistics:
    """Statistics of (T, H, W, 3) images, each (3, 1, 1), from a grid of pixels of some frames."""
    frames = np.linspace(0, len(images) - 1, min(_SAMPLED_FRAMES, len(images))).astype(np.int64)
    rows = np.linspace(0, images.shape[1] - 1, min(_SAMPLED_PIXELS, images.shape[1])).astype(np.int64)
    columns = np.linspace(0, images.shape[2] - 1, min(_SAMPLED_PIXELS, images.shape[2])).astype(np.int64)
    pixels = images[np.ix_(frames, rows, columns)].reshape(-1, 3) / 255.0
    stats = {name: value.reshape(3, 1, 1) for name, value in of_rows(pixels).items() if name != "count"}
    return {**stats, "count": np.array([len(frames)], dtype=np.int64)}


def aggregate(episodes: Sequence[Mapping[str, Statistics]]) -> dict[str, Statistics]:
    """Statistics over episodes."""
    return {key: _pool([episode[key] for episode in episodes]) for key in episodes[0]}


def _pool(parts: Sequence[Statistics]) -> Statistics:
    counts = np.array([part["count"][0] for part in parts], dtype=np.float64)
    weights = counts / counts.sum()

    def weighted(values: Sequence[Array]) -> Array:
        pooled: Array = np.tensordot(weights, np.stack(values), axes=1)
        return pooled

    mean = weighted([part["mean"] for part in parts])
    variance = weighted([part["std"] ** 2 + (part["mean"] - mean) ** 2 for part in parts])
    return {
        "min": np.stack([part["min"] for part in parts]).min(axis=0),
        "max": np.stack([part["max"] for part in parts]).max(axis=0),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": np.array([int(counts.sum())], dtype=np.int64),
        **{name: weighted([part[name] for part in parts]) for name in _QUANTILES},
    }
