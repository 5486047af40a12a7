"""Several containers of messages as one: a bag that was split while it was recorded.

Files follow each other in the order of their first messages; inside a file, messages keep the order in which they were
recorded. Channels of one topic, type and encoding are one.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from mcap.records import Channel, Metadata, Schema

from worldgate.core.streams import Finding, IntArray
from worldgate.data.logs._columns import blocks_of
from worldgate.data.logs._mcap_index import Messages
from worldgate.data.logs._mcap_payloads import Block
from worldgate.data.logs._mcap_read import MessageSource
from worldgate.data.logs._rosbag_zstd import unpacked

_NEVER = 2**63 - 1


class Joined:
    """Containers read as one; fulfils ``MessageSource``.

    Args:
        path: what holds them all.
        parts: the containers, at least one.
        findings: what was noticed of them together.
        packed: whether each message is compressed by zstd.
    """

    def __init__(
        self, path: Path, parts: Sequence[MessageSource], findings: Sequence[Finding] = (), *, packed: bool = False
    ) -> None:
        self.path = path
        self._packed = packed
        self._parts = sorted(parts, key=_first_ns)
        self.library = next((part.library for part in self._parts if part.library), "")
        self.schemas: dict[int, Schema] = {}
        self.channels: dict[int, Channel] = {}
        self.messages: dict[int, Messages] = {}
        self.metadata: list[Metadata] = [record for part in self._parts for record in part.metadata]
        self.findings = [*findings]
        self._segments: dict[int, list[tuple[MessageSource, int, int]]] = {}
        """By channel: container, its channel, and the row at which its messages begin."""
        numbers: dict[tuple[str, str, str], int] = {}
        for part in self._parts:
            self.findings += (replace(f, message=f"{part.path.name}: {f.message}") for f in part.findings)
            for channel in part.channels.values():
                self._add(part, channel, numbers)

    def _add(self, part: MessageSource, channel: Channel, numbers: dict[tuple[str, str, str], int]) -> None:
        schema = part.schemas.get(channel.schema_id)
        key = (channel.topic, "" if schema is None else schema.name, channel.message_encoding)
        number = numbers.setdefault(key, len(numbers) + 1)
        if number not in self.channels:
            self.channels[number] = Channel(
                id=number,
                topic=channel.topic,
                message_encoding=channel.message_encoding,
                metadata=channel.metadata,
                schema_id=number,
            )
            if schema is not None:
                self.schemas[number] = Schema(id=number, name=schema.name, encoding=schema.encoding, data=schema.data)
        more = part.messages.get(channel.id)
        if more is None or not len(more):
            return
        held = self.messages.setdefault(number, Messages())
        self._segments.setdefault(number, []).append((part, channel.id, len(held)))
        held.offset += array("q", range(len(held), len(held) + len(more)))
        held.log_ns += more.log_ns
        held.publish_ns += more.publish_ns

    def payloads(self, channel: int, rows: Iterable[int]) -> Iterator[bytes]:
        """Payloads of these messages of a channel, in this order, each from the container that holds it.

        Raises:
            LogUnreadable: a damaged message, or a file that changed since it was opened.
        """
        for _, part, number, own in self._runs(channel, np.asarray(list(rows), dtype=np.int64)):
            payloads = part.payloads(number, own.tolist())
            yield from map(unpacked, payloads) if self._packed else payloads

    def blocks(self, channel: int, rows: IntArray) -> Iterator[Block]:
        """The same, as many at once as lie side by side.

        Raises:
            LogUnreadable: a damaged message, or a file that changed since it was opened.
        """
        for first, part, number, own in self._runs(channel, rows):
            for block in blocks_of(_Packed(part) if self._packed else part, number, own):
                yield replace(block, first=first + block.first)

    def _runs(self, channel: int, rows: IntArray) -> Iterator[tuple[int, MessageSource, int, IntArray]]:
        """Rows that lie in one container: place of the first, the container, its channel, and its own rows."""
        segments = self._segments.get(channel, [])
        which = np.searchsorted([start for _, _, start in segments], rows, side="right") - 1
        cuts = [0, *(np.flatnonzero(np.diff(which)) + 1).tolist(), len(rows)] if len(rows) else [0]
        for begin, end in pairwise(cuts):
            part, number, start = segments[int(which[begin])]
            yield begin, part, number, rows[begin:end] - start


@dataclass(frozen=True, slots=True)
class _Packed:
    """A container whose messages are compressed each on its own."""

    part: MessageSource

    def payloads(self, channel: int, rows: Iterable[int]) -> Iterator[bytes]:
        """Payloads of these messages of a channel, decompressed."""
        return map(unpacked, self.part.payloads(channel, rows))


def _first_ns(part: MessageSource) -> int:
    return min((min(messages.log_ns) for messages in part.messages.values() if len(messages)), default=_NEVER)
