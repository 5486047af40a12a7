"""Blur: pictures without the fine detail that the camera usually shows: defocus, a greasy lens, condensation.

The variance of the Laplacian is large where there are fine edges, but it follows the scene as much as the focus. So it
is divided by the same of the picture at a quarter of its size: what is left says how much of the detail that there is
to see at all is still seen close up. Natural pictures keep a tenth or more of it, whatever they show. A picture is
blurred when it keeps far less than the camera's own median, or next to nothing; fast motion blurs for a frame or two
and is no fault of the camera, so it must last. Heavy blur takes the coarse detail as well and leaves the sensor's
noise, whose ratio looks sharp: so a picture that keeps its contrast and has lost nearly all coarse detail is blurred,
too, against what the camera usually shows or against its contrast: edges hold a tenth and more of that in natural
pictures, and a twentieth in those of a wrist camera that is held too close.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from worldgate.core.streams import BoolArray, Finding, FloatArray, Log
from worldgate.core.times import SECOND
from worldgate.data.checks._frames import Features, cameras
from worldgate.data.checks._renewal import runs
from worldgate.data.checks._spans import marked

CARD = {
    "line": "pictures that have lost their fine detail against the camera's own median, or throughout",
    "inputs": "every camera",
    "source": "variance of the Laplacian, Pech-Pacheco 2000, as a ratio of two scales",
}

_FINE = "share of detail"
_FLAT = 4.0
"""Contrast, in grey levels, below which there is nothing to be sharp about."""
_LOST = 0.1
"""Share of the camera's usual coarse detail below which a picture that keeps half of its contrast has lost it."""
_EDGES = 0.01
"""Share of the variance of all pixels below which the coarse detail's is that of no picture in focus."""
_DETAIL = 4.0
"""Variance of the coarse Laplacian below which there is no edge to judge by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What blurred means."""

    relative: float = 0.35
    """Smallest sharpness as a share of the camera's own median."""
    absolute: float = 0.04
    """Smallest sharpness of any camera."""
    reference: Mapping[str, float] = field(default_factory=dict)
    """Camera -> its sharpness in good episodes, which takes the place of this log's own median."""
    least_s: float = 0.5
    """How long it must last."""
    frames: int = 3
    """... and over how many frames."""
    streams: tuple[str, ...] = ()
    """Only these cameras; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find blurred stretches; the value is the least sharpness there, as the median of a stretch."""
    found = (_blur(features, config) for features in cameras(log, config.streams))
    return tuple(f for f in found if f is not None)


def sharpness(features: Features) -> FloatArray:
    """(N,) share of the coarse detail that is also there close up; NaN where there is nothing to be sharp about."""
    judged = features.ok & (features.contrast >= _FLAT) & (features.coarse >= _DETAIL)
    return np.where(judged, features.sharp / np.maximum(features.coarse, _DETAIL), np.nan)


def _heavily(features: Features) -> BoolArray:
    """(N,) whether the contrast is there and the coarse detail is gone, against that or the usual."""
    judged = features.ok & (features.contrast >= _FLAT)
    if not judged.any():
        return judged
    # The upper quartile, because up to half of the log may be blurred.
    detail, contrast = (float(np.quantile(v[judged], 0.75)) for v in (features.coarse, features.contrast))
    gone: BoolArray = judged & (features.coarse < _LOST * detail) & (features.contrast >= contrast / 2)
    return gone | (judged & (features.coarse < _EDGES * features.spread**2))


def _blur(features: Features, config: Config) -> Finding | None:
    values = sharpness(features)
    usual = float(np.median(values[np.isfinite(values)])) if np.isfinite(values).any() else 0.0
    usual = config.reference.get(features.name, usual)
    limit = max(config.relative * usual, config.absolute)
    blurred = (np.nan_to_num(values, nan=np.inf) < limit) | _heavily(features)
    times, step = features.times_ns, features.period_ns
    for first, end in runs(blurred):
        short = times[end - 1] + step - times[first] < config.least_s * SECOND or end - first < config.frames
        if short and end - first < len(features):
            blurred[first:end] = False
    if not blurred.any():
        return None
    value, unit, told = _worst(features, values, blurred, usual, limit)
    return Finding(
        check="blur",
        stream=features.name,
        message=f"{int(blurred.sum())} of {len(features)} frames are blurred: {told}",
        value=value,
        limit=limit if unit == _FINE else _EDGES,
        unit=unit,
        spans_ns=marked(times, blurred, step),
    )


def _worst(
    features: Features, values: FloatArray, blurred: BoolArray, usual: float, limit: float
) -> tuple[float, str, str]:
    """The least sharpness of a blurred stretch, its unit and words for it; of heavy blur, what is left of any edge."""
    parts = [values[a:b][np.isfinite(values[a:b])] for a, b in runs(blurred)]
    sharp = min((float(np.median(part)) for part in parts if len(part)), default=np.inf)
    if sharp < limit:
        return sharp, _FINE, f"sharpness {sharp:.3f}, usual {usual:.3f}"
    edges = float(np.median((features.coarse / np.maximum(features.spread**2, 1.0))[blurred]))
    return edges, "share of contrast", f"edges hold {edges:.2%} of the contrast"
