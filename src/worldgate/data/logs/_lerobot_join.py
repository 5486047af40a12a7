"""Finished episodes into the files of LeRobot v3.0: rows and videos of many episodes a file, up to a size.

Videos are joined packet by packet, never encoded again; where an episode's video cannot be joined to the one before
(another codec, other parameters, another reordering delay), the next file begins.

Shape legend: T rows of an episode, D values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from worldgate.core.digest import to_json
from worldgate.core.errors import UsageError
from worldgate.core.streams import Array, StreamInfo
from worldgate.data.logs._coded import Joined
from worldgate.data.logs._lerobot_fragment import MESSAGES, ROWS, TIMES, Fragment, lists, name_of
from worldgate.data.logs._lerobot_stats import Statistics, aggregate, of_rows
from worldgate.data.logs._lerobot_times import MESSAGES_PATH, TIMES_PATH
from worldgate.data.logs._lerobot_v30 import FACTS
from worldgate.data.logs._lerobot_video import Camera, whole

DATA_PATH: Final = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH: Final = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """When the next file and the next folder begin, as lerobot's own defaults are."""

    data_bytes: int = 100 << 20
    video_bytes: int = 200 << 20
    files_a_chunk: int = 1000

    def __post_init__(self) -> None:
        if min(self.data_bytes, self.video_bytes, self.files_a_chunk) < 1:
            raise UsageError("sizes of files are above zero", got=self)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a dataset says of itself; kept beside the episodes while they are recorded."""

    fps: int
    robot_type: str
    origin: str
    layout: Layout = field(default_factory=Layout)
    pictures: str = "video"
    source: Mapping[str, Any] = field(default_factory=dict)
    """What the episodes were made from: digests of dataset, contract, alignment."""
    readme: str = ""
    """The dataset's card; empty: none is written."""


@dataclass(slots=True)
class _Video:
    """A camera's file that is being filled."""

    file: int = -1
    joins: tuple[Any, ...] = ()
    bytes: int = 0
    out: Joined | None = None


@dataclass(slots=True)
class _Rows:
    """The data file that is being filled."""

    file: int = -1
    bytes: int = 0
    writers: dict[str, pq.ParquetWriter] = field(default_factory=dict)


class Join:
    """Puts fragments into one dataset, one after the other.

    Args:
        root: an empty folder.
        about: of the dataset.
    """

    def __init__(self, root: Path, about: About) -> None:
        self._root = root
        self._about = about
        self._tasks: dict[str, int] = {}
        self._splits: dict[str, list[int]] = {}
        self._episodes: list[dict[str, Any]] = []
        self._statistics: list[dict[str, Statistics]] = []
        self._frames = 0
        self._rows = _Rows()
        self._videos: dict[str, _Video] = {}
        self._first: Fragment | None = None

    def add(self, folder: Path, fragment: Fragment) -> None:
        """Take in the next episode.

        Raises:
            LogUnreadable: a video that cannot be read.
        """
        self._first = self._first or fragment
        index = len(self._episodes)
        statistics = fragment.stats()
        row: dict[str, Any] = {"episode_index": index, "tasks": [fragment.task], "length": fragment.length}
        row |= self._add_rows(folder, fragment, index, statistics)
        for key, camera in fragment.cameras.items():
            if camera.codec:
                row |= self._add_video(key, camera, folder / f"{key}.mp4")
        for key, stats in statistics.items():
            row |= {f"stats/{key}/{name}": value.tolist() for name, value in stats.items()}
        row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0, FACTS: fragment.facts}
        self._episodes.append(row)
        self._statistics.append(statistics)
        self._splits.setdefault(fragment.split, []).append(index)

    def _add_rows(
        self, folder: Path, fragment: Fragment, index: int, statistics: dict[str, Statistics]
    ) -> dict[str, Any]:
        count = np.arange(fragment.length, dtype=np.int64)
        task = self._tasks.setdefault(fragment.task, len(self._tasks))
        keeping: dict[str, Array] = {
            "timestamp": (count / self._about.fps).astype(np.float32),
            "frame_index": count,
            "episode_index": np.full(fragment.length, index, dtype=np.int64),
            "index": count + self._frames,
            "task_index": np.full(fragment.length, task, dtype=np.int64),
        }
        own = pq.read_table(folder / ROWS)
        columns = {name: own.column(name) for name in own.column_names}
        table = pa.table({**columns, **{key: pa.array(value) for key, value in keeping.items()}})
        statistics |= {key: of_rows(value[:, None]) for key, value in keeping.items()}
        held = self._rows
        if held.file < 0 or held.bytes + table.nbytes > self._about.layout.data_bytes:
            self._close_rows()
            held.file, held.bytes = held.file + 1, 0
        held.bytes += table.nbytes
        self._append(DATA_PATH, table)
        for path, name in ((TIMES_PATH, TIMES), (MESSAGES_PATH, MESSAGES)):
            if (folder / name).is_file():
                beside = pq.read_table(folder / name)
                marks = pa.array(np.full(len(beside), index, dtype=np.int64))
                self._append(path, beside.add_column(0, "episode_index", marks))
        start, self._frames = self._frames, self._frames + fragment.length
        chunk, number = divmod(held.file, self._about.layout.files_a_chunk)
        return {
            "data/chunk_index": chunk,
            "data/file_index": number,
            "dataset_from_index": start,
            "dataset_to_index": self._frames,
        }

    def _append(self, template: str, table: pa.Table) -> None:
        """One row group more in a file of the number at hand."""
        if template not in self._rows.writers:
            chunk, number = divmod(self._rows.file, self._about.layout.files_a_chunk)
            path = self._root / template.format(chunk_index=chunk, file_index=number)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._rows.writers[template] = pq.ParquetWriter(path, table.schema, compression="snappy")
        self._rows.writers[template].write_table(table)

    def _close_rows(self) -> None:
        for writer in self._rows.writers.values():
            writer.close()
        self._rows.writers.clear()

    def _add_video(self, key: str, camera: Camera, source: Path) -> dict[str, Any]:
        video = self._videos.setdefault(key, _Video())
        run = whole(source)
        full = video.bytes > 0 and video.bytes + source.stat().st_size > self._about.layout.video_bytes
        chunk, number = divmod(video.file, self._about.layout.files_a_chunk)
        if video.out is None or full or video.joins != camera.joins:
            if video.out is not None:
                video.out.close()
            video.file, video.bytes, video.joins = video.file + 1, 0, camera.joins
            chunk, number = divmod(video.file, self._about.layout.files_a_chunk)
            path = self._root / VIDEO_PATH.format(video_key=key, chunk_index=chunk, file_index=number)
            video.out = Joined(path, run, self._about.fps)
        start = video.out.frames
        video.out.add(run)
        video.bytes += source.stat().st_size
        prefix = f"videos/{key}"
        return {
            f"{prefix}/chunk_index": chunk,
            f"{prefix}/file_index": number,
            f"{prefix}/from_timestamp": start / self._about.fps,
            f"{prefix}/to_timestamp": video.out.frames / self._about.fps,
        }

    def release(self) -> None:
        """Close every file."""
        self._close_rows()
        for video in self._videos.values():
            if video.out is not None:
                video.out.close()
                video.out = None

    def finish(self) -> None:
        """Close every file and write the metadata."""
        self.release()
        meta = self._root / "meta"
        episodes = meta / "episodes" / "chunk-000" / "file-000.parquet"
        episodes.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(self._episodes), episodes)
        tasks = {"task_index": list(self._tasks.values()), "task": list(self._tasks)}
        pq.write_table(_indexed_by_task(pa.table(tasks)), meta / "tasks.parquet")
        _write_json(meta / "stats.json", {k: lists(v) for k, v in aggregate(self._statistics).items()})
        _write_json(meta / "info.json", self._info())
        if self._about.readme:
            (self._root / "README.md").write_text(self._about.readme, encoding="utf-8")

    # ---------------------------------------------------------------- info.json

    def _info(self) -> dict[str, Any]:
        first, about = self._first, self._about
        assert first is not None
        videos = any(camera.codec for camera in first.cameras.values())
        extra = {"origin": about.origin, "streams": {k: _said(i, k, first) for k, i in first.infos.items()}}
        return {
            "codebase_version": "v3.0",
            "robot_type": about.robot_type,
            "total_episodes": len(self._episodes),
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": about.layout.files_a_chunk,
            "data_files_size_in_mb": max(1, about.layout.data_bytes >> 20),
            "video_files_size_in_mb": max(1, about.layout.video_bytes >> 20),
            "fps": about.fps,
            "splits": {name: f"{at[0]}:{at[-1] + 1}" for name, at in self._splits.items()},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if videos else None,
            "features": self._features(first),
            "worldgate": {**extra, **({"source": to_json(about.source)} if about.source else {})},
        }

    def _features(self, first: Fragment) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, dtype in first.dtypes.items():
            info = first.infos[key]
            width = int(np.prod(info.shape))
            names = list(info.names) if len(info.names) == width else None
            out[key] = {"dtype": dtype, "shape": [width], "names": names}
        for key, camera in first.cameras.items():
            shape = [camera.height, camera.width, 3]
            out[key] = {
                "dtype": "video" if camera.codec else "image",
                "shape": shape,
                "names": ["height", "width", "channels"],
            }
            if camera.codec:
                out[key]["info"] = _video_info(camera, self._about.fps)
        out["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
        for key in ("frame_index", "episode_index", "index", "task_index"):
            out[key] = {"dtype": "int64", "shape": [1], "names": None}
        return out


def check_splits(splits: Sequence[str], new: str) -> None:
    """Refuse an episode of a split that was left already: LeRobot's splits are ranges.

    Raises:
        UsageError: such a split.
    """
    if splits and new != splits[-1] and new in splits:
        raise UsageError("the episodes of a split come one after the other", got=new, where=", ".join(splits))


def _video_info(camera: Camera, fps: int) -> dict[str, Any]:
    return {
        "video.height": camera.height,
        "video.width": camera.width,
        "video.codec": camera.codec,
        "video.pix_fmt": camera.pix_fmt,
        "video.is_depth_map": False,
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": False,
    }


def _said(info: StreamInfo, key: str, first: Fragment) -> dict[str, Any]:
    """What LeRobot has no place for."""
    said: dict[str, Any] = {"kind": str(info.kind), "unit": info.unit, "frame": info.frame}
    if key in first.timed or key in first.messages:
        said |= {"clock": info.clock, "rate_hz": info.rate_hz}
    if key in first.dtypes and len(info.shape) > 1:
        said |= {"shape": list(info.shape), "names": list(info.names)}
    return said


def _indexed_by_task(table: pa.Table) -> pa.Table:
    """Mark ``task`` as the pandas index, which is how lerobot looks tasks up."""
    column = {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"}
    index = {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object"}
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [{**column, "metadata": None}, {**index, "metadata": None}],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})


def _write_json(path: Path, tree: Any) -> None:
    path.write_text(json.dumps(tree, indent=4, allow_nan=False), encoding="utf-8")


def fragments(folder: Path) -> list[Path]:
    """Finished episodes in a working folder, in order."""
    found: list[Path] = []
    while (made := folder / name_of(len(found))).is_dir():
        found.append(made)
    return found
