"""All messages of a channel as columns: by their fixed layout where they have one, by the reference decoder where not.

The messages of a block (a chunk) are grouped by length; the first of a group says where its fields lie, and those that
agree with it in every byte that decided so become rows of an array (:mod:`worldgate.data.logs._cdr`). Every other
message is decoded on its own. Both ways give the same values.

Shape legend: N messages, K numbers of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Array, ByteArray, IntArray
from worldgate.core.times import SECOND
from worldgate.data.logs._cdr import HEADER, Layout, Place, fixed_place, locate
from worldgate.data.logs._mcap_chunks import by_value, take
from worldgate.data.logs._mcap_index import LEAD, Messages
from worldgate.data.logs._mcap_payloads import Block
from worldgate.data.logs._messages import ArrayOf, Numbers, get, stamp_ns
from worldgate.data.logs._msgdef import Definition

Value: TypeAlias = Callable[[Any], Any]

_BATCH: Final = 1 << 22
"""Bytes of payloads that are put side by side where the container does not do it."""
_MOST_LAYOUTS: Final = 64
_TRIED: Final = 8
"""Layouts that are tried before their worth is looked at."""
_WORTH: Final = 8
"""Messages that a layout must read, on average, to be worth more of them."""
_SMALL_INTEGERS: Final = frozenset({"int32", "uint32", "int16", "uint16", "int8", "char"})


class Payloads(Protocol):
    """What gives payloads by channel and row."""

    def payloads(self, channel: int, rows: Iterable[int]) -> Iterator[bytes]:
        """Payloads of these messages of a channel, in this order."""
        ...


@runtime_checkable
class Blocks(Protocol):
    """What gives payloads many at once."""

    def blocks(self, channel: int, rows: IntArray) -> Iterator[Block]:
        """The same, as many at once as lie side by side."""
        ...


def blocks_of(source: Payloads, channel: int, rows: IntArray) -> Iterator[Block]:
    """Payloads of these messages, many at once, from any container."""
    if isinstance(source, Blocks):
        yield from source.blocks(channel, rows)
        return
    held: list[bytes] = []
    first = size = 0
    for payload in source.payloads(channel, rows.tolist()):
        held.append(payload)
        size += len(payload)
        if size >= _BATCH:
            yield _joined(first, held)
            first, held, size = first + len(held), [], 0
    if held:
        yield _joined(first, held)


def _joined(first: int, payloads: list[bytes]) -> Block:
    sizes = np.array([len(payload) for payload in payloads], dtype=np.int64)
    return Block(first=first, data=b"".join(payloads), offsets=np.cumsum(sizes) - sizes, sizes=sizes)


@dataclass(slots=True)
class Gathered:
    """Values of messages that arrive in pieces."""

    pieces: list[tuple[IntArray, Array]] = field(default_factory=list)
    """Places of the messages and their (n, K) values."""
    single: list[tuple[int, Array]] = field(default_factory=list)

    def array(self, count: int, where: str) -> Array:
        """(N, K) values of all ``count`` messages.

        Raises:
            LogUnreadable: messages of different lengths.
        """
        shapes = {values.shape[1:] for _, values in self.pieces} | {value.shape for _, value in self.single}
        if len(shapes) > 1:
            raise LogUnreadable("messages of one stream differ in length", got=sorted(shapes)[:4], where=where)
        kinds = [values.dtype for _, values in self.pieces] + [value.dtype for _, value in self.single[:1]]
        out: Array = np.empty((count, *shapes.pop()), dtype=kinds[0])
        for places, values in self.pieces:
            out[places] = values
        if self.single:
            out[[place for place, _ in self.single]] = np.stack([value for _, value in self.single])
        return out


class ChannelReader:
    """Reads the numbers of one channel.

    Args:
        source: the container.
        channel: whose messages.
        decode: the reference decoder.
        definition: of the messages; None where they are not CDR of a known type: then each is decoded on its own.
        messages: the container's index of the channel, which may hold the stamps already.
    """

    def __init__(
        self,
        source: Payloads,
        channel: int,
        decode: Callable[[bytes], Any],
        definition: Definition | None,
        messages: Messages | None = None,
    ) -> None:
        self._source = source
        self._channel = channel
        self._decode = decode
        self._definition = definition
        self._messages = messages
        self._layouts: dict[int, list[Layout]] = {}
        self._learned = self._won = 0
        self.decoded = 0
        """Messages that were given to the reference decoder."""

    # ---------------------------------------------------------------- stamps

    def stamps(self, rows: IntArray) -> IntArray:
        """(N,) header stamps in ns; 0 where a message has none."""
        paths = None if self._definition is None else _stamp_paths(self._definition)
        if self._definition is None or paths is None:
            return self._each_stamp(rows)
        if not paths:
            return np.zeros(len(rows), dtype=np.int64)
        places = [fixed_place(self._definition, path) for path in paths]
        if any(place is None for place in places):
            _, times = self.read([], rows, stamps=True)
            assert times is not None
            return times
        certain = [place for place in places if place is not None]
        return self._stamps_of_leads(rows, certain) if self._held(certain) else self._fixed_stamps(rows, certain)

    def _held(self, places: Sequence[Place]) -> bool:
        """Whether the index holds the stamps of every message."""
        messages, stop = self._messages, max(place.stop for place in places)
        return messages is not None and stop <= LEAD and messages.leads() is not None and min(messages.size) >= stop

    def _stamps_of_leads(self, rows: IntArray, places: Sequence[Place]) -> IntArray:
        assert self._messages is not None
        leads = self._messages.leads()
        assert leads is not None
        stop = max(place.stop for place in places)
        whole = Block(
            first=0,
            data=leads.tobytes(),
            offsets=np.arange(0, leads.size, LEAD, dtype=np.int64)[rows],
            sizes=np.full(len(rows), stop, dtype=np.int64),
        )
        out: IntArray = np.empty(len(rows), dtype=np.int64)
        unread = self._stamps_of(whole, places, out)
        if len(unread):
            out[unread] = self._each_stamp(rows[unread])
        return out

    def _each_stamp(self, rows: IntArray) -> IntArray:
        messages = map(self._decode, self._source.payloads(self._channel, rows.tolist()))
        return np.array([stamp_ns(message) or 0 for message in messages], dtype=np.int64)

    def _fixed_stamps(self, rows: IntArray, places: Sequence[Place]) -> IntArray:
        """Where nothing of variable length stands before it, the stamp lies in one place in every message."""
        out: IntArray = np.empty(len(rows), dtype=np.int64)
        for block in blocks_of(self._source, self._channel, rows):
            for place in self._stamps_of(block, places, out):
                out[block.first + place] = stamp_ns(self._decode(block.payload(int(place)))) or 0
        return out

    @staticmethod
    def _stamps_of(block: Block, places: Sequence[Place], out: IntArray) -> IntArray:
        """Write the stamps of a block's plain CDR messages into ``out``; the places of the others."""
        stop = max(place.stop for place in places)
        unread = np.ones(len(block), dtype=np.bool_)
        enough = np.flatnonzero(block.sizes >= stop)
        heads = take(block.data, block.offsets[enough], stop)
        for order in (0, 1):
            mine = heads[:, 1] == order
            layout = _bare_layout(stop, bool(order), places)
            stamps = _nanoseconds(layout, heads[mine], [str(number) for number in range(len(places))])
            out[block.first + enough[mine]] = stamps
            unread[enough[mine]] = False
        return np.flatnonzero(unread)

    # ---------------------------------------------------------------- values

    def read(
        self, values: Sequence[Value], rows: IntArray, *, stamps: bool = False
    ) -> tuple[list[Gathered], IntArray | None]:
        """What these callables make of the messages, and the header stamps where they are asked for.

        Args:
            values: as in :class:`~worldgate.data.logs._messages.Part`, each giving numbers.
            rows: (N,) of the channel.
            stamps: whether to return (N,) stamps; else None.

        Raises:
            LogUnreadable: a message that does not decode.
        """
        times: IntArray | None = np.zeros(len(rows), dtype=np.int64) if stamps else None
        task = _Task(values=values, times=times, gathered=[Gathered() for _ in values])
        wanted = None if self._definition is None else _wanted(self._definition, values, stamps=stamps)
        for block in blocks_of(self._source, self._channel, rows):
            if wanted is None:
                self._each(task, block, range(len(block)))
                continue
            for size, members in by_value(block.sizes):
                self._group(task, block, size, members, wanted)
        return task.gathered, times

    def _group(self, task: _Task, block: Block, size: int, members: IntArray, wanted: _Wanted) -> None:
        """Messages of one length: those that fit a known layout, then those that fit their first one's, then each."""
        rows, known, tried = take(block.data, block.offsets[members], size), self._layouts.get(size, []), 0
        while len(members):
            if tried == len(known):
                layout = self._learn(block.payload(int(members[0])), wanted) if self._may_learn(known) else None
                if layout is None:
                    break
                known = [*known, layout]
                self._layouts[size] = known
            fits = known[tried].fits(rows, wanted.fixed)
            tried += 1
            if fits.all():
                task.collect(known[tried - 1], rows, block.first + members, wanted)
                self._won += len(members)
                return
            if fits.any():
                task.collect(known[tried - 1], rows[fits], block.first + members[fits], wanted)
                self._won += int(fits.sum())
                rows, members = rows[~fits], members[~fits]
        self._each(task, block, members.tolist())

    def _may_learn(self, known: list[Layout]) -> bool:
        if len(known) >= _TRIED or (self._learned >= _TRIED and self._won < _WORTH * self._learned):
            return False
        if len(self._layouts) >= _MOST_LAYOUTS:
            self._layouts.clear()
        return True

    def _learn(self, payload: bytes, wanted: _Wanted) -> Layout | None:
        """The layout of a message that the reference decoder reads, too; None where the columnar path cannot."""
        self._learned += 1
        layout = self._locate(payload, wanted.paths)
        if layout is None or not wanted.paths <= set(layout.places):
            return None
        self.decoded += 1
        message = self._decode(payload)
        if any(tuple(str(name) for name in get(message, path, ())) != names for path, names in wanted.names):
            return None
        return layout

    def _locate(self, payload: bytes, paths: frozenset[str]) -> Layout | None:
        """Walk one message of this channel's encoding."""
        assert self._definition is not None
        return locate(self._definition, payload, paths)

    def _each(self, task: _Task, block: Block, members: Iterable[int]) -> None:
        for place in members:
            self.decoded += 1
            task.take(self._decode(block.payload(place)), block.first + place)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What of a message is asked for."""

    paths: frozenset[str]
    stamp: tuple[str, ...]
    """Paths of seconds and nanoseconds; empty: no stamp, or not asked for."""
    names: tuple[tuple[str, tuple[str, ...]], ...]
    """Fields that must hold these names."""
    fixed: frozenset[str]


@dataclass(slots=True, kw_only=True)
class _Task:
    """One reading: what is asked for, and what has come."""

    values: Sequence[Value]
    times: IntArray | None
    gathered: list[Gathered]

    def collect(self, layout: Layout, rows: ByteArray, places: IntArray, wanted: _Wanted) -> None:
        """Take all messages of one layout."""
        for value, into in zip(self.values, self.gathered, strict=True):
            into.pieces.append((places, _column(layout, rows, value, wanted.paths)))
        if self.times is not None and wanted.stamp:
            self.times[places] = _nanoseconds(layout, rows, wanted.stamp)

    def take(self, message: Any, place: int) -> None:
        """Take one message that was decoded."""
        for value, into in zip(self.values, self.gathered, strict=True):
            into.single.append((place, value(message)))
        if self.times is not None:
            self.times[place] = stamp_ns(message) or 0


def _column(layout: Layout, rows: ByteArray, value: Value, held: frozenset[str]) -> Array:
    if isinstance(value, ArrayOf):
        return layout.column(rows, value.path).astype(value.dtype, copy=False)
    assert isinstance(value, Numbers)
    out: Array = np.empty((len(rows), len(value.paths)), dtype=np.float64)
    for column, path in enumerate(value.paths):
        out[:, column] = layout.column(rows, path) if path in held else value.default
    return out


def _nanoseconds(layout: Layout, rows: ByteArray, paths: Sequence[str]) -> IntArray:
    seconds, *rest = (layout.column(rows, path).astype(np.int64) for path in paths)
    return seconds * SECOND + (rest[0] if rest else 0)


def _bare_layout(size: int, little: bool, places: Sequence[Place]) -> Layout:
    named = {str(number): place for number, place in enumerate(places)}
    return Layout(size=size, little=little, places=named, lengths=(), strings=(), sample=bytes(HEADER))


def _wanted(definition: Definition, values: Sequence[Value], *, stamps: bool) -> _Wanted | None:
    """The fields that the columnar path must place; None where a value is not made of columns of this definition."""
    paths: set[str] = set()
    names: list[tuple[str, tuple[str, ...]]] = []
    for value in values:
        if isinstance(value, Numbers):
            found = {path: definition.field(path) for path in value.paths}
            if any(f is None and value.default is None for f in found.values()):
                return None
            if any(f is not None and (not f.primitive or f.count or f.type == "string") for f in found.values()):
                return None
            paths |= {path for path, f in found.items() if f is not None}
        elif isinstance(value, ArrayOf):
            each = definition.field(value.path)
            # A list of bytes is opaque data to the reference decoder.
            if each is None or not each.primitive or not each.count or each.type in {"string", "uint8", "byte"}:
                return None
            paths.add(value.path)
            if value.names_path:
                held = definition.field(value.names_path)
                if held is None or held.type != "string" or not held.count:
                    return None
                names.append((value.names_path, value.names))
        else:
            return None
    stamp = _stamp_paths(definition) if stamps else ()
    if stamp is None:
        return None
    fixed = frozenset(path for path, _ in names)
    return _Wanted(paths=frozenset(paths) | set(stamp) | fixed, stamp=stamp, names=tuple(names), fixed=fixed)


def _stamp_paths(definition: Definition) -> tuple[str, ...] | None:
    """Fields with seconds and nanoseconds as ``stamp_ns`` looks for them; empty: none; None: not to be told here."""
    for path in ("header.stamp", "timestamp", "stamp"):
        found = definition.field(path)
        if found is None:
            continue
        if found.type == "string":
            return None
        if found.primitive or found.count:
            return ()
        held = {f.name: f for f in definition.types[found.type]}
        seconds = next((name for name in ("sec", "seconds") if name in held), "")
        nanos = next((name for name in ("nanosec", "nsec", "nanos") if name in held), "")
        used = [name for name in (seconds, nanos) if name]
        if not seconds:
            return ()
        if any(held[name].count or held[name].type not in _SMALL_INTEGERS for name in used):
            return None
        return tuple(f"{path}.{name}" for name in used)
    return ()
