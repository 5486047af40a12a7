"""Clips: an episode's cameras at a model's size, its numbers as arrays, and the windows that hold no gap.

Resized frames are kept as ``.npy`` memory maps under episode id, camera and size in the workspace's cache; the
first read decodes, later ones map. Deleting the cache costs time only.

Shape legend: T rows, H x W pixels, D channels, W windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from worldgate.core.atomic import atomic_path
from worldgate.core.digest import sha256
from worldgate.core.episodes import Episode
from worldgate.core.errors import NotFound
from worldgate.core.streams import ByteArray, FloatArray, IntArray, Kind
from worldgate.data.alignment import AlignedFrames

_BATCH = 64


def frames(episode: Episode, camera: str, size: int | tuple[int, int], *, cache: Path | None = None) -> ByteArray:
    """A camera's frames, resized by area averaging: (T, H, W, 3) uint8 RGB, read-only where it comes from the cache.

    Args:
        episode: from :func:`worldgate.data.datasets.load`, or any other.
        camera: name of an image stream.
        size: height and width; one number is a square, whatever the camera's own proportions.
        cache: folder for the resized frames; None: the workspace's, where the episode knows one.

    Raises:
        NotFound: no such camera.
    """
    rows = episode.streams.get(camera)
    cameras = [name for name, held in episode.streams.items() if held.info.kind is Kind.IMAGE]
    if rows is None or camera not in cameras:
        raise NotFound("no such camera", got=camera, where=episode.name, hint=f"one of {', '.join(cameras)}")
    height, width = (size, size) if isinstance(size, int) else size
    folder = cache or (rows.values.cache if isinstance(rows.values, AlignedFrames) else None)
    if folder is None:
        return _resized(episode, camera, height, width)
    label = sha256(camera.encode())[:16]  # camera names are not file names
    path = folder / "clips" / f"{episode.id}-{label}-{height}x{width}.npy"
    if not path.is_file():
        clip = _resized(episode, camera, height, width)
        with atomic_path(path, overwrite=True) as partial, partial.open("wb") as file:
            np.save(file, clip)
    held: ByteArray = np.load(path, mmap_mode="r", allow_pickle=False)
    return held


def _resized(episode: Episode, camera: str, height: int, width: int) -> ByteArray:
    values = episode.streams[camera].values
    out = np.empty((len(episode), height, width, 3), np.uint8)
    for start in range(0, len(episode), _BATCH):
        rows = np.arange(start, min(start + _BATCH, len(episode)), dtype=np.int64)
        batch = values[rows] if isinstance(values, np.ndarray) else values.read(rows)
        for row, image in zip(rows, batch, strict=True):
            out[row] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return out


def arrays(episodes: Sequence[Episode], streams: Sequence[str]) -> Mapping[str, list[FloatArray]]:
    """Numbers of these streams: stream -> one (T, D) array an episode.

    Raises:
        NotFound: an episode without one of them.
    """
    for episode in episodes:
        for name in streams:
            if name not in episode.streams:
                raise NotFound(
                    "no such stream", got=name, where=episode.name, hint=f"one of {', '.join(episode.streams)}"
                )
    return {name: [e.array(name).reshape(len(e), -1) for e in episodes] for name in streams}


def windows(
    episode: Episode, context: int, horizon: int, stride: int = 1, *, streams: Sequence[str] | None = None
) -> IntArray:
    """(W,) first rows of every run of ``context + horizon`` rows without a gap.

    Args:
        episode: where to look.
        context: rows a model is prompted with.
        horizon: rows it must answer.
        stride: rows between the starts considered.
        streams: whose gaps count; None: all.
    """
    assert context > 0 and horizon >= 0 and stride > 0
    length = context + horizon
    gap = np.zeros(len(episode), bool)
    for name in episode.streams if streams is None else streams:
        gap |= episode.streams[name].gap
    before = np.concatenate([[0], np.cumsum(gap)])
    starts = np.arange(0, max(0, len(episode) - length + 1), stride, dtype=np.int64)
    return np.asarray(starts[before[starts + length] == before[starts]])
