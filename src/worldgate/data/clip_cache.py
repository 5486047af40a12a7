"""The clip cache: each camera of each episode once, at the size that models take, in one file of a clip codec.

Disposable: files stand in the workspace's cache under episode id, camera, size and codec; what is missing, damaged or
of another form is made again. Frames come to their size as everywhere else (:mod:`worldgate.data.scaling`).

Which codec is a question of memory: raw frames are read tens of times faster than any codec decodes, as long as they
stay in the page cache, and slower than all of them once they do not.

Shape legend: T rows, H x W pixels.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from worldgate.core.digest import sha256
from worldgate.core.episodes import Episode
from worldgate.core.errors import NotFound, Tampered
from worldgate.core.machine import memory_bytes
from worldgate.core.streams import IMAGE_LIKE, Array, Kind
from worldgate.data import codecs, scaling
from worldgate.data.codecs._file import ClipFile, ClipHeader, write
from worldgate.data.scaling import Pixels

RAW_SHARE: Final = 0.5
"""Of memory that raw frames may fill: the rest is for training."""
DISK_SHARE: Final = 0.8
"""Of the free disk that a cache may fill."""
JPEG_PART: Final = 1 / 7
"""Of the raw bytes that a JPEG of quality 90 takes: at 96 px; larger pictures take less."""

_BATCH: Final = 64

_logger = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSpec:
    """How clips of one stream are kept."""

    stream: str
    height: int
    width: int
    codec: str
    group: int = 1
    """Clip length, for a codec whose frames decode in groups."""


def stream_kind(episode: Episode, stream: str) -> Kind:
    """What an image stream holds.

    Raises:
        NotFound: no such camera.
    """
    rows = episode.streams.get(stream)
    if rows is None or rows.info.kind not in IMAGE_LIKE:
        cameras = [name for name, held in episode.streams.items() if held.info.kind in IMAGE_LIKE]
        raise NotFound("no such camera", got=stream, where=episode.name, hint=f"one of {', '.join(cameras)}")
    return rows.info.kind


def spec_of(episode: Episode, stream: str, size: Pixels, codec: str, group: int) -> ClipSpec:
    """How a stream is kept under a codec; what a codec for pictures cannot hold is kept raw.

    Raises:
        NotFound: no such camera or codec.
    """
    height, width = scaling.pair(size)
    name = codec if stream_kind(episode, stream) is Kind.IMAGE else "raw"
    grouped = codecs.load(name).GROUPED
    return ClipSpec(stream=stream, height=height, width=width, codec=name, group=group if grouped else 1)


def path_of(cache: Path, episode: Episode, spec: ClipSpec) -> Path:
    """Where a camera of an episode is cached."""
    label = sha256(spec.stream.encode())[:16]  # camera names are not file names
    suffix = spec.codec if spec.group == 1 else f"{spec.codec}-{spec.group}"
    return cache / "clips" / f"{episode.id}-{label}-{spec.height}x{spec.width}.{suffix}"


def ensure(
    episodes: Sequence[Episode],
    specs: Sequence[ClipSpec],
    *,
    cache: Path,
    workers: int = 0,
    anew: bool = False,
    progress: Progress | None = None,
) -> None:
    """Make every file that is missing, damaged or of another form.

    Args:
        episodes: whose cameras.
        specs: how each stream is kept.
        cache: the workspace's cache folder.
        workers: files made at once; 0: as many as there are cores.
        anew: make every file, for one was found damaged; readers of the old one are not disturbed.
        progress: called after every file, with files done, files in all, and its episode.

    Raises:
        UsageError: a frame that a codec cannot hold.
    """
    tasks = [(episode, spec) for episode in episodes for spec in specs]
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        made = pool.map(lambda task: _ensure(cache, *task, anew=anew), tasks)
        for done, (task, _) in enumerate(zip(tasks, made, strict=True)):
            if progress is not None:
                progress(done + 1, len(tasks), task[0].name)


def _ensure(cache: Path, episode: Episode, spec: ClipSpec, *, anew: bool = False) -> None:
    path = path_of(cache, episode, spec)
    header = _header(episode, spec)
    try:
        file = ClipFile.open(path)
    except FileNotFoundError:
        pass
    except Tampered as error:
        _logger.warning("%s is made again: %s", path, error.got)
    else:
        file.close()
        same = replace(file.header, start=0) == header
        if same and not anew:
            return
        _logger.warning("%s is made again: %s", path, "a frame is damaged" if same else "it holds something else")
    codec = codecs.load(spec.codec)
    write(path, header, codec.encode(_scaled(episode, header), spec.group), share=codec.LOSSY is not None)


def _header(episode: Episode, spec: ClipSpec) -> ClipHeader:
    rows = episode.streams[spec.stream]
    kind = rows.info.kind
    shape = (spec.height, spec.width) if kind in {Kind.DEPTH, Kind.SEGMENTATION} else (spec.height, spec.width, 3)
    return ClipHeader(
        episode=episode.id,
        camera=spec.stream,
        kind=kind,
        origin=episode.origin,
        codec=spec.codec,
        group=spec.group,
        frames=len(episode),
        shape=shape,
        dtype=frame_type(episode, spec.stream),
        scaling=scaling.rule(kind),
    )


def frame_type(episode: Episode, stream: str) -> str:
    """The type of a stream's pixels."""
    rows = episode.streams[stream]
    if rows.info.kind is Kind.IMAGE:
        return "uint8"
    values = rows.values
    one = values[:1] if isinstance(values, np.ndarray) else values.read(np.zeros(1, np.int64))
    return one.dtype.name


def _scaled(episode: Episode, header: ClipHeader) -> Iterator[Array]:
    """Every frame of a stream at the cache's size."""
    values = episode.streams[header.camera].values
    for start in range(0, len(episode), _BATCH):
        rows = np.arange(start, min(start + _BATCH, len(episode)), dtype=np.int64)
        for image in values[rows] if isinstance(values, np.ndarray) else values.read(rows):
            out = np.empty(header.shape, header.dtype)
            scaling.scale_into(image, out, header.kind)
            yield out


def decoded(episode: Episode, spec: ClipSpec) -> Array:
    """All frames of a camera at this size, without a cache: (T, H, W, ...)."""
    header = _header(episode, spec)
    out = np.empty((len(episode), *header.shape), header.dtype)
    for row, frame in enumerate(_scaled(episode, header)):
        out[row] = frame
    return out


def mapped(cache: Path, episode: Episode, spec: ClipSpec) -> Array:
    """All frames of a camera kept raw, mapped read-only: (T, H, W, ...); every bit is held against its checksum."""
    assert spec.codec == "raw", spec
    for again in (False, True):
        _ensure(cache, episode, spec, anew=again)
        path = path_of(cache, episode, spec)
        file = ClipFile.open(path)
        try:
            frames = file.mapped()
            for row in range(len(episode)):
                file.check(row, frames[row])
            return frames
        except Tampered:
            if again:
                raise
        finally:
            file.close()
    raise AssertionError("unreachable")


def raw_bytes(episodes: Sequence[Episode], streams: Sequence[str], size: Pixels) -> int:
    """Bytes that these cameras take as raw frames."""
    height, width = scaling.pair(size)
    return sum(len(episode) for episode in episodes) * len(streams) * height * width * 3


def choose(raw: int, *, cache: Path, memory: int | None = None, free: int | None = None) -> str:
    """The codec for a data set: raw while it fits in memory, JPEG while that fits on the disk, else H.264.

    Args:
        raw: bytes of all frames at this size.
        cache: where files will lie.
        memory: bytes; None: what this process may use.
        free: bytes free on the disk; None: asked of the file system.
    """
    held = memory_bytes() if memory is None else memory
    room = DISK_SHARE * (_free(cache) if free is None else free)
    if raw <= RAW_SHARE * held and raw <= room:
        return "raw"
    return "jpeg" if raw * JPEG_PART <= room else "h264"


def _free(cache: Path) -> int:
    folder = next(path for path in (cache, *cache.parents) if path.exists())
    return shutil.disk_usage(folder).free
