"""PX4 ULog: a flight controller's log with native times and recorded dropouts; one file is one log.

Source: https://docs.px4.io/main/en/dev_log/ulog_file_format.html, parsed by pyulog. A topic is a group of streams, one
a field: ``vehicle_attitude.q``; instance 1 of a topic is ``sensor_gyro.1.x``; elements of an array are channels.
``actuator_*`` outputs and controls are actions, character arrays text. Stamps are the topic's ``timestamp``, set when
it was published: µs since boot, given in ns; a topic whose every stamp is 0 gets the clock ``log``, the stamp of the
fastest topic's message before it in the file. ULog names no units; PX4's endings ``_m_s``, ``_m_s2``, ``_rad_s`` and
``_pa`` are taken for what they say. Information and parameters are facts (``parameter.NAME``), a changed parameter and
a logged message events. A dropout is a finding whose span begins at the newest stamp written before it.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import Array, Finding, IntArray, Kind, LogFolder, Origin, Stream, StreamInfo
from worldgate.core.times import MILLISECOND
from worldgate.data.logs._ulog_index import MAGIC, MICROSECOND, Topic, UlogIndex

CARD = {
    "line": "PX4 ULog: flight logs with native times, recorded dropouts, parameters and messages",
    "inputs": "a .ulg file, or a folder of them",
    "needs": "px4",
    "source": "https://docs.px4.io/main/en/dev_log/ulog_file_format.html",
}

_ELEMENT: Final = re.compile(r"(?P<base>.+)\[(?P<index>\d+)\]")
_UNITS: Final = (("_m_s2", "m/s^2"), ("_rad_s", "rad/s"), ("_m_s", "m/s"), ("_pa", "Pa"))
_COMMANDS: Final = frozenset({"control", "output"})
_MESSAGES: Final = "log.messages"
_CHANGES: Final = "log.parameters"
_NEVER_NS: Final = 2**63 - 1
_BLOCK: Final = 1 << 16
_SHOWN: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """A field of a topic: its elements lie side by side in a message."""

    topic: Topic
    offset: int
    """Bytes from the start of a message."""
    dtype: np.dtype[Any]
    width: int
    text: bool


class UlogLog:
    """One file; its messages stay in it.

    Raises:
        LogUnreadable: no ULog, or nothing recoverable.
    """

    def __init__(self, path: Path, *, name: str) -> None:
        self.name = name
        self._path = path
        self._index = UlogIndex(path)
        self._fields = {
            name: field for topic in self._index.topics.values() for name, field in sorted(_fields(topic).items())
        }
        if not self._fields and not any(self._events.values()):
            raise LogUnreadable("a ULog without a single whole message", got=f"{self._index.bytes} bytes", where=path)

    @property
    def origin(self) -> Origin:
        """PX4 names its simulated hardware; hardware in the loop is a parameter."""
        hardware = str(self._index.msg_info_dict.get("ver_hw", ""))
        looped = self._index.initial_parameters.get("SYS_HITL", 0)
        return Origin.SIMULATED if "SITL" in hardware or looped else Origin.REAL

    @cached_property
    def facts(self) -> Mapping[str, str | float | bool]:
        """Information and initial parameters."""
        out: dict[str, str | float | bool] = {}
        for key, value in self._index.msg_info_dict.items():
            out[str(key)] = _fact(value)
        for key, value in self._index.initial_parameters.items():
            # Stored in single precision: 0.05, and not what its double prints.
            out[f"parameter.{key}"] = _fact(float(str(np.float32(value))) if isinstance(value, float) else value)
        return out

    # ---------------------------------------------------------------- what was lost

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Dropouts that the logger recorded, and what cannot be read."""
        return (*self._dropouts(), *self._damage(), *self._unstamped())

    def _dropouts(self) -> list[Finding]:
        drops = [(d.timestamp * MICROSECOND, d.duration) for d in self._index.dropouts]
        if not drops:
            return []
        longest, total = max(ms for _, ms in drops), sum(ms for _, ms in drops)
        return [
            Finding(
                check="dropout",
                stream="",
                message=f"dropouts recorded by the logger: {len(drops)}, {total} ms in all, the longest {longest} ms",
                value=float(longest),
                limit=0.0,
                unit="ms",
                spans_ns=tuple((start, start + max(ms, 1) * MILLISECOND) for start, ms in drops),
            )
        ]

    def _damage(self) -> list[Finding]:
        out = []
        if self._index.lost:
            size = sum(count for _, count, _, _ in self._index.lost)
            first = self._index.lost[0][0]
            cut = len(self._index.lost) == 1 and self._index.lost[0][3] < 0
            words = "the file ends inside a message" if cut else "stretches that hold no message"
            spans = ((from_us, to_us) for _, _, from_us, to_us in self._index.lost)
            out.append(_lost(f"{words}, from byte {first}; {size} bytes lost", float(size), "bytes", tuple(spans)))
        if self._index.misfits:
            count = self._index.misfits
            out.append(_lost(f"{count} messages do not fit their format", float(count), "messages", ()))
        return out

    def _unstamped(self) -> list[Finding]:
        bare = [topic.name for topic in self._index.topics.values() if not topic.stamped]
        if not bare:
            return []
        words = "every stamp is 0; their times are those of the messages written before them"
        return [
            Finding(
                check="unstamped",
                stream="",
                message=f"{', '.join(bare)}: {words}",
                value=float(len(bare)),
                limit=0.0,
                unit="topics",
            )
        ]

    # ---------------------------------------------------------------- streams

    def streams(self) -> tuple[StreamInfo, ...]:
        """One a field of each topic, in the order topics began; then the events."""
        events = (name for name, rows in self._events.items() if rows)
        return (*(self._info(name) for name in self._fields), *(self._event_info(name) for name in events))

    def _info(self, name: str) -> StreamInfo:
        field = self._fields[name]
        kind = Kind.TEXT if field.text else Kind.VECTOR
        if field.topic.name.startswith("actuator_") and name.rpartition(".")[2] in _COMMANDS:
            kind = Kind.ACTION
        return StreamInfo(
            name=name,
            kind=kind,
            count=len(field.topic.offsets),
            shape=() if field.text else (field.width,),
            unit=next((unit for ending, unit in _UNITS if name.endswith(ending)), ""),
            clock="publish" if field.topic.stamped else "log",
            topic=field.topic.name,
        )

    def _event_info(self, name: str) -> StreamInfo:
        return StreamInfo(name=name, kind=Kind.EVENT, count=len(self._events[name]), clock="publish")

    @cached_property
    def _events(self) -> dict[str, list[tuple[int, str]]]:
        """Stamp in µs and JSON text of each event."""
        changes = [(t, {"name": name, "value": _fact(value)}) for t, name, value in self._index.changed_parameters]
        return {
            name: [(int(t), json.dumps(event)) for t, event in sorted(rows, key=lambda row: row[0])]
            for name, rows in ((_MESSAGES, self._index.messages), (_CHANGES, changes))
        }

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        """Read one stream, whole or within the half-open window.

        Raises:
            NotFound: no such stream.
            LogUnreadable: the file changed.
        """
        if self._events.get(stream):
            return self._read_events(stream, window_ns)
        if stream not in self._fields:
            known = [info.name for info in self.streams()]
            # A flight log has hundreds.
            near = difflib.get_close_matches(stream, known, n=_SHOWN, cutoff=0.4) or known[:_SHOWN]
            more = f" and {len(known) - len(near)} more" if len(known) > len(near) else ""
            raise NotFound("no such stream", got=stream, where=self.name, hint=f"one of {', '.join(near)}{more}")
        field = self._fields[stream]
        times = self._times(field.topic)
        keep = _within(times, window_ns)
        return Stream(info=self._info(stream), times_ns=times[keep], values=self._values(field, keep))

    def _read_events(self, stream: str, window_ns: tuple[int, int] | None) -> Stream:
        rows = self._events[stream]
        times = np.array([t for t, _ in rows], dtype=np.int64) * MICROSECOND
        keep = _within(times, window_ns)
        texts = np.empty(len(keep), dtype=object)
        texts[:] = [rows[int(i)][1] for i in keep]
        return Stream(info=self._event_info(stream), times_ns=times[keep], values=texts)

    def _times(self, topic: Topic) -> IntArray:
        stamps = np.array(topic.stamps_us, dtype=np.int64) if topic.stamped else self._index.write_times_us(topic)
        return stamps * MICROSECOND

    def _values(self, field: _Field, keep: IntArray) -> Array:
        """(K, D) of these messages, or (K,) text."""
        if self._path.stat().st_size != self._index.bytes:
            raise LogUnreadable("the file changed since it was opened", where=self._path)
        data = np.memmap(self._path, dtype=np.uint8, mode="r")
        starts = np.array(field.topic.offsets, dtype=np.int64)[keep] + field.offset
        size = field.dtype.itemsize * field.width
        raw = np.empty((len(starts), size), dtype=np.uint8)
        for block in range(0, len(starts), _BLOCK):
            some = starts[block : block + _BLOCK]
            raw[block : block + len(some)] = data[some[:, None] + np.arange(size)]
        if field.text:
            out = np.empty(len(raw), dtype=object)
            out[:] = [bytes(row).split(b"\0", 1)[0].decode("utf-8", "replace") for row in raw]
            return out
        return raw.view(field.dtype).astype(field.dtype.newbyteorder("="), copy=False)


def _within(times_ns: IntArray, window_ns: tuple[int, int] | None) -> IntArray:
    if window_ns is None:
        return np.arange(len(times_ns), dtype=np.int64)
    return np.flatnonzero((times_ns >= window_ns[0]) & (times_ns < window_ns[1])).astype(np.int64)


def _fields(topic: Topic) -> dict[str, _Field]:
    """Streams of a topic: its fields, arrays folded, without the stamp."""
    prefix = topic.name if topic.instance == 0 else f"{topic.name}.{topic.instance}"
    grouped: dict[str, list[str]] = {}
    for name in topic.types:
        match = _ELEMENT.fullmatch(name)
        grouped.setdefault(match["base"] if match else name, []).append(name)
    out = {}
    for base, names in grouped.items():
        first = names[0]
        if base == "timestamp" or "_padding" in base:
            continue
        placed = topic.dtype.fields
        assert placed is not None
        label = re.sub(r"\[(\d+)\]", r".\1", base)
        out[f"{prefix}.{label}"] = _Field(
            topic=topic,
            offset=int(placed[first][1]),
            dtype=placed[first][0],
            width=len(names),
            text=topic.types[first] == "char" and first != base,
        )
    return out


def _fact(value: Any) -> str | float | bool:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, int | float) and (not math.isfinite(value) or abs(value) >= 2**53):
        return str(value)
    return value if isinstance(value, str | int | float | bool) else str(value)


def _lost(message: str, value: float, unit: str, spans_us: tuple[tuple[int, int], ...]) -> Finding:
    """A loss; its span begins after the newest stamp before it, and is open where nothing follows."""
    spans = tuple(
        (start * MICROSECOND + 1, _NEVER_NS if stop < 0 else max(stop, start + 1) * MICROSECOND)
        for start, stop in spans_us
    )
    return Finding(check="data_lost", stream="", message=message, value=value, limit=0.0, unit=unit, spans_ns=spans)


# -------------------------------------------------------------------- the folder


def _is_ulog(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*.ulg") if file.is_file())


def detect(path: Path) -> bool:
    """A file that begins as a ULog, or a folder with one named ``.ulg``."""
    if path.is_dir():
        return any(_is_ulog(file) for file in path.rglob("*.ulg") if file.is_file())
    return _is_ulog(path)


def open_logs(path: Path) -> LogFolder:
    """Open a file, or every ``.ulg`` below a folder.

    Raises:
        NotFound: none there.
        LogUnreadable: a file that cannot be read.
    """
    if path.is_file():
        return LogFolder(path=path, format="ulog", logs=(UlogLog(path, name=path.name),))
    files = _files(path)
    if not files:
        raise NotFound("no .ulg file in this folder", where=path)
    logs = tuple(UlogLog(file, name=file.relative_to(path).as_posix()) for file in files)
    return LogFolder(path=path, format="ulog", logs=logs)


def units(path: Path) -> list[tuple[Path, ...]]:
    """The file of each log, in the order of :func:`open_logs`."""
    return [(file,) for file in _files(path)]
