"""Where a clip's frames come from: the clip cache, or the recording itself.

Readers are described by small values that can be sent to another process, and opened where they are used; the last few
hundred files stay open.

Shape legend: K rows, H x W pixels.
"""

from __future__ import annotations

import pickle
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.errors import UsageError
from worldgate.core.streams import Array, Frames, IntArray, Kind
from worldgate.data import clip_cache, codecs, scaling
from worldgate.data.alignment import AlignedFrames
from worldgate.data.clip_cache import ClipSpec
from worldgate.data.codecs import ClipReader
from worldgate.data.codecs._file import ClipFile

_OPEN: Final = 512


@runtime_checkable
class ReadsInto(Protocol):
    """Frames that can be written straight into a batch, at its size."""

    def read_into(self, indices: IntArray, out: Array) -> None:
        """Write the frames of these indices, in this order, into ``out`` (K, H, W, 3), scaled to its size."""
        ...


@runtime_checkable
class Reopens(Protocol):
    """Frames that stand in for those of a log until one is read."""

    def opened(self) -> Frames:
        """The log's own frames."""
        ...


class Source(Protocol):
    """One camera of one episode."""

    def into(self, rows: IntArray, out: Array) -> None:
        """Write these rows, in this order, into ``out`` (K, H, W, ...), at its size."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """A file of the clip cache."""

    path: Path
    codec: str

    def into(self, rows: IntArray, out: Array) -> None:
        _OPENED.get(self).into(rows, out)


class _Opened(threading.local):
    """A thread's open files of the clip cache, the last used at the end."""

    def __init__(self) -> None:
        self._held: OrderedDict[Cached, ClipReader] = OrderedDict()

    def get(self, source: Cached) -> ClipReader:
        reader = self._held.get(source)
        if reader is None:
            reader = self._held[source] = codecs.load(source.codec).reader(ClipFile.open(source.path))
            if len(self._held) > _OPEN:
                self._held.popitem(last=False)[1].close()
        self._held.move_to_end(source)
        return reader

    def forget(self) -> None:
        """Close all: a file was made again."""
        for reader in self._held.values():
            reader.close()
        self._held.clear()


_OPENED = _Opened()


def forget() -> None:
    """Close this thread's files of the clip cache: one was made again."""
    _OPENED.forget()


@dataclass(frozen=True, slots=True, kw_only=True)
class Direct:
    """A camera of the recording itself: decoded where it lies, straight to the size that is wanted."""

    values: Array | Frames
    kind: Kind

    def into(self, rows: IntArray, out: Array) -> None:
        values = self.values
        if isinstance(values, AlignedFrames) and isinstance(values.frames, ReadsInto) and self.kind is Kind.IMAGE:
            messages = values.index[rows]
            values.frames.read_into(np.maximum(messages, 0), out)
            out[messages < 0] = 0
            return
        for image, place in zip(
            values[rows] if isinstance(values, np.ndarray) else values.read(rows), out, strict=True
        ):
            scaling.scale_into(image, place, self.kind)


def cached(cache: Path, episodes: Sequence[Episode], specs: Sequence[ClipSpec]) -> list[list[Source]]:
    """Sources of every episode, camera by camera, from files that :func:`clip_cache.ensure` has made."""
    return [
        [Cached(path=clip_cache.path_of(cache, episode, spec), codec=spec.codec) for spec in specs]
        for episode in episodes
    ]


def direct(episodes: Sequence[Episode], cameras: Sequence[str], *, portable: bool) -> list[list[Source]]:
    """Sources of every episode, camera by camera, from the recordings.

    Args:
        episodes: whose cameras.
        cameras: which.
        portable: they will be sent to another process.

    Raises:
        UsageError: a recording that cannot be sent.
    """
    out: list[list[Source]] = [
        [Direct(values=_opened(episode, name), kind=episode.streams[name].info.kind) for name in cameras]
        for episode in episodes
    ]
    if portable and out:
        _refuse_unportable(out[0], episodes[0].name)
    return out


def _opened(episode: Episode, name: str) -> Any:
    values = episode.streams[name].values
    if isinstance(values, AlignedFrames) and isinstance(values.frames, Reopens):
        return values.over(values.frames.opened())
    return values


def _refuse_unportable(sources: Sequence[Source], where: str) -> None:
    try:
        pickle.dumps(sources)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise UsageError(
            "pictures that lie in this kind of log cannot be read by other processes",
            got=str(error)[:80],
            where=where,
            hint="workers = 0, or a clip cache (codec = 'auto')",
        ) from error
