"""Frozen: a camera that shows nothing, or the same picture again while the robot moves.

*Blank*: most frames have no contrast: covered lens, dead sensor, a renderer that wrote white. *Frozen*: the picture
repeats for longer than ``least_s`` while some state or command changes. Pictures are compared on a grid of single
pixels, never averages, so the noise of a still camera counts as change. Codecs re-encode a repeated picture at key
frames, a change of about one grey level everywhere; one such step inside a run of repeats does not end it. Without
motion streams a still picture is no evidence, so only exact repeats over the whole log are reported.

Shape legend: N frames, P sampled pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import NUMERIC, BoolArray, ByteArray, Finding, FloatArray, IntArray, Kind, Log, Stream
from worldgate.core.times import SECOND
from worldgate.data.checks._spans import Spans, columns, marked, merge, period_ns, sampled

CARD = {
    "line": "blank cameras, and pictures that repeat while the robot moves",
    "inputs": "every camera, and the streams of numbers for motion",
    "source": "key-frame-aware repeats, after a public 30 fps dataset whose pictures renew at 15 Hz",
}

_BATCH = 64
_SAMPLES = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What blank and frozen mean."""

    contrast: float = 2.0
    """Standard deviation over a frame's pixels, in grey levels, below which it shows nothing."""
    blank: float = 0.5
    """Share of blank frames above which the camera is dead."""
    change: float = 0.02
    """Mean change between frames, in grey levels, up to which the picture repeats."""
    recoded: float = 2.0
    """Mean change that a key frame may make inside a run of repeats."""
    least_s: float = 1.0
    """Shortest run of repeats that is reported."""
    motion: float = 0.02
    """Share of a channel's range that must be covered during the run for the robot to count as moving."""
    streams: tuple[str, ...] = ()
    """Only these cameras; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find dead cameras; the value is a share of frames (blank) or the longest run in s (frozen)."""
    cameras = [s for s in sampled(log, config.streams) if s.info.kind is Kind.IMAGE and len(s)]
    motion = [s for s in sampled(log) if s.info.kind in NUMERIC and len(s) > 1]
    return tuple(f for camera in cameras for f in _camera(camera, motion, config))


def _camera(camera: Stream, motion: list[Stream], config: Config) -> tuple[Finding, ...]:
    contrast, change = _measure(camera)
    length = period_ns(camera.info, np.sort(camera.times_ns))
    blank = contrast < config.contrast
    if blank.mean() > config.blank:
        return (_blank(camera, contrast, blank, length, config),)
    return _frozen(camera, change, motion, length, config)


def _measure(camera: Stream) -> tuple[FloatArray, FloatArray]:
    """(N,) contrast of each frame and (N - 1,) mean change to the next, in grey levels, decoded a batch at a time."""
    contrast, change = [], []
    last: ByteArray | None = None
    for start in range(0, len(camera), _BATCH):
        index = np.arange(start, min(start + _BATCH, len(camera)), dtype=np.int64)
        frames = camera.array[index] if isinstance(camera.values, np.ndarray) else camera.frames.read(index)
        pixels = _pixels(frames)
        contrast.append(pixels.std(axis=1, dtype=np.float64))
        chain = pixels if last is None else np.concatenate([last, pixels])
        change.append(np.abs(np.diff(chain.astype(np.int16), axis=0)).mean(axis=1))
        last = pixels[-1:]
    return np.concatenate(contrast), np.concatenate(change)


def _pixels(frames: ByteArray) -> ByteArray:
    """(N, P) green values on a regular grid of single pixels."""
    height, width = frames.shape[1:3]
    stride = max(1, int(np.sqrt(height * width / _SAMPLES)))
    green = frames[..., 1] if frames.ndim == 4 else frames
    return green[:, ::stride, ::stride].reshape(len(frames), -1)


def _blank(camera: Stream, contrast: FloatArray, blank: BoolArray, length: int, config: Config) -> Finding:
    level = "every frame" if blank.all() else f"{int(blank.sum())} of {len(blank)} frames"
    return Finding(
        check="frozen",
        stream=camera.info.name,
        message=f"blank: {level} without contrast (median {float(np.median(contrast)):.2f} grey levels)",
        value=float(blank.mean()),
        limit=config.blank,
        unit="share of frames",
        spans_ns=marked(camera.times_ns, blank, length),
    )


def _frozen(
    camera: Stream, change: FloatArray, motion: list[Stream], length: int, config: Config
) -> tuple[Finding, ...]:
    runs = repeats(change, config.change, config.recoded)
    times = camera.times_ns
    spans = [(int(times[a]), int(times[b]) + length) for a, b in runs]
    if motion:
        spans = [s for s in spans if s[1] - s[0] >= config.least_s * SECOND and _moves(motion, s, config.motion)]
    else:
        spans = [s for (a, b), s in zip(runs, spans, strict=True) if b - a + 1 == len(times) and len(times) > 1]
    if not spans:
        return ()
    longest = max(b - a for a, b in spans) / SECOND
    when = "while the robot moves" if motion else "from the first frame to the last"
    starts, ends = np.asarray(spans, dtype=np.int64).T
    joined: Spans = merge(starts, ends)
    return (
        Finding(
            check="frozen",
            stream=camera.info.name,
            message=f"frozen: the picture repeats {when}, for up to {longest:.2f} s",
            value=longest,
            limit=config.least_s if motion else 0.0,
            unit="s",
            spans_ns=joined,
        ),
    )


def repeats(change: FloatArray, same: float, recoded: float) -> list[tuple[int, int]]:
    """First and last frame of each run in which the picture repeats; one re-encoded step between repeats is bridged."""
    repeat = change <= same
    bridge = np.zeros_like(repeat)
    if len(change) > 2:
        bridge[1:-1] = ~repeat[1:-1] & repeat[:-2] & repeat[2:] & (change[1:-1] <= recoded)
    marks = np.concatenate([[False], repeat | bridge, [False]]).astype(np.int8)
    edges: IntArray = np.diff(marks).astype(np.int64)
    firsts, lasts = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))


def _moves(motion: list[Stream], span: tuple[int, int], share: float) -> bool:
    """Whether any channel covers this share of its range over the log within the span."""
    for stream in motion:
        inside = (stream.times_ns >= span[0]) & (stream.times_ns < span[1])
        values = columns(stream)
        if inside.sum() < 2:
            continue
        whole, part = _range(values), _range(values[inside])
        if ((whole > 0) & (part > share * whole)).any():
            return True
    return False


def _range(values: FloatArray) -> FloatArray:
    """(D,) greatest minus least finite value; 0 where there is none."""
    finite = np.isfinite(values)
    high, low = np.where(finite, values, -np.inf).max(axis=0), np.where(finite, values, np.inf).min(axis=0)
    return np.where(high >= low, high, 0.0) - np.where(high >= low, low, 0.0)
