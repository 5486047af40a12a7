"""Extrinsics: a camera that was knocked or drifts, by registering the still background against the log's start.

Corners of the first picture are followed into later ones (pyramidal Lucas-Kanade), and the similarity that most of
them agree on is the camera's motion: what moves in the scene is outvoted. Two stories are held against each other: a
camera that stands leaves the background's corners where they were, a camera that moved leaves hardly any. So a motion
that a part of the corners agrees on is believed when far fewer stay in place. A camera that travels as a matter of
course, on a wrist, a head or a vehicle, is told by its motion from one picture to the next and left alone; one that
slips does so slowly, a little way, and straight. With a reference
picture (the site's, taken when the camera was calibrated) the first frame is held against it too.

Shape legend: S pictures looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from worldgate.core.digest import digest_file
from worldgate.core.errors import NotFound, Tampered
from worldgate.core.streams import ByteArray, Finding, FloatArray, IntArray, Log
from worldgate.data.checks._frames import Features, cameras
from worldgate.data.checks._spans import marked

CARD = {
    "line": "a fixed camera that was knocked or drifts against its own first picture, or a given one",
    "inputs": "every camera that does not travel",
    "source": "Lucas-Kanade 1981, Shi-Tomasi 1994, RANSAC 1981",
}

_LOOKED_AT: Final = 14
_CORNERS: Final = 100
_FEWEST: Final = 12
_NEAR: Final = 0.75
"""Pixels within which a corner agrees with a motion, or stays where it was."""
_AGREE: Final = 0.2
"""Share of the followed corners that must agree on one motion."""
_AGAINST: Final = 2.0
"""... and as many times those that stay in place, unless these are what agrees."""
_WIDE: Final = 0.1
"""Share of the picture's width and height by which those that agree on a motion must spread (standard deviation)."""
_SLIPS: Final = 0.1
"""Share of the picture's width up to which a straight way is a slip; whatever goes further travels."""
_STRAIGHT: Final = 0.85
"""Least share of the way that a slip leaves the camera away."""
_SETTLED: Final = 0.7
"""A fixed camera stands still between this share of the pictures that follow each other."""
_CORNER: Final = 0.7
"""Share of the greatest shift by which a turn must move the picture's corners."""
_FLAT: Final = 4.0
"""Contrast, in grey levels, below which a picture has no corners to follow."""
_FAINT: Final = 0.35
"""... and as a share of the log's greatest: in the dark, steps of the codec and of brightness are taken for corners."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How far a fixed camera may move."""

    most_px: float = 2.0
    """Pixels of the full picture by which its middle may shift."""
    most_deg: float = 0.75
    """Degrees by which it may turn about its axis, if that also moves the picture's corners by most of ``most_px``."""
    reference: Mapping[str, str] = field(default_factory=dict)
    """Camera -> file of the picture that it should show."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Camera -> SHA-256 that the reference file must have."""
    streams: tuple[str, ...] = ()
    """Only these cameras; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find displaced cameras; the value is the shift in px of the full picture, or the turn in degrees.

    Raises:
        NotFound: a reference file that is not there.
        Tampered: a reference file with another digest.
    """
    found = (_displaced(features, config) for features in cameras(log, config.streams))
    return tuple(f for f in found if f is not None)


def _displaced(features: Features, config: Config) -> Finding | None:
    looked = _looked_at(features)
    if len(looked) < 4:
        return None
    first = features.pictures[int(looked[0])]
    scale = float(features.size[features.kept[looked[0]], 1]) / first.shape[1]
    moves = _moves([features.pictures[int(at)] for at in looked])
    moves[:, :2] *= scale
    if not _fixed(moves, scale * first.shape[1], config):
        return None
    given = config.reference.get(features.name)
    if given is not None:
        start = motion(_reference(given, config.digests.get(features.name, ""), first), first)
        moves = moves + np.array(start) * (scale, scale, 1.0)
    shift, turn = np.hypot(moves[:, 0], moves[:, 1]), np.abs(moves[:, 2])
    # In a small picture a turn of a degree is less than the noise of the corners.
    reach = np.radians(turn) * float(np.hypot(*features.size[features.kept[0]])) / 2
    away = (shift > config.most_px) | ((turn > config.most_deg) & (reach > _CORNER * config.most_px))
    # One picture alone may be misjudged; a camera that was knocked stays where it is.
    if not (away[1:] & away[:-1]).any():
        return None
    return _finding(features, looked, shift, turn, away, config)


def _looked_at(features: Features) -> IntArray:
    """(S,) places among the kept pictures, evenly spread, of one size and with something to be seen."""
    frames = features.kept
    usual = features.size[frames[:1]]
    contrast = features.contrast[frames]
    seen = contrast >= max(_FLAT, _FAINT * float(contrast.max(initial=0.0)))
    fit = np.flatnonzero(seen & (features.size[frames] == usual).all(axis=1))
    if len(fit) <= _LOOKED_AT:
        return fit
    return np.asarray(fit[np.linspace(0, len(fit) - 1, _LOOKED_AT).round().astype(np.int64)])


def _moves(pictures: list[ByteArray]) -> FloatArray:
    """(S, 3) motion of each picture against the first: directly, or by way of the last one that is known."""
    out = np.full((len(pictures), 3), np.nan)
    known = 0
    out[0] = 0.0
    for place in range(1, len(pictures)):
        out[place] = motion(pictures[0], pictures[place])
        if np.isnan(out[place]).any() and known > 0:
            out[place] = out[known] + motion(pictures[known], pictures[place])
        known = known if np.isnan(out[place]).any() else place
    return out


def motion(before: ByteArray, after: ByteArray) -> tuple[float, float, float]:
    """Shift of the middle (x, y px of these pictures) and turn (degrees) between two; NaN where they do not agree."""
    unknown = (np.nan, np.nan, np.nan)
    least = max(3, before.shape[1] // 40)
    corners: Any = cv2.goodFeaturesToTrack(before, _CORNERS, 0.01, least)
    if corners is None or len(corners) < _FEWEST:
        return unknown
    window = 2 * max(5, before.shape[1] // 32) + 1
    start: Any = None
    followed, status, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, start, winSize=(window, window), maxLevel=3)
    good = status.ravel() == 1
    if good.sum() < _FEWEST:
        return unknown
    before_xy, after_xy = (np.asarray(c)[good].reshape(-1, 2) for c in (corners, followed))
    matrix, inliers = cv2.estimateAffinePartial2D(before_xy, after_xy, ransacReprojThreshold=_NEAR)
    agree = np.asarray(inliers).ravel() == 1
    if matrix is None or agree.sum() < _FEWEST or agree.mean() < _AGREE:
        return unknown
    stays = np.hypot(*(after_xy - before_xy).T) <= _NEAR
    # Those that stay agree with a small motion as well; they speak against one only where it would have moved them.
    moved = np.hypot(*(before_xy @ matrix[:, :2].T + matrix[:, 2] - before_xy).T) > 2 * _NEAR
    if (agree & moved).sum() > 0.5 * agree.sum():
        wide = (before_xy[agree].std(axis=0) >= _WIDE * np.array(before.shape[::-1])).all()
        if agree.sum() < _AGAINST * stays.sum() or not wide:
            return unknown
    middle = np.array([before.shape[1] / 2, before.shape[0] / 2, 1.0])
    x, y = matrix @ middle - middle[:2]
    return float(x), float(y), float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))


def _fixed(moves: FloatArray, width: float, config: Config) -> bool:
    """Whether the camera stands still between most pictures that follow each other, or slips."""
    known = moves[np.isfinite(moves).all(axis=1)]
    if len(known) < 0.7 * len(moves) or len(known) < 4:
        return False
    steps = np.diff(known, axis=0)
    settled = (np.hypot(steps[:, 0], steps[:, 1]) < 0.5 * config.most_px) & (np.abs(steps[:, 2]) < config.most_deg)
    if settled.mean() >= _SETTLED:
        return True
    way, away = float(np.hypot(*steps[:, :2].T).sum()), float(np.hypot(*(known[-1] - known[0])[:2]))
    return away <= _SLIPS * width and away >= _STRAIGHT * way


def _reference(path: str, digest: str, like: ByteArray) -> ByteArray:
    if not Path(path).is_file():
        raise NotFound("a reference picture is missing", got=path)
    if digest and digest_file(Path(path)) != digest:
        raise Tampered("a reference picture is another one", got=digest_file(Path(path)), where=path)
    picture: Any = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise NotFound("a reference picture that does not decode", got=path)
    return np.asarray(cv2.resize(picture, (like.shape[1], like.shape[0]), interpolation=cv2.INTER_AREA))


def _finding(
    features: Features, looked: IntArray, shift: FloatArray, turn: FloatArray, away: Any, config: Config
) -> Finding:
    frames = features.kept[looked]
    wrong = np.zeros(len(features), dtype=np.bool_)
    for place in np.flatnonzero(away):
        end = int(frames[place + 1]) if place + 1 < len(frames) else len(wrong)
        wrong[int(frames[place]) : end] = True
    far = bool((shift[away] > config.most_px).any())
    value, limit, unit = (
        (float(np.nanmax(shift[away])), config.most_px, "px")
        if far
        else (float(np.nanmax(turn[away])), config.most_deg, "deg")
    )
    return Finding(
        check="extrinsics",
        stream=features.name,
        message=(
            f"the background lies up to {np.nanmax(shift[away]):.1f} px and {np.nanmax(turn[away]):.2f} degrees from "
            f"where it was {'in the reference' if features.name in config.reference else 'at the start'}"
        ),
        value=value,
        limit=limit,
        unit=unit,
        spans_ns=marked(features.times_ns, wrong, features.period_ns),
    )
