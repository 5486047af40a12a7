"""What the two LeRobot layouts share: ``info.json``, its features, safe paths, task texts.

Source: https://github.com/huggingface/lerobot, dataset format v2.0, v2.1 and v3.0.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Kind, Origin, StreamInfo
from worldgate.data.logs._paths import inside

BOOKKEEPING: Final = frozenset({"timestamp", "frame_index", "episode_index", "index", "task_index"})
"""Columns that say where a row belongs, and are no streams."""
_NUMERIC: Final = ("float", "int", "uint", "bool")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One entry of ``info.json:features``."""

    key: str
    dtype: str
    """``float32``, ``video``, ``image``, ``string`` …"""
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    declared: Mapping[str, str | float] = field(default_factory=dict)
    """What is said of a video beside it: height, width, rate_hz, codec, pix_fmt."""

    def info(self, count: int, rate_hz: float, extra: Mapping[str, Any]) -> StreamInfo:
        """As a stream; ``extra`` is what our writer added beyond LeRobot: kind, unit, frame."""
        return StreamInfo(
            name=self.key,
            kind=Kind(extra["kind"]) if extra.get("kind") in set(Kind) else self._kind(),
            count=count,
            shape=self.shape if self.dtype != "string" else (),
            names=self.names if self.dtype not in {"video", "image"} else (),
            unit=str(extra.get("unit", "")),
            frame=str(extra.get("frame", "")),
            clock="frame",
            rate_hz=rate_hz,
        )

    def _kind(self) -> Kind:
        if self.dtype in {"video", "image"}:
            return Kind.IMAGE
        if self.dtype == "string":
            return Kind.TEXT
        return Kind.ACTION if self.key.split(".")[0] == "action" else Kind.VECTOR

    @property
    def readable(self) -> bool:
        """Whether this dtype becomes a stream."""
        return self.dtype in {"video", "image", "string"} or self.dtype.startswith(_NUMERIC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What ``info.json`` says."""

    root: Path
    version: str
    fps: float
    robot: str
    features: tuple[Feature, ...]
    data_path: str
    video_path: str
    chunks_size: int
    total_episodes: int
    total_frames: int
    origin: Origin = Origin.REAL
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What our writer added under ``worldgate``: origin and, per stream, kind, unit and frame."""

    def of(self, dtype: str) -> tuple[Feature, ...]:
        """Features of one dtype."""
        return tuple(feature for feature in self.features if feature.dtype == dtype)

    def stream_extra(self, key: str) -> Mapping[str, Any]:
        """What our writer added about a stream."""
        streams = self.extra.get("streams", {})
        entry = streams.get(key, {}) if isinstance(streams, dict) else {}
        return entry if isinstance(entry, dict) else {}

    def path(self, template: str, **values: Any) -> Path:
        """Fill a path template; only the named fields, and only below the dataset's folder.

        Raises:
            LogUnreadable: a template with other fields, or one that leaves the folder.
        """
        try:
            parsed = list(string.Formatter().parse(template))
            if any(name is not None and name not in values for _, name, _, _ in parsed):
                raise ValueError("unknown field")
            made = inside(self.root, template.format(**values))
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise LogUnreadable("a path template that cannot be filled", got=template[:80], where=self.where) from error
        if made is None:
            raise LogUnreadable("a path that leaves the dataset's folder", got=template[:80], where=self.where)
        return made

    @property
    def where(self) -> Path:
        """The file that this was read from."""
        return self.root / "meta" / "info.json"


def read_meta(root: Path) -> tuple[Meta | None, list[str]]:
    """Read ``meta/info.json``; where it cannot be used, None and every reason."""
    path = root / "meta" / "info.json"
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return None, [f"meta/info.json cannot be read ({error})"]
    if not isinstance(tree, dict):
        return None, ["meta/info.json is not an object"]
    required = ("codebase_version", "fps", "features", "data_path")
    missing = [key for key in required if key not in tree]
    if missing:
        return None, [f"meta/info.json is not LeRobot's: no {', '.join(missing)}"]
    try:
        return _meta(root, tree), []
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return None, [f"meta/info.json does not follow the LeRobot schema ({error!r})"]


def _meta(root: Path, tree: Mapping[str, Any]) -> Meta:
    extra = tree.get("worldgate", {})
    extra = extra if isinstance(extra, dict) else {}
    features = tuple(
        _feature(str(key), value) for key, value in tree["features"].items() if str(key) not in BOOKKEEPING
    )
    fps = float(tree["fps"])
    if not 0 < fps < 1e6:
        raise ValueError(f"fps {fps}")
    return Meta(
        root=root,
        version=str(tree["codebase_version"]),
        fps=fps,
        robot=str(tree.get("robot_type") or ""),
        features=tuple(feature for feature in features if feature.readable),
        data_path=str(tree["data_path"]),
        video_path=str(tree.get("video_path") or ""),
        chunks_size=max(1, int(tree.get("chunks_size", 1000))),
        total_episodes=int(tree.get("total_episodes", -1)),
        total_frames=int(tree.get("total_frames", -1)),
        origin=Origin(extra["origin"]) if "origin" in extra else Origin.REAL,
        extra=extra,
    )


def _feature(key: str, value: Mapping[str, Any]) -> Feature:
    shape = tuple(int(n) for n in value["shape"])
    names = tuple(_names(value.get("names")))
    dtype = str(value["dtype"])
    if dtype in {"video", "image"} and len(shape) == 3 and shape[0] == 3 and shape[2] != 3:
        shape = (shape[1], shape[2], shape[0])
    names = names if len(names) == (shape or (0,))[0] else ()
    return Feature(key=key, dtype=dtype, shape=shape, names=names, declared=_declared(value, dtype, shape))


def _declared(value: Mapping[str, Any], dtype: str, shape: tuple[int, ...]) -> dict[str, str | float]:
    """What ``info.json`` says of a video, under the names that checks know; anything of another type is left out."""
    if dtype != "video":
        return {}
    out: dict[str, str | float] = dict(zip(("height", "width"), map(float, shape), strict=False))
    info = value.get("info") or value.get("video_info")
    stated = info if isinstance(info, Mapping) else {}
    for key, name in (("height", "height"), ("width", "width"), ("fps", "rate_hz")):
        number = stated.get(f"video.{key}")
        out |= {name: float(number)} if isinstance(number, int | float) else {}
    return out | {key: text for key in ("codec", "pix_fmt") if isinstance(text := stated.get(f"video.{key}"), str)}


def _names(value: Any) -> list[str]:
    """Channel names, which are found as a list, a list in a list, or lists by group."""
    if isinstance(value, Mapping):
        return [name for item in value.values() for name in _names(item)]
    if isinstance(value, list):
        return [name for item in value for name in (_names(item) if isinstance(item, list | dict) else [str(item)])]
    return []


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Lines of a JSON-lines file.

    Raises:
        LogUnreadable: missing, or a line that is no JSON object.
    """
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise LogUnreadable("metadata that cannot be read", got=str(error)[:80], where=path) from error
    if not all(isinstance(row, dict) for row in rows):
        raise LogUnreadable("metadata that is not one object a line", where=path)
    return rows


def read_table(path: Path, columns: tuple[str, ...] | None = None) -> pa.Table:
    """Read a parquet file.

    Raises:
        LogUnreadable: missing, without a footer, or damaged.
    """
    try:
        stat = path.stat()
        return _table(path, columns, stat.st_mtime_ns, stat.st_size)
    except (OSError, pa.ArrowException) as error:
        why = "a parquet file is missing" if not path.exists() else "a parquet file that cannot be read"
        raise LogUnreadable(why, got=str(error).splitlines()[0][:80], where=path) from error


@lru_cache(maxsize=8)
def _table(path: Path, columns: tuple[str, ...] | None, mtime_ns: int, size: int) -> pa.Table:
    file = pq.ParquetFile(path)
    absent = [name for name in columns or () if name not in file.schema_arrow.names]
    if absent:
        raise LogUnreadable("a parquet file without an expected column", got=", ".join(absent), where=path)
    return file.read(columns=None if columns is None else list(columns))


def column(table: pa.Table, name: str, where: Path) -> list[Any]:
    """A column as Python values.

    Raises:
        LogUnreadable: no such column.
    """
    if name not in table.column_names:
        raise LogUnreadable("a parquet file without an expected column", got=name, where=where)
    values: list[Any] = table.column(name).to_pylist()
    return values
