"""DROID episodes as Ctrl-World packs them: a JSON of states and actions, and one mp4 a camera.

Source: https://github.com/Robert-gyj/Ctrl-World (MIT), DROID https://droid-dataset.github.io. Layout:
``annotation/<split>/<id>.json`` and ``videos/<split>/<id>/<camera>.mp4``.

Times. Neither file holds a capture time. In ``droid_subset`` the arrays are at 15 Hz and the videos at 5 Hz:
``states`` (one row a frame) equals every third row of the 15 Hz state to the bit in all 11 episodes, and
``video_length`` is ``ceil(raw_length / 3)``, so frame ``k`` goes with row ``3 k``. In ``droid_new_setup`` there is one
state a frame, and the only rate stated is the videos' own, 4 Hz. Motion agrees: the rank correlation of joint speed
and image change, in the mean of all cameras, is highest at lag 0 in both (0.47 and 0.53); at the 15 Hz of the rows it
is flat within one row (67 ms), so a camera latency below that cannot be told. Frame times are the videos' own; rows
are spread evenly between them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import Array, Finding, FloatArray, IntArray, Kind, LogFolder, Origin, Stream, StreamInfo
from worldgate.core.times import SECOND
from worldgate.data.logs._paths import inside
from worldgate.data.logs._video import VideoFrames, VideoIndex, video_index

CARD = {
    "line": "DROID episodes as Ctrl-World packs them: JSON of states and actions, one mp4 a camera",
    "inputs": "a folder with annotation/<split>/*.json and videos/<split>/<id>/<camera>.mp4",
    "source": "https://github.com/Robert-gyj/Ctrl-World",
}

_ARM: Final = tuple(f"joint_{i}" for i in range(1, 8))
_TOOL: Final = ("x", "y", "z", "roll", "pitch", "yaw")
_TOOL_UNIT: Final = "m,m,m,rad,rad,rad"
_GRIPPER: Final = ("gripper",)
_MAX_JSON: Final = 1 << 28


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Columns that one JSON array adds to a stream."""

    key: str
    names: tuple[str, ...]
    unit: str


_JOINTS = _Part(key="{}.joint_position", names=_ARM, unit=",".join(["rad"] * 7))
_POSE = _Part(key="{}.cartesian_position", names=_TOOL, unit=_TOOL_UNIT)
_GRIP = _Part(key="{}.gripper_position", names=_GRIPPER, unit="1")


def _at(part: _Part, side: str) -> _Part:
    return _Part(key=part.key.format(side), names=part.names, unit=part.unit)


_RAW: Final[Mapping[str, tuple[_Part, ...]]] = {
    "observation.state": tuple(_at(part, "observation.state") for part in (_JOINTS, _GRIP)),
    "observation.state.tool": (_at(_POSE, "observation.state"),),
    "action": tuple(_at(part, "action") for part in (_POSE, _GRIP)),
    "action.joint_position": (_at(_JOINTS, "action"),),
    "action.joint_velocity": (_Part(key="action.joint_velocity", names=_ARM, unit=",".join(["rad/s"] * 7)),),
}
"""Streams of ``droid_subset``: 15 Hz."""

_FRAMED: Final[Mapping[str, tuple[_Part, ...]]] = {
    "observation.state": (_Part(key="joints", names=(*_ARM, "gripper"), unit=",".join(["rad"] * 7 + ["1"])),),
    "observation.state.tool": (_Part(key="states", names=(*_TOOL, "gripper"), unit=f"{_TOOL_UNIT},1"),),
}
"""Streams of ``droid_new_setup``: one row a frame."""


class DroidLog:
    """One trajectory.

    Args:
        root: the folder that holds ``annotation`` and ``videos``.
        annotation: the JSON file.
        name: what people call it.

    Raises:
        LogUnreadable: JSON that is not this layout, or a video that is missing.
    """

    origin = Origin.REAL

    def __init__(self, root: Path, annotation: Path, *, name: str) -> None:
        self.name = name
        self._where = annotation
        self._tree = _read_json(annotation)
        self._videos = {
            f"observation.images.{i}": _video_path(root, item, annotation)
            for i, item in enumerate(self._get("videos", list))
        }
        if not self._videos:
            raise LogUnreadable("an episode without videos", where=annotation)
        layout = _RAW if "raw_length" in self._tree else _FRAMED
        self._arrays = {stream: self._stack(parts) for stream, parts in layout.items()}
        self._layout = layout
        lengths = {name: len(array) for name, array in self._arrays.items()}
        if len(set(lengths.values())) != 1:
            raise LogUnreadable("states and actions of different lengths", got=lengths, where=annotation)
        self._rows = next(iter(lengths.values()))

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are its own."""
        return (self._where, *dict.fromkeys(self._videos.values()))

    @cached_property
    def facts(self) -> Mapping[str, str | float | bool]:
        """Task, success label, how rows and frames relate, and the duration that the annotation states in frames."""
        texts = self._get("texts", list)
        out: dict[str, str | float | bool] = {"task": str(texts[0]) if texts else "", "robot": "franka"}
        if "success" in self._tree:
            out["success"] = bool(self._tree["success"])
        out["rows_per_frame"] = float(self._ratio)
        out["video_rate_hz"] = self._index.rate_hz
        stated = self._tree.get("video_length")
        if isinstance(stated, int) and stated > 0 and self._index.rate_hz > 0:
            out["duration_s"] = stated / self._index.rate_hz
        return out

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Counts of frames, rows and metadata that disagree."""
        expected = -(-self._rows // self._ratio)
        out = []
        for name, path in self._videos.items():
            frames = len(video_index(path).pts)
            if frames != expected:
                out.append(self._mismatch(name, f"{frames} frames for {self._rows} rows", frames, expected))
        stated = self._tree.get("video_length")
        if isinstance(stated, int) and stated != expected:
            out.append(self._mismatch("", f"video_length says {stated}", stated, expected))
        return tuple(out)

    def _mismatch(self, stream: str, message: str, value: int, limit: int) -> Finding:
        return Finding(
            check="count_mismatch",
            stream=stream,
            message=f"{message}, {limit} expected",
            value=float(value),
            limit=float(limit),
            unit="frames",
        )

    def streams(self) -> tuple[StreamInfo, ...]:
        """Numbers, then cameras."""
        return tuple(self._info(name) for name in (*self._arrays, *self._videos))

    def _info(self, name: str) -> StreamInfo:
        if name in self._videos:
            index = video_index(self._videos[name])
            shape: tuple[int, ...] = (index.height, index.width, 3)
            return StreamInfo(
                name=name, kind=Kind.IMAGE, count=len(index.pts), shape=shape, clock="frame", rate_hz=index.rate_hz
            )
        parts = self._layout[name]
        return StreamInfo(
            name=name,
            kind=Kind.ACTION if name.split(".")[0] == "action" else Kind.VECTOR,
            count=self._rows,
            shape=self._arrays[name].shape[1:],
            names=tuple(n for part in parts for n in part.names),
            unit=",".join(part.unit for part in parts),
            frame="base" if any(part.unit.startswith("m,") for part in parts) else "",
            clock="frame",
            rate_hz=self._index.rate_hz * self._ratio,
            topic=" ".join(part.key for part in parts),
        )

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        """Read one stream, whole or within the half-open window.

        Raises:
            NotFound: no such stream.
        """
        if stream not in self._arrays and stream not in self._videos:
            hint = f"one of {', '.join((*self._arrays, *self._videos))}"
            raise NotFound("no such stream", got=stream, where=self.name, hint=hint)
        video = self._videos.get(stream)
        times_ns = self._row_times if video is None else video_index(video).times_ns()
        keep = np.arange(len(times_ns), dtype=np.int64)
        if window_ns is not None:
            keep = keep[(times_ns >= window_ns[0]) & (times_ns < window_ns[1])]
        values: Array | VideoFrames = (
            self._arrays[stream][keep] if video is None else VideoFrames(path=video, rows=keep)
        )
        return Stream(info=self._info(stream), times_ns=times_ns[keep], values=values)

    # ---------------------------------------------------------------- times

    @cached_property
    def _index(self) -> VideoIndex:
        return video_index(next(iter(self._videos.values())))

    @property
    def _ratio(self) -> int:
        """Rows a frame: 3 in the layout with 15 Hz arrays, else 1."""
        return 3 if self._layout is _RAW else 1

    @cached_property
    def _row_times(self) -> IntArray:
        """(N,) row times: frame ``k`` goes with row ``ratio k``; between and after them, evenly."""
        frames = self._index.times_ns()
        step = SECOND / (self._index.rate_hz or 5.0)
        rows = np.arange(self._rows, dtype=np.float64) / self._ratio
        beyond = frames[-1] + (rows - (len(frames) - 1)) * step
        times: FloatArray = np.where(rows <= len(frames) - 1, np.interp(rows, np.arange(len(frames)), frames), beyond)
        return np.rint(times).astype(np.int64)

    # ---------------------------------------------------------------- JSON

    def _get(self, key: str, kind: type) -> Any:
        value = self._tree.get(key)
        if not isinstance(value, kind):
            raise LogUnreadable("an annotation without an expected entry", got=key, where=self._where)
        return value

    def _stack(self, parts: tuple[_Part, ...]) -> Array:
        """(N, D) columns of the named arrays side by side."""
        columns = []
        for part in parts:
            try:
                array = np.asarray(self._get(part.key, list), dtype=np.float64)
            except (ValueError, TypeError) as error:
                raise LogUnreadable("an array that is not numbers", got=part.key, where=self._where) from error
            array = array[:, None] if array.ndim == 1 else array
            if array.ndim != 2 or array.shape[1] != len(part.names) or not len(array):
                raise LogUnreadable("an array of another shape", got=f"{part.key} {array.shape}", where=self._where)
            columns.append(array)
        if len({len(column) for column in columns}) != 1:
            got = {part.key: len(column) for part, column in zip(parts, columns, strict=True)}
            raise LogUnreadable("arrays of different lengths", got=got, where=self._where)
        return np.concatenate(columns, axis=1)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_JSON:
            raise LogUnreadable("an annotation beyond 256 MiB", where=path)
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LogUnreadable("an annotation that is not JSON", got=str(error)[:80], where=path) from error
    if not isinstance(tree, dict):
        raise LogUnreadable("an annotation that is not an object", where=path)
    return tree


def _video_path(root: Path, item: Any, where: Path) -> Path:
    """The path in the annotation is relative to the subset's folder, and must stay in it."""
    relative = item.get("video_path") if isinstance(item, dict) else None
    if not isinstance(relative, str) or "\0" in relative:
        raise LogUnreadable("an annotation without a video path", got=repr(item)[:80], where=where)
    path = inside(root, relative)
    if path is None:
        raise LogUnreadable("a video path that leaves its folder", got=relative[:80], where=where)
    if not path.is_file():
        raise LogUnreadable("a video file is missing", got=relative, where=where)
    return path


def _roots(path: Path) -> list[Path]:
    """Folders that hold ``annotation`` and ``videos``."""
    candidates = [path, *sorted(p.parent for p in path.rglob("annotation") if p.parent != path)]
    return [p for p in candidates if (p / "annotation").is_dir() and (p / "videos").is_dir()]


def detect(path: Path) -> bool:
    """A folder with ``annotation/<split>/*.json`` and ``videos``, itself or below it."""
    return path.is_dir() and any(next((r / "annotation").glob("*/*.json"), None) for r in _roots(path))


def open_logs(path: Path) -> LogFolder:
    """Open every trajectory below a folder.

    Raises:
        NotFound: none there.
        LogUnreadable: an annotation or video that cannot be used.
    """
    logs = _logs(path)
    if not logs:
        raise NotFound("no annotation/<split>/*.json in this folder", where=path)
    return LogFolder(path=path, format="droid", logs=tuple(logs))


def units(path: Path) -> list[tuple[Path, ...]]:
    """The annotation and the videos of each trajectory, in the order of :func:`open_logs`."""
    return [log.files for log in _logs(path)]


def _logs(path: Path) -> list[DroidLog]:
    logs = []
    for root in _roots(path):
        prefix = "" if root == path else f"{root.relative_to(path).as_posix()}/"
        for annotation in sorted((root / "annotation").glob("*/*.json")):
            name = f"{prefix}{annotation.parent.name}/{annotation.stem}"
            logs.append(DroidLog(root, annotation, name=name))
    return logs
