"""Columns out of many CDR messages at once: the fixed-layout path, guarded by comparison with a decoded message.

Messages of one type and length mostly have one layout: every string and sequence has the length it has in the first
message. :func:`locate` walks one message and says where the wanted fields lie and which bytes decided that;
:meth:`Layout.fits` then compares those bytes of all messages with one numpy operation, and where they agree a field is
a column of a (N, L) byte array. What does not agree is tried against another message's layout or given to the reference
decoder (mcap-ros2-support), whose results this path equals.

Source: OMG DDS-XTYPES 1.3, 7.4.3, encoding version 1 (``CDR_BE``, ``CDR_LE``); alignment counts from behind the 4-byte
encapsulation header.

Shape legend: N messages of L bytes, K values of an array.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from worldgate.core.streams import Array, BoolArray, ByteArray
from worldgate.data.logs._msgdef import PRIMITIVES, SEQUENCE, Definition, Field

HEADER: Final = 4
_STAMP: Final = 12
"""Where a message that begins with a ROS header goes on behind its stamp."""
_TIME: Final = struct.Struct("<iI")
_MAX_STEPS: Final = 20_000
"""Fields that are walked in one message before the columnar path gives up."""
_PADDING: Final = 3
"""Most bytes between a string's end and the next length."""
_KINDS: Final = (
    {"bool": "u1", "byte": "u1", "char": "i1", "int8": "i1", "uint8": "u1"}
    | {f"{sign}int{bits}": f"{letter}{bits // 8}" for sign, letter in (("", "i"), ("u", "u")) for bits in (16, 32, 64)}
    | {"float32": "f4", "float64": "f8"}
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a field lies in a message."""

    start: int
    stop: int
    type: str
    count: int
    """0: one value; above, or 0 bytes long: an array of so many."""
    array: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the wanted fields of one message lie, and which of its bytes decided that."""

    size: int
    little: bool
    places: dict[str, Place]
    lengths: tuple[int, ...]
    """Offsets of the 4-byte lengths of strings and sequences."""
    strings: tuple[tuple[int, int], ...]
    """Start and end of each text, without its terminator."""
    sample: bytes
    """The message that was walked."""
    guards: tuple[tuple[int, int], ...] = ((1, 2),)
    """Other bytes that must be the sample's: the byte order, where a message states it."""

    def fits(self, rows: ByteArray, fixed: Set[str] = frozenset()) -> BoolArray:
        """(N,) whether each message has this layout, valid text, and the sample's own bytes in the ``fixed`` fields.

        Args:
            rows: (N, L) messages of the sample's length.
            fixed: paths of fields whose values must be the sample's.
        """
        first = np.frombuffer(self.sample, dtype=np.uint8)
        spans = sorted([*self.guards, *((at, at + 4) for at in self.lengths), *self.strings])
        fits: BoolArray = np.ones(len(rows), dtype=np.bool_)
        for start, stop in _joined(spans):
            fits &= _equal(rows, first, start, stop)
        unsure = np.flatnonzero(~fits)
        if len(unsure):
            # Padding may hold anything, and a text may be another one of the same length.
            fits[unsure] = self._fits_exactly(rows[unsure], first, fixed)
        return fits

    def _fits_exactly(self, rows: ByteArray, first: ByteArray, fixed: Set[str]) -> BoolArray:
        fits: BoolArray = np.ones(len(rows), dtype=np.bool_)
        for start, stop in (*self.guards, *((at, at + 4) for at in self.lengths)):
            fits &= _equal(rows, first, start, stop)
        constant = [(p.start, p.stop) for path, p in self.places.items() if path in fixed]
        for start, stop in self.strings:
            same = _equal(rows, first, start, stop)
            if not any(low <= start and stop <= high for low, high in constant):
                # ASCII is valid UTF-8 wherever it is cut; other text is left to the decoder.
                same |= (rows[:, start:stop] < 0x80).all(axis=1)
            fits &= same
        return fits

    def column(self, rows: ByteArray, path: str) -> Array:
        """The field of all messages: (N,) of a single number, (N, K) of an array, in the machine's byte order."""
        place = self.places[path]
        dtype = np.dtype(_KINDS[place.type]).newbyteorder("<" if self.little else ">")
        if place.stop == place.start:
            return np.empty((len(rows), 0), dtype=dtype.newbyteorder("="))
        values: Array = rows[:, place.start : place.stop].view(dtype)
        if place.type == "bool":
            values = values != 0
        values = values.astype(values.dtype.newbyteorder("="))
        return values if place.array else values[:, 0]

    def text(self, path: str) -> str:
        """The sample's text."""
        place = self.places[path]
        return self.sample[place.start : place.stop].decode("utf-8")


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for start, stop in spans:
        if out and start - out[-1][1] <= _PADDING:
            out[-1] = (out[-1][0], max(stop, out[-1][1]))
        else:
            out.append((start, stop))
    return out


def _equal(rows: ByteArray, first: ByteArray, start: int, stop: int) -> BoolArray:
    """(N,) whether these bytes of each row are the first one's; eight at a time."""
    words = (stop - start) // 8
    same: BoolArray = np.ones(len(rows), dtype=np.bool_)
    middle = start + 8 * words
    if words:
        same &= (rows[:, start:middle].view("<u8") == first[start:middle].view("<u8")).all(axis=1)
    if middle < stop:
        same &= (rows[:, middle:stop] == first[middle:stop]).all(axis=1)
    return same


def plain(payload: bytes | memoryview) -> bool:
    """Whether the encapsulation is plain CDR, the only one that is read (no parameter lists, no XCDR version 2)."""
    return len(payload) >= HEADER and payload[1] <= 1


def locate(definition: Definition, payload: bytes | memoryview, wanted: Set[str]) -> Layout | None:
    """Walk one message; None where it ends early, is no plain CDR, or is too long to be worth it.

    Args:
        definition: of the message.
        payload: with its encapsulation header.
        wanted: dotted paths of the fields to be placed.
    """
    if not plain(payload):
        return None
    walk = Walk(definition, payload, wanted)
    try:
        walk.message(definition.root, "", top=True)
    except Unfit:
        return None
    if walk.at > len(payload):
        return None
    return Layout(
        size=len(payload),
        little=walk.little,
        places=walk.places,
        lengths=tuple(walk.lengths),
        strings=tuple(walk.strings),
        sample=bytes(payload),
    )


class Unfit(Exception):
    """A message that the columnar path does not read."""


class Walk:
    """One pass over a message, as the reference decoder makes it."""

    empty_bytes = 1
    """ROS 2 gives a message without fields one unused byte."""

    def __init__(self, definition: Definition, payload: bytes | memoryview, wanted: Set[str]) -> None:
        self.definition = definition
        self.payload = payload
        self.wanted = wanted
        self.little = bool(payload[1] & 1)
        self.at = HEADER
        self.places: dict[str, Place] = {}
        self.lengths: list[int] = []
        self.strings: list[tuple[int, int]] = []
        self._steps = 0

    def message(self, name: str, prefix: str, *, top: bool) -> None:
        """Walk the fields of one message; ``top`` while no array is around it."""
        self._step()
        fields = self.definition.types[name]
        if not fields:
            self.at += self.empty_bytes
        for field in fields:
            self._step()
            path = f"{prefix}{field.name}"
            if field.primitive:
                place = self._primitive(field)
                if top and path in self.wanted:
                    self.places[path] = place
                continue
            for _ in range(self._length() if field.count == SEQUENCE else field.count or 1):
                self.message(field.type, f"{path}.", top=top and not field.count)

    def _primitive(self, field: Field) -> Place:
        count = self._length() if field.count == SEQUENCE else field.count
        if field.type == "string" and not field.count:
            start, stop = self._text()
            return Place(start, stop, field.type, 0, False)
        if field.type == "string":
            start = self.at
            for _ in range(count):
                self._step()
                self._text()
            return Place(start, self.at, field.type, count, True)
        width = PRIMITIVES[field.type]
        if count or not field.count:
            self._align(width)
        start = self.at
        self.at += width * (count if field.count else 1)
        return Place(start, self.at, field.type, count, field.count != 0)

    def _text(self) -> tuple[int, int]:
        length = self._length()
        start = self.at
        self.at += length
        if length <= 1:
            # Writers differ on whether an empty text has a terminator.
            return start, start
        if self.at > len(self.payload):
            raise Unfit
        stop = start + length - 1
        try:
            bytes(self.payload[start:stop]).decode("utf-8")
        except UnicodeDecodeError as error:
            raise Unfit from error
        self.strings.append((start, stop))
        return start, stop

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _MAX_STEPS or self.at > len(self.payload):
            raise Unfit

    def _length(self) -> int:
        self._align(4)
        stop = self.at + 4
        if stop > len(self.payload):
            raise Unfit
        self.lengths.append(self.at)
        length = int.from_bytes(self.payload[self.at : stop], "little" if self.little else "big")
        self.at = stop
        return length

    def _align(self, width: int) -> None:
        if width > 1:
            self.at += -(self.at - HEADER) % width


def fixed_place(definition: Definition, path: str) -> Place | None:
    """Where a field lies in every message, because nothing before it has a length of its own; None otherwise."""
    at, fields = HEADER, list(definition.types[definition.root])
    names = path.split(".")
    while fields:
        field = fields.pop(0)
        if field.count == SEQUENCE or field.type == "string":
            return None
        if field.primitive:
            width, many = PRIMITIVES[field.type], field.count or 1
            at += -(at - HEADER) % width
            if [field.name] == names:
                return Place(at, at + width * many, field.type, field.count, field.count != 0)
            at += width * many
        elif field.name == names[0] and not field.count:
            names, fields = names[1:], list(definition.types[field.type])
            if not names:
                return None
        else:
            return None
    return None


class Flat:
    """Decodes messages that are not made of lists of messages, such as images: nothing of them is copied twice.

    Args:
        definition: of the messages; :meth:`suits` says whether it can be read so.
    """

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._paths = frozenset(_leaves(definition, definition.root, ""))
        self._seen: tuple[bytes, int, dict[str, Any]] | None = None

    @staticmethod
    def suits(definition: Definition) -> bool:
        """Whether a message is a few fields around one long list of bytes."""
        data = definition.field("data")
        lists = any(not f.primitive and f.count for name in _used(definition) for f in definition.types[name])
        return data is not None and data.type in {"uint8", "byte"} and data.count == SEQUENCE and not lists

    def __call__(self, payload: bytes | memoryview) -> dict[str, Any] | None:
        """The message as nested mappings, lists of bytes as bytes; None where :func:`locate` gives up."""
        seen = self._seen
        if seen is not None:
            # A camera's messages differ in stamp and data alone.
            fixed, start, message = seen
            length = int.from_bytes(payload[start - 4 : start], "little")
            if start + length <= len(payload) and _shared(payload, start) == fixed:
                seconds, nanos = _TIME.unpack_from(payload, HEADER)
                stamp = {"sec": seconds, "nanosec": nanos}
                header = {**message["header"], "stamp": stamp}
                return {**message, "header": header, "data": bytes(payload[start : start + length])}
        layout = locate(self._definition, payload, self._paths)
        if layout is None:
            return None
        out: dict[str, Any] = {}
        row = np.frombuffer(payload, dtype=np.uint8)[None]
        for path, place in layout.places.items():
            if place.type == "string" and place.array:
                return None
            *above, name = path.split(".")
            into = out
            for each in above:
                into = into.setdefault(each, {})
            if place.type == "string":
                into[name] = layout.text(path)
            elif place.array and place.type in {"uint8", "byte"}:
                into[name] = bytes(payload[place.start : place.stop])
            else:
                into[name] = layout.column(row, path)[0].tolist()
        self._remember(payload, layout, out)
        return out

    def _remember(self, payload: bytes | memoryview, layout: Layout, message: dict[str, Any]) -> None:
        """Keep what the next message probably shares: all between a header's stamp and the data, if that comes last."""
        fields = self._definition.types[self._definition.root]
        stamped = (fields[0].name, fields[0].type) == ("header", "std_msgs/Header") and _is_header(self._definition)
        if stamped and (fields[-1].name, fields[-1].type) == ("data", "uint8") and layout.little:
            data = layout.places["data"]
            self._seen = (_shared(payload, data.start), data.start, message)


def _shared(payload: bytes | memoryview, start: int) -> bytes:
    return bytes(payload[:HEADER]) + bytes(payload[_STAMP : start - 4])


def _is_header(definition: Definition) -> bool:
    header = definition.types["std_msgs/Header"]
    time = definition.types.get("builtin_interfaces/Time", ())
    wanted = [("sec", "int32", 0), ("nanosec", "uint32", 0)]
    return (header[0].name, header[0].type, header[0].count) == ("stamp", "builtin_interfaces/Time", 0) and [
        (field.name, field.type, field.count) for field in time
    ] == wanted


def _used(definition: Definition) -> set[str]:
    found, todo = set(), [definition.root]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += [field.type for field in definition.types[name] if not field.primitive]
    return found


def _leaves(definition: Definition, name: str, prefix: str) -> Iterator[str]:
    for field in definition.types[name]:
        if field.primitive:
            yield f"{prefix}{field.name}"
        elif not field.count:
            yield from _leaves(definition, field.type, f"{prefix}{field.name}.")
