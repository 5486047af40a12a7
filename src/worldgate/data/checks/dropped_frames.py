"""Dropped frames: single pictures that never came, by the holes they leave in a camera's stamps.

The ``gaps`` check looks at long pauses of any stream; a camera that loses one frame in ten has none. A hole is a step
of more than about one and a half periods that its neighbours do not make up for: a late frame is followed by a short
step, a lost one is not. Stamps that are computed from a frame number hide losses, and nothing can be said of those.
Stamps that stand still are frames written twice under one time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import IMAGE_LIKE, Finding, IntArray, Log, Stream
from worldgate.core.times import SECOND
from worldgate.data.checks._spans import merge, sampled

CARD = {
    "line": "frames that never came, and frames written twice under one stamp",
    "inputs": "every camera's stamps",
}

_LATE = 1.6
"""Periods from which a step may hold a missing frame."""
_MADE_UP = 2.4
"""Two steps, of which one is late, take less than this many periods when nothing is missing."""
_TRUST = 0.25
"""The declared period is used where the usual step is within this share of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How many frames may be lost."""

    most: float = 0.01
    """Greatest share of frames that may be missing."""
    frames: int = 2
    """Fewer missing frames than this always pass."""
    repeated: int = 0
    """Stamps that may repeat the one before."""
    streams: tuple[str, ...] = ()
    """Only these; empty: all cameras."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find lost and doubled frames; the values are a share of frames, and a count."""
    streams = (s for s in sampled(log, config.streams) if s.info.kind in IMAGE_LIKE and len(s) > 3)
    return tuple(f for s in streams for f in _camera(s, config))


def _camera(stream: Stream, config: Config) -> Iterator[Finding]:
    times = np.sort(stream.times_ns)
    missing = lost(times, _period_ns(stream, times))
    count = int(missing.sum())
    share = count / (count + len(times))
    holes = missing > 0
    if count >= config.frames and share > config.most:
        yield Finding(
            check="dropped_frames",
            stream=stream.info.name,
            message=f"{count} frames are missing between {len(times)} that came, in {int(holes.sum())} holes",
            value=share,
            limit=config.most,
            unit="share of frames",
            spans_ns=merge(times[:-1][holes], times[1:][holes]),
        )
    twice = np.diff(times) == 0
    if int(twice.sum()) > config.repeated:
        yield Finding(
            check="dropped_frames",
            stream=stream.info.name,
            message=f"{int(twice.sum())} frames carry the stamp of another",
            value=float(twice.sum()),
            limit=float(config.repeated),
            unit="frames",
            spans_ns=merge(times[1:][twice], times[1:][twice] + 1),
        )


def _period_ns(stream: Stream, times: IntArray) -> float:
    steps = np.diff(times)
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    declared = SECOND / stream.info.rate_hz if stream.info.rate_hz > 0 else 0.0
    return declared if declared and abs(usual / declared - 1) <= _TRUST else usual


def lost(times: IntArray, period_ns: float) -> IntArray:
    """(N - 1,) frames that are missing in each step of ascending times."""
    steps = np.diff(times) / max(period_ns, 1.0)
    padded = np.concatenate([[np.inf], steps, [np.inf]])
    alone = steps + np.minimum(padded[:-2], padded[2:])
    hole = (steps > _LATE) & (alone > _MADE_UP)
    return np.where(hole, np.maximum(np.rint(steps) - 1, 1), 0).astype(np.int64)
