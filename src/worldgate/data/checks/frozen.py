"""Frozen: a camera that shows the same picture again for longer than a moment while the robot moves.

The frames are judged as ``content_rate`` does: a key frame that codes the same picture anew does not end a repeat, and
a still camera's sensor noise is a change. Nothing happening in view looks the same as a frozen camera, most of all in a
video, whose codec takes the noise out. So a still stretch counts as frozen only with evidence:

* the camera's noise is in its pixels and these are equal: certain;
* or the picture broke off in the middle of a motion that the robot's telemetry says went on;
* or the picture that ends the stretch jumps by far more than a robot moves between two frames;
* or nothing differs from the first frame to the last: the key frames are of one size to the byte, or no predicted frame
  changes a pixel in a video that is coded finely enough for a live sensor's noise to show.

Without streams of motion a still picture is no evidence, and only the last of these is looked for.

Shape legend: N frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Finding, FloatArray, Log
from worldgate.core.times import SECOND
from worldgate.data.checks._frames import Features, cameras
from worldgate.data.checks._motion import Motion, motion_of
from worldgate.data.checks._quantiser import quantiser
from worldgate.data.checks._renewal import TOP, Renewal, renewal, runs
from worldgate.data.checks._spans import Spans, merge

CARD = {
    "line": "pictures that repeat while the robot moves",
    "inputs": "every camera, frame types where it is video; the streams of numbers for motion",
    "source": "key-frame-aware repeats, after a public 30 fps dataset whose pictures renew at 15 Hz",
}

_CODED_ALIKE = 3
"""More key frames than this of one size to the byte show that the encoder was given one picture."""
_MOSTLY = 0.6
"""Share of the key frames that must be of this size: a rate control may code one in between otherwise."""
_SETTLES = 15
"""Frames within which an encoder refines a picture that stands still."""
_REFINED = 3
"""Those of them in which that may look like a change."""
_SKIPPED = 120
"""Least predicted frames that must repeat the picture to the pixel."""
_FINE = 26.0
"""Coarsest quantiser (H.264) through which noise of one grey level was seen, in `docs/explanation/camera-checks.md`."""
_BLANK = 2.0
"""Contrast, in grey levels, below which a picture shows nothing."""
_BEFORE = 4
"""Frames before a stretch that say whether something was moving in view."""
_EDGE = 2
"""Tiles from the picture's edge."""
_RING = range(2, 9)
"""Old pictures that a ring of buffers may show in turn."""
_BUSY = 24
"""Tiles that change most over the log, which rule most rings out."""
_DIM = 0.3
"""Grey levels by which a tile counts as brighter or darker."""
_BACK = 0.5
"""Share of the change from picture to picture that is left, by coding noise, between those that are one old picture."""
_LAMP = 0.8
"""Share of the picture that grows brighter or darker at once when a lamp flickers in step with the camera."""
_JUMP = 1.5
"""A picture that ends a freeze changes this many times more than the usual change of a moving picture."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What frozen means."""

    least_s: float = 0.5
    """Shortest stretch that is reported."""
    repeats: int = 5
    """Least repeats in it, unless it is the whole log."""
    motion: float = 0.02
    """Share of a channel's range that must be covered during the stretch for the robot to count as moving."""
    recoded: float = 2.0
    """Change, in grey levels, that one frame between repeats may make where frame types are not known."""
    streams: tuple[str, ...] = ()
    """Only these cameras; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find frozen cameras; the value is the longest stretch, in s."""
    motion: Motion | None = None
    found = []
    for features in cameras(log, config.streams):
        seen = renewal(features)
        stretches = [s for s in still(seen, config) if _lasts(features, s, config) and not _blank(features, s)]
        turns = rings(features, seen, config)
        if stretches or turns:
            motion = motion_of(log) if motion is None else motion
            spans = _frozen(features, seen, stretches, motion, config)
            spans += [s for s in turns if motion.known and motion.during(s, config.motion)]
            found += [_finding(features, spans, config, motion)] if spans else []
    return tuple(found)


def still(seen: Renewal, config: Config) -> list[tuple[int, int]]:
    """First and last frame of each stretch that shows one picture; one re-encoded frame between repeats is bridged."""
    repeat = seen.still.copy()
    bridge = np.zeros_like(repeat)
    bridge[1:-1] = ~repeat[1:-1] & repeat[:-2] & repeat[2:] & (seen.change[1:-1] <= config.recoded)
    return [(int(a) - 1, int(b) - 1) for a, b in runs((repeat | bridge)[1:]) + 1]


def rings(features: Features, seen: Renewal, config: Config) -> list[tuple[int, int]]:
    """Spans in which the same few old pictures are shown in turn.

    Every frame equals the one so many frames before, while those that follow each other differ in places: what moves
    does not come back to where it was to the pixel, again and again, and a lamp that flickers changes it all.
    """
    tiles = features.tiles.reshape(len(features), -1)
    lamp = np.zeros(len(features), dtype=np.bool_)
    step, near = np.diff(tiles, axis=0), _apart(tiles, 1)
    lamp[1:] = np.maximum((step > _DIM).mean(axis=1), (step < -_DIM).mean(axis=1)) >= _LAMP
    live = seen.moved & ~lamp
    busy = tiles[:, np.argsort(np.ptp(tiles, axis=0))[-_BUSY:]]
    out: list[tuple[int, int]] = []
    for depth in _RING:
        window = max(2 * depth, config.repeats, round(config.least_s * SECOND / features.period_ns))
        if len(features) < depth + window:
            break
        onward, moved = (_sums(v[depth:], window) for v in (near, live.astype(np.float64)))
        if (_sums(_apart(busy, depth)[depth:], window) > _BACK * onward).all():
            continue  # all tiles together differ by no less
        back = _sums(_apart(tiles, depth)[depth:], window)
        for first, end in runs((back <= _BACK * onward) & (moved * depth >= window)).tolist():
            last = depth + end - 1 + window - 1
            out.append((int(features.times_ns[depth + first]), int(features.times_ns[last]) + features.period_ns))
    return out


def _sums(values: FloatArray, window: int) -> FloatArray:
    """(N - window + 1,) sums of neighbours."""
    return np.asarray(np.convolve(values, np.ones(window), mode="valid"))


def _apart(tiles: FloatArray, frames: int) -> FloatArray:
    """(N,) how much the few tiles that differ most do so from those so many frames before; grey levels."""
    out = np.zeros(len(tiles))
    out[frames:] = np.sort(np.abs(tiles[frames:] - tiles[:-frames]), axis=1)[:, -TOP:].mean(axis=1)
    return out


def _span(features: Features, stretch: tuple[int, int]) -> tuple[int, int]:
    return int(features.times_ns[stretch[0]]), int(features.times_ns[stretch[1]]) + features.period_ns


def _lasts(features: Features, stretch: tuple[int, int], config: Config) -> bool:
    start, end = _span(features, stretch)
    return end - start >= config.least_s * SECOND and (
        stretch[1] - stretch[0] >= config.repeats or _whole(features, stretch)
    )


def _blank(features: Features, stretch: tuple[int, int]) -> bool:
    """Whether it shows nothing: a blank picture repeats too, and has a check of its own."""
    return bool(np.median(features.contrast[stretch[0] : stretch[1] + 1]) < _BLANK)


def _whole(features: Features, stretch: tuple[int, int]) -> bool:
    """Whether it is the whole log; an encoder may refine the first picture of a video once or twice."""
    return stretch[0] <= (0 if features.exact else _REFINED) and stretch[1] == len(features) - 1


def _frozen(
    features: Features, seen: Renewal, stretches: list[tuple[int, int]], motion: Motion, config: Config
) -> list[tuple[int, int]]:
    """Spans of the stretches for which there is evidence."""
    out = []
    for stretch in stretches:
        span, whole = _span(features, stretch), _whole(features, stretch)
        if whole and not _same_throughout(features, seen, stretch[0]):
            continue
        if not motion.known:
            out += [span] if whole else []
        elif motion.during(span, config.motion) and (
            whole or seen.alive or _breaks_off(features, seen, stretch, motion) or _jumps(features, seen, stretch)
        ):
            out.append(span)
    return out


def _same_throughout(features: Features, seen: Renewal, first: int) -> bool:
    """Equal to the pixel; in a video, as its key frames and its predicted frames tell it."""
    if features.exact:
        return bool(features.same[1:].all())
    if not bool(seen.still[first + 1 :].all()):
        return False
    sizes = features.packet[features.key][1:]  # the first carries headers
    alike = int(np.unique(sizes, return_counts=True)[1].max(initial=0))
    if alike > _CODED_ALIKE and alike >= _MOSTLY * len(sizes):
        return True
    if len(sizes) > 1 and alike < _MOSTLY * len(sizes):
        return False  # the same picture, coded anew, would have had the same size
    return _skipped(features)


def _skipped(features: Features) -> bool:
    """Whether no predicted frame changes anything, once it has settled, in a coding that lets a sensor's noise through.

    A live camera that sees nothing move gives noise, of which the encoder codes a block now and then. A coarse
    quantiser swallows all of it: such a video says nothing.
    """
    rows = np.arange(len(features))
    since = rows - np.maximum.accumulate(np.where(features.key, rows, 0))
    settled = features.ok & (features.group > 0) & (since >= _SETTLES) & (rows >= 2 * _SETTLES)
    if int(settled.sum()) < _SKIPPED or not bool(features.same[settled].all()):
        return False
    coarse = quantiser(features.stream.values)
    return coarse is not None and coarse <= _FINE


def _breaks_off(features: Features, seen: Renewal, stretch: tuple[int, int], motion: Motion) -> bool:
    """Whether things moved in view up to the last frame before the stretch, and the robot went on as fast."""
    first = stretch[0]
    before = np.arange(max(1, first - _BEFORE + 1), first + 1)
    if len(before) < 2 or not seen.moved[before[-2:]].any():
        return False
    typical = float(np.median(seen.change[seen.moved]))
    if float(seen.change[before].max()) < 0.5 * typical or not _inside(features.change[before[-2:]]):
        return False
    times, step = features.times_ns, features.period_ns
    after = times[first] + step * np.arange(_BEFORE, dtype=np.int64)
    usual = float(np.median(motion.travelled(times[before] - step, times[before])))
    return float(np.median(motion.travelled(after, after + step))) > 0.5 * usual > 0


def _inside(change: FloatArray) -> bool:
    """Whether the tile that changes most lies away from the picture's edge, over which things leave the view."""
    _, row, column = np.unravel_index(int(change.argmax()), change.shape)
    return bool(_EDGE <= row < change.shape[1] - _EDGE and _EDGE <= column < change.shape[2] - _EDGE)


def _jumps(features: Features, seen: Renewal, stretch: tuple[int, int]) -> bool:
    """Whether the next picture differs by more than moving pictures do."""
    following = stretch[1] + 1
    if following >= len(features) or not seen.moved[following]:
        return False
    others = seen.change[seen.moved & (np.arange(len(features)) != following)]
    usual = float(np.quantile(others, 0.75)) if len(others) else 0.0
    tiles = np.sort(features.change[following].ravel())[-TOP:]
    return bool(len(others) >= _BEFORE and float(tiles.mean()) > _JUMP * usual)


def _finding(features: Features, spans: list[tuple[int, int]], config: Config, motion: Motion) -> Finding:
    longest = max(b - a for a, b in spans) / SECOND
    when = "while the robot moves" if motion.known else "from the first frame to the last"
    starts, ends = np.asarray(spans, dtype=np.int64).T
    joined: Spans = merge(starts, ends)
    return Finding(
        check="frozen",
        stream=features.name,
        message=f"the picture repeats {when}, for up to {longest:.2f} s",
        value=longest,
        limit=config.least_s if motion.known else 0.0,
        unit="s",
        spans_ns=joined,
    )
