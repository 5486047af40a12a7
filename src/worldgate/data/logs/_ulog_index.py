"""A pass over a ULog file that remembers where messages lie, instead of keeping them.

pyulog parses framing, formats, information, parameters and damage, and prints what it thinks of them; its collection of
data messages is replaced here by their byte offsets and stamps, so that a log need not fit in memory and a topic is
read by slicing the file. Nested formats are counted before pyulog expands them: a few bytes can declare billions of
fields. Source: https://docs.px4.io/main/en/dev_log/ulog_file_format.html.
"""

from __future__ import annotations

import contextlib
import io
import logging
import struct
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from pyulog import ULog
from pyulog.exceptions import ULogException

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import IntArray

MAGIC: Final = b"ULog\x01\x12\x35"
MICROSECOND: Final = 1_000
_LATEST_US: Final = (2**63 - 1) // MICROSECOND
_KNOWN: Final = frozenset(b"FDIMPQARSOLCB")
_MAX_MESSAGE: Final = 65_535
"""Bytes; a message's length is 16 bits."""
_MAX_DEPTH: Final = 16
_AHEAD_US: Final = 10_000_000
_HEAD: Final = 3
_STAMP: Final = struct.Struct("<Q")
_logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Topic:
    """Where the messages of one topic and instance lie."""

    name: str
    instance: int
    dtype: np.dtype[Any]
    """Of a message without its id: the flattened fields."""
    types: Mapping[str, str]
    """Field -> type as the format names it."""
    offsets: array[int] = field(default_factory=lambda: array("q"))
    stamps_us: array[int] = field(default_factory=lambda: array("q"))

    @property
    def stamped(self) -> bool:
        """Whether its publisher set the stamp of any message."""
        return any(self.stamps_us)


class _Reader(io.BufferedReader):
    """A file whose position moves by what was asked for, even beyond its end.

    pyulog steps back by the length that a head promises; where the file ends before, it would step too far, and meet
    the same head for ever.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if size is not None and len(data) < size:
            self.seek(size - len(data), io.SEEK_CUR)
        return data


class _Header(ULog._MessageHeader):  # type: ignore[misc]  # pyulog ships no types
    """A message's head, told to the index before it is believed."""

    def __init__(self, index: UlogIndex) -> None:
        super().__init__()
        self._index = index

    def initialize(self, data: bytes) -> None:
        super().initialize(data)
        self._index.met(self.msg_size, self.msg_type)


class _Data:
    """Stands in for pyulog's data message: keeps its offset and stamp, not its bytes."""

    def __init__(self) -> None:
        self.timestamp = 0
        self._previous = _LATEST_US

    def initialize(self, data: bytes, header: Any, subscriptions: Mapping[int, Any], index: UlogIndex) -> bool:
        """Whether the message is corrupt, as pyulog asks."""
        self.timestamp = 0
        found = subscriptions.get(data[0] | data[1] << 8) if len(data) > 2 else None
        size = len(data) - 2
        if found is None or found.timestamp_idx < 0 or not found.dtype.itemsize <= size <= found.max_data_size:
            index.misfits += 1
            return True
        (stamp,) = _STAMP.unpack_from(data, 2 + found.timestamp_offset)
        if stamp > _LATEST_US:
            index.misfits += 1
            return True
        # pyulog dates dropouts and changed parameters by the greatest stamp so far; in a real log one message from
        # another time moved them by 20 minutes. So a stamp counts when it is not far ahead of the message before it.
        self.timestamp = stamp if stamp <= self._previous + _AHEAD_US else 0
        self._previous = stamp
        topic = found.topic or index.topic(found)
        topic.offsets.append(index.start + _HEAD + 2)
        topic.stamps_us.append(stamp)
        return False


class _Subscription(ULog._MessageAddLogged):  # type: ignore[misc]  # pyulog ships no types
    """A topic's format, expanded only where that stays within a message."""

    def __init__(self, data: bytes, header: Any, formats: Mapping[str, Any]) -> None:
        if _size(ULog.parse_string(data[3:]), formats, 0) > _MAX_MESSAGE:
            raise ValueError("a format larger than a message can be")
        self.topic: Topic | None = None
        self.timestamp_idx = -1
        super().__init__(data, header, formats)
        if self.timestamp_idx >= 0 and self.field_data[self.timestamp_idx].type_str != "uint64_t":
            self.timestamp_idx = -1


def _size(name: str, formats: Mapping[str, Any], depth: int) -> int:
    """Bytes of a format, its nested ones included; too many where it holds itself."""
    if depth > _MAX_DEPTH:
        return _MAX_MESSAGE + 1
    total = 0
    for kind, count, _ in formats[name].fields:
        each = ULog.get_field_size(kind) if kind in ULog._UNPACK_TYPES else _size(kind, formats, depth + 1)
        total += each * max(1, count)
        if total > _MAX_MESSAGE:
            break
    return total


class UlogIndex(ULog):  # type: ignore[misc]  # pyulog ships no types
    """Everything that pyulog knows of a file but the data, and where the data lies.

    Raises:
        LogUnreadable: no ULog header, or flags that say it cannot be read.
    """

    _MessageData = _Data
    _MessageAddLogged = _Subscription

    def __init__(self, path: Path) -> None:
        self.path = path
        self.topics: dict[tuple[str, int], Topic] = {}
        self.misfits = 0
        """Messages of a wrong size, an unknown id or an impossible stamp."""
        self.lost: list[tuple[int, int, int, int]] = []
        """First byte, bytes, and stamps in µs around each stretch that holds no message; stamp -1: the file's end."""
        self.start = 0
        """Byte where the message that is being read begins."""
        self._end = 16
        self._MessageHeader = lambda: _Header(self)
        self.bytes = path.stat().st_size
        said = io.StringIO()
        try:
            with _Reader(path.open("rb", buffering=0)) as file, contextlib.redirect_stdout(said):
                super().__init__(file)
        except ULogException as error:
            raise LogUnreadable("not a ULog that can be read", got=str(error)[:120], where=path) from error
        except (struct.error, ValueError, KeyError, IndexError, TypeError, OverflowError, RecursionError) as error:
            raise LogUnreadable("a damaged ULog head", got=repr(error)[:120], where=path) from error
        if said.getvalue():
            _logger.debug("%s: %s", path, said.getvalue().strip())
        tagged = [(m, {"tag": m.tag}) for held in self.logged_messages_tagged.values() for m in held]
        said_all = [*((m, {}) for m in self.logged_messages), *tagged]
        self.messages = [
            (m.timestamp, {"level": m.log_level_str().lower(), "message": m.message, **more})
            for m, more in said_all
            if m.timestamp <= _LATEST_US
        ]
        """Stamp in µs and content of each logged text."""
        self.misfits += len(said_all) - len(self.messages)
        if self._end < self.bytes:
            self.lost.append((self._end, self.bytes - self._end, int(self.last_timestamp), -1))

    def met(self, size: int, kind: int) -> None:
        """Follow the framing: what lies between two messages is lost."""
        self.start = self._file_handle.tell() - _HEAD
        end = self.start + _HEAD + size
        if kind not in _KNOWN or end > self.bytes:
            return
        if self.start > self._end:
            now = int(self.last_timestamp)
            self.lost.append((self._end, self.start - self._end, now, now))
        self._end = max(self._end, end)

    def _read_file_definitions(self) -> None:
        if int(self.start_timestamp) > _LATEST_US:
            self._start_timestamp = self._last_timestamp = 0
        super()._read_file_definitions()

    def write_times_us(self, topic: Topic) -> IntArray:
        """(N,) stamp of the fastest topic's last message before each message of this one: about when it was written."""
        pace = max(self.topics.values(), key=lambda t: len(t.stamps_us) if any(t.stamps_us) else 0)
        before = np.searchsorted(np.array(pace.offsets, np.int64), np.array(topic.offsets, np.int64)) - 1
        return np.array(pace.stamps_us, dtype=np.int64)[np.maximum(before, 0)]

    def topic(self, subscription: Any) -> Topic:
        """The topic of a subscription; one that was dropped and added again goes on."""
        key = (str(subscription.message_name), int(subscription.multi_id))
        known = self.topics.get(key)
        if known is None:
            types = {f.field_name: f.type_str for f in subscription.field_data}
            known = Topic(name=key[0], instance=key[1], dtype=subscription.dtype, types=types)
            self.topics[key] = known
        subscription.topic = known
        return known
