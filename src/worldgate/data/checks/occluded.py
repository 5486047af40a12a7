"""Occluded: something stands before part of the lens: a cable, a cloth, tape, a half-closed cover.

What is close to a lens is out of focus and does not move. So a connected part of the picture suddenly loses the detail
that it shows at other times and stays still while the rest goes on. An arm in view takes detail away too, but it moves.
What lets light through, as grease does, is not still: an arm that passes behind it is seen as a change of brightness.
Then it counts that the detail goes in one frame, in that part alone, and stays away for seconds whatever passes.
What hangs there from the first frame to the last has no other time to be held against; then only the plainest case is
reported: a large part at the edge that is dark, flat and never changes.

Shape legend: N frames, K kept pictures, R x C tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from worldgate.core.streams import BoolArray, Finding, FloatArray, Log
from worldgate.core.times import SECOND
from worldgate.data.checks._frames import COLS, ROWS, Features, cameras
from worldgate.data.checks._renewal import runs
from worldgate.data.checks._spans import marked

CARD = {
    "line": "part of the picture that is still and without detail while the rest goes on",
    "inputs": "every camera",
}

_PLAIN = (2.5, 6.0)
"""Mean Laplacian of a tile, in grey levels, above which it shows detail: least and most, by the sensor's noise."""
_STILL = 1.0
"""Change, in grey levels, up to which a tile is still."""
_OTHER = 8.0
"""Grey levels by which the brightness of a tile without detail differs when something stands before it."""
_SIDES = (0.1, 0.9)
"""Quantiles of a tile's brightness that it is held against where something else already tells of a cover."""
_STEP = 6.0
"""Grey levels between neighbouring tiles of something out of focus."""
_CONSTANT = 0.8
"""Share of the time for which a tile must belong to the piece: what moves covers now this, now that."""
_BREAK = 3
"""Kept pictures for which the piece may be in doubt."""
_WINDOW_S = 0.6
"""Time over which a tile must be still."""
_BARE = 0.3
"""Share of such a thing that must hide what showed detail, or another brightness."""
_ABSENT = 0.5
"""What stands in a piece's place at another brightness and hides less than this share of the detail is its absence."""
_SUDDEN = 10.0
"""Grey levels by which the piece changes when the thing comes or goes; an arm that comes to rest does so slowly."""
_ALONE = 2.0
"""Times that it changes as much as the rest at that moment."""
_GOES_ON = 0.1
"""Least share of the frames in which the rest of the picture moves."""
_COMES = 5.0
"""Grey levels by which a tile changes in the frame in which something that lets light through comes before it."""
_RECENT = 4
"""Kept pictures whose median detail is what a tile shows before that."""
_STAYS_S = 3.0
"""Time for which detail must stay away: an arm that rests before a scene hides it, too."""
_AWAY = (0.9, 0.8)
"""Share of the pictures of that time, and of the piece at any later one, without detail."""
_SHARP = 0.75
"""Share of its detail that the rest must keep: less is blur."""
_REST = 0.1
"""Least part of the picture that shows detail and is not covered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How much must be covered, and for how long."""

    part: float = 0.1
    """Least part of the picture that has lost its detail."""
    lost: float = 0.35
    """A tile has lost its detail when less than this share of it is left."""
    least_s: float = 0.7
    """How long it must stay."""
    throughout: float = 0.2
    """Least part that is dark and flat from the first frame to the last; 1: never reported."""
    dark: float = 48.0
    """Brightness below which such a part counts as dark, grey levels."""
    streams: tuple[str, ...] = ()
    """Only these cameras; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find covered lenses; the value is the part of the picture."""
    found = (_occluded(features, config) for features in cameras(log, config.streams))
    return tuple(f for f in found if f is not None)


def _occluded(features: Features, config: Config) -> Finding | None:
    kept = features.kept
    if len(kept) < 4:
        return None
    detail = np.stack([_detail(picture) for picture in features.pictures])
    lost, bare, varied = _bare(features, detail, config)
    pieces = _present(_pieces(features, bare, varied, detail < _plain(detail)), lost, features.tiles[kept])
    covered = np.zeros(len(features), dtype=np.bool_)
    part = 0.0
    large = pieces.mean(axis=(1, 2)) >= config.part
    for first, end in runs(_bridged(large)):
        piece = pieces[first:end][large[first:end]].mean(axis=0) >= _CONSTANT
        if end - first < 2 or piece.mean() < config.part:
            continue
        start, stop = _bounds(features, piece, first, end)
        length = features.times_ns[stop - 1] + features.period_ns - features.times_ns[start]
        sudden = any(_sudden(features.change[at], piece) for at in (start, min(stop, len(features) - 1)))
        if length >= config.least_s * SECOND and sudden and _goes_on(features, piece, start, stop):
            covered[start:stop], part = True, max(part, float(piece.mean()))
    when = "has lost its detail and stays still"
    if not covered.any():
        covered, part = _clouded(features, detail, config)
        when = "lost its detail at once and stays without it"
    if not covered.any():
        part, when = float(_throughout(features, detail, config).mean()), "is dark, flat and still from first to last"
        covered[:] = part >= config.throughout
    if not covered.any():
        return None
    return Finding(
        check="occluded",
        stream=features.name,
        message=f"{part:.0%} of the picture {when} while the rest goes on",
        value=part,
        limit=config.part,
        unit="share of picture",
        spans_ns=marked(features.times_ns, covered, features.period_ns),
    )


def _bridged(mark: BoolArray) -> BoolArray:
    """Marks with the short breaks between them: a hand that passes by, or a picture coded worse."""
    out = mark.copy()
    for first, end in runs(~mark):
        if end - first <= _BREAK and first > 0 and end < len(mark):
            out[first:end] = True
    return out


def _detail(picture: Any) -> FloatArray:
    """(R, C) mean size of the Laplacian."""
    sized = picture if picture.shape[0] >= 2 * ROWS else cv2.resize(picture, (COLS * 4, ROWS * 4))
    edges = np.abs(cv2.Laplacian(sized, cv2.CV_16S)).astype(np.float32)
    return np.asarray(cv2.resize(edges, (COLS, ROWS), interpolation=cv2.INTER_AREA), dtype=np.float64)


def _plain(detail: FloatArray) -> float:
    """What noise alone makes of the plainest tiles, and a little more."""
    return float(np.clip(1.3 * np.quantile(detail, 0.05), *_PLAIN))


def _bare(features: Features, detail: FloatArray, config: Config) -> tuple[BoolArray, BoolArray, BoolArray]:
    """(K, R, C) each: tiles that lost the detail they show at other times, with plain ones of another brightness.

    The second has the plain tiles that are brighter or darker than usual, the third those that ever were so. Nothing
    where all of the picture has lost its detail, which is blur.
    """
    usual, level = np.quantile(detail, 0.75, axis=0), features.tiles[features.kept]
    plain = _plain(detail)
    rich = usual > plain
    lost = rich & (detail < config.lost * usual)
    other = ~rich & (detail < plain) & (np.abs(level - np.median(level, axis=0)) > _OTHER)
    kept = np.where(rich & ~lost, detail / np.maximum(usual, 1e-9), np.nan)
    sharp = np.isfinite(kept).mean(axis=(1, 2)) >= 0.1
    sharp[sharp] &= np.nanmedian(kept[sharp], axis=(1, 2)) >= 0.6
    enough = sharp & (lost.mean(axis=(1, 2)) >= config.part / 2)
    low, high = np.quantile(level, _SIDES, axis=0)  # what hangs for most of the log is the usual itself
    both = ~rich & (detail < plain) & (np.maximum(high - level, level - low) > _OTHER)
    bare: BoolArray = (lost | other) & enough[:, None, None]
    return lost & bare, bare, bare | (both & enough[:, None, None])


def _present(pieces: BoolArray, lost: BoolArray, levels: FloatArray) -> BoolArray:
    """Pieces without those that show the place of the largest one while nothing stands before it.

    Where a cover hangs for most of the log, its brightness is the usual one and its edge the usual detail. Then what is
    plain behind it looks like another thing, as large as the cover, until it comes.
    """
    hidden = (pieces & lost).sum(axis=(1, 2))
    most = int(hidden.argmax())
    out = pieces.copy()
    for at in np.flatnonzero((hidden < _ABSENT * hidden[most]) & pieces.any(axis=(1, 2))):
        shared = pieces[at] & pieces[most]
        if shared.any() and float(np.median(np.abs(levels[at] - levels[most])[shared])) > _OTHER:
            out[at] = False
    return out


def _bounds(features: Features, piece: BoolArray, first: int, end: int) -> tuple[int, int]:
    """First and one past the last frame: where the piece changes most between the kept pictures without and with it."""
    kept = features.kept
    start, stop = int(kept[first]), len(features)
    if first > 0:
        before = int(kept[first - 1]) + 1
        start = before + int(features.change[before : start + 1, piece].mean(axis=1).argmax())
    if end < len(kept):
        after = int(kept[end - 1]) + 1
        stop = after + int(features.change[after : int(kept[end]) + 1, piece].mean(axis=1).argmax())
    return start, stop


def _sudden(change: FloatArray, piece: BoolArray) -> bool:
    """Whether a frame changes the piece, and more than the rest: another exposure changes all of the picture."""
    part = float(change[piece].mean())
    return part >= _SUDDEN and part >= _ALONE * float(np.median(change[~piece]))


def _pieces(features: Features, bare: BoolArray, varied: BoolArray, flat: BoolArray) -> BoolArray:
    """(K, R, C) at each kept picture the largest bare piece that is smooth and, before it or after it, still.

    One thing before the lens also hides what was plain before: flat and still tiles of its brightness belong to it.
    """
    out: BoolArray = np.zeros_like(bare)
    window = max(3, round(_WINDOW_S * SECOND / features.period_ns))
    for place in np.flatnonzero(bare.any(axis=(1, 2))):
        at = int(features.kept[place])
        sides = (features.change[at + 1 : at + 1 + window], features.change[max(1, at - window + 1) : at + 1])
        still = np.zeros_like(bare[0])
        for side in sides:
            if len(side) >= min(window, 3):
                still |= np.quantile(side, 0.8, axis=0) <= _STILL
        piece, level = _largest(bare[place] & still), features.tiles[at]
        if piece.any():
            alike = np.abs(level - np.median(level[piece])) <= _STEP
            whole = _largest((bare[place] | flat[place]) & still & alike)
            if (whole & varied[place]).sum() >= _BARE * whole.sum() and whole.sum() > piece.sum():
                piece = whole
        if piece.any() and _smooth(level, piece):
            out[place] = piece
    return out


def _clouded(features: Features, detail: FloatArray, config: Config) -> tuple[BoolArray, float]:
    """(N,) frames with a part that something came before which lets light through, and the largest such part.

    Nothing for a camera that is carried about: it loses detail with every plain thing that it comes near.
    """
    covered, part = np.zeros(len(features), dtype=np.bool_), 0.0
    if _carried(features):
        return covered, part
    plain, kept, whole = _plain(detail), features.kept, _whole(features)
    usual = _recent(detail)
    limits = np.maximum(config.lost * usual, plain)
    lost = (detail < limits) & (usual > plain)
    lost[:-1] |= (detail[1:] < limits[:-1]) & (usual[:-1] > plain)
    least = _BARE * config.part
    ends = np.searchsorted(features.times_ns[kept], features.times_ns[kept] + round(_STAYS_S * SECOND))
    for place in np.flatnonzero(lost.mean(axis=(1, 2)) >= least).tolist():
        before, thin = usual[place], limits[place]
        rich = before > plain
        piece = (detail[place : max(int(ends[place]), place + 3)] < thin).mean(axis=0) >= _AWAY[0]
        frames = np.arange(kept[place - 1] + 1, kept[place] + 1)
        if (piece & rich).mean() < least or not whole[frames[0] - 1 : frames[-1] + 1].all():
            continue
        start = int(frames[features.change[frames][:, piece & rich].mean(axis=1).argmax()])
        piece = _largest(piece & (features.change[start] >= _COMES))
        if piece.mean() < config.part:
            continue
        away = (detail[place:, piece] < thin[piece]).mean(axis=1) >= _AWAY[1]
        end = place + (len(away) if away.all() else int(away.argmin()))
        stop = int(kept[end]) if end < len(kept) else len(features)
        rest = rich & ~piece
        if (
            features.times_ns[stop - 1] + features.period_ns - features.times_ns[start] >= _STAYS_S * SECOND
            and (piece & rich).sum() >= _BARE * piece.sum()
            and rest.mean() >= _REST
            and float(np.median(detail[place:end, rest] / before[rest])) >= _SHARP
            and _sudden(features.change[start], piece)
            and _goes_on(features, piece, start, stop)
        ):
            covered[start:stop], part = True, max(part, float(piece.mean()))
    return covered, part


def _carried(features: Features) -> bool:
    """Whether most of the picture changes in most frames: the camera itself moves."""
    usual = np.median(features.change[1:].reshape(len(features) - 1, -1), axis=1)
    return bool((usual > 2 * _STILL).mean() > 0.5)


def _recent(detail: FloatArray) -> FloatArray:
    """(K, R, C) what each tile showed in the kept pictures just before; 0 before the first."""
    out = np.zeros_like(detail)
    for place in range(1, min(_RECENT, len(detail))):
        out[place] = np.median(detail[:place], axis=0)
    if len(detail) > _RECENT:
        windows = np.lib.stride_tricks.sliding_window_view(detail, _RECENT, axis=0)[:-1]
        out[_RECENT:] = np.median(windows, axis=-1)
    return out


def _whole(features: Features) -> BoolArray:
    """(N,) frames that hang on no damaged one: after such a one nothing is what it was until the next keyframe."""
    out = features.ok & ~features.damaged
    for at in np.flatnonzero(~out):
        later = np.flatnonzero(features.key[at + 1 :])
        out[at : at + 1 + int(later[0]) if len(later) else None] = False
    return out


def _goes_on(features: Features, piece: BoolArray, start: int, stop: int) -> bool:
    """Whether other parts of the picture move in these frames."""
    outside = np.sort(features.change[start + 1 : stop, ~piece], axis=1)[:, -3:].mean(axis=1)
    return bool(len(outside) and (outside > 2 * _STILL).mean() >= _GOES_ON)


def _smooth(level: FloatArray, piece: BoolArray) -> bool:
    """Whether brightness changes little from tile to tile: what is close to the lens is out of focus."""
    steps = [np.abs(np.diff(level, axis=axis)) for axis in (0, 1)]
    both = (piece[1:] & piece[:-1], piece[:, 1:] & piece[:, :-1])
    inside = np.concatenate([step[pair] for step, pair in zip(steps, both, strict=True)])
    return bool(len(inside) and np.median(inside) <= _STEP)


def _largest(mask: BoolArray) -> BoolArray:
    """The largest connected part of a mask."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    if count < 2:
        return np.zeros_like(mask)
    chosen: BoolArray = np.equal(labels, 1 + int(np.asarray(stats)[1:, cv2.CC_STAT_AREA].argmax()))
    return chosen


def _throughout(features: Features, detail: FloatArray, config: Config) -> BoolArray:
    """(R, C) the largest dark, flat and still part of the whole log that reaches the picture's edge."""
    seen = features.ok
    level = np.median(features.tiles[seen], axis=0)
    change = np.quantile(features.change[seen], 0.95, axis=0)
    moves = np.sort(features.change[seen].reshape(int(seen.sum()), -1), axis=1)[:, -3:].mean(axis=1) > 2 * _STILL
    flat = (level < config.dark) & (np.median(detail, axis=0) < _plain(detail)) & (change <= _STILL)
    part = _largest(flat)
    border = part.copy()
    border[1:-1, 1:-1] = False
    dim = not part.all() and float(np.median(level[~part])) < config.dark  # all of the picture is, and not by a cover
    if not border.any() or dim or moves.mean() < _GOES_ON or float(level[part].std()) > 4.0:
        return np.zeros_like(part)
    return part
