"""What the walk over an MCAP file collects: where each channel's messages are, and what channels and schemas mean."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from mcap.records import Channel, Schema

from worldgate.core.streams import Array, ByteArray, IntArray

LEAD: Final = 12
_FIRST_NUMBER: Final = 1 << 16
_MOST_REDEFINED: Final = 1 << 16


@dataclass(slots=True)
class Messages:
    """Where the messages of one channel are, in the order of the file."""

    chunk: array[int] = field(default_factory=lambda: array("q"))
    """File offset of the chunk record; -1 for a message outside chunks."""
    offset: array[int] = field(default_factory=lambda: array("q"))
    """Of the payload, within the decompressed chunk or the file."""
    size: array[int] = field(default_factory=lambda: array("q"))
    log_ns: array[int] = field(default_factory=lambda: array("q"))
    publish_ns: array[int] = field(default_factory=lambda: array("q"))
    lead: bytearray = field(default_factory=bytearray)
    """The first :data:`LEAD` bytes of each payload, where the container keeps them: a ROS header's stamp is there."""

    def __len__(self) -> int:
        return len(self.offset)

    def times(self, column: str) -> IntArray:
        """One of the columns as an array of its own."""
        return np.array(getattr(self, column), dtype=np.int64)

    def append(self, offset: int, payload: bytes, log_ns: int, publish_ns: int) -> None:
        """Add a message outside chunks."""
        self.lead += payload[:LEAD].ljust(LEAD, b"\0")
        self.chunk.append(-1)
        self.offset.append(offset)
        self.size.append(len(payload))
        self.log_ns.append(log_ns)
        self.publish_ns.append(publish_ns)

    def leads(self) -> ByteArray | None:
        """(N, LEAD) uint8 first bytes of the payloads, filled up with zeros; None where the container keeps none."""
        if len(self.lead) != LEAD * len(self):
            return None
        return np.frombuffer(bytes(self.lead), dtype=np.uint8).reshape(-1, LEAD)

    def extend(self, chunk: int, offset: IntArray, heads: Array, header: int, lead: ByteArray) -> None:
        """Add messages of one chunk.

        Args:
            chunk: its place in the file.
            offset: (n,) of the payloads.
            heads: (n,) record heads, whose length counts ``header`` bytes more than the payload.
            header: see there.
            lead: (n, LEAD) first bytes of the payloads.
        """
        self.lead += lead.tobytes()
        self.chunk.frombytes(np.full(len(offset), chunk, dtype=np.int64).tobytes())
        self.offset.frombytes(offset.astype(np.int64, copy=False).tobytes())
        self.size.frombytes((heads["length"].astype(np.int64) - header).tobytes())
        self.log_ns.frombytes(heads["log_ns"].astype(np.int64).tobytes())
        self.publish_ns.frombytes(heads["publish_ns"].astype(np.int64).tobytes())


class Registry:
    """Channels and schemas by number, where an id that is given two meanings becomes two of them.

    The first meaning keeps the file's id, a later one gets a number beyond 16 bits: messages before it stay what they
    were. A channel names its schema by that schema's number.
    """

    def __init__(self) -> None:
        self.channels: dict[int, Channel] = {}
        self.schemas: dict[int, Schema] = {}
        self.redefined: list[str] = []
        """What was given two meanings, for a finding."""
        self._channel_of: dict[int, int] = {}
        self._schema_of: dict[int, int] = {}
        self._presumed: set[tuple[str, int]] = set()
        self._next = _FIRST_NUMBER

    def presume(self, schemas: dict[int, Schema], channels: dict[int, Channel]) -> None:
        """Take what the summary repeats, in case the chunk that defined it is lost; the data section overrides it."""
        for schema in schemas.values():
            self.define_schema(schema)
        for channel in channels.values():
            self.define_channel(channel)
        self._presumed = {*(("schema", id) for id in schemas), *(("channel", id) for id in channels)}

    def define_schema(self, schema: Schema) -> None:
        """Take a schema record.

        Raises:
            ValueError: a file that redefines without end.
        """
        number = self._schema_of.get(schema.id)
        if number is None:
            number = schema.id
        elif (known := self.schemas[number]) != replace(schema, id=number):
            number = self._other("schema", schema.id, number, f"{known.name[:60]}, then {schema.name[:60]}")
        self._presumed.discard(("schema", schema.id))
        self._schema_of[schema.id] = number
        self.schemas[number] = schema if number == schema.id else replace(schema, id=number)

    def define_channel(self, channel: Channel) -> int | None:
        """Take a channel record; the new number of the channel where its id had another meaning before.

        Raises:
            ValueError: a file that redefines without end.
        """
        before = number = self._channel_of.get(channel.id)
        meant = replace(channel, schema_id=self._schema_of.get(channel.schema_id, channel.schema_id))
        if number is None:
            number = channel.id
        elif (known := self.channels[number]) != replace(meant, id=number):
            number = self._other("channel", channel.id, number, f"{known.topic[:60]}, then {channel.topic[:60]}")
        self._presumed.discard(("channel", channel.id))
        self._channel_of[channel.id] = number
        self.channels[number] = replace(meant, id=number)
        return None if before in (None, number) else number

    def _other(self, what: str, id: int, number: int, change: str) -> int:
        """The number of another meaning; the same one where only the summary had said otherwise."""
        if len(self.redefined) >= _MOST_REDEFINED:
            raise ValueError("ids that are redefined without end")
        self.redefined.append(f"{what} {id} ({change})")
        if (what, id) in self._presumed:
            return number
        self._next += 1
        return self._next - 1

    def number(self, id: int) -> int | None:
        """The channel that this id of the file means now."""
        return self._channel_of.get(id)
