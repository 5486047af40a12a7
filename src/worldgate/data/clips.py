"""Clips: an episode's cameras at a model's size, its numbers as arrays, and the windows that hold no gap.

Resized frames are kept raw in the clip cache (:mod:`worldgate.data.clip_cache`): the first read decodes, later ones
map.

Shape legend: T rows, H x W pixels, D channels, W windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.errors import NotFound
from worldgate.core.streams import Array, ByteArray, FloatArray, IntArray, Kind
from worldgate.data import clip_cache
from worldgate.data.alignment import AlignedFrames

_AT_ONCE = 64
"""Depth pictures decoded at full size together."""


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
    if rows is None or rows.info.kind is not Kind.IMAGE:
        cameras = [name for name, held in episode.streams.items() if held.info.kind is Kind.IMAGE]
        raise NotFound("no such camera", got=camera, where=episode.name, hint=f"one of {', '.join(cameras)}")
    folder = cache or (rows.values.cache if isinstance(rows.values, AlignedFrames) else None)
    spec = clip_cache.spec_of(episode, camera, size, "raw", 1)
    return clip_cache.decoded(episode, spec) if folder is None else clip_cache.mapped(folder, episode, spec)


def geometry(episode: Episode, camera: str, size: int) -> Array:
    """A depth or segmentation stream's pictures: (T, S, S), each pixel the nearest of the source's, never a mean.

    Args:
        episode: from :func:`worldgate.data.datasets.load`, or any other.
        camera: name of a depth or segmentation stream.
        size: pixels a side.

    Raises:
        NotFound: no such stream.
    """
    rows = episode.streams.get(camera)
    if rows is None or rows.info.kind not in {Kind.DEPTH, Kind.SEGMENTATION}:
        raise NotFound("no such depth or segmentation stream", got=camera, where=episode.name)
    if isinstance(rows.values, AlignedFrames) and rows.values.cache is not None:
        return clip_cache.mapped(rows.values.cache, episode, clip_cache.spec_of(episode, camera, size, "raw", 1))
    parts = []
    for first in range(0, len(episode), _AT_ONCE):
        indices = np.arange(first, min(first + _AT_ONCE, len(episode)))
        values = rows.values[indices] if isinstance(rows.values, np.ndarray) else rows.values.read(indices)
        down, across = (((np.arange(size) + 0.5) * side / size).astype(np.int64) for side in values.shape[1:3])
        parts.append(values[:, down[:, None], across])
    return np.concatenate(parts)


def pictures(episode: Episode, camera: str, size: tuple[int, int]) -> Array:
    """A camera's pictures of any kind: colour as :func:`frames`, depth and classes as :func:`geometry`.

    Raises:
        NotFound: no such camera.
    """
    rows = episode.streams.get(camera)
    if rows is not None and rows.info.kind in {Kind.DEPTH, Kind.SEGMENTATION}:
        return geometry(episode, camera, size[0])
    return frames(episode, camera, size)


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
