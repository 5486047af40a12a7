"""What an episode looks like: a strip of small pictures of every camera, and a plot of every stream of numbers.

Small on purpose, and whole in themselves: a strip is one JPEG, a plot one SVG of a few lines, both inside the page.
The origin stands in the pixels of every picture. Rows that alignment marked as gaps have no picture, and break the
line. What a contract masks or forbids is not shown: see :mod:`worldgate.data.privacy.showing`.

Shape legend: T rows, K pictures, H x W pixels, D channels.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Sequence
from html import escape

import cv2
import numpy as np

from worldgate.core.episodes import Episode, Rows
from worldgate.core.report import Picture
from worldgate.core.streams import IMAGE_LIKE, NUMERIC, Array, BoolArray, ByteArray, FloatArray, IntArray, Kind, Origin
from worldgate.core.times import SECOND

COLUMNS = 8
_TALL, _WIDEST = 112, 200
_HEADER, _GAP = 16, 2
_QUALITY = 82
_PAPER, _INK = 250, 40
_POINTS = 240
"""Most points of a line: more than a plot has pixels for."""
CHANNELS = 8
_LEFT, _TOP, _WIDE, _HIGH, _BELOW = 52, 6, 560, 110, 16
_LINES = ("#1257b8", "#c04a00", "#176b3a", "#8a2be2", "#a3281d", "#006d77", "#7a5c00", "#555555")


def previews(episode: Episode, hidden: Collection[str] = ()) -> list[Picture]:
    """Strips, and then plots.

    Args:
        episode: aligned.
        hidden: streams that nobody may see.
    """
    open_ = {name: rows for name, rows in episode.streams.items() if name not in hidden and len(rows)}
    strips = [_strip(episode, name) for name, rows in open_.items() if rows.info.kind in IMAGE_LIKE]
    plots = [plot for name, rows in open_.items() if rows.info.kind in NUMERIC for plot in _plots(episode, name)]
    return [picture for picture in (*strips, *plots) if picture is not None]


# ------------------------------------------------------------------ strips


def _strip(episode: Episode, camera: str) -> Picture | None:
    rows = episode.streams[camera]
    there = np.flatnonzero(~rows.gap)
    if not len(there):
        return None
    count = min(COLUMNS, len(there))
    index: IntArray = there[(np.arange(count) * (len(there) - 1)) // max(count - 1, 1)]
    seconds = (episode.times_ns[index] - episode.times_ns[0]) / SECOND
    sheet = draw_strip(_colours(_read(rows, index), rows.info.kind), seconds, episode.origin)
    done, coded = cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done
    alt = f"{count} pictures of {camera} from {seconds[0]:.1f} to {seconds[-1]:.1f} s, {episode.origin}"
    source = "data:image/jpeg;base64," + base64.b64encode(coded.tobytes()).decode()
    return Picture(source=source, alt=alt, caption=f"{camera} of {episode.name}", wide=True)


def _read(rows: Rows, index: IntArray) -> Array:
    values = rows.values
    return values[index] if isinstance(values, np.ndarray) else values.read(index)


def _colours(pictures: Array, kind: Kind) -> ByteArray:
    """(K, H, W, 3): depth near is bright and what has no return black, every class a colour of its own."""
    if kind is Kind.DEPTH:
        there = np.isfinite(pictures) & (pictures > 0)
        low, high = np.percentile(pictures[there], (2, 98)) if there.any() else (0.0, 1.0)
        near = np.clip((high - pictures) / max(float(high - low), 1e-6), 0.0, 1.0)
        grey = np.where(there, 40 + 215 * near, 0).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    if kind is Kind.SEGMENTATION:
        ids = np.asarray(pictures, np.int64)
        hues = np.stack([ids * 67 + 40, ids * 149 + 90, ids * 211 + 140], axis=-1) % 216 + 40
        return np.where((ids == 0)[..., None], 0, hues).astype(np.uint8)
    if kind is Kind.NORMALS:
        return np.nan_to_num(127.5 + 127.5 * np.clip(pictures, -1, 1)).astype(np.uint8)
    return np.asarray(pictures, np.uint8)


def draw_strip(pictures_KHWC: ByteArray, seconds_K: FloatArray, origin: Origin) -> ByteArray:
    """(H, W, 3): pictures in a row, the time above each and the origin in each."""
    height, width = pictures_KHWC.shape[1:3]
    wide = int(np.clip(round(width * _TALL / height), 40, _WIDEST))
    tiles = []
    for picture, second in zip(pictures_KHWC, seconds_K, strict=True):
        tile = np.full((_HEADER + _TALL, wide + _GAP, 3), _PAPER, np.uint8)
        shrink = cv2.INTER_AREA if height >= _TALL else cv2.INTER_NEAREST
        tile[_HEADER:, :wide] = cv2.resize(picture, (wide, _TALL), interpolation=shrink)
        _write(tile, f"{second:.1f} s", (2, 12), (_INK, _INK, _INK), wide)
        tile[-14:, :wide] = tile[-14:, :wide] // 3
        _write(tile, origin.value, (2, _HEADER + _TALL - 4), (255, 214, 10), wide)
        tiles.append(tile)
    return np.concatenate(tiles, axis=1)[:, :-_GAP]


def _write(tile: ByteArray, text: str, at: tuple[int, int], ink: tuple[int, int, int], wide: int) -> None:
    whole = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)[0][0]
    scale = 0.4 * min(1.0, (wide - 4) / whole)
    cv2.putText(tile, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA)


# ------------------------------------------------------------------ plots


def _plots(episode: Episode, stream: str) -> Iterator[Picture]:
    """One for the channels of each unit."""
    rows = episode.streams[stream]
    values = np.asarray(episode.array(stream), np.float64).reshape(len(episode), -1)
    seconds = (episode.times_ns - episode.times_ns[0]) / SECOND
    for unit, channels in _by_unit(rows.info.unit, values.shape[1]).items():
        names = [rows.info.names[c] if c < len(rows.info.names) else str(c) for c in channels[:CHANNELS]]
        drawing = draw_plot(values[:, channels[:CHANNELS]], seconds, rows.gap, names, unit)
        some = f", the first {CHANNELS} of {len(channels)} channels" if len(channels) > CHANNELS else ""
        yield Picture(
            source="data:image/svg+xml;base64," + base64.b64encode(drawing.encode()).decode(),
            alt=f"{stream} over time, {', '.join(names)}",
            caption=f"{stream} [{unit or 'unit not stated'}] of {episode.name}{some}",
        )


def _by_unit(unit: str, width: int) -> dict[str, list[int]]:
    each = [part.strip() for part in unit.split(",")] if "," in unit else [unit] * width
    each = each if len(each) == width else [unit] * width
    return {one: [c for c in range(width) if each[c] == one] for one in dict.fromkeys(each)}


def draw_plot(values_TD: FloatArray, seconds_T: FloatArray, gap_T: BoolArray, names: Sequence[str], unit: str) -> str:
    """An SVG: a line a channel, its name in its colour, the axes' ends in numbers."""
    values = np.where(gap_T[:, None], np.nan, values_TD)
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    end = float(seconds_T[-1]) if len(seconds_T) else 0.0
    across = _LEFT + _WIDE * seconds_T / max(end, 1e-9)
    part = (high - values) / (high - low) if high > low else np.where(np.isfinite(values), 0.5, np.nan)
    down = _TOP + _HIGH * part
    lines = [
        _line(points, colour)
        for column, colour in zip(down.T, _LINES, strict=False)
        for points in _pieces(across, column)
    ]
    middle = _TOP + _HIGH + _BELOW - 3
    labels = [
        _text(2, _TOP + 9, f"{high:.3g}"),
        _text(2, _TOP + _HIGH, f"{low:.3g}"),
        _text(2, _TOP + _HIGH / 2 + 4, unit),
        _text(_LEFT, middle, "0 s"),
        _text(_LEFT + _WIDE, middle, f"{end:.1f} s", anchor="end"),
    ]
    step = _WIDE / max(len(names), 1)
    below = middle + 15
    labels += [
        _text(_LEFT + step * i, below, _cut(name, step), ink=colour)
        for i, (name, colour) in enumerate(zip(names, _LINES, strict=False))
    ]
    frame = f'<rect x="{_LEFT}" y="{_TOP}" width="{_WIDE}" height="{_HIGH}" fill="none" stroke="#c9cdd3"/>'
    size = f'viewBox="0 0 {_LEFT + _WIDE + 4} {below + 6}" width="{_LEFT + _WIDE + 4}" height="{below + 6}"'
    style = 'font-family="sans-serif" font-size="11"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>{frame}{"".join(lines + labels)}</svg>'


def _line(points: Sequence[tuple[float, float]], colour: str) -> str:
    """A row that is known alone between gaps is a dot: a line of no length is not drawn."""
    if len(points) == 1:
        x, y = points[0]
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.5" fill="{colour}"/>'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.3"/>'


def _pieces(across_T: FloatArray, down_T: FloatArray) -> Iterator[list[tuple[float, float]]]:
    """Points of every run of known rows; of long ones the extremes of each stretch, so that no spike is lost."""
    known = np.isfinite(down_T)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        index = _kept(down_T[first:last]) + first
        yield [(float(across_T[i]), float(down_T[i])) for i in index]


def _kept(values: FloatArray) -> IntArray:
    if len(values) <= _POINTS:
        return np.arange(len(values))
    parts = np.array_split(np.arange(len(values)), _POINTS // 2)
    held = {int(i) for part in parts for i in (part[values[part].argmin()], part[values[part].argmax()])}
    return np.array(sorted(held | {0, len(values) - 1}))


def _cut(name: str, room: float) -> str:
    most = max(3, int(room / 6.2) - 1)
    return name if len(name) <= most else name[: most - 1] + "…"


def _text(x: float, y: float, text: str, *, anchor: str = "start", ink: str = "#5b6470") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{ink}">{escape(text)}</text>'
