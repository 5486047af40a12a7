"""Masking: boxes of a detector, grown, held over time, and painted over in every frame that is read.

Painted grey, never blurred: a blur can be undone. Boxes are found once for a whole camera, because a frame is hidden by
what its neighbours show too.

Shape legend: N frames, K boxes, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from worldgate.core.digest import sha256
from worldgate.core.streams import Array, ByteArray, Finding, Frames, IntArray, Kind, Log, Origin, Stream, StreamInfo
from worldgate.core.times import SECOND
from worldgate.data.detectors import Detect, prepare
from worldgate.data.privacy.rules import MASKED, MaskRule, Privacy

GREY = 127
_BATCH = 32

Boxes = Sequence[IntArray]
"""N arrays of (K, 4) boxes, one a frame."""


def find(stream: Stream, rule: MaskRule, *, tell: Callable[[int, int], None] | None = None) -> list[IntArray]:
    """What must be hidden in each frame of a camera: (K, 4) boxes a frame, grown and held.

    Args:
        stream: a camera.
        rule: its rule.
        tell: called with frames done and frames in all.
    """
    built = [prepare(name, rule.params.get(name), where=f"privacy.mask.params.{name}") for name in rule.detectors]
    detectors = [build(stream) for build in built] if len(stream) else []
    found: list[IntArray] = []
    for start in range(0, len(stream), _BATCH):
        index = np.arange(start, min(start + _BATCH, len(stream)), dtype=np.int64)
        images = stream.array[index] if isinstance(stream.values, np.ndarray) else stream.frames.read(index)
        found += [_hits(image, detectors, rule.margin) for image in images]
        if tell is not None:
            tell(len(found), len(stream))
    return _held(found, stream.times_ns, round(rule.hold_s * SECOND))


def _hits(image: ByteArray, detectors: Sequence[Detect], margin: float) -> IntArray:
    boxes = np.concatenate([detect(image) for detect in detectors]).astype(np.float64)
    grow = (boxes[:, 2:] - boxes[:, :2]) * margin
    low, high = np.floor(boxes[:, :2] - grow), np.ceil(boxes[:, 2:] + grow)
    height, width = image.shape[:2]
    return np.concatenate([np.maximum(low, 0), np.minimum(high, (width, height))], axis=1).astype(np.int64)


def _held(found: Sequence[IntArray], times_ns: IntArray, hold_ns: int) -> list[IntArray]:
    """Boxes of every frame with those of the frames less than ``hold_ns`` away, whatever order the stamps are in."""
    order = np.argsort(times_ns, kind="stable")
    times = times_ns[order]
    first, last = np.searchsorted(times, times - hold_ns, "left"), np.searchsorted(times, times + hold_ns, "right")
    out: list[IntArray] = [np.empty((0, 4), np.int64)] * len(found)
    for place, frame in enumerate(order):
        near = [found[k] for k in order[first[place] : last[place]] if len(found[k])]
        out[frame] = np.unique(np.concatenate(near), axis=0) if near else out[frame]
    return out


def paint(image: ByteArray, boxes_K4: IntArray) -> None:
    """Hide boxes of an (H, W, 3) picture, in place."""
    for x0, y0, x1, y1 in boxes_K4:
        image[y0:y1, x0:x1] = GREY


class MaskedFrames:
    """Frames of which nobody sees what was hidden; fulfils :class:`worldgate.core.streams.Frames`."""

    def __init__(self, frames: Array | Frames, boxes: Boxes, keep: IntArray) -> None:
        self._frames = frames
        self._boxes = boxes
        self._keep = keep

    def __len__(self) -> int:
        return len(self._keep)

    def read(self, indices: IntArray) -> Array:
        """Decode the frames of these indices, painted over: (K, H, W, 3) uint8 RGB."""
        held, wanted = self._frames, self._keep[indices]
        images = np.array(held[wanted] if isinstance(held, np.ndarray) else held.read(wanted))
        for image, index in zip(images, wanted, strict=True):
            paint(image, self._boxes[int(index)])
        return images

    def content_digest(self) -> str:
        """SHA-256 over the source's digest, the frames kept and their boxes."""
        held = self._frames
        inner = sha256(held.tobytes()) if isinstance(held, np.ndarray) else held.content_digest()
        hidden = (np.ascontiguousarray(self._boxes[int(k)], "<i8").tobytes() + b"|" for k in self._keep)
        return sha256(inner.encode(), np.ascontiguousarray(self._keep, "<i8").tobytes(), *hidden)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedLog:
    """A log with its cameras masked by a contract's rules; fulfils :class:`worldgate.core.streams.Log`."""

    log: Log
    privacy: Privacy
    boxes: Mapping[str, Boxes] = field(default_factory=dict)
    """Camera -> what is hidden in each frame."""

    @property
    def name(self) -> str:
        """What people call it."""
        return self.log.name

    @property
    def origin(self) -> Origin:
        """The log's own."""
        return self.log.origin

    @property
    def facts(self) -> Mapping[str, str | float | bool]:
        """The log's own, and the digest of the rules."""
        return {**self.log.facts, MASKED: self.privacy.digest()}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The log's own."""
        return self.log.findings

    def streams(self) -> tuple[StreamInfo, ...]:
        return self.log.streams()

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        if stream not in self.boxes:
            return self.log.read(stream, window_ns)
        held, boxes = self.log.read(stream), self.boxes[stream]
        keep = np.arange(len(held), dtype=np.int64)
        if window_ns is not None:
            keep = keep[(held.times_ns >= window_ns[0]) & (held.times_ns < window_ns[1])]
        logged = None if held.log_times_ns is None else held.log_times_ns[keep]
        values = MaskedFrames(held.values, boxes, keep)
        return replace(held, times_ns=held.times_ns[keep], values=values, log_times_ns=logged)


def mask(log: Log, privacy: Privacy, *, tell: Callable[[int, int], None] | None = None) -> MaskedLog:
    """Mask a log's colour cameras by a contract's rules; reads every frame of those once.

    Args:
        log: what to mask.
        privacy: the rules.
        tell: called with frames done and frames in all, camera after camera.

    Raises:
        NotFound: a detector that is not there.
    """
    rules = {info.name: privacy.rule(info.name) for info in log.streams() if info.kind is Kind.IMAGE}
    boxes = {name: find(log.read(name), rule, tell=tell) for name, rule in rules.items() if rule is not None}
    return MaskedLog(log=log, privacy=privacy, boxes=boxes)
