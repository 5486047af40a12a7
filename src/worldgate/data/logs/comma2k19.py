"""comma2k19 segments: one minute of a car's asynchronous sensors as NumPy arrays, each with its own times.

Source: https://github.com/commaai/comma2k19, arXiv:1812.05752. Layout: ``processed_log/<group>/<signal>/{t,value}`` and
``global_pose/frame_*``, files in NumPy's format without a suffix. They are mapped, never unpickled.

Times are seconds since the phone booted, as the recorder logged them (clock ``log``): spacing is exact to the ns, the
date is not known. The dataset's page and its arrays differ in three places, judged by the arrays: GNSS time stamps are
milliseconds, not seconds; the magnetometer reads about 42, so it is in microtesla, not tesla; the orientation turns
camera axes into ECEF (with it, velocity points forward), which is what a pose holds, not the reverse. Two of radar's
columns are NaN by definition and left out.

The pose is stamped with the video's frame times, so what the camera's times were stays known where the video is absent.
``video.hevc`` itself, a stream without times or an index, is not read; a finding says so where it is present.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Final

import numpy as np

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import Array, Finding, IntArray, Kind, LogFolder, Origin, Stream, StreamInfo
from worldgate.core.times import SECOND
from worldgate.data.logs._paths import files_of

CARD = {
    "line": "comma2k19 segments: car CAN, radar, IMU, GNSS and camera pose as NumPy arrays with native times",
    "inputs": "a segment folder with processed_log/ or global_pose/, or a folder of them",
    "source": "https://github.com/commaai/comma2k19",
}

_LATEST_S: Final = 9e9
"""Seconds that fit int64 nanoseconds."""
_DEVICE: Final = "device"
_FIX: Final = ("latitude", "longitude", "speed", "utc_timestamp", "altitude", "bearing")
_FRD: Final = ("forward", "right", "down")
_WHEELS: Final = ("front_left", "front_right", "rear_left", "rear_right")
_RADAR: Final = ("forward_distance", "left_distance", "relative_speed", "address", "new_track")
_POSE: Final = ("x", "y", "z", "qx", "qy", "qz", "qw")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signal:
    """What one signal of the dataset is."""

    name: str
    names: tuple[str, ...]
    unit: str
    frame: str = ""
    columns: tuple[int, ...] = ()
    """Columns that are taken; empty: all."""


def _imu(name: str, unit: str) -> _Signal:
    return _Signal(name=f"observation.imu.{name}", names=_FRD, unit=unit, frame=_DEVICE)


def _gnss(name: str) -> _Signal:
    return _Signal(name=f"observation.gnss.{name}", names=_FIX, unit="deg,deg,m/s,ms,m,deg", frame="WGS84")


_SIGNALS: Final[Mapping[str, _Signal]] = {
    "CAN/speed": _Signal(name="observation.state.speed", names=("speed",), unit="m/s"),
    "CAN/steering_angle": _Signal(name="observation.state.steering_angle", names=("steering_angle",), unit="deg"),
    "CAN/wheel_speed": _Signal(name="observation.state.wheel_speed", names=_WHEELS, unit="m/s"),
    "CAN/radar": _Signal(
        name="observation.radar", names=_RADAR, unit="m,m,m/s,1,1", frame="radar", columns=(0, 1, 2, 5, 6)
    ),
    "IMU/accelerometer": _imu("accelerometer", "m/s^2"),
    "IMU/gyro": _imu("gyro", "rad/s"),
    "IMU/gyro_bias": _imu("gyro_bias", "rad/s"),
    "IMU/gyro_uncalibrated": _imu("gyro_uncalibrated", "rad/s"),
    "IMU/magnetometer": _imu("magnetometer", "uT"),
    "IMU/magnetometer_uncalibrated": _imu("magnetometer_uncalibrated", "uT"),
    "GNSS/live_gnss_qcom": _gnss("qcom"),
    "GNSS/live_gnss_ublox": _gnss("ublox"),
}

_FRAME_TIMES: Final = "frame_times"
_POSE_FILES: Final = ("frame_positions", "frame_orientations")
_FRAMES: Final[Mapping[str, _Signal]] = {
    "frame_velocities": _Signal(name="observation.camera.velocity", names=("x", "y", "z"), unit="m/s", frame="ECEF"),
    "frame_gps_times": _Signal(name="observation.camera.gps_time", names=("gps_week", "time_of_week"), unit="1,s"),
}
"""What is known of every video frame beside its pose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """One stream: its times, and the arrays that its values are put together from."""

    info: StreamInfo
    times: Path
    values: tuple[Path, ...]
    columns: tuple[int, ...]


class Comma2k19Log:
    """One segment; arrays are mapped when read.

    Args:
        folder: the segment.
        name: what people call it.

    Raises:
        LogUnreadable: an array that is damaged, holds objects, or has a shape of another kind.
    """

    origin = Origin.REAL
    facts: Mapping[str, str | float | bool] = {"dataset": "comma2k19", "times": "seconds since boot; date unknown"}

    def __init__(self, folder: Path, *, name: str) -> None:
        self.name = name
        self._folder = folder
        self._findings: list[Finding] = []
        self._sources = {source.info.name: source for source in (*self._signals(), *self._frames())}
        if (folder / "video.hevc").exists():
            self._note(
                "undecodable", "observation.images.road", "video.hevc has no times and is not read", 1, 0, "files"
            )

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Arrays of one signal that differ in length, signals that are not known, and a video that is not read."""
        return tuple(self._findings)

    def streams(self) -> tuple[StreamInfo, ...]:
        """CAN, GNSS and IMU, then what is known of each frame."""
        return tuple(source.info for source in self._sources.values())

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        """Read one stream, whole or within the half-open window.

        Raises:
            NotFound: no such stream.
            LogUnreadable: a time that is no number, or beyond int64 nanoseconds.
        """
        source = self._sources.get(stream)
        if source is None:
            raise NotFound("no such stream", got=stream, where=self.name, hint=f"one of {', '.join(self._sources)}")
        times_ns = _times_ns(source.times)[: source.info.count]
        keep: slice | IntArray = slice(0, source.info.count)
        if window_ns is not None:
            keep = np.flatnonzero((times_ns >= window_ns[0]) & (times_ns < window_ns[1]))
        columns = [_matrix(_load(file))[keep] for file in source.values]
        values = np.concatenate(columns, axis=1)
        if source.columns:
            values = values[:, list(source.columns)]
        return Stream(info=source.info, times_ns=times_ns[keep], values=np.ascontiguousarray(values))

    # ---------------------------------------------------------------- opening

    def _signals(self) -> Iterator[_Source]:
        root = self._folder / "processed_log"
        for times in sorted(root.glob("*/*/t")):
            key = times.parent.relative_to(root).as_posix()
            signal = _SIGNALS.get(key)
            if signal is None or not (times.parent / "value").is_file():
                self._note("undecodable", key, f"{key} is not a signal that is read, and left out", 1, 0, "signals")
                continue
            yield self._source(signal, times, (times.parent / "value",), Kind.VECTOR, key)

    def _frames(self) -> Iterator[_Source]:
        root = self._folder / "global_pose"
        times = root / _FRAME_TIMES
        if not times.is_file():
            return
        pose = tuple(root / name for name in _POSE_FILES)
        if all(file.is_file() for file in pose):
            unit = "m,m,m,1,1,1,1"
            signal = _Signal(
                name="observation.camera.pose", names=_POSE, unit=unit, frame="ECEF", columns=(0, 1, 2, 4, 5, 6, 3)
            )
            yield self._source(signal, times, pose, Kind.POSE, "global_pose")
        for name, signal in _FRAMES.items():
            if (root / name).is_file():
                yield self._source(signal, times, (root / name,), Kind.VECTOR, f"global_pose/{name}")

    def _source(self, signal: _Signal, times: Path, values: tuple[Path, ...], kind: Kind, topic: str) -> _Source:
        lengths = [len(_load(file)) for file in (times, *values)]
        if len(set(lengths)) > 1:
            message = f"{topic}: {lengths[0]} times and {min(lengths[1:])} values; the shorter length is read"
            self._note("count_mismatch", signal.name, message, min(lengths), lengths[0], "messages")
        width = sum(_matrix(_load(file)).shape[1] for file in values)
        needed = max(signal.columns, default=len(signal.names) - 1) + 1
        if width != needed and (width < needed or not signal.columns):
            raise LogUnreadable("an array of another shape", got=f"{width} columns, not {needed}", where=values[0])
        info = StreamInfo(
            name=signal.name,
            kind=kind,
            count=min(lengths),
            shape=(len(signal.names),),
            names=signal.names,
            unit=signal.unit,
            frame=signal.frame,
            clock="log",
            topic=topic,
        )
        return _Source(info=info, times=times, values=values, columns=signal.columns)

    def _note(self, check: str, stream: str, message: str, value: float, limit: float, unit: str) -> None:
        self._findings.append(
            Finding(check=check, stream=stream, message=message, value=float(value), limit=float(limit), unit=unit)
        )


def _load(file: Path) -> Array:
    """Map an array of numbers; its header is read, its values stay on disk.

    Raises:
        LogUnreadable: not NumPy's format, cut off, of objects, or not of floats or integers.
    """
    try:
        array: Array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, TokenError, OverflowError, MemoryError) as error:
        got = " ".join(str(error).split())[:80]
        raise LogUnreadable("an array that cannot be read", got=got, where=file) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or array.ndim not in (1, 2):
        got = f"{getattr(array, 'dtype', type(array).__name__)} {getattr(array, 'shape', '')}"
        raise LogUnreadable("an array that is not rows of numbers", got=got, where=file)
    return array


def _matrix(array: Array) -> Array:
    return array[:, None] if array.ndim == 1 else array


def _times_ns(file: Path) -> IntArray:
    seconds = np.asarray(_load(file), dtype=np.float64)
    if seconds.ndim != 1 or not np.isfinite(seconds).all() or (np.abs(seconds) > _LATEST_S).any():
        raise LogUnreadable("times that are not finite seconds", got=f"{seconds.shape}", where=file)
    whole = np.floor(seconds)
    out: IntArray = whole.astype(np.int64) * SECOND + np.rint((seconds - whole) * SECOND).astype(np.int64)
    return out


def _segments(path: Path) -> list[Path]:
    """Folders that hold ``processed_log`` with times in it, or ``global_pose`` with frame times."""
    found = {file.parents[3] for file in path.rglob("processed_log/*/*/t")}
    found |= {file.parents[1] for file in path.rglob(f"global_pose/{_FRAME_TIMES}")}
    return sorted(found)


def detect(path: Path) -> bool:
    """A folder with ``processed_log/*/*/t`` or ``global_pose/frame_times``, itself or below it."""
    return path.is_dir() and bool(_segments(path))


def open_logs(path: Path) -> LogFolder:
    """Open every segment below a folder.

    Raises:
        NotFound: none there.
        LogUnreadable: an array that cannot be used.
    """
    segments = _segments(path) if path.is_dir() else []
    names = ["segment" if s == path else s.relative_to(path).as_posix() for s in segments]
    logs = tuple(Comma2k19Log(segment, name=name) for segment, name in zip(segments, names, strict=True))
    if not logs:
        raise NotFound("no comma2k19 segment in this folder", where=path)
    return LogFolder(path=path, format="comma2k19", logs=logs)


def units(path: Path) -> list[tuple[Path, ...]]:
    """The files of each segment, in the order of :func:`open_logs`; none where one segment lies inside another."""
    return files_of(_segments(path))
