"""Write LeRobot v3.0: the layout that lerobot 0.4 and later load, plus what is needed to tell imagined from real.

Each episode is on the disk, whole, when ``add_episode`` returns: in a working folder beside the dataset's, from which
:meth:`LeRobotWriter.recover` goes on after a crash. LeRobot's files hold many episodes each and are unreadable until
they are closed, so they are made at the end; videos are then joined packet by packet. The dataset appears under its
name only when it is whole. While it is made, its bytes are there twice.

LeRobot has no place for a capture time, a unit, a success flag or an origin. Its times are ``frame_index / fps``;
native times stand beside it (:mod:`worldgate.data.logs._lerobot_times`), the rest under ``worldgate`` in ``info.json``
and in one more column of ``meta/episodes``. lerobot ignores all three.

Shape legend: T frames of an episode, D values, H x W pixels.
"""

from __future__ import annotations

import fcntl
import json
import logging
import shutil
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from worldgate.core.atomic import atomic_dir, sync_dir, write_atomic
from worldgate.core.config import decode
from worldgate.core.digest import canonical, read_json
from worldgate.core.errors import AlreadyExists, DataRefused, NotFound, UsageError, WorldgateError
from worldgate.core.names import Name
from worldgate.core.streams import Array, ByteArray, FloatArray, Frames, Kind, Origin, Stream, StreamInfo
from worldgate.data.logs import _lerobot_fragment as files
from worldgate.data.logs._lerobot_fragment import Fragment, name_of
from worldgate.data.logs._lerobot_join import About, Join, Layout, check_splits, fragments
from worldgate.data.logs._lerobot_meta import BOOKKEEPING
from worldgate.data.logs._lerobot_stats import Statistics, of_rows
from worldgate.data.logs._lerobot_times import RowTimes, messages_table, times_table, write_if_any
from worldgate.data.logs._lerobot_video import Camera, image_column, size_of, write_video

_log = logging.getLogger(__name__)

_ABOUT: Final = "about.json"
_WHOLE: Final = "whole"


def working_folder(path: Path) -> Path:
    """Where the finished episodes of a dataset lie until it is whole."""
    return path.parent / f".{path.name}.recording"


class LeRobotWriter:
    """Writes a LeRobot v3.0 dataset; a context manager, and nothing stands under the final name before it ends.

    Where it ends in an error, finished episodes stay for :meth:`recover`, as they do after a crash.

    Args:
        path: the folder to make.
        fps: rows a second.
        robot_type: as LeRobot's ``info.json`` has it.
        origin: where the data comes from.
        pictures: ``video``, or ``image`` for lossless PNG in the table.
        layout: when the next file begins.
        source: what the episodes were made from, for ``info.json``.
        readme: the dataset's card, for ``README.md``.
        keep: False: an error removes what was written, which can be made again.

    Raises:
        AlreadyExists: ``path`` exists, or an unfinished recording of it does.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        fps: int,
        robot_type: str,
        origin: Origin,
        pictures: Literal["video", "image"] = "video",
        layout: Layout | None = None,
        source: Mapping[str, Any] | None = None,
        readme: str = "",
        keep: bool = True,
    ) -> None:
        if int(fps) != fps or fps <= 0:
            raise UsageError("LeRobot's rate is a whole number of frames a second", got=fps)
        about = About(
            fps=int(fps),
            robot_type=robot_type,
            origin=str(Origin(origin)),
            layout=layout or Layout(),
            pictures=pictures,
            source=dict(source or {}),
            readme=readme,
        )
        self._open(Path(path), keep=keep)
        if self.path.exists():
            raise AlreadyExists("this folder exists", where=self.path, hint="choose another name")
        self._work.mkdir(parents=True, exist_ok=True)
        self._hold()
        if (self._work / _ABOUT).exists():
            self.leave()
            raise AlreadyExists(
                "an unfinished recording of this dataset exists",
                where=self._work,
                hint=f"worldgate data recover {self.path}, or LeRobotWriter.recover(path) to go on",
            )
        write_atomic(self._work / _ABOUT, canonical(about))
        sync_dir(self._work.parent)
        self._about = about

    def _open(self, path: Path, *, keep: bool) -> None:
        self.path = path
        self._work = working_folder(path)
        self._keep = keep
        self._first: Fragment | None = None
        self._splits: list[str] = []
        self._count = 0
        self.dropped = 0
        """Episodes that an ended process had begun and not finished."""
        self._stack: ExitStack | None = None

    def _hold(self) -> None:
        """Keep other writers out, for as long as this one lives."""
        with ExitStack() as stack:
            file = stack.enter_context((self._work / "lock").open("ab"))
            _lock(file, self._work)
            self._stack = stack.pop_all()

    @classmethod
    def recover(cls, path: Path | str) -> LeRobotWriter:
        """Go on where a process ended: every episode whose ``add_episode`` returned is there.

        Returns:
            A writer that takes more episodes; closing it gives the dataset its name.

        Raises:
            NotFound: no unfinished recording of this dataset.
            AlreadyExists: the dataset was finished, or another process is writing it.
            DataRefused: an unfinished recording that cannot be read.
        """
        self = cls.__new__(cls)
        self._open(Path(path), keep=True)
        if not (self._work / _ABOUT).is_file():
            raise NotFound("no unfinished recording of this dataset", where=self._work)
        try:
            self._about = decode(About, read_json((self._work / _ABOUT).read_bytes()), where=str(self._work / _ABOUT))
        except (OSError, ValueError, WorldgateError) as error:
            raise DataRefused("an unfinished recording that cannot be read", got=str(error)[:80]) from error
        self._hold()
        if self.path.exists():
            self._discard()
            raise AlreadyExists("this dataset was finished", where=self.path)
        self.dropped = len(list(self._work.glob(".episode-*.partial")))
        for half in (*self._work.glob(".*.partial"), *self._work.glob(_WHOLE)):
            shutil.rmtree(half) if half.is_dir() else half.unlink()
        for folder in fragments(self._work):
            self._remember(files.load(folder))
        return self

    @property
    def episodes(self) -> int:
        """Finished episodes."""
        return self._count

    def add_episode(
        self,
        streams: Mapping[str, FloatArray],
        frames: Mapping[str, ByteArray | Frames],
        *,
        task: str,
        infos: Mapping[str, StreamInfo] | None = None,
        facts: Mapping[str, str | float | bool] | None = None,
        split: str = "train",
        times: Mapping[str, RowTimes] | None = None,
        messages: Mapping[str, Stream] | None = None,
    ) -> int:
        """Write one episode; it is on the disk when this returns.

        Args:
            streams: (T, D) numbers by feature name; those of more dimensions lie flat, their shape stands beside.
            frames: (T, H, W, 3) uint8 RGB by feature name; H and W even, as yuv420p needs. Frames that lie in a video
                are passed on as they are coded where that is possible.
            task: what was asked, in words.
            infos: names, units and frames of the streams, where known.
            facts: what is known of the episode: success, site, model digest, seed.
            split: to which it belongs; the episodes of a split come one after the other.
            times: when the messages that the rows hold were, by feature name.
            messages: events and text, with their own times.

        Returns:
            Its episode index.

        Raises:
            UsageError: what LeRobot cannot hold, or features that differ from the first episode's.
            LogUnreadable: frames that cannot be read.
        """
        assert self._stack is not None, "the writer is closed"
        numbers = {key: _rows(key, value) for key, value in streams.items()}
        length = _length({**numbers, **frames})
        sizes = {key: size_of(key, images) for key, images in frames.items()}
        made = _declared(numbers, sizes, infos or {}, messages or {})
        check_splits(self._splits, split)
        self._same(numbers, sizes, made)
        index = self._count
        flat = {key: value.reshape(length, -1) for key, value in numbers.items()}
        table = {key: files.column(value) for key, value in flat.items()}
        statistics = {key: of_rows(value) for key, value in flat.items()}
        with atomic_dir(self._work / name_of(index)) as folder:
            cameras = self._write_cameras(folder, frames, table, statistics)
            pq.write_table(pa.table(table), folder / files.ROWS)
            write_if_any(folder / files.TIMES, times_table(times or {}, length))
            write_if_any(folder / files.MESSAGES, messages_table(messages or {}))
            fragment = Fragment(
                length=length,
                task=task,
                split=split,
                facts=json.dumps(dict(facts or {}), sort_keys=True),
                infos=made,
                dtypes={key: value.dtype.name for key, value in numbers.items()},
                cameras=cameras,
                messages=tuple(messages or {}),
                timed=tuple(times or {}),
                statistics={key: files.lists(stats) for key, stats in statistics.items()},
            )
            files.save(folder, fragment)
        self._remember(fragment)
        return index

    def _write_cameras(
        self,
        folder: Path,
        frames: Mapping[str, ByteArray | Frames],
        table: dict[str, pa.Array],
        statistics: dict[str, Statistics],
    ) -> dict[str, Camera]:
        cameras = {}
        for key, images in frames.items():
            if self._about.pictures == "image":
                height, width = size_of(key, images)
                table[key], statistics[key] = image_column(images)
                cameras[key] = Camera(height=height, width=width)
            else:
                cameras[key], statistics[key] = write_video(folder / f"{key}.mp4", images, self._about.fps)
        return cameras

    def _same(
        self, numbers: Mapping[str, Array], sizes: Mapping[str, tuple[int, int]], made: Mapping[str, StreamInfo]
    ) -> None:
        """Hold an episode to the first one's features."""
        if self._first is None:
            return
        before = self._first
        same = {k: v.dtype.name for k, v in numbers.items()} == dict(before.dtypes)
        same = same and dict(sizes) == {k: (c.height, c.width) for k, c in before.cameras.items()}
        if not same or any(made[key].shape != before.infos[key].shape for key in numbers):
            got = sorted((*numbers, *sizes))
            raise UsageError("an episode whose features differ from the first one's", got=got)

    def _remember(self, fragment: Fragment) -> None:
        self._first = self._first or fragment
        if fragment.split not in self._splits:
            self._splits.append(fragment.split)
        self._count += 1

    # ---------------------------------------------------------------- the end

    def close(self) -> None:
        """Make the dataset's files of the finished episodes and give the folder its name.

        Raises:
            UsageError: no episode was written.
        """
        if self._stack is None:
            return
        if not self._count:
            self._discard()
            raise UsageError("a dataset of no episodes", where=self.path)
        whole = self._work / _WHOLE
        with atomic_dir(whole) as root:
            self._join(root)
            for folder in [root, *(p for p in root.rglob("*") if p.is_dir())]:
                sync_dir(folder)
        if self.path.exists():
            raise AlreadyExists("this folder exists", where=self.path, hint=f"the dataset is whole in {whole}")
        whole.rename(self.path)
        sync_dir(self.path.parent)
        self._discard()

    def _join(self, root: Path) -> None:
        join = Join(root, self._about)
        try:
            for folder in fragments(self._work):
                join.add(folder, files.load(folder))
            join.finish()
        finally:
            join.release()

    def _discard(self) -> None:
        """Remove the working folder, all at once for who looks, and let others in."""
        gone = self._work.with_name(f".{self.path.name}.{uuid.uuid4().hex[:8]}.partial")
        self._work.rename(gone)
        shutil.rmtree(gone)
        self.leave()

    def leave(self) -> None:
        """Let other writers in, without finishing."""
        if self._stack is not None:
            stack, self._stack = self._stack, None
            stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._break_off()
            return
        try:
            self.close()
        except BaseException:
            self._break_off()
            raise

    def _break_off(self) -> None:
        """Let go after an error."""
        if self._stack is None:
            return
        if not self._keep or not self._count:
            self._discard()
            return
        _log.warning("the recording ended in an error; its %d episodes are in %s", self._count, self._work)
        self.leave()


def _lock(file: BinaryIO, work: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AlreadyExists("another process is writing this dataset", where=work) from None


def _declared(
    numbers: Mapping[str, Array],
    sizes: Mapping[str, tuple[int, int]],
    infos: Mapping[str, StreamInfo],
    messages: Mapping[str, Stream],
) -> dict[str, StreamInfo]:
    """What is known of every feature.

    Raises:
        UsageError: a name that LeRobot keeps for itself, or that cannot be a folder's.
    """
    made = {
        key: replace(infos.get(key) or StreamInfo(name=key, kind=_kind(key), count=-1), shape=value.shape[1:])
        for key, value in numbers.items()
    }
    made |= {key: infos.get(key, StreamInfo(name=key, kind=Kind.IMAGE, count=-1)) for key in sizes}
    made |= {key: stream.info for key, stream in messages.items()}
    for key in made:
        if key in BOOKKEEPING or any(Name(part) != part for part in key.split(".")):
            raise UsageError("a name that LeRobot keeps for itself", got=key)
    return made


def _kind(key: str) -> Kind:
    return Kind.ACTION if key.split(".")[0] == "action" else Kind.VECTOR


def _rows(key: str, value: Array) -> Array:
    array = np.asarray(value)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim < 2 or 0 in array.shape[1:] or array.dtype.kind not in "fiub":
        raise UsageError("a LeRobot feature is (T, D) numbers", got=f"{array.shape} {array.dtype}", where=key)
    return array


def _length(values: Mapping[str, Array | Frames]) -> int:
    lengths = {key: len(value) for key, value in values.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise UsageError("the features of an episode have one length above zero", got=lengths)
    return next(iter(lengths.values()))
