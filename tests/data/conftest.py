"""Fakes for the data room: logs made of arrays, so that every failure can be planted where a test wants it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from worldgate.core.errors import NotFound
from worldgate.core.streams import Finding, Kind, Origin, Stream, StreamInfo

SECOND = 1_000_000_000


class FakeFrames:
    """Frames held in memory that count how often they were decoded."""

    def __init__(self, images: np.ndarray[Any, Any]) -> None:
        self.images = images
        self.decoded = 0

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        self.decoded += len(indices)
        return self.images[indices].copy()

    def content_digest(self) -> str:
        import hashlib

        return hashlib.sha256(self.images.tobytes()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class FakeLog:
    """A log made of streams in memory; implements core.streams.Log."""

    name: str = "fake"
    origin: Origin = Origin.REAL
    facts: Mapping[str, str | float | bool] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    held: Mapping[str, Stream] = field(default_factory=dict)

    def streams(self) -> tuple[StreamInfo, ...]:
        return tuple(s.info for s in self.held.values())

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        if stream not in self.held:
            raise NotFound("no such stream", got=stream, where=self.name, hint=f"one of {', '.join(self.held)}")
        whole = self.held[stream]
        if window_ns is None:
            return whole
        keep = np.flatnonzero((whole.times_ns >= window_ns[0]) & (whole.times_ns < window_ns[1]))
        return replace(whole, times_ns=whole.times_ns[keep], values=whole.array[keep])


def stream(
    name: str,
    times_ns: Any,
    values: Any = None,
    *,
    kind: Kind = Kind.VECTOR,
    rate_hz: float = 0.0,
    clock: str = "log",
    unit: str = "",
    log_times_ns: Any = None,
) -> Stream:
    """A stream; values default to the message's number."""
    times = np.asarray(times_ns, dtype=np.int64)
    held: Any = np.arange(len(times), dtype=np.float64)[:, None] if values is None else values
    shape = held.images.shape[1:] if isinstance(held, FakeFrames) else np.shape(held)[1:]
    info = StreamInfo(
        name=name, kind=kind, count=len(times), shape=tuple(shape), rate_hz=rate_hz, clock=clock, unit=unit
    )
    log_times = None if log_times_ns is None else np.asarray(log_times_ns, dtype=np.int64)
    return Stream(info=info, times_ns=times, values=held, log_times_ns=log_times)


class Fakes:
    """What tests of this room build their logs from."""

    Frames = FakeFrames
    Log = FakeLog
    stream = staticmethod(stream)

    def log(self, *streams: Stream, **fields: Any) -> FakeLog:
        return FakeLog(held={s.info.name: s for s in streams}, **fields)


@pytest.fixture(scope="session")
def fakes() -> Fakes:
    return Fakes()
