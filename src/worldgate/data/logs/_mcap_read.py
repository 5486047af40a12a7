"""Messages in a container as a :class:`~worldgate.core.streams.Log`: decoded when read, images a frame at a time.

A container is anything that lists channels with MCAP's records and gives payloads by row: an MCAP file, a ROS bag.

Which clock ``times_ns`` is on: a message's header stamp where its type has one and the first is not zero, else the
publish time where any differs from the log time, else the log time. Files written here say it in their channels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from mcap.records import Channel, Metadata, Schema

from worldgate.core.errors import LogUnreadable, MissingExtra, NotFound, WorldgateError
from worldgate.core.streams import IMAGE_LIKE, NUMERIC, Array, Finding, IntArray, Kind, Origin, Stream, StreamInfo
from worldgate.data.logs._columns import ChannelReader, Gathered, blocks_of
from worldgate.data.logs._images import VIDEO, Encoded, EncodedFrames, decode
from worldgate.data.logs._limits import Limits
from worldgate.data.logs._mcap_container import Container
from worldgate.data.logs._mcap_decode import JSON_TEXT, Codec, codec, decode_text
from worldgate.data.logs._mcap_index import Messages
from worldgate.data.logs._mcap_write import LIBRARY, PREFIX, RECORD, info_from_metadata, stream_key
from worldgate.data.logs._messages import Part, frame_of, parts, stamp_ns
from worldgate.data.logs._packets import PacketFrames, PacketStream, is_keyframe, size_of

_KEPT: Final = 1 << 28
"""Bytes of columns that are kept for the other streams of a channel."""


class MessageSource(Protocol):
    """A container of messages, indexed: what :class:`MessageLog` reads from."""

    path: Path
    library: str
    """Who wrote it; empty where the container does not say."""
    messages: dict[int, Messages]
    metadata: list[Metadata]
    findings: list[Finding]

    @property
    def schemas(self) -> dict[int, Schema]:
        """Schemas by the number that channels name them by."""
        ...

    @property
    def channels(self) -> dict[int, Channel]:
        """Channels by number."""
        ...

    def payloads(self, channel: int, rows: Iterable[int]) -> Iterator[bytes]:
        """Payloads of these messages of a channel, in this order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Where a stream comes from and how its messages become values."""

    info: StreamInfo
    channel: int
    codec: Codec | None
    """None: a stream that was declared but has no message."""
    part: Part | None
    dtype: str = ""
    """Element type to give back; empty: as decoded."""
    video: str = ""
    """Format of the video whose packets the messages are; empty: they are none."""
    skip: int = 0
    """Messages at the start that nothing can be made of: video before its first keyframe."""


class MessageLog:
    """One container of messages as a log; values stay on disk.

    Args:
        container: the messages, indexed.
        name: what people call the log.
        facts: what is known of it beside what the container's own record says.
        limits: what a hostile log may cost.

    Raises:
        LogUnreadable: a file of ours whose origin is lost.
    """

    def __init__(
        self,
        container: MessageSource,
        *,
        name: str,
        facts: Mapping[str, str | float | bool] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.path = container.path
        self.name = name
        self._container = container
        self._findings = list(container.findings)
        self._limits = limits or Limits.from_environment()
        self._header_ns: dict[int, IntArray] = {}
        self._newest: tuple[int, dict[str, Gathered]] | None = None
        self._twins: dict[str, int] = {}
        self._videos: dict[str, PacketStream] = {}
        self.origin, stated = self._provenance()
        self.facts: Mapping[str, str | float | bool] = {**(facts or {}), **stated}
        self._sources: dict[str, _Source] = {}
        for channel in sorted(self._container.channels.values(), key=lambda c: (c.topic, c.id)):
            for source in self._open_channel(channel):
                self._sources[source.info.name] = source

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was lost or could not be decoded."""
        return tuple(self._findings)

    def streams(self) -> tuple[StreamInfo, ...]:
        """Every stream, by topic."""
        return tuple(source.info for source in self._sources.values())

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        """Read one stream, whole or within the half-open window of its own clock.

        Raises:
            NotFound: no such stream.
            LogUnreadable: a message that does not decode, or messages of different lengths.
        """
        source = self._sources.get(stream)
        if source is None:
            hint = f"one of {', '.join(self._sources)}" if self._sources else "this log has no streams"
            raise NotFound("no such stream", got=stream, where=self.name, hint=hint)
        messages = self._container.messages.get(source.channel, Messages())
        log_ns = messages.times("log_ns")
        rows = np.arange(source.skip, len(log_ns), dtype=np.int64)
        # Values of the whole stream bring the stamps with them, so they are read first.
        values = self._values(source, rows, whole=True) if window_ns is None else None
        times_ns = self._times(source, messages, log_ns)
        if values is None:
            assert window_ns is not None
            rows = rows[(times_ns[rows] >= window_ns[0]) & (times_ns[rows] < window_ns[1])]
            values = self._values(source, rows, whole=False)
        return Stream(
            info=source.info,
            times_ns=times_ns[rows],
            values=values,
            log_times_ns=None if source.info.clock == "log" else log_ns[rows],
        )

    # ---------------------------------------------------------------- opening

    def _provenance(self) -> tuple[Origin, Mapping[str, str | float | bool]]:
        """Origin and facts: from the file's record, else from its channels; foreign files are real."""
        facts: dict[str, str | float | bool] = {}
        stated = ""
        for record in self._container.metadata:
            if record.name == RECORD:
                stated = record.metadata.get("origin", "")
                facts |= _facts(record.metadata.get("facts", "{}"))
        marks = {c.metadata.get(f"{PREFIX}origin", "") for c in self._container.channels.values()} & set(Origin)
        if stated in set(Origin):
            origin = Origin(stated)
        elif len(marks) == 1:
            origin = Origin(marks.pop())
        elif marks or self._container.library.startswith(LIBRARY):
            raise LogUnreadable("this file's origin (real, simulated or imagined) is lost", where=self.path)
        else:
            origin = Origin.REAL
        return origin, facts

    def _open_channel(self, channel: Channel) -> list[_Source]:
        messages = self._container.messages.get(channel.id, Messages())
        schema = self._container.schemas.get(channel.schema_id)
        ours: tuple[StreamInfo, str, Origin] | None = None
        if f"{PREFIX}name" in channel.metadata:
            try:
                ours = info_from_metadata(channel.metadata, topic=channel.topic, count=len(messages))
            except (KeyError, ValueError, TypeError) as error:
                self._note(channel, f"metadata that this version cannot read ({error})", len(messages))
        if not len(messages):
            empty = [] if ours is None else [self._ours(ours, channel, None, None)]
            return [self._unique(source) for source in empty]
        try:
            return [self._unique(source) for source in self._sample(channel, schema, messages, ours)]
        except MissingExtra:
            raise  # the same file must not be another log on another machine
        except WorldgateError as error:
            self._note(channel, error.what, len(messages))
        return []

    def _sample(
        self, channel: Channel, schema: Schema | None, messages: Messages, ours: tuple[StreamInfo, str, Origin] | None
    ) -> list[_Source]:
        """Look at a channel's first message and say which streams it carries."""
        if ours is not None and ours[0].kind is Kind.EVENT and channel.message_encoding == "json":
            return [self._ours(ours, channel, Codec(decode=decode_text), JSON_TEXT)]
        found_codec = _guarded(lambda _: codec(channel, schema, self._limits), channel.topic)(b"")
        if found_codec is None:
            raise LogUnreadable(f"messages of encoding {channel.message_encoding[:40]!r} are not read")
        first = _guarded(found_codec.decode, channel.topic)(next(iter(self._container.payloads(channel.id, [0]))))
        found = _guarded(lambda _: parts("" if schema is None else schema.name, first), channel.topic)(b"")
        if ours is not None and len(found) == 1:
            if _family(ours[0].kind) != _family(found[0].kind):
                raise LogUnreadable(
                    "metadata and message type disagree", got=f"{ours[0].kind} in {found[0].kind} messages"
                )
            made = self._ours(ours, channel, found_codec, found[0])
            value = _guarded(found[0].value, channel.topic)(first)
            return [self._ours_as_video(made, channel, len(messages), value)]
        return [self._foreign(channel, messages, found_codec, first, part) for part in found]

    def _ours(
        self, ours: tuple[StreamInfo, str, Origin], channel: Channel, codec: Codec | None, part: Part | None
    ) -> _Source:
        info, dtype, origin = ours
        named = replace(info, name=stream_key(info.name, origin, self.origin))
        return _Source(info=named, channel=channel.id, codec=codec, part=part, dtype=dtype)

    def _ours_as_video(self, source: _Source, channel: Channel, count: int, value: Any) -> _Source:
        """A stream of ours, with what its packets tell where they are video."""
        if not isinstance(value, Encoded) or value.format not in VIDEO:
            return source
        assert source.codec is not None and source.part is not None
        skip, shape = self._first_keyframe(channel, count, source.codec, source.part, value.format)
        info = replace(source.info, count=source.info.count - skip, shape=tuple(shape))
        return replace(source, info=info, video=value.format, skip=skip)

    def _foreign(self, channel: Channel, messages: Messages, codec: Codec, first: Any, part: Part) -> _Source:
        value = _guarded(part.value, channel.topic)(first)
        video, skip = "", 0
        if isinstance(value, Encoded):
            video = value.format if value.format in VIDEO else ""
            if video:
                skip, shape = self._first_keyframe(channel, len(messages), codec, part, video)
            else:
                shape = _decode_image(value, part.kind, channel.topic).shape
        else:
            shape = value.shape if isinstance(value, np.ndarray) else ()
        if _guarded(stamp_ns, channel.topic)(first) is not None:
            clock = "header"
        else:
            clock = "publish" if messages.publish_ns != messages.log_ns else "log"
        info = StreamInfo(
            name=channel.topic.strip("/").replace("/", ".") + part.suffix or f"channel_{channel.id}",
            kind=part.kind,
            count=len(messages) - skip,
            shape=tuple(shape),
            names=part.names if len(part.names) == (shape[0] if shape else 0) else (),
            unit=part.unit,
            frame=frame_of(first, part),
            clock=clock,
            topic=channel.topic,
        )
        return _Source(info=info, channel=channel.id, codec=codec, part=part, video=video, skip=skip)

    def _first_keyframe(
        self, channel: Channel, count: int, codec: Codec, part: Part, video: str
    ) -> tuple[int, tuple[int, ...]]:
        """Messages before the first keyframe, and its shape; what comes before is named as lost."""
        read = _guarded(lambda payload: part.value(codec.decode(payload)).data, channel.topic)
        for row, payload in enumerate(self._container.payloads(channel.id, range(count))):
            packet = read(payload)
            if not is_keyframe(packet, video):
                continue
            height, width = size_of(packet, video, self._limits.pixels)
            if row:
                self._lose_frames(channel, row)
            return row, (height, width, 3)
        raise LogUnreadable("video without a keyframe")

    def _lose_frames(self, channel: Channel, count: int) -> None:
        log_ns = self._container.messages[channel.id].log_ns[: count + 1]
        span = (min(log_ns[:-1]), max(*log_ns[:-1], log_ns[-1] - 1) + 1)
        self._findings.append(
            Finding(
                check="data_lost",
                stream=channel.topic,
                message=f"{count} frames of {channel.topic} before the first keyframe cannot be decoded",
                value=float(count),
                limit=0.0,
                unit="frames",
                spans_ns=(span,),
            )
        )

    def _unique(self, source: _Source) -> _Source:
        """Several channels may share a topic; the second is ``name#2``."""
        name, number = source.info.name, self._twins.get(source.info.name, 1)
        while name in self._sources:
            number += 1
            name = f"{source.info.name}#{number}"
        self._twins[source.info.name] = number
        return replace(source, info=replace(source.info, name=name))

    def _note(self, channel: Channel, why: str, count: int) -> None:
        self._findings.append(
            Finding(
                check="undecodable",
                stream=channel.topic,
                message=f"{count} messages of {channel.topic} are left out: {why}",
                value=float(count),
                limit=0.0,
                unit="messages",
            )
        )

    # ---------------------------------------------------------------- reading

    def _times(self, source: _Source, messages: Messages, log_ns: IntArray) -> IntArray:
        if source.info.clock == "log":
            return log_ns
        if not self._in_header(source):
            return messages.times("publish_ns")
        if source.channel not in self._header_ns:
            rows = np.arange(len(messages), dtype=np.int64)
            self._header_ns[source.channel] = self._guard(source, self._reader(source).stamps)(rows)
        return self._header_ns[source.channel]

    def _in_header(self, source: _Source) -> bool:
        """Whether the times are to be taken from the messages; our writer puts the same stamp into publish time."""
        ours = f"{PREFIX}name" in self._container.channels[source.channel].metadata
        return source.info.clock == "header" and not ours

    def _reader(self, source: _Source) -> ChannelReader:
        assert source.codec is not None
        messages, codec = self._container.messages.get(source.channel), source.codec
        return codec.reader(self._container, source.channel, codec.decode, codec.definition, messages)

    def _guard(self, source: _Source, function: Any) -> Any:
        return _guarded(function, f"{self.name}:{source.info.name}")

    def _extract(self, source: _Source, rows: Sequence[int]) -> Iterator[Any]:
        if not rows:
            # A stream that was declared and never written has nothing to decode with.
            return
        assert source.part is not None and source.codec is not None
        decode_message, value = self._guard(source, source.codec.decode), self._guard(source, source.part.value)
        if not source.codec.views:
            for payload in self._container.payloads(source.channel, rows):
                yield value(decode_message(payload))
            return
        for block in blocks_of(self._container, source.channel, np.asarray(rows, dtype=np.int64)):
            for view in block.views():
                yield value(decode_message(view))

    def _video(self, source: _Source) -> PacketStream:
        """The packets of a video channel; one decoder for all that is read of it."""
        name = source.info.name
        if name not in self._videos:
            height, width, _ = source.info.shape
            self._videos[name] = PacketStream(
                path=self.path,
                fetch=lambda rows: (image.data for image in self._extract(source, rows.tolist())),
                count=source.skip + source.info.count,
                format=source.video,
                height=height,
                width=width,
                where=f"{self.name}:{name}",
            )
        return self._videos[name]

    def _values(self, source: _Source, rows: IntArray, *, whole: bool) -> Array | EncodedFrames | PacketFrames:
        info = source.info
        if source.video:
            return PacketFrames(stream=self._video(source), rows=rows)
        if info.kind in IMAGE_LIKE:
            return EncodedFrames(
                fetch=lambda indices: self._extract(source, rows[indices].tolist()),
                count=len(rows),
                kind=info.kind,
                dtype=source.dtype,
                where=f"{self.name}:{info.name}",
            )
        if info.kind not in NUMERIC:
            values = list(self._extract(source, rows.tolist()))
            out = np.empty(len(values), dtype=object)
            out[:] = values
            return out
        if not len(rows):
            return np.empty((0, *info.shape), dtype=source.dtype or np.float64)
        gathered = self._whole(source) if whole else self._columns([source], rows)[info.name]
        stacked = gathered.array(len(rows), f"{self.name}:{info.name}")
        if not source.dtype:
            return stacked
        if stacked[0].size != np.prod(info.shape, dtype=np.int64):
            raise LogUnreadable("values and declared shape disagree", got=info.shape, where=f"{self.name}:{info.name}")
        return _narrow(stacked, source.dtype, f"{self.name}:{info.name}").reshape(len(rows), *info.shape)

    def _whole(self, source: _Source) -> Gathered:
        """A stream's numbers; those of the channel's other streams are read in the same pass and kept for them."""
        if self._newest is None or self._newest[0] != source.channel or source.info.name not in self._newest[1]:
            same = [s for s in self._sources.values() if s.channel == source.channel and s.info.kind in NUMERIC]
            rows = np.arange(source.info.count, dtype=np.int64)
            size = 8 * len(rows) * sum(int(np.prod(s.info.shape, dtype=np.int64)) for s in same)
            chosen = same if size <= _KEPT else [source]
            self._newest = (source.channel, self._columns(chosen, rows))
        gathered = self._newest[1].pop(source.info.name)
        if not self._newest[1]:
            self._newest = None
        return gathered

    def _columns(self, sources: Sequence[_Source], rows: IntArray) -> dict[str, Gathered]:
        first = sources[0]
        parts_of = [s.part.value for s in sources if s.part is not None]
        wants = self._in_header(first) and first.channel not in self._header_ns
        values, times = self._guard(first, lambda _: self._reader(first).read(parts_of, rows, stamps=wants))(None)
        if times is not None and len(rows) == first.info.count:
            self._header_ns[first.channel] = times
        return {s.info.name: each for s, each in zip(sources, values, strict=True)}


class McapLog(MessageLog):
    """One MCAP file. Opening reads the file once, checks every CRC and indexes the messages; values stay on disk.

    Args:
        path: the file.
        name: what people call the log; the file's name where absent.
        limits: what a hostile file may cost; as ``WORLDGATE_LIMITS`` says where absent.

    Raises:
        NotFound: no such file.
        LogUnreadable: not MCAP, nothing readable in it, or a file of ours whose origin is lost.
    """

    def __init__(self, path: Path | str, *, name: str = "", limits: Limits | None = None) -> None:
        path = Path(path)
        super().__init__(Container(path, limits), name=name or path.name, limits=limits)


def _family(kind: Kind) -> str:
    """Kinds whose values have the same form: arrays, images or text."""
    return "array" if kind in NUMERIC else "image" if kind in IMAGE_LIKE else "text"


def _narrow(values: Array, dtype: str, where: str) -> Array:
    """Back to the element type that was written; doubles held it exactly, unless the file is damaged."""
    with np.errstate(invalid="ignore", over="ignore"):
        out = values.astype(dtype)
    if np.dtype(dtype).kind in "iub" and not np.array_equal(out.astype(values.dtype), values):
        raise LogUnreadable("a value that its stream's type cannot hold", got=np.dtype(dtype).name, where=where)
    return out


def _decode_image(value: Encoded, kind: Kind, where: str) -> Array:
    pixels: Array = _guarded(lambda encoded: decode(encoded, kind), where)(value)
    return pixels


def _guarded(function: Any, where: str) -> Any:
    """Turn whatever a third-party decoder raises on damaged bytes into one error that says where."""

    def guarded(value: Any) -> Any:
        try:
            return function(value)
        except WorldgateError:
            raise
        except Exception as error:  # decoders raise anything: struct, value, index, protobuf, recursion errors
            raise LogUnreadable(
                "a message that does not decode", got=f"{type(error).__name__}: {str(error)[:80]}", where=where
            ) from error

    return guarded


def _facts(text: str) -> dict[str, str | float | bool]:
    try:
        tree = json.loads(text)
    except ValueError:
        return {}
    known = tree.items() if isinstance(tree, dict) else ()
    return {str(k): v for k, v in known if isinstance(v, str | float | int | bool)}
