"""The MCAP writer: chunked, compressed, with CRCs of chunks, data section and summary.

The container is written by the ``mcap`` package. What a stream is (name, kind, names, unit, frame, clock, rate,
element type, origin) travels in its channel's metadata under ``worldgate.*``, so that it reads back exactly. Origin and
facts of the file stand in a metadata record before the first message, so that a truncated file still says them. The
file bears a partial name until it is whole.

What a crash loses: a process that is killed loses the chunk that it was filling, because every closed chunk is handed
to the operating system at once; a machine that loses power also loses what was not yet synced. ``durable_s`` bounds
both. The partial file that stays behind is read by its own name, every complete chunk of it.
"""

from __future__ import annotations

import heapq
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, cast

import numpy as np
from mcap.writer import CompressionType, Writer

from worldgate.core.atomic import atomic_path
from worldgate.core.errors import AlreadyExists, NotFound, UsageError
from worldgate.core.streams import IMAGE_LIKE, NUMERIC, Kind, Origin, Stream, StreamInfo
from worldgate.data.logs._coded import coded
from worldgate.data.logs._images import Encoded, EncodedFrames, decode
from worldgate.data.logs._mcap_encode import Encode, ImageOptions, Profile, encoder

_log = logging.getLogger(__name__)

LIBRARY: Final = "worldgate"
"""Written into the header; a file of this library without a readable origin is refused."""
RECORD: Final = "worldgate"
"""Name of the metadata record that holds ``origin`` and ``facts``."""
PREFIX: Final = "worldgate."
_LATEST_NS = 2**63 - 1
_FRAMES_AT_ONCE = 16

_COMPRESSION = {"zstd": CompressionType.ZSTD, "lz4": CompressionType.LZ4, "none": CompressionType.NONE}


@dataclass(slots=True)
class _Channel:
    info: StreamInfo
    origin: Origin
    scan_rad: tuple[float, float] | None
    topic: str
    video: bool = False
    dtype: str = ""
    id: int = 0
    encode: Encode | None = None
    sequence: int = 0


def stream_key(name: str, origin: Origin, file_origin: Origin) -> str:
    """The name under which a stream is written and read: marked where its origin is not the file's."""
    return name if origin is file_origin else f"{origin}.{name}"


class McapWriter:
    """Writes one log as MCAP; a context manager, and nothing stands under the final name before it ends.

    Args:
        path: the file to make.
        origin: where the data comes from; a stream may have its own.
        facts: what is known of the log: task, success, robot, site.
        profile: ``foxglove`` (protobuf, drawn by Foxglove without plugins) or ``ros2`` (CDR standard messages).
        compression: of chunks.
        image: compression of colour images; the default is lossless.
        chunk_bytes: uncompressed size after which a chunk is closed; the most that a killed process loses.
        durable_s: with every message that comes this much later than the last sync, what was written is closed into a
            chunk and synced to the disk; and where the recording ends in an error, what there is stays as
            ``<name>.partial``. None: synced once, when the file is whole, and removed on an error.

    Raises:
        AlreadyExists: ``path`` exists.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        origin: Origin,
        facts: Mapping[str, str | float | bool] | None = None,
        profile: Profile = "foxglove",
        compression: Literal["zstd", "lz4", "none"] = "zstd",
        image: ImageOptions | None = None,
        chunk_bytes: int = 1 << 20,
        durable_s: float | None = None,
    ) -> None:
        self.path = Path(path)
        self.origin = Origin(origin)
        self._profile: Profile = profile
        self._image = image or ImageOptions()
        self._channels: dict[str, _Channel] = {}
        self._schemas: dict[str, int] = {}
        self._durable_s = durable_s
        self._synced_s = time.monotonic()
        with ExitStack() as stack:
            self._partial = stack.enter_context(atomic_path(self.path))
            self._file = _Through(stack.enter_context(self._partial.open("wb", buffering=0)))
            self._writer = Writer(
                cast(Any, self._file),
                chunk_size=chunk_bytes,
                compression=_COMPRESSION[compression],
                enable_data_crcs=True,
            )
            self._writer.start(profile="ros2" if profile == "ros2" else "", library=LIBRARY)
            record = {"origin": str(self.origin), "facts": json.dumps(dict(facts or {}), sort_keys=True)}
            self._writer.add_metadata(RECORD, record)
            self._stack: ExitStack | None = stack.pop_all()

    def add_stream(
        self,
        info: StreamInfo,
        *,
        origin: Origin | None = None,
        scan_rad: tuple[float, float] | None = None,
        video: bool = False,
    ) -> str:
        """Declare a stream; its ``count`` and ``topic`` are ignored, an empty ``shape`` comes from the first value.

        Args:
            info: what the stream is.
            origin: where it differs from the file's: an imagined stream beside real ones goes to ``/imagined/<name>``.
            scan_rad: bearings of the first and last range, if the vector is a planar lidar scan.
            video: values are coded video, one packet each, as :class:`~worldgate.data.logs._coded.CodedRun` gives them.

        Returns:
            The name to write and read it by: ``info.name``, or ``imagined.<name>`` where the origin differs.

        Raises:
            AlreadyExists: declared before.
        """
        own = self.origin if origin is None else Origin(origin)
        key = stream_key(info.name, own, self.origin)
        if key in self._channels:
            raise AlreadyExists("this stream was declared before", got=key, where=self.path)
        topic = f"/imagined/{info.name}" if own is Origin.IMAGINED else f"/{info.name}"
        if own is not self.origin and own is not Origin.IMAGINED:
            topic = f"/{own}/{info.name}"
        self._channels[key] = _Channel(info=info, origin=own, scan_rad=scan_rad, topic=topic, video=video)
        return key

    def write(self, name: str, log_time_ns: int, value: Any, publish_time_ns: int | None = None) -> None:
        """Write one message.

        Args:
            name: as :meth:`add_stream` returned it.
            log_time_ns: when it was recorded.
            value: an array of the stream's shape; text; a JSON text or mapping for an event.
            publish_time_ns: the sensor's own stamp, also put into the message's header; ``log_time_ns`` where absent.

        Raises:
            NotFound: no such stream was declared.
            UsageError: a value of another shape or type than the stream's, or a time that MCAP cannot hold.
        """
        assert self._stack is not None, "the writer is closed"
        channel = self._channels.get(name)
        if channel is None:
            raise NotFound("no such stream was declared", got=name, hint=f"one of {', '.join(self._channels)}")
        log_ns = int(log_time_ns)
        publish_ns = log_ns if publish_time_ns is None else int(publish_time_ns)
        if not (0 <= log_ns <= _LATEST_NS and 0 <= publish_ns <= _LATEST_NS):
            raise UsageError("an MCAP time is an int64 from 0 on", got=(log_ns, publish_ns), where=name)
        if channel.info.kind in NUMERIC | IMAGE_LIKE and not isinstance(value, Encoded):
            value = np.asarray(value)
        if channel.encode is None:
            self._open(channel, value)
        self._check(channel, value)
        assert channel.encode is not None
        self._writer.add_message(
            channel_id=channel.id,
            log_time=log_ns,
            publish_time=publish_ns,
            sequence=channel.sequence,
            data=channel.encode(publish_ns, value),
        )
        channel.sequence = (channel.sequence + 1) & 0xFFFFFFFF
        if self._durable_s is not None and time.monotonic() - self._synced_s >= self._durable_s:
            self.flush()

    def flush(self) -> None:
        """Close the chunk that is being filled and sync the file: what was written so far survives a loss of power."""
        assert self._stack is not None, "the writer is closed"
        self._writer.flush()  # type: ignore[no-untyped-call]
        self._file.sync()
        self._synced_s = time.monotonic()

    def _open(self, channel: _Channel, value: Any) -> None:
        """Register a channel, once its first value has told element type and shape; without a value, as declared."""
        if isinstance(value, Encoded) and not channel.video:
            value = decode(value, channel.info.kind)
        if isinstance(value, np.ndarray):
            channel.dtype = value.dtype.str.lstrip("<|=>")
            if channel.info.shape == ():
                channel.info = replace(channel.info, shape=tuple(value.shape))
        made = encoder(channel.info, self._profile, self._image, channel.scan_rad, channel.dtype, video=channel.video)
        if made.schema not in self._schemas:
            self._schemas[made.schema] = self._writer.register_schema(
                made.schema, made.schema_encoding, made.schema_data
            )
        channel.encode = made.encode
        channel.id = self._writer.register_channel(
            topic=channel.topic,
            message_encoding=made.message_encoding,
            schema_id=self._schemas[made.schema],
            metadata=_metadata(channel),
        )

    def _check(self, channel: _Channel, value: Any) -> None:
        if not isinstance(value, np.ndarray):
            return
        got, dtype = tuple(value.shape), value.dtype.str.lstrip("<|=>")
        if got != channel.info.shape or dtype != channel.dtype:
            raise UsageError(
                "a value of another shape or type than its stream",
                got=f"{got} {dtype}, not {channel.info.shape} {channel.dtype}",
                where=f"{self.path}:{channel.info.name}",
            )

    def close(self) -> None:
        """Finish the file, sync it and give it its name."""
        if self._stack is None:
            return
        stack, self._stack = self._stack, None
        with stack:
            for channel in self._channels.values():
                if channel.encode is None:
                    self._open(channel, None)
            self._writer.finish()  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif self._stack is not None:
            if self._durable_s is not None:
                self._keep()
            stack, self._stack = self._stack, None
            stack.__exit__(kind, error, trace)

    def _keep(self) -> None:
        """Let what was recorded before an error outlive it, under a name that no reader takes for a whole log."""
        with suppress(OSError):
            # A full disk may be the error; the chunks before are there all the same.
            self.flush()
        kept = self.path.with_name(f"{self.path.name}.partial")
        try:
            os.link(self._partial, kept)
        except OSError as error:
            _log.error("what was recorded of %s could not be kept: %s", self.path, error)
        else:
            _log.warning("the recording ended in an error; its complete chunks are in %s", kept)


class _Through:
    """A file whose every write reaches the operating system before it returns."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._at = 0

    def write(self, data: bytes) -> int:
        """Write all of it."""
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        """Bytes written."""
        return self._at

    def flush(self) -> None:
        """Nothing is held back."""

    def sync(self) -> None:
        """Wait until the disk has it."""
        os.fsync(self._file.fileno())


def _metadata(channel: _Channel) -> dict[str, str]:
    info = channel.info
    fields = {
        "name": info.name,
        "kind": str(info.kind),
        "shape": json.dumps(list(info.shape)),
        "names": json.dumps(list(info.names)),
        "unit": info.unit,
        "frame": info.frame,
        "clock": info.clock,
        "rate_hz": repr(float(info.rate_hz)),
        "dtype": channel.dtype,
        "origin": str(channel.origin),
    }
    return {PREFIX + key: value for key, value in fields.items()}


def info_from_metadata(metadata: Mapping[str, str], *, topic: str, count: int) -> tuple[StreamInfo, str, Origin]:
    """Read back what :func:`_metadata` wrote: the stream, its element type, its origin.

    Raises:
        ValueError, KeyError: metadata that is not what this writer wrote.
    """
    get = {key.removeprefix(PREFIX): value for key, value in metadata.items() if key.startswith(PREFIX)}
    info = StreamInfo(
        name=get["name"],
        kind=Kind(get["kind"]),
        count=count,
        shape=tuple(int(n) for n in json.loads(get["shape"])),
        names=tuple(str(n) for n in json.loads(get["names"])),
        unit=get["unit"],
        frame=get["frame"],
        clock=get["clock"],
        rate_hz=float(get["rate_hz"]),
        topic=topic,
    )
    return info, np.dtype(get["dtype"]).str.lstrip("<|=>") if get["dtype"] else "", Origin(get["origin"])


def write_log(
    path: Path | str,
    streams: Iterable[Stream],
    *,
    origin: Origin,
    facts: Mapping[str, str | float | bool] | None = None,
    profile: Profile = "foxglove",
    image: ImageOptions | None = None,
    imagined: Iterable[Stream] = (),
) -> None:
    """Write streams as one MCAP, merged by log time; each stream keeps its recorded order.

    Args:
        path: the file to make.
        streams: what to write; frames that are already PNG or JPEG pass unchanged, and so do packets of a video that
            can be one message each.
        origin: where ``streams`` come from.
        facts: what is known of the log.
        profile: family of schemas.
        image: compression of frames that are not yet compressed.
        imagined: streams to put beside them under ``/imagined/``.

    Raises:
        AlreadyExists: ``path`` exists.
        UsageError: values that the container cannot hold.
    """
    with McapWriter(path, origin=origin, facts=facts, profile=profile, image=image) as writer:
        sources = [_declare(writer, s, origin) for s in streams]
        sources += [_declare(writer, s, Origin.IMAGINED) for s in imagined]
        rows = [_rows(key, stream, values, order) for order, (key, stream, values) in enumerate(sources)]
        for log_ns, _, key, stamp_ns, value in heapq.merge(*rows, key=lambda row: row[:2]):
            writer.write(key, log_ns, value, stamp_ns)


def _declare(writer: McapWriter, stream: Stream, origin: Origin) -> tuple[str, Stream, Iterator[Any]]:
    """A stream's name in the file, itself, and its values."""
    run = None if isinstance(stream.values, np.ndarray) else coded(stream.values)
    if run is None or not run.message_format or stream.info.kind is not Kind.IMAGE:
        return writer.add_stream(stream.info, origin=origin), stream, _values(stream)
    packets = (Encoded(data=data, format=run.message_format) for data in run.messages())
    return writer.add_stream(stream.info, origin=origin, video=True), stream, packets


def _rows(key: str, stream: Stream, values: Iterator[Any], order: int) -> Iterator[tuple[int, int, str, int, Any]]:
    stamps = stream.times_ns.tolist()
    logged = stamps if stream.log_times_ns is None else stream.log_times_ns.tolist()
    for index, value in enumerate(values):
        yield logged[index], order, key, stamps[index], value


def _values(stream: Stream) -> Iterator[Any]:
    """Values in recorded order; frames a few at a time."""
    if isinstance(stream.values, np.ndarray):
        yield from stream.values
        return
    for start in range(0, len(stream), _FRAMES_AT_ONCE):
        indices = np.arange(start, min(start + _FRAMES_AT_ONCE, len(stream)), dtype=np.int64)
        if isinstance(stream.values, EncodedFrames) and stream.info.kind is Kind.IMAGE:
            kept = list(stream.values.encoded(indices))
            if all(image.format in {"png", "jpeg"} for image in kept):
                yield from kept
                continue
        yield from stream.values.read(indices)
