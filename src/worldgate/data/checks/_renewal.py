"""Which frames show a new picture and which the one before again, whatever the codec did to it.

A stored image repeats to the pixel. A video does not: a predicted frame that repeats is equal or nearly so, but a key
frame codes the same picture anew and differs by the codec's noise everywhere, about one grey level. So changes are
judged in averaged tiles, by the few tiles that change most (where something moves), against the noise of each frame
type, taken from the clip itself: what the quiet half of the picture does when such a frame comes.

Shape legend: N frames, R x C tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from worldgate.core.streams import BoolArray, FloatArray, IntArray
from worldgate.data.checks._frames import Features

TOP: Final = 3
"""Tiles that stand for the motion of a frame: one alone may flicker."""
_FLOOR: Final = 0.75
"""Grey levels: noise of averaged tiles is never taken to be less."""
_OVER: Final = 4.0
"""The tiles that change most through coding noise alone change up to this many times as much as the median one."""
_ALIVE: Final = 0.8
"""Share of tiles that a live sensor's noise changes from frame to frame, always."""
_UNKNOWN: Final = 2.0
"""Grey levels: most coding noise that pictures may carry of which it is not known how they were coded before."""
_AGAINST: Final = 0.1
"""Share of the usual motion that a key frame's coding noise may reach."""
_LEFT: Final = 0.3
"""Share of the change just before that a predicted frame may still correct where the encoder was coarse."""
_MOST: Final = 5.0
"""Grey levels that coding noise of averaged tiles never exceeds."""
_CLASS: Final = 6
"""Least frames of a type whose noise is measured apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """Every frame against the one before; the first is counted as new."""

    change: FloatArray
    """(N,) grey levels: mean change of the few tiles that change most."""
    noise: FloatArray
    """(N,) up to which such a frame may still repeat the picture."""
    still: BoolArray
    """(N,) shows nothing new: equal, or within the noise."""
    moved: BoolArray
    """(N,) shows something new beyond doubt."""
    alive: bool
    """The sensor's own noise is in the pixels, so that an equal picture is a repeated one for certain."""


def renewal(features: Features) -> Renewal:
    """Judge every frame of a camera."""
    tiles = features.change.reshape(len(features), -1)
    ordered, half = np.sort(tiles, axis=1), tiles.shape[1] // 2  # sorting once is much faster than a median beside it
    change = ordered[:, -TOP:].mean(axis=1, dtype=np.float64)
    quiet = ordered[:, half - 1 : half + 1].mean(axis=1)
    judged = features.ok.copy()
    judged[:1] = False
    noise = _noise(features, quiet, judged)
    if not features.exact and not features.key.all():
        # A rate control may code one key frame much better than the next; against real motion that is still little.
        clear = change[judged & ~features.key & (change >= 2.0 * np.maximum(noise, 1.0))]
        usual = float(np.median(clear)) if len(clear) >= _CLASS else 0.0
        noise = np.where(features.key, np.maximum(noise, min(_AGAINST * usual, _MOST)), noise)
    if not features.exact:
        # What moves fast is coded coarsely; the same picture again is then first of all a better copy of it.
        left = np.minimum(_LEFT * np.concatenate([[0.0], change[:-1]]), _MOST)
        noise = np.where(features.group > 0, np.maximum(noise, left), noise)
    fresh = judged & ~features.same
    alive = bool(features.exact and fresh.any() and np.quantile((tiles[fresh] > 0).mean(axis=1), 0.05) > _ALIVE)
    still = features.same | ((change <= noise) & (not alive))
    still &= judged
    moved = judged & ~still & (alive | (change >= 2.0 * np.maximum(noise, 1.0)))
    return Renewal(change=change, noise=noise, still=still, moved=moved, alive=alive)


def _noise(features: Features, quiet: FloatArray, judged: BoolArray) -> FloatArray:
    """(N,) limit of the coding noise, for each pair of frame types that follow each other."""
    out = np.full(len(features), _FLOOR)
    if features.exact:  # pictures from a list, which may have been decoded from a video once
        usual = float(np.median(quiet[judged])) if judged.any() else 0.0
        out[:] = max(_FLOOR, min(_OVER * usual, _UNKNOWN))
        return out
    kind = features.group.copy()
    kind[features.key] = 0
    pair = kind + 3 * np.concatenate([kind[:1], kind[:-1]])
    for name in np.unique(pair):
        rows = judged & (pair == name)
        if rows.sum() < _CLASS:
            rows = judged & (kind == name % 3)
        if rows.any():
            # Where the camera itself moves nothing is quiet; the calmest fifth of the frames is then nearest to it.
            out[pair == name] = max(_FLOOR, _OVER * float(np.quantile(quiet[rows], 0.2)))
    return out


def runs(mark: BoolArray) -> IntArray:
    """(K, 2) first and one past the last place of each run of marks."""
    edges = np.diff(np.concatenate([[False], mark, [False]]).astype(np.int8))
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1).astype(np.int64)
