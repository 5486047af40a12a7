"""What else is wrong with a folder that no reader can open: its cameras, looked at one by one.

A dataset that is refused for its metadata may hide a fault that mending the metadata would not cure. So before the
refusal is shown, its videos are decoded and put through the ``blank`` and ``frozen`` checks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worldgate.core.digest import digest_file
from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Finding, Kind, Origin, Stream, StreamInfo
from worldgate.data import checks
from worldgate.data.logs._video import VideoFrames, video_index

_CHECKS = ("blank", "frozen")
_LOOKED_AT = 4
"""Different videos decoded of each camera; enough to say that it is dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Video:
    """One video file as a log of one camera, so that a check can look at it."""

    name: str
    stream: Stream
    origin: Origin = Origin.REAL
    findings: tuple[Finding, ...] = ()

    @property
    def facts(self) -> Mapping[str, str | float | bool]:
        return {}

    def streams(self) -> tuple[StreamInfo, ...]:
        return (self.stream.info,)

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        return self.stream


def dead_cameras(path: Path) -> list[str]:
    """What the checks say of the videos below a folder, in words, a camera (its videos' folder) each."""
    cameras: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(path.rglob("*.mp4")) if path.is_dir() else ():
        cameras[file.parent.name].append(file)
    found = []
    for camera, files in cameras.items():
        different = {digest_file(file): file for file in reversed(files)}
        dead = [text for text in (_said(file, camera) for file in [*different.values()][-_LOOKED_AT:]) if text]
        if dead:
            looked = min(len(different), _LOOKED_AT)
            found.append(f"{camera}: {dead[-1]}, in {len(dead)} of {looked} different videos looked at")
    return found


def _said(file: Path, camera: str) -> str:
    """The check's words on one video; empty where there is nothing to say or nothing to see."""
    try:
        index = video_index(file)
        rows = np.arange(len(index.pts), dtype=np.int64)
        info = StreamInfo(name=camera, kind=Kind.IMAGE, count=len(rows), rate_hz=index.rate_hz, clock="frame")
        stream = Stream(info=info, times_ns=index.times_ns(), values=VideoFrames(path=file, rows=rows))
        log = _Video(name=file.name, stream=stream)
        findings = [f for name in _CHECKS for f in checks.run(name, log)]
    except LogUnreadable:
        return ""  # the reader has said so
    return "; ".join(finding.message for finding in findings)
