"""Columns out of many ROS 1 messages at once: the fixed-layout path of CDR, on ROS 1's wire.

ROS 1 packs fields without alignment or encapsulation, always little-endian; texts have a length and no terminator.
Everything else, the guard by comparison with a message that rosbags decoded among it, is
:mod:`worldgate.data.logs._columns`'.

Source: https://wiki.ros.org/ROS/Technical%20Overview#Message_serialization_and_msg_MD5_sums.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from worldgate.core.streams import IntArray
from worldgate.core.times import SECOND
from worldgate.data.logs._cdr import Layout, Unfit, Walk
from worldgate.data.logs._columns import ChannelReader, blocks_of
from worldgate.data.logs._mcap_chunks import take
from worldgate.data.logs._messages import stamp_ns
from worldgate.data.logs._msgdef import Definition

_STAMP: Final = 4
"""A header begins with its sequence number; the stamp follows."""


class _Ros1Walk(Walk):
    """One pass over a ROS 1 message."""

    empty_bytes = 0

    def __init__(self, definition: Definition, payload: bytes, wanted: frozenset[str]) -> None:
        super().__init__(definition, payload, wanted)
        self.little = True
        self.at = 0

    def _align(self, width: int) -> None:
        """Nothing is aligned."""

    def _text(self) -> tuple[int, int]:
        length = self._length()
        start, self.at = self.at, self.at + length
        if self.at > len(self.payload):
            raise Unfit
        try:
            bytes(self.payload[start : self.at]).decode("utf-8")
        except UnicodeDecodeError as error:
            raise Unfit from error
        if length:
            self.strings.append((start, self.at))
        return start, self.at


class Ros1Reader(ChannelReader):
    """Reads the numbers of one channel of ROS 1 messages."""

    def _locate(self, payload: bytes, paths: frozenset[str]) -> Layout | None:
        assert self._definition is not None
        if len(payload) < 2:
            return None
        walk = _Ros1Walk(self._definition, payload, paths)
        try:
            walk.message(self._definition.root, "", top=True)
        except Unfit:
            return None
        if walk.at != len(payload):
            return None
        return Layout(
            size=len(payload),
            little=True,
            places=walk.places,
            lengths=tuple(walk.lengths),
            strings=tuple(walk.strings),
            sample=bytes(payload),
            guards=(),
        )

    def stamps(self, rows: IntArray) -> IntArray:
        """(N,) header stamps in ns; 0 where a message has none."""
        if self._definition is None or not _begins_with_header(self._definition):
            return self._each_stamp(rows)
        out: IntArray = np.empty(len(rows), dtype=np.int64)
        for block in blocks_of(self._source, self._channel, rows):
            enough = np.flatnonzero(block.sizes >= _STAMP + 8)
            words = take(block.data, block.offsets[enough] + _STAMP, 8).copy().view("<i4,<u4")
            seconds, nanos = words["f0"].astype(np.int64), words["f1"].astype(np.int64)
            out[block.first + enough] = (seconds * SECOND + nanos)[:, 0]
            for place in np.setdiff1d(np.arange(len(block)), enough).tolist():
                out[block.first + place] = stamp_ns(self._decode(block.payload(place))) or 0
        return out


def _begins_with_header(definition: Definition) -> bool:
    fields = definition.types[definition.root]
    return (
        bool(fields) and fields[0].name == "header" and fields[0].type == "std_msgs/msg/Header" and not fields[0].count
    )
