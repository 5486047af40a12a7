"""Corrupt: frames that do not decode, that a decoder had to patch, or that are visibly broken for one frame.

Decoders rarely stop at damage: they leave a frame out, copy parts of its neighbours, or fill with the green or grey
that zeros decode to. What they admit is reported as such. What they do not admit is seen in the pictures: the green of
missing data, and single frames in which a part differs from both neighbours while these are alike, as a torn or
swapped frame does.

Shape legend: N frames, P tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import BoolArray, Finding, Log
from worldgate.data.checks._frames import Features, cameras
from worldgate.data.checks._spans import marked

CARD = {
    "line": "frames that do not decode, that a decoder had to patch, or that are torn for one frame",
    "inputs": "every camera",
}

_RETURNS = 0.25
"""A tile is back when it differs from two frames before by at most this share of what the odd frame changed."""
_MOSTLY = 0.4
"""Least share of the tiles that change in the odd frame which are back after it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What broken means."""

    most: int = 0
    """Broken frames that pass."""
    green: float = 0.03
    """Share of a picture in the green of missing data, above what the camera usually shows."""
    change: float = 20.0
    """Grey levels by which tiles of a torn frame differ from both neighbours, ..."""
    part: float = 0.12
    """... in at least this share of the picture."""
    detail: float = 2.5
    """Times by which the variance of a frame's Laplacian may exceed that of both neighbours."""
    streams: tuple[str, ...] = ()
    """Only these cameras; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find broken frames; the value is their count."""
    return tuple(f for features in cameras(log, config.streams) for f in _camera(features, config))


def _camera(features: Features, config: Config) -> Iterator[Finding]:
    for broken, what in (
        (~features.ok, "do not decode"),
        (features.ok & features.damaged, "had to be patched by the decoder"),
        (features.green > float(np.median(features.green)) + config.green, "hold the green of missing data"),
        (_torn(features, config), "differ from both neighbours, which are alike"),
        (_noisy(features, config), "hold far more fine detail than both neighbours"),
    ):
        count = int(broken.sum())
        if count > config.most:
            yield Finding(
                check="corrupt",
                stream=features.name,
                message=f"{count} of {len(features)} frames {what}",
                value=float(count),
                limit=float(config.most),
                unit="frames",
                spans_ns=marked(features.times_ns, broken, features.period_ns),
            )


def _torn(features: Features, config: Config) -> BoolArray:
    """(N,) frames of which a part comes and goes within one frame."""
    out = np.zeros(len(features), dtype=np.bool_)
    if len(features) < 3:
        return out
    odd = np.minimum(features.change[1:-1], features.change[2:]).reshape(len(features) - 2, -1)
    back = features.skip[2:].reshape(len(features) - 2, -1)
    changed = odd > config.change
    returns = changed & (back < _RETURNS * odd)
    out[1:-1] = (returns.mean(axis=1) >= config.part) & (returns.sum(axis=1) >= _MOSTLY * changed.sum(axis=1))
    return out


def _noisy(features: Features, config: Config) -> BoolArray:
    """(N,) single frames full of fine detail, as blocks of garbage are."""
    out = np.zeros(len(features), dtype=np.bool_)
    sharp = np.where(features.ok, features.sharp, np.inf)
    usual = float(np.median(features.sharp))
    out[1:-1] = features.ok[1:-1] & (sharp[1:-1] > config.detail * np.maximum(np.maximum(sharp[:-2], sharp[2:]), usual))
    return out
