"""Plain folders of video and CSV or parquet, with a mapping file that says what they hold.

``worldgate-log.toml`` with ``format = "table"`` names every stream: its file, columns, stamps and their unit, or its
video and where the frames' times come from (a column, a list of stamps beside it, or a rate). Nothing is guessed: a
stamp without a unit, a column that is not there and an unknown key are errors. A CSV is read through once for stamps;
values are read when asked for, the rows of the window alone are kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final, Literal

import numpy as np

from worldgate.core.choices import settle
from worldgate.core.config import decode, read_toml
from worldgate.core.errors import ConfigError, LogUnreadable, NotFound
from worldgate.core.streams import Array, Finding, IntArray, Kind, LogFolder, Origin, Stream, StreamInfo
from worldgate.core.times import SECOND, format_ns
from worldgate.core.units import check_unit
from worldgate.data.logs._arrays import plain_facts
from worldgate.data.logs._mapping import FILE, Facts, meant
from worldgate.data.logs._paths import files_of, inside
from worldgate.data.logs._tables import UNIT_NS, TableFile
from worldgate.data.logs._video import VideoFrames, video_index

CARD = {
    "line": "plain folders of video and CSV or parquet, described by a worldgate-log.toml",
    "inputs": 'a folder with a worldgate-log.toml that says format = "table"',
    "source": "docs/how-to/read-logs.md",
}

_MAX_JSON: Final = 1 << 22
_YEAR_2000_NS: Final = 946_684_800 * SECOND
_YEAR_2100_NS: Final = 4_102_444_800 * SECOND
_FASTEST_NS: Final = 1_000
_SLOWEST_NS: Final = 3600 * SECOND
"""Steps between stamps that a sensor may have."""
_ONE_COLUMN: Final = frozenset({Kind.TEXT, Kind.EVENT})
_KINDS: Final = frozenset({Kind.VECTOR, Kind.ACTION, Kind.POSE}) | _ONE_COLUMN


@dataclass(frozen=True, slots=True, kw_only=True)
class TableStream:
    """One stream of a folder."""

    file: str = ""
    """CSV, TSV or parquet with the values; for a video, what holds the frames' times, or a list of one a line."""
    video: str = ""
    """Video file; makes this a camera."""
    time: str = ""
    """Column with the stamps."""
    time_unit: Literal["", "s", "ms", "us", "ns", "iso"] = ""
    """Unit of the stamps; ``iso`` for text with a zone; not needed where parquet stores timestamps."""
    columns: tuple[str, ...] = ()
    """Columns with the values, in this order; a parquet column may hold lists."""
    kind: Kind | None = None
    """What it holds: a vector, an action where the name begins so, an image for a video."""
    unit: str = ""
    names: tuple[str, ...] = ()
    """Channel names; the columns' own where absent."""
    frame: str = ""
    clock: Literal["log", "publish", "header"] = "log"
    """Which clock the stamps are on."""
    rate_hz: float = 0.0
    """Declared rate; where no stamps are recorded, the rate that makes them."""
    start_ns: int = 0
    """First stamp where the rate makes them."""
    delimiter: str = ","

    def __post_init__(self) -> None:
        settle(self)
        stamped = self.stamps == "file"
        problems = (
            (not self.video and not self.file, "neither file nor video"),
            (not self.video and not self.columns, "a file without columns"),
            (bool(self.video) and bool(self.columns), "a video has no columns"),
            (not self.video and not stamped and self.rate_hz <= 0, "neither time nor rate_hz"),
            (not 0 <= self.rate_hz <= 1e6, "a rate in Hz"),
            (not self.video and self.kind is not None and self.kind not in _KINDS, "a table of no such kind"),
            (bool(self.video) and self.kind not in {None, Kind.IMAGE}, "a video is an image stream"),
            (self.kind in _ONE_COLUMN and len(self.columns) != 1, "text is one column"),
            (stamped and self.start_ns != 0, "start_ns stands for stamps that are not recorded"),
            (len(self.delimiter) != 1, "a delimiter of one character"),
            (
                self.time_unit == "" and stamped and not self.file.endswith((".parquet", ".pq")),
                "time without time_unit",
            ),
        )
        for wrong, what in problems:
            if wrong:
                raise ConfigError(what, where="streams", hint="see docs/how-to/read-logs.md")

    @property
    def stamps(self) -> str:
        """Where the stamps come from."""
        return "file" if self.time or (self.video and self.file) else "rate" if self.rate_hz else "video"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFolder:
    """A mapping file."""

    format: Literal["table"]
    name: str = "log"
    """What people call the log, where the folder holds one."""
    logs: str = ""
    """Pattern of folders that each hold one log, such as ``episode_*``; files are relative to each."""
    origin: Origin = Origin.REAL
    facts: Facts = field(default_factory=dict)
    facts_file: str = ""
    """JSON object of facts in each log's folder."""
    streams: Mapping[str, TableStream]

    def __post_init__(self) -> None:
        if not self.streams:
            raise ConfigError("a folder without streams", where="streams")
        if ".." in PurePosixPath(self.logs).parts or PurePosixPath(self.logs).is_absolute():
            raise ConfigError("a pattern that leaves the folder", got=self.logs, where="logs")


@dataclass(frozen=True, kw_only=True)
class TableLog:
    """One log of such a folder."""

    name: str
    folder: Path
    mapping: TableFolder
    facts: Facts
    _seen: dict[tuple[str, str], IntArray] = field(default_factory=dict, repr=False)
    """Stamps of each file and column, read once."""

    def check(self) -> None:
        """Whether the files and columns that are named are there, without reading them.

        Raises:
            ConfigError: no such column.
            LogUnreadable: a file that leaves the folder, is not there or cannot be read.
        """
        for entry in self.mapping.streams.values():
            if entry.video:
                self._path(entry.video)
            if entry.file:
                table = self._table(entry)
                table.check([column for column in (entry.time, *entry.columns) if column])

    @property
    def origin(self) -> Origin:
        """As the mapping file says; real where it does not."""
        return self.mapping.origin

    def streams(self) -> tuple[StreamInfo, ...]:
        """As the mapping file names them."""
        return tuple(self._infos.values())

    @cached_property
    def _infos(self) -> dict[str, StreamInfo]:
        return {name: self._info(name, entry) for name, entry in self.mapping.streams.items()}

    def _info(self, name: str, entry: TableStream) -> StreamInfo:
        clock = entry.clock if entry.stamps == "file" else "frame"
        count = len(self._times[name])
        if entry.video:
            index = video_index(self._path(entry.video))
            shape: tuple[int, ...] = (index.height, index.width, 3)
            rate = entry.rate_hz or (index.rate_hz if entry.stamps == "video" else 0.0)
            return StreamInfo(
                name=name, kind=Kind.IMAGE, count=count, shape=shape, frame=entry.frame, clock=clock, rate_hz=rate
            )
        kind = entry.kind or (Kind.ACTION if name.split(".")[0] == "action" else Kind.VECTOR)
        text = kind in _ONE_COLUMN
        width = 0 if text else self._width(name, entry)
        if kind is Kind.POSE and width != 7:
            raise ConfigError("a pose is x y z qx qy qz qw", got=f"{width} columns", where=f"{self.folder}: {name}")
        check_unit(entry.unit, channels=width or None)
        names = entry.names or (entry.columns if width == len(entry.columns) else ())
        return StreamInfo(
            name=name,
            kind=kind,
            count=count,
            shape=() if text else (width,),
            names=() if text else names,
            unit=entry.unit,
            frame=entry.frame,
            clock=clock,
            rate_hz=entry.rate_hz,
            topic=entry.file,
        )

    def _width(self, name: str, entry: TableStream) -> int:
        """Channels: as many as columns, more where a column holds lists."""
        if not len(self._times[name]):
            return len(entry.columns)
        return int(self._table(entry).numbers(entry.columns, np.zeros(1, dtype=np.int64)).shape[1])

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        """Read one stream, whole or within the half-open window.

        Raises:
            NotFound: no such stream.
            LogUnreadable: a cell that is no number, a video that cannot be read.
        """
        entry = self.mapping.streams.get(stream)
        if entry is None:
            known = ", ".join(self.mapping.streams)
            raise NotFound("no such stream", got=stream, where=self.name, hint=f"one of {known}")
        times = self._times[stream]
        keep = np.arange(len(times), dtype=np.int64)
        if window_ns is not None:
            keep = keep[(times >= window_ns[0]) & (times < window_ns[1])]
        return Stream(info=self._infos[stream], times_ns=times[keep], values=self._values(stream, entry, keep))

    def _values(self, name: str, entry: TableStream, keep: IntArray) -> Array | VideoFrames:
        if entry.video:
            return VideoFrames(path=self._path(entry.video), rows=keep)
        if self._infos[name].kind in _ONE_COLUMN:
            return self._table(entry).texts(entry.columns[0], keep)
        values = self._table(entry).numbers(entry.columns, keep)
        return values if len(values) else np.empty((0, *self._infos[name].shape), dtype=values.dtype)

    # ---------------------------------------------------------------- files

    def _path(self, relative: str) -> Path:
        path = inside(self.folder, relative)
        if path is None or "\0" in relative:
            raise LogUnreadable("a file that leaves its folder", got=ascii(relative)[:80], where=self.folder / FILE)
        if not path.is_file():
            raise LogUnreadable("the mapping names a file that is not there", got=relative, where=self.folder)
        return path

    def _table(self, entry: TableStream) -> TableFile:
        path = self._path(entry.file)
        delimiter = "\t" if path.suffix == ".tsv" and entry.delimiter == "," else entry.delimiter
        return TableFile(path=path, delimiter=delimiter, header=bool(entry.time) or not entry.video)

    # ---------------------------------------------------------------- times

    @cached_property
    def _times(self) -> dict[str, IntArray]:
        """(N,) stamps of every stream."""
        return {name: self._times_of(entry) for name, entry in self.mapping.streams.items()}

    def _times_of(self, entry: TableStream) -> IntArray:
        if entry.stamps == "file":
            times = self._stamps(entry)
            return times[: len(video_index(self._path(entry.video)).pts)] if entry.video else times
        if entry.stamps == "rate":
            steps = np.arange(self._count(entry), dtype=np.int64)
            return np.asarray(entry.start_ns + np.rint(steps * SECOND / entry.rate_hz).astype(np.int64))
        return video_index(self._path(entry.video)).times_ns()

    def _stamps(self, entry: TableStream) -> IntArray:
        key = (entry.file, entry.time)
        if key not in self._seen:
            table = self._table(entry)
            times = table.stamps(entry.time, entry.time_unit)
            _refuse_wrong_unit(times, entry.time_unit, f"{table.path}:{entry.time}")
            self._seen[key] = times
        return self._seen[key]

    def _count(self, entry: TableStream) -> int:
        """Rows of a table without stamps, or frames of a video."""
        if entry.video:
            return len(video_index(self._path(entry.video)).pts)
        return self._table(entry).count(entry.columns[0])

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Videos with another number of frames than stamps; clocks that begin in 1970 by their unit."""
        out = []
        for name, entry in self.mapping.streams.items():
            if entry.video and entry.stamps == "file":
                frames = len(video_index(self._path(entry.video)).pts)
                stamps = len(self._stamps(entry))
                if frames != stamps:
                    out.append(_mismatch(name, frames, stamps))
            likely = _likelier_unit(self._times[name], entry.time_unit)
            if likely:
                out.append(_unit_finding(name, self._times[name], entry.time_unit, likely))
        return tuple(out)


def _mismatch(name: str, frames: int, stamps: int) -> Finding:
    return Finding(
        check="count_mismatch",
        stream=name,
        message=f"{frames} frames for {stamps} stamps; the first {min(frames, stamps)} are paired",
        value=float(frames),
        limit=float(stamps),
        unit="frames",
    )


def _likelier_unit(times_ns: IntArray, unit: str) -> str:
    """The unit that would put stamps into this century at a rate that a sensor has, where the stated one does not."""
    if unit not in UNIT_NS or len(times_ns) < 2 or _YEAR_2000_NS <= int(times_ns[0]) < _YEAR_2100_NS:
        return ""
    step = float(np.median(np.abs(np.diff(times_ns))))
    for other, factor in UNIT_NS.items():
        scale = factor / UNIT_NS[unit]
        in_century = _YEAR_2000_NS <= float(times_ns[0]) * scale < _YEAR_2100_NS
        if other != unit and in_century and _FASTEST_NS <= step * scale <= _SLOWEST_NS:
            return other
    return ""


def _unit_finding(name: str, times_ns: IntArray, unit: str, likely: str) -> Finding:
    began = int(times_ns[0])
    return Finding(
        check="time_unit",
        stream=name,
        message=f'begins at {format_ns(began)[:10]} as "{unit}"; as "{likely}" it would begin in this century',
        value=began / SECOND,
        limit=_YEAR_2000_NS / SECOND,
        unit="s",
    )


def _refuse_wrong_unit(times_ns: IntArray, unit: str, where: str) -> None:
    """Refuse stamps that no sensor has by the stated unit, and that are plausible by another."""
    likely = _likelier_unit(times_ns, unit)
    step = float(np.median(np.abs(np.diff(times_ns)))) if likely else 0.0
    if likely and not _FASTEST_NS <= step <= _SLOWEST_NS:
        got = f'a step of {step:g} ns as "{unit}", beginning {format_ns(int(times_ns[0]))}'
        raise LogUnreadable("stamps in another unit than stated", got=got, where=where, hint=f'time_unit = "{likely}"')


# -------------------------------------------------------------------- the folder


def _mappings(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(file for file in path.rglob(FILE) if meant(file, default="") == "table")


def detect(path: Path) -> bool:
    """A folder with a ``worldgate-log.toml`` that says ``format = "table"``, itself or below it."""
    return bool(_mappings(path))


def open_logs(path: Path) -> LogFolder:
    """Open every log that the mapping files at or below a folder describe.

    Raises:
        NotFound: no mapping file, or a pattern that no folder fits.
        ConfigError: an unknown key, a wrong value, a column that is not there.
        LogUnreadable: a file that is named and not there, or cannot be read.
    """
    logs: list[TableLog] = []
    for file in _mappings(path):
        mapping = _read(file)
        folders = _folders(file, mapping)
        if not folders:
            raise NotFound("no folder fits the pattern", got=mapping.logs, where=file)
        for folder in folders:
            name = mapping.name if folder == path else folder.relative_to(path).as_posix()
            log = TableLog(name=name, folder=folder, mapping=mapping, facts=_facts(folder, mapping))
            log.check()
            logs.append(log)
    if not logs:
        raise NotFound(f'no {FILE} that says format = "table" here', where=path)
    return LogFolder(path=path, format="table", logs=tuple(logs))


def units(path: Path) -> list[tuple[Path, ...]]:
    """The files of each log, in the order of :func:`open_logs`.

    None where several mapping files each speak of folders below them: one of these alone would find no folder.
    """
    mappings = [(file, _read(file)) for file in _mappings(path)]
    if len(mappings) > 1 and any(mapping.logs for _, mapping in mappings):
        return []
    return files_of([folder for file, mapping in mappings for folder in _folders(file, mapping)])


def _folders(file: Path, mapping: TableFolder) -> list[Path]:
    """The folders that each hold one log of a mapping file."""
    if not mapping.logs:
        return [file.parent]
    return sorted(folder for folder in file.parent.glob(mapping.logs) if folder.is_dir())


def _read(file: Path) -> TableFolder:
    try:
        return decode(TableFolder, read_toml(file), where=str(file))
    except ConfigError as error:
        if error.where is None or str(error.where).startswith(str(file)):
            raise
        raise ConfigError(error.what, got=error.got, where=f"{file}:{error.where}", hint=error.hint) from error


def _facts(folder: Path, mapping: TableFolder) -> Facts:
    if not mapping.facts_file:
        return dict(mapping.facts)
    path = inside(folder, mapping.facts_file)
    try:
        if path is None or path.stat().st_size > _MAX_JSON:
            raise ValueError("outside the folder, or beyond 4 MiB")
        tree = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(tree, dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as error:
        where = folder / mapping.facts_file
        raise LogUnreadable("facts that cannot be read", got=str(error)[:80], where=where) from error
    return {**mapping.facts, **plain_facts(tree)}
