"""Alignment: a log's streams, each on its own clock, onto one grid, with the evidence of what that did to every row.

The grid is a fixed rate over the time all streams share, or the stamps of a reference stream. Numbers may be resampled;
images, events and text are only ever picked by index, and images stay undecoded. Nearest, linear and slerp may read
messages from the future of a row: a model trained on such rows has seen what a robot could not. ``causal = true``
refuses an alignment in which any row does.

Shape legend: N messages of a stream, T grid rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from worldgate.core.choices import settle
from worldgate.core.digest import canonical, digest_json, to_json
from worldgate.core.episodes import Episode, Rows
from worldgate.core.errors import ConfigError, DataRefused
from worldgate.core.streams import NUMERIC, Array, Frames, IntArray, Kind, Log, Stream, StreamInfo, log_digest
from worldgate.core.times import MILLISECOND, SECOND
from worldgate.data.clocks.model import ClockModel
from worldgate.data.resample import BETWEEN, BY_INDEX, Picks, Policy, combine, pick, timeline

SCHEMA = "worldgate.alignment/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamAlignment:
    """How one stream comes onto the grid."""

    policy: Policy = Policy.NEAREST
    tolerance_ns: int | None = None
    """Greatest distance between a row and the message it uses, inclusive; rows beyond it are gaps without a value."""
    max_staleness_ns: int | None = None
    """Rows whose newest past message is older keep their value and are marked as gaps."""
    window_ns: int | None = None
    """Length of the window policies' window; the grid's period where not given."""
    clock: Literal["native", "log", "publish", "header", "frame"] = "native"
    """Which of the stream's stamps to use: its own, or the recorder's ``log`` time."""
    offset_ns: int = 0
    """Added to every stamp: the known delay of the sensor's clock, with its sign turned."""
    clock_model: ClockModel | None = None
    """Offset, drift and steps of the clock in fixed numbers, applied to its stamps before ``offset_ns`` is added."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentSpec:
    """How a log becomes an episode; its digest is part of the episode's id."""

    rate_hz: float = 0.0
    """Rows a second of a fixed grid; 0: the grid is the stamps of ``reference``."""
    reference: str = ""
    """Stream whose stamps are the grid."""
    causal: bool = False
    """Refuse rows that use a message from their future."""
    default: StreamAlignment = field(default_factory=StreamAlignment)
    """For streams that are not named below."""
    streams: Mapping[str, StreamAlignment] = field(default_factory=dict)
    """Streams to align, by name; empty: all of the log."""
    logs: Mapping[str, Mapping[str, ClockModel]] = field(default_factory=dict)
    """Digest of a log -> stream -> the model of that stream's clock in this log; goes before the stream's own."""

    def __post_init__(self) -> None:
        settle(self)
        if (self.rate_hz > 0) == bool(self.reference):
            got = f"rate_hz = {self.rate_hz}, reference = {self.reference!r}"
            raise ConfigError("a grid has either a rate or a reference stream", got=got, where="alignment")
        for name, item in {**self.streams, "default": self.default}.items():
            numbers = (item.tolerance_ns or 0, item.max_staleness_ns or 0, (item.window_ns or 1) - 1)
            if min(numbers) < 0:
                raise ConfigError("tolerance, staleness and window are lengths of time", where=f"alignment:{name}")

    def of(self, log: str) -> AlignmentSpec:
        """What the spec says of one log: the clock models of that log in their streams, and none of others."""
        if not self.logs:
            return self
        own = self.logs.get(log, {})
        named = {name: self.streams.get(name, self.default) for name in (*self.streams, *own)}
        if own and not self.streams:
            raise ConfigError("clock models of a log need named streams", got=sorted(own), where="alignment.logs")
        streams = {n: replace(item, clock_model=own.get(n, item.clock_model)) for n, item in named.items()}
        return replace(self, streams=streams, logs={})

    def digest(self) -> str:
        """Identity of the spec; one without clock models has the identity it had before there were any."""
        tree: dict[str, Any] = cast("dict[str, Any]", to_json(self))
        for item in (tree["default"], *tree["streams"].values()):
            if item["clock_model"] is None:
                del item["clock_model"]
        if not tree["logs"]:
            del tree["logs"]
        return digest_json({"schema": SCHEMA, "spec": tree})


class AlignedFrames:
    """Frames of a stream by grid row, decoded on request; rows without a message are black."""

    def __init__(self, frames: Frames, index: IntArray, *, cache: Path | None = None) -> None:
        self._frames = frames
        self._index = index
        self.cache = cache
        """Folder where resized copies may be kept, or None."""

    def __len__(self) -> int:
        return len(self._index)

    def read(self, indices: IntArray) -> Array:
        """Decode the frames of these rows, each message once: (K, H, W, 3) uint8 RGB, or the depth form."""
        wanted = self._index[indices]
        present = wanted >= 0
        messages, where = np.unique(np.where(present, wanted, wanted.max(initial=0)), return_inverse=True)
        if messages.max(initial=-1) >= len(self._frames):
            raise DataRefused("this camera has no frames", where="episode rows")
        images = self._frames.read(messages.astype(np.int64))[where]
        images[~present] = 0
        return images

    def content_digest(self) -> str:
        """SHA-256 over the encoded packets of the source stream."""
        return self._frames.content_digest()

    @property
    def frames(self) -> Frames:
        """The source stream's own frames."""
        return self._frames

    @property
    def index(self) -> IntArray:
        """(T,) source frame of each row; -1 where there is none."""
        return self._index

    def over(self, frames: Frames) -> AlignedFrames:
        """The same rows over the same frames, read in another way."""
        return AlignedFrames(frames, self._index, cache=self.cache)

    def cached_in(self, cache: Path) -> AlignedFrames:
        """The same frames, whose resized copies may be kept in a folder."""
        return AlignedFrames(self._frames, self._index, cache=cache)


def align(log: Log, spec: AlignmentSpec, *, digest: str | None = None) -> Episode:
    """Bring a log's streams onto one grid.

    Args:
        log: what to align.
        spec: how.
        digest: the log's content digest where it is known already; computing it reads every stream.

    Raises:
        ConfigError: a policy that does not fit a stream's kind, a clock that the log does not carry, or a row that uses
            its future under ``causal``.
        NotFound: a stream that the log does not have.
        DataRefused: no instant at which all streams run.
    """
    content = digest or log_digest(log)
    spec = spec.of(content)
    infos = {info.name: info for info in log.streams()}
    names = list(spec.streams) or list(infos)
    if spec.reference and spec.reference not in names:
        names.append(spec.reference)
    streams = {name: _on_clock(log.read(name), spec.streams.get(name, spec.default)) for name in names}
    grid_ns, rate_hz = _grid(log.name, streams, spec)
    rows = {
        name: _rows(stream, grid_ns, spec.streams.get(name, spec.default), rate_hz, causal=spec.causal)
        for name, stream in streams.items()
    }
    alignment = spec.digest()
    return Episode(
        id=digest_json({"schema": "worldgate.episode/1", "log": content, "alignment": alignment}),
        log=content,
        name=log.name,
        alignment=alignment,
        origin=log.origin,
        rate_hz=rate_hz,
        times_ns=grid_ns,
        streams=rows,
        facts=log.facts,
    )


def _on_clock(stream: Stream, item: StreamAlignment) -> Stream:
    """The stream with the stamps of the wanted clock, after offset."""
    times, clock = stream.times_ns, stream.info.clock
    if item.clock_model is not None and item.clock_model.steps and item.clock_model.steps[-1].message >= len(stream):
        got, where = item.clock_model.steps[-1].message, f"alignment:streams.{stream.info.name}.clock_model.steps"
        raise ConfigError("a step after the stream's last message", got=f"{got} of {len(stream)}", where=where)
    if item.clock == "log" and stream.log_times_ns is not None:
        times, clock = stream.log_times_ns, "log"
    if item.clock not in {"native", clock}:
        have = clock if stream.log_times_ns is None else f"{clock} and log"
        raise ConfigError(
            "this stream has no such clock",
            got=item.clock,
            where=f"alignment:streams.{stream.info.name}.clock",
            hint=f"it carries {have}",
        )
    if item.clock_model is not None:
        times = item.clock_model.apply(times)
    return replace(stream, info=replace(stream.info, clock=clock), times_ns=times + np.int64(item.offset_ns))


def _grid(log: str, streams: Mapping[str, Stream], spec: AlignmentSpec) -> tuple[IntArray, float]:
    """(T,) grid within the time all measured streams share, and its rate.

    Events and text come when they come, so they do not bound the grid.
    """
    bounding = [s for s in streams.values() if len(s) and s.info.kind not in {Kind.EVENT, Kind.TEXT}]
    if spec.reference and not len(streams[spec.reference]):
        raise DataRefused("the reference stream is empty", got=spec.reference, where=log)
    if not bounding:
        raise DataRefused("no stream of this log holds a message", got=sorted(streams), where=log)
    start = max(int(s.times_ns.min()) for s in bounding)
    end = min(int(s.times_ns.max()) for s in bounding)
    if end < start:
        late = max(bounding, key=lambda s: int(s.times_ns.min())).info.name
        early = min(bounding, key=lambda s: int(s.times_ns.max())).info.name
        raise DataRefused(
            "the streams share no instant",
            got=f"{early} ends {(start - end) / SECOND:.3f} s before {late} starts",
            where=log,
            hint="check clock and offset_ns of these streams",
        )
    if not spec.reference:
        return rate_grid(start, end, spec.rate_hz), spec.rate_hz
    stamps = np.unique(streams[spec.reference].times_ns)
    grid = stamps[(stamps >= start) & (stamps <= end)]
    if not len(grid):
        raise DataRefused("the reference stream has no stamp while the others run", got=spec.reference, where=log)
    period = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 0.0
    return grid, SECOND / period if period else streams[spec.reference].info.rate_hz


def rate_grid(start_ns: int, end_ns: int, rate_hz: float) -> IntArray:
    """Rows at ``start + k / rate`` up to and including ``end``, each rounded to the ns on its own: no drift."""
    rate = Fraction(rate_hz).limit_denominator(1000)
    count = (end_ns - start_ns) * rate / SECOND
    k = np.arange(int(count) + 2, dtype=np.int64)  # a row rounded down may just fit
    whole, part = np.divmod(k, rate.numerator)
    step = SECOND * rate.denominator
    grid: IntArray = start_ns + whole * step + (part * step + rate.numerator // 2) // rate.numerator
    return np.asarray(grid[grid <= end_ns], dtype=np.int64)


def _rows(stream: Stream, grid_ns: IntArray, item: StreamAlignment, rate_hz: float, *, causal: bool) -> Rows:
    _fits(stream.info, item)
    line = timeline(stream.times_ns)
    window = item.window_ns or (round(SECOND / rate_hz) if rate_hz else 1)
    picks = pick(
        line,
        grid_ns,
        item.policy,
        tolerance_ns=item.tolerance_ns,
        max_staleness_ns=item.max_staleness_ns,
        window_ns=window,
    )
    if causal and picks.future.any():
        _refuse_future(stream, grid_ns, item, picks)
    values: Array | Frames
    if not isinstance(stream.values, np.ndarray):
        values = AlignedFrames(stream.values, picks.index)
    elif stream.info.kind in NUMERIC:
        values = combine(stream.values, picks, line, item.policy)
    else:
        values = _picked(stream.values, picks.index)
    return Rows(
        info=stream.info,
        values=values,
        index=picks.index,
        source_ns=picks.source_ns,
        skew_ns=picks.skew_ns,
        staleness_ns=picks.staleness_ns,
        gap=picks.gap,
        segment=_segment(item.clock_model, picks.index, len(stream)),
        clock_model="" if item.clock_model is None else canonical(item.clock_model).decode(),
    )


def _segment(model: ClockModel | None, index: IntArray, count: int) -> IntArray | None:
    """(T,) piece of the clock behind each row's message; None for a clock without steps."""
    if model is None or not model.steps:
        return None
    return np.append(model.segments(count), np.int64(-1))[index]


def _picked(values: Array, index: IntArray) -> Array:
    """Events, text and images held in memory, by index; empty text or black where there is none."""
    blank = "" if values.dtype == object else 0
    out = np.full((len(index), *values.shape[1:]), blank, dtype=values.dtype)
    present = index >= 0
    out[present] = values[index[present]]
    return out


def _fits(info: StreamInfo, item: StreamAlignment) -> None:
    """Refuse arithmetic on what has none: images, events, and quaternions channel by channel."""
    policy, kind = item.policy, info.kind
    if kind is Kind.POSE:
        ok, hint = policy in BY_INDEX | {Policy.SLERP}, "slerp, or a policy that takes one message"
    elif kind in NUMERIC:
        ok, hint = policy is not Policy.SLERP, "linear; slerp is for poses"
    else:
        ok, hint = policy in BY_INDEX, "nearest, hold or window_last"
    if not ok:
        where = f"alignment:streams.{info.name}.policy"
        raise ConfigError(f"this policy does not fit a stream of kind {kind}", got=policy, where=where, hint=hint)


def _refuse_future(stream: Stream, grid_ns: IntArray, item: StreamAlignment, picks: Picks) -> None:
    used = stream.times_ns[np.where(picks.future, picks.after, 0)]
    ahead = int((used - grid_ns)[picks.future].max()) / MILLISECOND
    hint = "policy = 'hold' or a window" if item.policy not in BETWEEN else "policy = 'hold'"
    raise ConfigError(
        "a causal alignment reads the future",
        got=f"{item.policy}: {int(picks.future.sum())} of {len(grid_ns)} rows, up to {ahead:.3f} ms ahead",
        where=f"alignment:streams.{stream.info.name}.policy",
        hint=hint,
    )
