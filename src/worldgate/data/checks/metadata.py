"""Metadata: what is declared of a camera against its own bytes.

The file itself says at which rate it plays, in which codec, format and size its frames are, and how many there are.
Beside it stands what a dataset's metadata promise. A dataset that was resampled, cropped or re-encoded without its
metadata being written anew is found here. Of cameras that are no video, the declared rate is held against the stamps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Finding, Log
from worldgate.core.times import SECOND
from worldgate.data.checks._frames import Features, cameras
from worldgate.data.logs._video import VideoFrames

CARD = {
    "line": "declared rate, size, codec and pixel format that the video itself contradicts",
    "inputs": "every camera, and what the log's metadata say of it",
}

_SAME = {
    "libx264": "h264", "avc": "h264", "avc1": "h264", "libx265": "hevc", "h265": "hevc", "hvc1": "hevc",
    "libsvtav1": "av1", "libaom-av1": "av1", "libdav1d": "av1", "av01": "av1", "libvpx-vp9": "vp9",
}  # fmt: skip
"""Names of encoders and containers -> name of the codec."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How far apart metadata and content may be."""

    rate: float = 0.02
    """Share by which a video's own rate may differ from the declared one."""
    stamps: float = 0.1
    """Share by which the usual rate of the stamps may."""
    streams: tuple[str, ...] = ()
    """Only these cameras; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find contradictions; values in Hz and pixels, 1 against 0 for a codec or pixel format that is another."""
    return tuple(f for features in cameras(log, config.streams) for f in _camera(features, config))


def _camera(features: Features, config: Config) -> Iterator[Finding]:
    values = features.stream.values
    declared = dict(values.declared) if isinstance(values, VideoFrames) else {}
    yield from _rate(features, config, declared)
    for key, place in (("height", 0), ("width", 1)):
        sizes = features.size[features.ok, place]
        if key in declared and len(sizes) and float(declared[key]) != float(np.median(sizes)):
            yield _finding(features, key, float(np.median(sizes)), float(declared[key]), "pixels")
    for key, actual in (("codec", features.codec), ("pix_fmt", features.pix_fmt)):
        stated = str(declared.get(key, "")).lower()
        stated = _SAME.get(stated, stated)
        if stated and actual and stated.replace("yuvj", "yuv") != actual.replace("yuvj", "yuv"):
            yield _finding(features, key, 1.0, 0.0, "contradictions", said=f"{stated}, the video is {actual}")


def _rate(features: Features, config: Config, declared: dict[str, str | float]) -> Iterator[Finding]:
    values = features.stream.values
    stamped = SECOND / features.period_ns if len(features) > 2 and features.period_ns > 1 else 0.0
    stated = {features.stream.info.rate_hz, float(declared.get("rate_hz", 0.0))} - {0.0}
    own = values.index.rate_hz if isinstance(values, VideoFrames) else 0.0
    for rate in sorted(stated):
        if own and abs(own / rate - 1) > config.rate:
            yield _finding(features, "rate", own, rate, "Hz", said=f"{rate:g} Hz, the video plays at {own:.4g} Hz")
        elif stamped and abs(stamped / rate - 1) > config.stamps:
            yield _finding(features, "rate", stamped, rate, "Hz", said=f"{rate:g} Hz, stamps come at {stamped:.4g} Hz")


def _finding(features: Features, key: str, value: float, limit: float, unit: str, said: str = "") -> Finding:
    return Finding(
        check="metadata",
        stream=features.name,
        message=f"declared {key} {said or f'{limit:g}, the video has {value:g}'}",
        value=value,
        limit=limit,
        unit=unit,
    )
