"""Resolution: pictures whose size changes within a stream, or is not the one that the log declares.

A driver that restarts in another mode, or a recorder that joins two cameras under one name, leaves frames of two sizes
in one stream. Readers of arrays refuse such a stream at the first odd frame; this check says which frames they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Finding, Log
from worldgate.data.checks._frames import Features, cameras
from worldgate.data.checks._spans import marked

CARD = {
    "line": "pictures whose size changes within a stream, or is not the declared one",
    "inputs": "every camera",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How many frames may be of another size."""

    most: int = 0
    """Frames of another size that pass."""
    streams: tuple[str, ...] = ()
    """Only these cameras; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find frames of another size; the value is their count."""
    found = (_resolution(features, config) for features in cameras(log, config.streams))
    return tuple(f for f in found if f is not None)


def _resolution(features: Features, config: Config) -> Finding | None:
    sizes, counts = np.unique(features.size[features.ok], axis=0, return_counts=True)
    if not len(sizes):
        return None
    usual = tuple(int(n) for n in sizes[counts.argmax()])
    declared = features.stream.info.shape[:2]
    expected = declared if len(declared) == 2 else usual
    odd = features.ok & (features.size != np.array(expected)).any(axis=1)
    if int(odd.sum()) <= config.most:
        return None
    seen = ", ".join(f"{w}x{h} ({n})" for (h, w), n in zip(sizes.tolist(), counts.tolist(), strict=True))
    return Finding(
        check="resolution",
        stream=features.name,
        message=f"{int(odd.sum())} of {len(features)} frames are not {expected[1]}x{expected[0]}: {seen}",
        value=float(odd.sum()),
        limit=float(config.most),
        unit="frames",
        spans_ns=marked(features.times_ns, odd, features.period_ns),
    )
