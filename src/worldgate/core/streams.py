"""Logs and their streams: the types that every reader fills and every later stage reads.

Shape legend: N messages of a stream, T aligned rows, H x W pixels, C channels, D vector length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from worldgate.core.choices import settle
from worldgate.core.digest import canonical, sha256

Array: TypeAlias = NDArray[Any]
IntArray: TypeAlias = NDArray[np.int64]
FloatArray: TypeAlias = NDArray[np.floating[Any]]
ByteArray: TypeAlias = NDArray[np.uint8]
BoolArray: TypeAlias = NDArray[np.bool_]


class Origin(StrEnum):
    """Where data comes from. Never mixed unmarked: each array, file, row, picture and report carries one."""

    REAL = "real"
    SIMULATED = "simulated"
    IMAGINED = "imagined"


class Kind(StrEnum):
    """What a stream holds; decides how it may be resampled and drawn."""

    VECTOR = "vector"
    """(N, D) numbers: joints, forces, lidar ranges, environment state."""
    ACTION = "action"
    """(N, D) commands sent to the robot."""
    POSE = "pose"
    """(N, 7) x y z qx qy qz qw."""
    IMAGE = "image"
    """(N, H, W, 3) colour, uint8 RGB."""
    DEPTH = "depth"
    """(N, H, W) metres, float32; 0 is no return."""
    SEGMENTATION = "segmentation"
    """(N, H, W) class ids, uint8 or int32; 0 is background."""
    NORMALS = "normals"
    """(N, H, W, 3) unit normals, float32."""
    EVENT = "event"
    """(N,) JSON text, one message an event."""
    TEXT = "text"
    """(N,) text."""


IMAGE_LIKE = frozenset({Kind.IMAGE, Kind.DEPTH, Kind.SEGMENTATION, Kind.NORMALS})
NUMERIC = frozenset({Kind.VECTOR, Kind.ACTION, Kind.POSE})


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """What is known of a stream without reading its messages."""

    name: str
    """LeRobot's name where one exists: ``observation.state``, ``action``, ``observation.images.front``."""
    kind: Kind
    count: int
    """Messages in the log; -1 where the container does not say."""
    shape: tuple[int, ...] = ()
    """Shape of one message: ``(D,)``, ``(H, W, 3)``, ``()`` for events and text."""
    names: tuple[str, ...] = ()
    """Name of each of the D channels, where known."""
    unit: str = ""
    """SI unit of the values (``rad``, ``m``, ``N``, ``1``); several joined by commas, one a channel; empty: unknown."""
    frame: str = ""
    """Coordinate or optical frame, where known."""
    clock: str = "log"
    """Which clock ``times_ns`` is on: ``log``, ``publish``, ``header``, ``frame`` (index over declared rate)."""
    rate_hz: float = 0.0
    """Declared rate; 0 where none is declared."""
    topic: str = ""
    """The name inside the container, where it differs."""

    def __post_init__(self) -> None:
        settle(self)


@runtime_checkable
class Frames(Protocol):
    """Images of a stream, decoded on request so that a log never has to fit in memory."""

    def __len__(self) -> int: ...

    def read(self, indices: IntArray) -> Array:
        """Decode the frames of these indices, in this order: (K, H, W, 3) uint8 RGB, or the depth/segmentation form."""
        ...

    def content_digest(self) -> str:
        """SHA-256 over the encoded packets, in order: independent of any decoder."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One sensor or signal of a log with its native times."""

    info: StreamInfo
    times_ns: IntArray
    """(N,) on ``info.clock``, in recorded order: not necessarily sorted, checks look at that."""
    values: Array | Frames
    """(N, ...) numbers, (N,) object array of str for events and text, or lazily decoded frames."""
    log_times_ns: IntArray | None = None
    """(N,) when the recorder wrote each message, where that differs from ``times_ns``."""

    def __post_init__(self) -> None:
        assert self.times_ns.dtype == np.int64 and self.times_ns.ndim == 1, self.info.name
        assert len(self.times_ns) == len(self.values), self.info.name

    def __len__(self) -> int:
        return len(self.times_ns)

    @property
    def array(self) -> Array:
        """The values of a stream that is not lazily decoded."""
        assert isinstance(self.values, np.ndarray), f"{self.info.name} holds frames; use frames"
        return self.values

    @property
    def frames(self) -> Frames:
        """The frames of an image stream."""
        assert not isinstance(self.values, np.ndarray), f"{self.info.name} holds numbers; use array"
        return self.values

    def content_digest(self) -> str:
        """Content identity: name, kind, channel names, unit, native times, and values or encoded packets."""
        info = self.info
        head = canonical([info.name, info.kind, list(info.names), info.unit, info.frame])
        times = np.ascontiguousarray(self.times_ns, dtype="<i8").tobytes()
        if not isinstance(self.values, np.ndarray):
            body = self.values.content_digest().encode()
        elif self.values.dtype == object:
            body = canonical([str(v) for v in self.values])
        else:
            little = np.ascontiguousarray(self.values, dtype=self.values.dtype.newbyteorder("<"))
            body = f"{little.dtype.str}{little.shape}".encode() + little.tobytes()
        return sha256(head, b"\n", times, b"\n", body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something noticed about data, with the evidence for it."""

    check: str
    stream: str
    message: str
    value: float
    """The measured value, in ``unit``."""
    limit: float
    unit: str
    spans_ns: tuple[tuple[int, int], ...] = ()
    """Half-open time spans where it holds; empty: the whole log."""


class Log(Protocol):
    """One raw recording: an MCAP file, one episode of a LeRobot or RLDS dataset, one DROID trajectory."""

    @property
    def name(self) -> str:
        """What people call it: ``run.mcap``, ``episode_000028``."""
        ...

    @property
    def origin(self) -> Origin: ...

    @property
    def facts(self) -> Mapping[str, str | float | bool]:
        """What the log says of itself: task, success, robot, site, release digest, operator."""
        ...

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the reader noticed while opening: data lost by truncation, counts that disagree."""
        ...

    def streams(self) -> tuple[StreamInfo, ...]: ...

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        """Read one stream, whole or within the half-open window.

        Raises:
            NotFound: no such stream; the hint lists those there are.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFolder:
    """What a format found at a path: its logs and what does not belong to one log alone."""

    path: Path
    format: str
    logs: tuple[Log, ...]
    findings: tuple[Finding, ...] = field(default=())
    """Of the container as a whole: metadata that disagrees with the files present."""


def log_digest(log: Log) -> str:
    """A log's content identity: the content digests of its streams, whatever container they came in."""
    return sha256(canonical({info.name: log.read(info.name).content_digest() for info in log.streams()}))
