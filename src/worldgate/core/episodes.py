"""Episodes: the aligned multimodal view of logs that checks, datasets, models and gates share.

Shape legend: T aligned rows, D vector length, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from worldgate.core.digest import digest_array, digest_json
from worldgate.core.errors import DataRefused
from worldgate.core.streams import Array, BoolArray, Frames, IntArray, Origin, StreamInfo
from worldgate.core.times import SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """One stream on an episode's grid, with what alignment did to every row."""

    info: StreamInfo
    values: Array | Frames
    """(T, ...): resampled numbers, or frames whose index is the row."""
    index: IntArray
    """(T,) source message used (the earlier one for linear and slerp); -1 where none was within tolerance."""
    source_ns: IntArray
    """(T,) native time of that message, after clock offset."""
    skew_ns: IntArray
    """(T,) source time minus grid time; positive is from the future."""
    staleness_ns: IntArray
    """(T,) grid time minus the newest message at or before it."""
    gap: BoolArray
    """(T,) no message within tolerance, or older than the allowed staleness."""
    segment: IntArray | None = None
    """(T,) which piece of the stream's clock stamped that message, counted over the steps of its clock model, -1 where
    there is none; None: a clock without steps."""
    clock_model: str = ""
    """The numbers that brought the clock here, as canonical JSON; empty: the stamps as they were recorded."""

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """An aligned multimodal view of one log.

    ``id`` covers source bytes (encoded packets, native times, values) and the alignment spec, never decoded pixels or
    resampled floats.
    """

    id: str
    log: str
    """Digest of the log."""
    name: str
    alignment: str
    """Digest of the alignment spec."""
    origin: Origin
    rate_hz: float
    times_ns: IntArray
    """(T,) the grid."""
    streams: Mapping[str, Rows]
    facts: Mapping[str, str | float | bool] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.times_ns)

    def array(self, stream: str) -> Array:
        """(T, ...) numbers of a stream; image streams are decoded whole."""
        values = self.streams[stream].values
        return values if isinstance(values, np.ndarray) else values.read(np.arange(len(self), dtype=np.int64))


def in_memory(
    infos: Sequence[StreamInfo],
    rows: Mapping[str, Sequence[Array]],
    *,
    name: str,
    origin: Origin,
    rate_hz: float,
    facts: Mapping[str, str | float | bool],
) -> Episode:
    """An episode of rows that were seen as they came, on an even grid and without a gap; its id is their digest.

    Args:
        infos: the streams.
        rows: stream -> one array a row, each of its stream's shape.
        name: of the episode.
        origin: of the rows.
        rate_hz: rows a second.
        facts: what is known of it.

    Raises:
        DataRefused: a row of another shape than its stream.
    """
    arrays = {info.name: _stacked(rows[info.name], info) for info in infos}
    length = len(arrays[infos[0].name])
    times = (np.arange(length) * (SECOND / rate_hz)).astype(np.int64)
    zero = np.zeros(length, dtype=np.int64)
    log = digest_json({name: digest_array(values) for name, values in arrays.items()})
    return Episode(
        id=log,
        log=log,
        name=name,
        alignment="",
        origin=origin,
        rate_hz=rate_hz,
        times_ns=times,
        streams={
            info.name: Rows(
                info=replace(info, count=length, rate_hz=rate_hz),
                values=arrays[info.name],
                index=np.arange(length, dtype=np.int64),
                source_ns=times,
                skew_ns=zero,
                staleness_ns=zero,
                gap=np.zeros(length, dtype=np.bool_),
            )
            for info in infos
        },
        facts=facts,
    )


def _stacked(rows: Sequence[Array], info: StreamInfo) -> Array:
    for row in rows:
        if row.shape != info.shape:
            raise DataRefused("not the observation that was announced", got=row.shape, where=info.name)
    return np.stack(rows)
