"""Write LeRobot v3.0: the layout that lerobot 0.4 and later load, plus what is needed to tell imagined from real.

LeRobot has no place for a capture time, a unit, a success flag or an origin. Times become ``frame_index / fps``; the
rest stands under ``worldgate`` in ``info.json`` and in one more column of ``meta/episodes``, which lerobot ignores. The
folder appears under its name only when it is whole.

Shape legend: T frames of an episode, D values, H x W pixels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from av.container import OutputContainer
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from worldgate.core.atomic import atomic_dir
from worldgate.core.errors import UsageError
from worldgate.core.names import Name
from worldgate.core.streams import Array, ByteArray, FloatArray, Kind, Origin, StreamInfo
from worldgate.data.logs._lerobot_meta import BOOKKEEPING
from worldgate.data.logs._lerobot_stats import Statistics, aggregate, of_images, of_rows
from worldgate.data.logs._lerobot_v30 import FACTS

_DATA_BYTES: Final = 100 << 20
_VIDEO_BYTES: Final = 200 << 20
_FILES_A_CHUNK: Final = 1000
_CODEC: Final = "libx264"
# A keyframe every 16 frames: clips are read, not single frames, and each episode begins with one.
_CODEC_OPTIONS: Final = {"preset": "veryfast", "crf": "20", "g": "16", "bf": "0", "forced-idr": "1"}
_DATA_PATH: Final = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO_PATH: Final = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


@dataclass(slots=True)
class _Camera:
    """One camera's open video file, and where in it the next episode begins."""

    key: str
    height: int
    width: int
    file: int = 0
    frames: int = 0
    path: Path | None = None
    container: OutputContainer | None = None
    stream: VideoStream | None = None


@dataclass(slots=True)
class _State:
    """What has been written so far."""

    cameras: dict[str, _Camera] = field(default_factory=dict)
    infos: dict[str, StreamInfo] = field(default_factory=dict)
    image_infos: dict[str, StreamInfo] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)
    tasks: dict[str, int] = field(default_factory=dict)
    episodes: list[dict[str, Any]] = field(default_factory=list)
    statistics: list[dict[str, Statistics]] = field(default_factory=list)
    frames: int = 0
    data_file: int = 0
    data_bytes: int = 0
    writer: pq.ParquetWriter | None = None


class LeRobotWriter:
    """Writes a LeRobot v3.0 dataset; a context manager, and nothing stands under the final name before it ends.

    Args:
        path: the folder to make.
        fps: rows a second.
        robot_type: as LeRobot's ``info.json`` has it.
        origin: where the data comes from.

    Raises:
        AlreadyExists: ``path`` exists.
    """

    def __init__(self, path: Path | str, *, fps: int, robot_type: str, origin: Origin) -> None:
        self.path = Path(path)
        self._fps = int(fps)
        if self._fps != fps or fps <= 0:
            raise UsageError("LeRobot's rate is a whole number of frames a second", got=fps)
        self._robot = robot_type
        self._origin = Origin(origin)
        self._state = _State()
        with ExitStack() as stack:
            self._root = stack.enter_context(atomic_dir(self.path))
            self._stack: ExitStack | None = stack.pop_all()

    def add_episode(
        self,
        streams: Mapping[str, FloatArray],
        frames: Mapping[str, ByteArray],
        *,
        task: str,
        infos: Mapping[str, StreamInfo] | None = None,
        facts: Mapping[str, str | float | bool] | None = None,
    ) -> int:
        """Write one episode.

        Args:
            streams: (T, D) numbers by feature name.
            frames: (T, H, W, 3) uint8 RGB by feature name; H and W even, as yuv420p needs.
            task: what was asked, in words.
            infos: names, units and frames of the streams, where known.
            facts: what is known of the episode: success, site, model digest, seed.

        Returns:
            Its episode index.

        Raises:
            UsageError: what LeRobot cannot hold, or features that differ from the first episode's.
        """
        assert self._stack is not None, "the writer is closed"
        numbers = {key: _rows(key, value) for key, value in streams.items()}
        length = _length({**numbers, **frames})
        self._declare(numbers, frames, infos or {})
        index = len(self._state.episodes)
        row: dict[str, Any] = {"episode_index": index, "tasks": [task], "length": length}
        statistics = {key: of_rows(value) for key, value in numbers.items()}
        row |= self._write_rows(numbers, index, length, task, statistics)
        for key, images in frames.items():
            row |= self._write_video(self._state.cameras[key], images)
            statistics[key] = of_images(images)
        for key, stats in statistics.items():
            row |= {f"stats/{key}/{name}": value.tolist() for name, value in stats.items()}
        row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        row[FACTS] = json.dumps(dict(facts or {}), sort_keys=True)
        self._state.episodes.append(row)
        self._state.statistics.append(statistics)
        return index

    # ---------------------------------------------------------------- features

    def _declare(
        self, numbers: Mapping[str, Array], frames: Mapping[str, ByteArray], infos: Mapping[str, StreamInfo]
    ) -> None:
        """Fix the features at the first episode; hold later ones to them."""
        state = self._state
        made = {
            key: infos.get(key) or StreamInfo(name=key, kind=_kind(key), count=-1, shape=value.shape[1:])
            for key, value in numbers.items()
        }
        dtypes = {key: value.dtype.name for key, value in numbers.items()}
        cameras = {key: _camera(key, images) for key, images in frames.items()}
        for key in (*made, *cameras):
            if key in BOOKKEEPING or any(Name(part) != part for part in key.split(".")):
                raise UsageError("a name that LeRobot keeps for itself", got=key)
        if not state.infos and not state.cameras:
            state.infos, state.dtypes, state.cameras = made, dtypes, cameras
            blank = {key: StreamInfo(name=key, kind=Kind.IMAGE, count=-1) for key in cameras}
            state.image_infos = {key: infos.get(key, blank[key]) for key in cameras}
            return
        same = dtypes == state.dtypes and {k: (c.height, c.width) for k, c in cameras.items()} == {
            k: (c.height, c.width) for k, c in state.cameras.items()
        }
        if not same or any(made[key].shape[-1:] != state.infos[key].shape[-1:] for key in made):
            raise UsageError("an episode whose features differ from the first one's", got=sorted((*made, *cameras)))

    # ---------------------------------------------------------------- rows

    def _write_rows(
        self,
        numbers: Mapping[str, Array],
        index: int,
        length: int,
        task: str,
        statistics: dict[str, Statistics],
    ) -> dict[str, Any]:
        state = self._state
        task_index = state.tasks.setdefault(task, len(state.tasks))
        count = np.arange(length, dtype=np.int64)
        columns: dict[str, pa.Array] = {key: _column(value) for key, value in numbers.items()}
        keeping: dict[str, Array] = {
            "timestamp": (count / self._fps).astype(np.float32),
            "frame_index": count,
            "episode_index": np.full(length, index, dtype=np.int64),
            "index": count + state.frames,
            "task_index": np.full(length, task_index, dtype=np.int64),
        }
        columns |= {key: pa.array(value) for key, value in keeping.items()}
        statistics |= {key: of_rows(value[:, None]) for key, value in keeping.items()}
        table = pa.table(columns)
        if state.writer is not None and state.data_bytes + table.nbytes > _DATA_BYTES:
            self._close_data()
        chunk, number = divmod(state.data_file, _FILES_A_CHUNK)
        if state.writer is None:
            file = self._root / _DATA_PATH.format(chunk_index=chunk, file_index=number)
            file.parent.mkdir(parents=True, exist_ok=True)
            state.writer = pq.ParquetWriter(file, table.schema, compression="snappy")
        state.writer.write_table(table)
        state.data_bytes += table.nbytes
        start, state.frames = state.frames, state.frames + length
        return {
            "data/chunk_index": chunk,
            "data/file_index": number,
            "dataset_from_index": start,
            "dataset_to_index": state.frames,
        }

    def _close_data(self) -> None:
        state = self._state
        if state.writer is not None:
            state.writer.close()
            state.writer = None
            state.data_file += 1
            state.data_bytes = 0

    # ---------------------------------------------------------------- video

    def _write_video(self, camera: _Camera, images: ByteArray) -> dict[str, Any]:
        written = camera.path is not None and camera.path.exists()  # the muxer makes the file with its first bytes
        if written and camera.path is not None and camera.path.stat().st_size > _VIDEO_BYTES:
            _close_camera(camera)
        chunk, number = divmod(camera.file, _FILES_A_CHUNK)
        if camera.container is None:
            camera.path = self._root / _VIDEO_PATH.format(video_key=camera.key, chunk_index=chunk, file_index=number)
            camera.path.parent.mkdir(parents=True, exist_ok=True)
            camera.container = av.open(str(camera.path), "w")
            camera.stream = camera.container.add_stream(_CODEC, rate=self._fps, options=dict(_CODEC_OPTIONS))
            camera.stream.height, camera.stream.width = camera.height, camera.width
            camera.stream.pix_fmt = "yuv420p"
        assert camera.stream is not None
        start = camera.frames
        for i, image in enumerate(images):
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts = camera.frames
            if i == 0:
                frame.pict_type = PictureType.I
            camera.container.mux(camera.stream.encode(frame))
            camera.frames += 1
        prefix = f"videos/{camera.key}"
        return {
            f"{prefix}/chunk_index": chunk,
            f"{prefix}/file_index": number,
            f"{prefix}/from_timestamp": start / self._fps,
            f"{prefix}/to_timestamp": camera.frames / self._fps,
        }

    # ---------------------------------------------------------------- the end

    def close(self) -> None:
        """Finish every file, write the metadata, sync, and give the folder its name.

        Raises:
            UsageError: no episode was written.
        """
        if self._stack is None:
            return
        stack, self._stack = self._stack, None
        with stack:
            self._close_files()
            if not self._state.episodes:
                raise UsageError("a dataset of no episodes", where=self.path)
            self._write_meta()

    def _close_files(self) -> None:
        self._close_data()
        for camera in self._state.cameras.values():
            _close_camera(camera)

    def _write_meta(self) -> None:
        state, meta = self._state, self._root / "meta"
        episodes = meta / "episodes" / "chunk-000" / "file-000.parquet"
        episodes.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(state.episodes), episodes)
        tasks = {"task_index": list(state.tasks.values()), "task": list(state.tasks)}
        pq.write_table(_indexed_by_task(pa.table(tasks)), meta / "tasks.parquet")
        _write_json(meta / "stats.json", {k: _lists(v) for k, v in aggregate(state.statistics).items()})
        _write_json(meta / "info.json", self._info())

    def _info(self) -> dict[str, Any]:
        state = self._state
        return {
            "codebase_version": "v3.0",
            "robot_type": self._robot,
            "total_episodes": len(state.episodes),
            "total_frames": state.frames,
            "total_tasks": len(state.tasks),
            "chunks_size": _FILES_A_CHUNK,
            "data_files_size_in_mb": _DATA_BYTES >> 20,
            "video_files_size_in_mb": _VIDEO_BYTES >> 20,
            "fps": self._fps,
            "splits": {"train": f"0:{len(state.episodes)}"},
            "data_path": _DATA_PATH,
            "video_path": _VIDEO_PATH if state.cameras else None,
            "features": self._features(),
            "worldgate": {"origin": str(self._origin), "streams": self._streams()},
        }

    def _features(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, info in self._state.infos.items():
            names = list(info.names) or None
            out[key] = {"dtype": self._state.dtypes[key], "shape": [info.shape[-1]], "names": names}
        for key, camera in self._state.cameras.items():
            shape = [camera.height, camera.width, 3]
            out[key] = {
                "dtype": "video",
                "shape": shape,
                "names": ["height", "width", "channels"],
                "info": {
                    "video.height": camera.height,
                    "video.width": camera.width,
                    "video.codec": "h264",
                    "video.pix_fmt": "yuv420p",
                    "video.is_depth_map": False,
                    "video.fps": self._fps,
                    "video.channels": 3,
                    "has_audio": False,
                },
            }
        out["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
        for key in ("frame_index", "episode_index", "index", "task_index"):
            out[key] = {"dtype": "int64", "shape": [1], "names": None}
        return out

    def _streams(self) -> dict[str, Any]:
        """What LeRobot has no place for."""
        infos = {**self._state.infos, **self._state.image_infos}
        return {key: {"kind": str(i.kind), "unit": i.unit, "frame": i.frame} for key, i in infos.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif self._stack is not None:
            stack, self._stack = self._stack, None
            self._close_files()
            stack.__exit__(kind, error, trace)


def _close_camera(camera: _Camera) -> None:
    """Flush the encoder and end the file; the next episode begins a new one."""
    if camera.container is None:
        return
    assert camera.stream is not None
    if camera.frames:
        camera.container.mux(camera.stream.encode(None))
    camera.container.close()
    camera.container, camera.stream, camera.path = None, None, None
    camera.frames = 0
    camera.file += 1


def _kind(key: str) -> Kind:
    return Kind.ACTION if key.split(".")[0] == "action" else Kind.VECTOR


def _rows(key: str, value: Array) -> Array:
    array = np.asarray(value)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.dtype.kind not in "fiub" or not array.shape[1]:
        raise UsageError("a LeRobot feature is (T, D) numbers", got=f"{array.shape} {array.dtype}", where=key)
    return array


def _length(values: Mapping[str, Array]) -> int:
    lengths = {key: len(value) for key, value in values.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise UsageError("the features of an episode have one length above zero", got=lengths)
    return next(iter(lengths.values()))


def _camera(key: str, images: ByteArray) -> _Camera:
    shape, dtype = images.shape, images.dtype
    if images.ndim != 4 or shape[3] != 3 or dtype != np.uint8 or shape[1] % 2 or shape[2] % 2:
        raise UsageError("video frames are (T, H, W, 3) uint8 with even H and W", got=f"{shape} {dtype}", where=key)
    return _Camera(key=key, height=shape[1], width=shape[2])


def _column(value: Array) -> pa.Array:
    """A scalar column where D is 1, as lerobot has it, else lists of fixed length."""
    flat = pa.array(np.ascontiguousarray(value).reshape(-1))
    return flat if value.shape[1] == 1 else pa.FixedSizeListArray.from_arrays(flat, value.shape[1])


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


def _lists(stats: Statistics) -> dict[str, Any]:
    return {name: value.tolist() for name, value in stats.items()}


def _write_json(path: Path, tree: Any) -> None:
    path.write_text(json.dumps(tree, indent=4), encoding="utf-8")
