"""Blank: frames that show nothing, black, white or of one colour: a covered lens, a dead sensor, a renderer's white.

Contrast is that of the averaged picture, so the noise of a sensor in the dark does not pass for a picture. A frame
whose pixels are all of one level comes from no lens and is reported alone; one that is merely almost flat must stay so
for ``least_s``, because a camera on the wrist may come close to a wall.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Finding, Log
from worldgate.core.times import SECOND
from worldgate.data.checks._frames import Features, cameras
from worldgate.data.checks._renewal import runs
from worldgate.data.checks._spans import marked

CARD = {
    "line": "frames that show nothing: black, white or of one colour",
    "inputs": "every camera",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What blank means."""

    flat: float = 0.5
    """Standard deviation over a frame's pixels, in grey levels, up to which a single frame is blank."""
    contrast: float = 2.0
    """The same of the picture averaged in 12 x 16 tiles, below which frames are blank that last."""
    least_s: float = 0.5
    """How long they must last."""
    most: float = 0.0
    """Share of blank frames that passes."""
    streams: tuple[str, ...] = ()
    """Only these cameras; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find blank frames; the value is their share of the camera's frames."""
    found = (_blank(features, config) for features in cameras(log, config.streams))
    return tuple(f for f in found if f is not None)


def _blank(features: Features, config: Config) -> Finding | None:
    times, step = features.times_ns, features.period_ns
    blank = features.ok & (features.spread <= config.flat)
    for first, end in runs(features.ok & (features.contrast < config.contrast)):
        if times[end - 1] + step - times[first] >= config.least_s * SECOND or end - first == len(features):
            blank[first:end] = True
    share = float(blank.mean())
    if share <= config.most:
        return None
    what = "every frame is" if blank.all() else f"{int(blank.sum())} of {len(blank)} frames are"
    return Finding(
        check="blank",
        stream=features.name,
        message=f"{what} {_colour(float(np.median(features.mean[blank])))}: nothing can be seen",
        value=share,
        limit=config.most,
        unit="share of frames",
        spans_ns=marked(times, blank, step),
    )


def _colour(level: float) -> str:
    if level < 24:
        return "blank black"
    return "blank white" if level > 231 else f"blank, of one grey level ({level:.0f})"
