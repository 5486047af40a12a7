"""Exposure: pictures that are burnt out or drowned in black, and brightness that leaps while the scene stays.

*Clipped*: a large share of pixels stands within a few levels of white or black for longer than a moment, or nearly all
of them lie at one end of the scale. *Sudden*: the
picture grows brighter or darker within a few frames nearly everywhere at once while its pattern stays the same. That
tells a camera that changes its gain, or a lamp that goes out, from something that comes into view.

Shape legend: N frames, P tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import BoolArray, Finding, FloatArray, Log
from worldgate.core.times import SECOND
from worldgate.data.checks._frames import Features, cameras
from worldgate.data.checks._renewal import runs
from worldgate.data.checks._spans import marked

CARD = {
    "line": "burnt-out or black pictures, and brightness that leaps while the scene stays",
    "inputs": "every camera",
}

_FLAT = 2.0
"""Contrast, in grey levels, below which a picture shows nothing and is left to the ``blank`` check."""
_TOGETHER = 0.8
"""Share of tiles that grow brighter or darker together."""
_STAYS = 0.75
"""Share of tiles over which nothing moves at such a moment."""
_ERROR = 0.3
"""Of their spread: what is left when gain and offset are taken out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How much may be clipped, and how fast light may change."""

    bright: float = 0.35
    """Greatest share of pixels at white."""
    dark: float = 0.6
    """Greatest share of pixels at black."""
    washed: float = 200.0
    """Grey level above which 95 % of a picture may not lie."""
    drowned: float = 50.0
    """Grey level below which 95 % of a picture may not lie."""
    least_s: float = 0.3
    """How long pictures must be clipped."""
    leap: float = 15.0
    """Greatest change of the median tile, in grey levels, ..."""
    within_s: float = 0.15
    """... within this time, and always over one frame."""
    streams: tuple[str, ...] = ()
    """Only these cameras; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find bad exposure; the values are a share of pixels (clipped) and grey levels (sudden)."""
    return tuple(f for features in cameras(log, config.streams) for f in _camera(features, config))


def _camera(features: Features, config: Config) -> Iterator[Finding]:
    for share, limit, what, far in (
        (features.bright, config.bright, "burnt out", features.low > config.washed),
        (features.dark, config.dark, "black", features.high < config.drowned),
    ):
        clipped = _lasting(features, features.ok & ((share > limit) | far), config.least_s)
        if clipped.any() and (clipped & (features.contrast >= _FLAT)).any():
            worst = float(share[clipped].max())
            yield Finding(
                check="exposure",
                stream=features.name,
                message=(
                    f"up to {worst:.0%} of the picture is {what}, in {int(clipped.sum())} frames, of which half lie "
                    f"below a mean of {float(np.median(features.mean[clipped])):.0f} grey levels"
                ),
                value=worst,
                limit=limit,
                unit="share of pixels",
                spans_ns=marked(features.times_ns, clipped, features.period_ns),
            )
    yield from _sudden(features, config)


def _lasting(features: Features, mark: BoolArray, least_s: float) -> BoolArray:
    """Marks in runs that last, or that span the whole log."""
    out = np.zeros_like(mark)
    times = features.times_ns
    for first, end in runs(mark):
        if times[end - 1] + features.period_ns - times[first] >= least_s * SECOND or end - first == len(mark):
            out[first:end] = True
    return out


def _sudden(features: Features, config: Config) -> Iterator[Finding]:
    seen = np.flatnonzero(features.ok & (features.contrast >= _FLAT))
    if len(seen) < 3:
        return
    lag = max(1, round(config.within_s * SECOND / features.period_ns))
    leap = _leaps(features.tiles[seen].reshape(len(seen), -1), min(lag, len(seen) - 1), config.leap)
    steps = np.abs(leap) > config.leap
    if not steps.any():
        return
    wrong = np.zeros(len(features), dtype=np.bool_)
    for first, end in _wrong(leap, steps):
        wrong[seen[first:end]] = True
    worst = float(leap[np.abs(leap).argmax()])
    yield Finding(
        check="exposure",
        stream=features.name,
        message=f"brightness leaps by {worst:+.0f} grey levels while the scene stays, {len(runs(steps))} times",
        value=abs(worst),
        limit=config.leap,
        unit="grey levels",
        spans_ns=marked(features.times_ns, wrong, features.period_ns),
    )


def _leaps(tiles: FloatArray, lag: int, least: float) -> FloatArray:
    """(N,) change of the median tile against ``lag`` frames before; 0 below ``least`` or where the scene is another."""
    out = np.zeros(len(tiles))
    before, after = tiles[:-lag].astype(np.float64), tiles[lag:].astype(np.float64)
    change = after - before
    step = np.median(change, axis=1)
    together = (change * np.sign(step)[:, None] > 0).mean(axis=1) >= _TOGETHER
    for place in np.flatnonzero((np.abs(step) > least) & together):
        if _alike(before[place], after[place]):
            out[place + lag] = step[place]
    return out


def _alike(before: FloatArray, after: FloatArray) -> bool:
    """Whether the tiles after are those before under another gain and offset, some that things moved over aside."""
    kept = np.ones(len(before), dtype=np.bool_)
    for _ in range(3):
        gain, offset = np.polyfit(before[kept], after[kept], 1)
        error = np.abs(after - gain * before - offset)
        kept = error <= np.quantile(error, _STAYS)
    spread = float(after[kept].std())
    return bool(gain > 0 and np.sqrt(np.mean(error[kept] ** 2)) <= max(_ERROR * spread, 1.0))


def _wrong(leap: FloatArray, steps: BoolArray) -> Iterator[tuple[int, int]]:
    """Frames from each leap to the next one back, or to the end."""
    leaps = [(int(first), float(np.sign(leap[first]))) for first, _ in runs(steps)]
    place = 0
    while place < len(leaps):
        first, sign = leaps[place]
        back = next((at for at, other in leaps[place + 1 :] if other == -sign), None)
        yield max(0, first), len(leap) if back is None else back
        place = len(leaps) if back is None else next(i for i, item in enumerate(leaps) if item[0] == back) + 1
