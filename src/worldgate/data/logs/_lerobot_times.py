"""What LeRobot cannot hold, beside it: the native times of every row's messages, and events and text as they came.

LeRobot's only time is ``frame_index / fps``. Under ``worldgate/`` in the dataset's folder, which lerobot does not look
into, stand two parquet tables for each data file, by the same chunk and file number:

``times``     a row a data row: ``episode_index`` and, for each stream, ``<stream>/index`` (number of the message in its
              log, -1: none), ``<stream>/time_ns`` and ``<stream>/log_ns`` (int64 ns, the latter where it differs)
``messages``  a row a message: ``episode_index``, ``stream``, ``time_ns``, ``log_ns``, ``text``

A message that several rows hold is one message again when read, and a row that held none is none: what is read has
the times and gaps of the log that was written.

Shape legend: T rows of an episode, N messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from worldgate.core.errors import LogUnreadable, UsageError
from worldgate.core.streams import IntArray, Stream
from worldgate.data.logs._lerobot_meta import read_table

TIMES_PATH: Final = "worldgate/times/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
MESSAGES_PATH: Final = "worldgate/messages/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTimes:
    """Which messages of a stream an episode's rows hold, and when those were."""

    index: IntArray
    """(T,) number of the message in its log; -1 where the row holds none."""
    time_ns: IntArray
    """(T,) its stamp, on the stream's clock."""
    log_ns: IntArray | None = None
    """(T,) when the recorder wrote it, where that is another time."""

    def columns(self, stream: str) -> dict[str, IntArray]:
        """As columns of the table."""
        log = {} if self.log_ns is None else {f"{stream}/log_ns": self.log_ns}
        return {f"{stream}/index": self.index, f"{stream}/time_ns": self.time_ns, **log}


@dataclass(frozen=True, slots=True, kw_only=True)
class Native:
    """A stream's messages as they were before they were put into rows."""

    rows: IntArray
    """(N,) row that holds each message first."""
    times_ns: IntArray
    log_ns: IntArray | None


def times_table(times: Mapping[str, RowTimes], length: int) -> pa.Table:
    """The table of an episode.

    Raises:
        UsageError: times of another length than the episode.
    """
    columns = {name: array for key, held in times.items() for name, array in held.columns(key).items()}
    for name, array in columns.items():
        if array.shape != (length,) or array.dtype != np.int64:
            raise UsageError("native times are one int64 a row", got=f"{array.shape} {array.dtype}", where=name)
    return pa.table({name: pa.array(array) for name, array in columns.items()})


MESSAGES: Final = pa.schema(
    [("stream", pa.string()), ("time_ns", pa.int64()), ("log_ns", pa.int64()), ("text", pa.string())]
)


def messages_table(streams: Mapping[str, Stream]) -> pa.Table:
    """Events and text of an episode, stream by stream, in recorded order."""
    parts = []
    for key, stream in streams.items():
        log = [None] * len(stream) if stream.log_times_ns is None else stream.log_times_ns.tolist()
        rows = {"stream": [key] * len(stream), "time_ns": stream.times_ns.tolist(), "log_ns": log}
        parts.append(pa.table({**rows, "text": [str(v) for v in stream.array]}, schema=MESSAGES))
    return pa.concat_tables(parts) if parts else MESSAGES.empty_table()


def write_if_any(path: Path, table: pa.Table) -> None:
    """Write a table that says something."""
    if table.num_columns and table.num_rows:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)


def native(path: Path | None, episode: int, stream: str, length: int) -> Native | None:
    """What stands beside the dataset of a stream's messages; None where nothing does.

    Raises:
        LogUnreadable: a table that does not fit the rows.
    """
    if path is None or not path.is_file():
        return None
    table = read_table(path)
    table = table.filter(pc.equal(_column(table, "episode_index", path), episode))
    if f"{stream}/index" not in table.column_names:
        return None
    index, times_ns = (_ints(table, f"{stream}/{part}", path) for part in ("index", "time_ns"))
    log_ns = _ints(table, f"{stream}/log_ns", path) if f"{stream}/log_ns" in table.column_names else None
    if len(index) != length:
        raise LogUnreadable("native times that do not fit the rows", got=f"{len(index)} for {length}", where=path)
    held, first = np.unique(index, return_index=True)
    rows = np.sort(first[held >= 0]).astype(np.int64)
    return Native(rows=rows, times_ns=times_ns[rows], log_ns=None if log_ns is None else log_ns[rows])


def messages(path: Path, episode: int, stream: str) -> tuple[IntArray, IntArray | None, list[str]]:
    """Stamps, log times where they differ, and texts of a stream of events or text.

    Raises:
        LogUnreadable: a table of another form.
    """
    if not path.is_file():
        return np.empty(0, np.int64), None, []
    table = read_table(path)
    mine = pc.and_(
        pc.equal(_column(table, "episode_index", path), episode), pc.equal(_column(table, "stream", path), stream)
    )
    table = table.filter(mine)
    logged = _column(table, "log_ns", path)
    log_ns = None if logged.null_count else _ints(table, "log_ns", path)
    return (
        _ints(table, "time_ns", path),
        log_ns if len(table) else None,
        [str(v) for v in table.column("text").to_pylist()],
    )


def _column(table: pa.Table, name: str, path: Path) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise LogUnreadable("a parquet file without an expected column", got=name, where=path)
    return table.column(name)


def _ints(table: pa.Table, name: str, path: Path) -> IntArray:
    column = _column(table, name, path)
    if column.type != pa.int64() or column.null_count:
        raise LogUnreadable("times that are not int64", got=f"{name}: {column.type}", where=path)
    return np.asarray(column.to_numpy(), dtype=np.int64)
