"""The strip of a replay: recorded, imagined by each release, and their difference, with what each picture is burned in.

A bar stands at the valid horizon H(ε); every picture after it is greyed and says "not evidence". The words are part of
the pixels, so that no crop or re-encode loses them.

Shape legend: K steps, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from worldgate.core.atomic import atomic_path, write_atomic
from worldgate.core.errors import UsageError
from worldgate.core.streams import ByteArray, Origin
from worldgate.fleet.replay import Branch, Replay

NOT_EVIDENCE = "not evidence"
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_INK = (24, 24, 28)
_PAPER = (250, 250, 248)
_BAR = (200, 40, 40)
_GAP = 4
_HEADER = 26
_COLOURS = {Origin.REAL: (18, 110, 60), Origin.SIMULATED: (30, 80, 160), Origin.IMAGINED: (150, 70, 10)}
"""Background of the burned word: what a picture is can be told by colour and by word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StripConfig:
    """How a strip looks."""

    tile: int = 160
    """Height and width of a picture, pixels."""
    columns: int = 8
    """Most columns; at least half of them, where there are so many steps, lie within H."""
    gain: float = 3.0
    """By how much differences are multiplied before they are coloured."""


def strip(replay: Replay, camera: str, config: StripConfig | None = None) -> ByteArray:
    """Draw a strip: a row a branch and one for the difference of the first and the last imagined, a column a step.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        UsageError: the replay holds no pictures of this camera.
    """
    config = config or StripConfig()
    rows = _rows(replay, camera)
    chosen = columns(replay.config.steps, replay.valid(camera), config.columns)
    tiles = [[_tile(replay, camera, row, step, config) for step in chosen] for row in rows]
    grid = np.concatenate([_across(line) for line in tiles], axis=0)
    header = np.full((_HEADER, grid.shape[1], 3), _PAPER, dtype=np.uint8)
    for column, step in enumerate(chosen):
        text = f"+{(step + 1) / replay.rate_hz:.1f} s"
        cv2.putText(header, text, (column * (config.tile + _GAP) + 4, 18), _FONT, 0.5, _INK, 1, cv2.LINE_AA)
    picture = np.concatenate([header, grid], axis=0)
    _bar(picture, chosen, replay.valid(camera), replay.rate_hz, config.tile)
    return picture


def film(replay: Replay, camera: str, step: int, config: StripConfig | None = None) -> ByteArray:
    """All rows of one step side by side: (H, W, 3) uint8 RGB, the frame of a video."""
    config = config or StripConfig()
    return _across([_tile(replay, camera, row, step, config) for row in _rows(replay, camera)])


def columns(steps: int, valid: int, most: int) -> list[int]:
    """Steps to show, from 0: at least half of them within the horizon where it has so many, its last one included."""
    within = min(valid, steps)
    inside = min(within, max(most // 2, round(most * within / steps)), most - (within < steps))
    beyond = min(most - inside, steps - within)
    shown = {round(i) for i in np.linspace(0, within - 1, inside)} if inside > 1 else {within - 1} if inside else set()
    shown |= {round(i) for i in np.linspace(steps - 1, within, beyond)} if beyond else set()
    return sorted(shown)


def save_png(path: Path, picture: ByteArray) -> None:
    """Write (H, W, 3) RGB as PNG.

    Raises:
        AlreadyExists: ``path`` exists.
    """
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done
    write_atomic(path, data.tobytes())


def save_mp4(path: Path, replay: Replay, camera: str, config: StripConfig | None = None) -> None:
    """Write every step as a video at the replay's rate.

    Raises:
        AlreadyExists: ``path`` exists.
        UsageError: the replay holds no pictures of this camera.
    """
    first = film(replay, camera, 0, config)
    height, width = (size + size % 2 for size in first.shape[:2])  # H.264 in 4:2:0 needs even sizes
    with atomic_path(path) as partial, av.open(str(partial), "w", format="mp4") as container:
        rate = Fraction(replay.rate_hz).limit_denominator(1000)
        stream = container.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for step in range(replay.config.steps):
            canvas = np.full((height, width, 3), _PAPER, dtype=np.uint8)
            drawn = first if step == 0 else film(replay, camera, step, config)
            canvas[: drawn.shape[0], : drawn.shape[1]] = drawn
            container.mux(stream.encode(av.VideoFrame.from_ndarray(canvas, format="rgb24")))
        container.mux(stream.encode(None))


def _rows(replay: Replay, camera: str) -> list[Branch | None]:
    """Branches from top to bottom; ``None`` is the difference."""
    if not replay.imagined or camera not in replay.imagined[0].frames:
        known = ", ".join(replay.recorded.frames) or "no camera"
        raise UsageError("this replay holds no pictures of the camera", got=camera, hint=known)
    return [replay.recorded, *replay.imagined, *((None,) if len(replay.imagined) > 1 else ())]


def _tile(replay: Replay, camera: str, row: Branch | None, step: int, config: StripConfig) -> ByteArray:
    beyond = step >= replay.valid(camera)
    if row is None:
        first, last = replay.imagined[0], replay.imagined[-1]
        apart = replay.difference(first.name, last.name, camera)[step].astype(np.float32) * config.gain
        heat = cv2.applyColorMap(np.clip(apart, 0, 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
        picture = _scaled(cv2.cvtColor(heat, cv2.COLOR_BGR2RGB), config.tile)
        return _burned(picture, f"imagined difference {last.name} - {first.name}", _COLOURS[Origin.IMAGINED], beyond)
    if step >= len(row):
        blank = np.full((config.tile, config.tile, 3), 220, dtype=np.uint8)
        return _burned(blank, f"{row.origin}: not recorded", _COLOURS[row.origin], False)
    picture = _scaled(row.frames[camera][step], config.tile)
    if row is replay.recorded:
        return _burned(picture, str(row.origin), _COLOURS[row.origin], False)
    return _burned(picture, f"{row.origin} {row.name}", _COLOURS[row.origin], beyond)


def _scaled(picture: ByteArray, tile: int) -> ByteArray:
    grown = cv2.resize(picture, (tile, tile), interpolation=cv2.INTER_NEAREST)
    return np.ascontiguousarray(grown, dtype=np.uint8)


def _burned(picture: ByteArray, word: str, colour: tuple[int, int, int], beyond: bool) -> ByteArray:
    """Put the word into the pixels; grey what is not evidence and say so across it."""
    if beyond:
        grey = picture.mean(axis=2, keepdims=True) * 0.35 + 140
        picture = np.repeat(grey, 3, axis=2).astype(np.uint8)
        _write(picture, NOT_EVIDENCE, picture.shape[0] // 2, (90, 90, 90))
    _write(picture, word, 0, colour)
    return picture


def _write(picture: ByteArray, word: str, top: int, colour: tuple[int, int, int]) -> None:
    scale = 0.42
    (width, height), _ = cv2.getTextSize(word, _FONT, scale, 1)
    if width + 8 > picture.shape[1]:
        scale *= picture.shape[1] / (width + 8)
        (width, height), _ = cv2.getTextSize(word, _FONT, scale, 1)
    picture[top : top + height + 8, : width + 8] = colour
    cv2.putText(picture, word, (4, top + height + 4), _FONT, scale, (255, 255, 255), 1, cv2.LINE_AA)


def _across(tiles: Sequence[ByteArray]) -> ByteArray:
    """Pictures side by side, a gap to the right of and below each."""
    padded = [np.pad(t, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=_PAPER[0]) for t in tiles]
    return np.concatenate(padded, axis=1)


def _bar(picture: ByteArray, chosen: Sequence[int], valid: int, rate_hz: float, tile: int) -> None:
    """A vertical bar between the last column within H and the first beyond it, named in the header."""
    inside = sum(step < valid for step in chosen)
    x = max(0, inside * (tile + _GAP) - _GAP)
    picture[:, x : x + _GAP] = _BAR
    text = f"H = {valid / rate_hz:.1f} s"
    width = cv2.getTextSize(text, _FONT, 0.5, 1)[0][0]
    text_x = x - width - 6 if inside else x + tile - width  # left of the bar, beside the last valid time
    cv2.putText(picture, text, (text_x, 18), _FONT, 0.5, _BAR, 1, cv2.LINE_AA)
