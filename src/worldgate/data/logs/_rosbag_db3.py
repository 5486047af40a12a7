"""A rosbag2 SQLite file (``.db3``) as a container of messages, read through queries and never written.

Format: https://github.com/ros2/rosbag2 (``rosbag2_storage_sqlite3``), schema versions 1 to 4. Before version 4 no
message definitions were stored; standard types are then taken from the distribution that recorded the bag, as they are
where a stored definition does not fit the first message. Messages keep the order in which they were inserted, so a
clock that steps back shows. Of a damaged database everything before the damage is read. The file is data of strangers:
only plain tables are queried, nothing it defines is run.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Final
from urllib.parse import quote

import numpy as np
from mcap.records import Channel, Metadata, Schema

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import Finding
from worldgate.data.logs import _ros_types
from worldgate.data.logs._mcap_index import Messages
from worldgate.data.logs._rosbag_zstd import unpacked, unpacked_file

MAGIC: Final = b"SQLite format 3\0"
_HEADER: Final = 100
_RUN: Final = "SELECT data FROM messages WHERE id BETWEEN ? AND ? AND topic_id = ? ORDER BY id"
"""Consecutive messages of a topic; of others between them, no data is touched."""
_MAX_VALUE: Final = 1 << 29
"""Most bytes of a row."""


class Db3:
    """One ``.db3`` file; fulfils ``MessageSource``.

    Args:
        path: the file, or its ``.zstd`` form, which is unpacked beside the system's other temporary files.
        distro: the ROS distribution that recorded it, where known.
        packed: whether its messages are compressed by zstd; they are given as they are.

    Raises:
        NotFound: no such file.
        LogUnreadable: not SQLite, without rosbag2's tables, or one of which nothing can be read.
    """

    library = ""

    def __init__(self, path: Path, *, distro: str = "", packed: bool = False) -> None:
        if not path.is_file():
            raise NotFound("no such log file", got=path)
        self.path = path
        self.schemas: dict[int, Schema] = {}
        self.channels: dict[int, Channel] = {}
        self.messages: dict[int, Messages] = {}
        self.metadata: list[Metadata] = []
        self.findings: list[Finding] = []
        self._file = unpacked_file(path, self) if path.suffix == ".zstd" else path
        with self._file.open("rb") as file:
            head = file.read(_HEADER)
        if not head.startswith(MAGIC) or len(head) < _HEADER:
            raise LogUnreadable("not an SQLite file: its first bytes are wrong", where=path)
        page = int.from_bytes(head[16:18], "big")
        stated = (page if page != 1 else 1 << 16) * int.from_bytes(head[28:32], "big")
        self._cut = stated > self._file.stat().st_size
        try:
            with closing(self._connect()) as database:
                self._read_topics(database, distro)
                self._index(database)
            self._try_definitions(distro, packed=packed)
        except (sqlite3.Error, ValueError) as error:
            raise LogUnreadable("a database that cannot be read", got=str(error)[:80], where=path) from error
        self._note_journal()

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(f"file:{quote(str(self._file.absolute()))}?mode=ro&immutable=1", uri=True)
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE)
        database.execute("PRAGMA trusted_schema=OFF")
        if self._cut:
            # SQLite refuses a file that is shorter than its header says, unless it is told to look all the same.
            database.execute("PRAGMA writable_schema=ON")
        return database

    def _read_topics(self, database: sqlite3.Connection, distro: str) -> None:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        missing = sorted({"topics", "messages"} - tables)
        if missing:
            got = f"no table {' and '.join(missing)}"
            raise LogUnreadable("an SQLite file that is no rosbag2 file", got=got, where=self.path)
        if not distro and "schema" in tables:
            distro = str(next(iter(database.execute("SELECT ros_distro FROM schema")), ("",))[0])
        defined: dict[str, tuple[str, bytes]] = {}
        if "message_definitions" in tables:
            query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
            defined = {str(name): (str(kind), _bytes(text)) for name, kind, text in database.execute(query)}
        for number, topic, kind, encoding in database.execute(
            "SELECT id, name, type, serialization_format FROM topics ORDER BY id"
        ):
            if not isinstance(number, int):
                raise LogUnreadable("a topic whose id is no integer", got=repr(number)[:40], where=self.path)
            how, text = defined.get(str(kind)) or ("ros2msg", (_standard(str(kind), distro)))
            self.channels[number] = Channel(
                id=number, topic=str(topic), message_encoding=str(encoding), metadata={}, schema_id=number
            )
            # Without a definition the encoding stays empty: no decoder takes it, and the topic is named as left out.
            self.schemas[number] = Schema(id=number, name=str(kind), encoding=how if text else "", data=text)

    def _index(self, database: sqlite3.Connection) -> None:
        read, orphans = 0, 0
        try:
            for row, topic, time_ns in database.execute("SELECT id, topic_id, timestamp FROM messages ORDER BY id"):
                if topic not in self.channels:
                    orphans += 1
                    continue
                messages = self.messages.get(topic)
                if messages is None:
                    messages = self.messages[topic] = Messages()
                messages.log_ns.append(time_ns)
                messages.offset.append(row)
                read += 1
        except (sqlite3.DatabaseError, TypeError, OverflowError) as error:
            if not read:
                raise LogUnreadable("a database that cannot be read", got=str(error)[:80], where=self.path) from error
            self._lose(f"damaged after {read} messages ({error}); how many are lost is not known")
        for messages in self.messages.values():
            messages.publish_ns = messages.log_ns
        if orphans:
            message = f"{orphans} messages of topics that are not defined were dropped"
            self.findings.append(_finding("count_mismatch", message, float(orphans), "messages"))

    def _try_definitions(self, distro: str, *, packed: bool) -> None:
        """Hold each stored definition against the topic's first message, and replace one that does not fit."""
        for number in self.messages:
            schema, channel = self.schemas[number], self.channels[number]
            if schema.encoding != "ros2msg" or channel.message_encoding != "cdr":
                continue
            payload, stored = next(self.payloads(number, [0])), schema.data.decode("utf-8", "replace")
            payload = unpacked(payload) if packed else payload
            if _ros_types.fits(schema.name, stored, payload):
                continue
            own = _standard(schema.name, distro)
            usable = bool(own) and _ros_types.fits(schema.name, own.decode(), payload)
            self.schemas[number] = replace(schema, data=own) if usable else replace(schema, encoding="", data=b"")
            instead = "ROS's own was used" if usable else "and no other is known"
            message = f"the definition of {schema.name} stored for {channel.topic} does not fit its messages; {instead}"
            self.findings.append(_finding("metadata_mismatch", message, 1.0, "topics"))

    def _lose(self, why: str) -> None:
        last = max((max(m.log_ns) for m in self.messages.values() if len(m)), default=-1)
        finding = _finding("data_lost", why, 0.0, "messages", ((last + 1, 2**63 - 1),))
        self.findings.append(finding)

    def _note_journal(self) -> None:
        """A write-ahead log beside the file holds what a crash kept from being written into it."""
        journal = self.path.with_name(self.path.name + "-wal")
        size = journal.stat().st_size if journal.is_file() else 0
        if size:
            message = f"{journal.name} holds {size} bytes that were never written into the bag and are not read"
            self.findings.append(_finding("data_lost", message, float(size), "bytes"))

    def payloads(self, channel: int, rows: Iterable[int]) -> Iterator[bytes]:
        """Payloads of these messages of a channel, in this order.

        Raises:
            LogUnreadable: a damaged page, or the file changed since it was opened.
        """
        ids = np.asarray(self.messages[channel].offset, dtype=np.int64)
        wanted = np.asarray(list(rows), dtype=np.int64)
        cuts = [0, *(np.flatnonzero(np.diff(wanted) != 1) + 1).tolist(), len(wanted)] if len(wanted) else [0]
        try:
            with closing(self._connect()) as database:
                for start, stop in pairwise(cuts):
                    first, last = int(ids[wanted[start]]), int(ids[wanted[stop - 1]])
                    found = 0
                    for (data,) in database.execute(_RUN, (first, last, channel)):
                        found += 1
                        yield _bytes(data)
                    if found != stop - start:
                        raise LogUnreadable("the log changed while it was read", where=self.path)
        except (sqlite3.Error, ValueError) as error:
            raise LogUnreadable("a message that cannot be read", got=str(error)[:80], where=self.path) from error


def _standard(kind: str, distro: str) -> bytes:
    return (_ros_types.standard_definition(kind, distro) or "").encode()


def _bytes(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, bytes):
        raise ValueError(f"a value of type {type(value).__name__} where bytes belong")
    return value


def _finding(check: str, message: str, value: float, unit: str, spans_ns: tuple[tuple[int, int], ...] = ()) -> Finding:
    return Finding(check=check, stream="", message=message, value=value, limit=0.0, unit=unit, spans_ns=spans_ns)
