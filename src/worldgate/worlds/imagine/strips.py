"""A rollout as one small picture: what was recorded in the first row, what was imagined below, over time.

Pictures that the model was shown have a frame around them; where there is nothing to show the strip is empty. Every
picture carries the word of its origin. Colours are rounded to 32 levels, which halves the file and is not seen.

Shape legend: B samples, K steps, H x W pixels.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from worldgate.core.atomic import atomic_path
from worldgate.core.episodes import Episode
from worldgate.core.streams import ByteArray
from worldgate.core.worlds import Rollout
from worldgate.data import clips
from worldgate.evidence.prompts import Asked
from worldgate.worlds.imagine.files import shown
from worldgate.worlds.imagine.marks import burn

COLUMNS = 8
"""Most pictures of a row."""
ROWS = 2
"""Most samples that are shown."""
_BEFORE = 2
"""Most known pictures up to now that are shown."""
_GAP = 2
_SIDE = 64
_SHOWN = np.array([40, 220, 90], np.uint8)
_LEVEL = 8


def write_strip(path: Path, rollout: Rollout, episode: Episode, row: int, asked: Asked, *, context: int) -> Path:
    """Write the first camera's strip as PNG.

    Args:
        path: made here.
        rollout: of the episode; with frames.
        episode: where the prompt was cut.
        row: the last row before the imagined ones.
        asked: what the model was shown.
        context: rows that a model is shown if it was not asked otherwise.

    Raises:
        AlreadyExists: the file exists.
    """
    camera = sorted(rollout.frame.frames)[0]
    imagined = burn(shown_at(rollout, camera))
    side = imagined.shape[2]
    held = clips.pictures(episode, camera, (side, imagined.shape[3]))
    known = min(context if asked.rows is None else asked.rows, _BEFORE)
    steps = [*range(1 - known, 1), *_spread(rollout.horizon, asked.ahead, COLUMNS - known)]
    recorded = burn(np.asarray(held), episode.origin)
    blank = np.full(imagined.shape[2:], 255, np.uint8)
    lines = [[_at(recorded, row + step, shown=step <= 0 or step in asked.ahead) for step in steps]]
    for pictures in imagined[:ROWS]:
        lines.append([pictures[step - 1] if step > 0 else blank for step in steps])
    sheet = np.concatenate([_beside(line) for line in lines])[: -_GAP or None, : -_GAP or None]
    sheet = np.minimum(sheet.astype(np.int64) // _LEVEL * _LEVEL + _LEVEL // 2, 255).astype(np.uint8)
    with atomic_path(path) as partial:
        _, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])
        partial.write_bytes(data.tobytes())
    return path


def shown_at(rollout: Rollout, camera: str) -> ByteArray:
    """(B, K, H, W, 3) a camera's pictures as colour, of a few samples."""
    return np.stack([shown(pictures) for pictures in rollout.frame.frames[camera][:ROWS]])


def _spread(horizon: int, ahead: tuple[int, ...], most: int) -> list[int]:
    """Steps that are shown: the last one, those known ahead, and others evenly between."""
    picked = set(np.linspace(1, horizon, min(most, horizon)).round().astype(int).tolist())
    for step in ahead:
        if step <= horizon and step not in picked:
            free = sorted(picked - set(ahead))
            picked ^= {free[int(np.abs(np.array(free) - step).argmin())], step}
    return sorted(picked)


def _at(pictures: ByteArray, row: int, *, shown: bool) -> ByteArray:
    """A recorded picture; empty where the recording has ended; framed where the model was shown it."""
    if row >= len(pictures):
        return np.full(pictures.shape[1:], 255, np.uint8)
    out: ByteArray = pictures[row].copy()
    if shown:
        edge = max(1, len(out) // 32)
        out[:edge], out[-edge:], out[:, :edge], out[:, -edge:] = _SHOWN, _SHOWN, _SHOWN, _SHOWN
    return out


def _beside(pictures: list[ByteArray]) -> ByteArray:
    times = max(1, _SIDE // len(pictures[0]))
    grown = [np.repeat(np.repeat(p, times, axis=0), times, axis=1) for p in pictures]
    return np.concatenate([np.pad(p, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255) for p in grown], axis=1)
