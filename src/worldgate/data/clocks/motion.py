"""How late one signal of motion is against another: commanded against measured joints, a camera against joint speed.

Cross-correlation over a range of lags, all channels together, its peak refined by a parabola. How sure it is comes
from a bootstrap of blocks of time (Künsch, Annals of Statistics 1989): every block has its own correlation at every
lag, and the blocks are drawn again and again. Motion that repeats itself has several peaks; then the drawn peaks lie
apart, and the error says so. Without enough motion, or without a peak inside the range, there is no answer rather
than a guess.

Shape legend: N messages, G grid points, D channels, L lags, K blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from worldgate.core.streams import Array, FloatArray, IntArray, Stream
from worldgate.core.times import SECOND

_DRAWS = 300
_BLOCKS = (6, 32)
_GRID = 12_000
"""Grid points at most; a longer log is looked at in its middle."""
_ACROSS = 64
"""Pixels across of the pictures whose flow is measured."""
_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How late the second signal is."""

    lag_ns: int
    """Positive: the second follows the first."""
    error_ns: int
    """95 % half width."""
    correlation: float
    """At the peak, -1 to 1 over all channels."""


def correlate(
    first_ns: IntArray,
    first: FloatArray,
    second_ns: IntArray,
    second: FloatArray,
    *,
    most_s: float = 1.0,
    signal: Literal["position", "level"] = "position",
    least: float = 0.3,
) -> Lag | None:
    """The lag of a signal behind another, on the clock both share.

    Args:
        first_ns: (N,) rising stamps of the leading signal.
        first: (N, D) its values.
        second_ns: (M,) rising stamps of the following signal.
        second: (M, D) its values, channel by channel of the same kind.
        most_s: lags looked at, either way.
        signal: ``position``: rates of change are compared; ``level``: values as they are.
        least: correlation below which two signals have nothing to do with each other.

    Returns:
        None where the signals share too little time or motion, nothing peaks, or the peak may be anywhere.
    """
    from scipy import stats  # a second to import, and most commands estimate no clock

    grid, step, wide = _grid(first_ns, second_ns)
    reach = int(most_s * SECOND / step)
    if grid is None or len(grid) < 4 * _BLOCKS[0] + 2 * reach or reach < 2:
        return None
    a, b = (
        _on_grid(t, v, grid, wide if signal == "position" else 0) for t, v in ((first_ns, first), (second_ns, second))
    )
    moving = (a.std(axis=0) > 0) & (b.std(axis=0) > 0)
    if not moving.any():
        return None
    a, b = (_normal(x[:, moving]) for x in (a, b))
    products, powers = _block_sums(a, b, reach)
    curve = products.sum(axis=0) / np.sqrt(np.prod(powers.sum(axis=0), axis=0))
    top, inside = _peak(curve)
    if not inside or curve.max() < least:
        return None
    draws = np.random.default_rng(0).multinomial(len(products), [1 / len(products)] * len(products), _DRAWS)
    drawn = (draws @ products) / np.sqrt(np.prod(np.einsum("rk,kcl->rcl", draws, powers), axis=1))
    tops = np.asarray([_peak(row)[0] for row in drawn])
    spread = float(np.sqrt(np.mean((tops - top) ** 2)))
    width = stats.t.ppf(0.975, len(products) - 1) * spread * np.sqrt(len(products) / (len(products) - 1))
    if width > reach / 2:
        return None
    return Lag(
        lag_ns=round((top - reach) * step),
        error_ns=max(1, round(float(width) * step)),
        correlation=float(curve.max()),
    )


def _grid(first_ns: IntArray, second_ns: IntArray) -> tuple[IntArray | None, int, int]:
    """An even grid over the time both run, as fine as the faster, its step in ns, and steps of half a slower period."""
    if len(first_ns) < 3 or len(second_ns) < 3:
        return None, 1, 1
    start, end = max(int(first_ns[0]), int(second_ns[0])), min(int(first_ns[-1]), int(second_ns[-1]))
    periods = [float(np.median(np.diff(t))) for t in (first_ns, second_ns)]
    step = max(round(min(periods)), SECOND // 500)
    wide = max(1, round(max(periods) / step / 2))
    if end <= start:
        return None, step, wide
    count = (end - start) // step + 1
    skipped = max(0, count - _GRID) // 2
    return start + step * np.arange(skipped, count - skipped, dtype=np.int64), step, wide


def _on_grid(times: IntArray, values: FloatArray, grid: IntArray, wide: int) -> FloatArray:
    """(G, D) values on the grid less their mean, or their change over ``2 * wide`` steps, which noise sways less."""
    x, at = times - grid[0], grid - grid[0]
    on = np.stack([np.interp(at, x, values[:, d]) for d in range(values.shape[1])], axis=1)
    if wide:
        row = np.arange(len(on))
        on = on[np.minimum(row + wide, len(on) - 1)] - on[np.maximum(row - wide, 0)]
    return np.asarray(on - on.mean(axis=0))


def _normal(values: FloatArray) -> FloatArray:
    return np.asarray(values / values.std(axis=0))


def _block_sums(a: FloatArray, b: FloatArray, reach: int) -> tuple[FloatArray, FloatArray]:
    """(K, L) products and (K, 2, L) powers of each block at every lag; a is moved, b stands."""
    count = len(b) - 2 * reach
    blocks = int(np.clip(count // max(reach, 1), *_BLOCKS))
    edges = np.linspace(0, count, blocks + 1).astype(np.int64)[:-1]
    still = b[reach : reach + count]
    own = np.add.reduceat((still**2).sum(axis=1), edges)
    products, powers = [], []
    for lag in range(-reach, reach + 1):
        moved = a[reach - lag : reach - lag + count]
        products.append(np.add.reduceat((moved * still).sum(axis=1), edges))
        powers.append([np.add.reduceat((moved**2).sum(axis=1), edges), own])
    return np.stack(products, axis=1), np.moveaxis(np.asarray(powers), 0, 2).transpose(1, 0, 2)


def _peak(curve: FloatArray) -> tuple[float, bool]:
    """Where the curve is highest, between the samples, and whether that is inside the range."""
    top = int(curve.argmax())
    if top in (0, len(curve) - 1):
        return float(top), False
    left, middle, right = curve[top - 1 : top + 2]
    bend = left - 2 * middle + right
    return top + (0.5 * (left - right) / bend if bend < 0 else 0.0), True


def speed(times_ns: IntArray, values: FloatArray) -> tuple[IntArray, FloatArray]:
    """(N - 1,) instants between messages and (N - 1, 1) speed of the state there, each channel in its own spread."""
    spread = values.std(axis=0)
    live = values[:, spread > 0] / spread[spread > 0]
    steps = np.maximum(np.diff(times_ns), 1)
    rates = np.linalg.norm(np.diff(live, axis=0), axis=1) / (steps / SECOND)
    return times_ns[:-1] + steps // 2, rates[:, None]


def flow(camera: Stream) -> tuple[IntArray, FloatArray]:
    """(N - 1,) instants between frames and (N - 1, 1) mean length of the optical flow there, in small pixels a second.

    Farnebäck, Two-frame motion estimation based on polynomial expansion, SCIA 2003.
    """
    last: Array | None = None
    lengths: list[float] = []
    for start in range(0, len(camera), _BATCH):
        index = np.arange(start, min(start + _BATCH, len(camera)), dtype=np.int64)
        frames = camera.array[index] if isinstance(camera.values, np.ndarray) else camera.frames.read(index)
        for frame in frames:
            small = _small(frame)
            if last is not None:
                found = cv2.calcOpticalFlowFarneback(last, small, None, 0.5, 2, 9, 2, 5, 1.1, 0)  # type: ignore[call-overload]
                lengths.append(float(np.linalg.norm(found, axis=2).mean()))
            last = small
    steps = np.maximum(np.diff(camera.times_ns), 1)
    return camera.times_ns[:-1] + steps // 2, (np.asarray(lengths) / (steps / SECOND))[:, None]


def _small(frame: Array) -> Array:
    height, width = frame.shape[:2]
    across = min(_ACROSS, width)
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (across, max(8, across * height // width)), interpolation=cv2.INTER_AREA))
