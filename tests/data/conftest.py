"""Fakes for the data room: logs made of arrays, so that every failure can be planted where a test wants it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
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


def recorded(seed: int, *, seconds: float = 2.0, start_ns: int = 1_800_000_000 * SECOND) -> list[Stream]:
    """Streams of a small robot run: joints 50 Hz, action 10 Hz, camera 15 Hz, each on its own clock."""
    rng = np.random.default_rng(seed)

    def clock(rate: float, phase_ns: int) -> Any:
        steps = np.arange(int(seconds * rate), dtype=np.int64) * round(SECOND / rate)
        return start_ns + phase_ns + steps + rng.integers(0, 500_000, len(steps))

    joints, commands, shutter = clock(50, 0), clock(10, 3_000_000), clock(15, 11_000_000)
    state = np.sin((joints - start_ns)[:, None] / 3e8 + rng.normal(size=3))
    action = np.cos((commands - start_ns)[:, None] / 3e8 + rng.normal(size=2))
    images = rng.integers(0, 255, (len(shutter), 16, 24, 3), dtype=np.uint8)
    return [
        stream("observation.state", joints, state, unit="rad"),
        stream("action", commands, action, kind=Kind.ACTION, unit="rad"),
        stream("observation.images.front", shutter, FakeFrames(images), kind=Kind.IMAGE),
    ]


@pytest.fixture
def record_log(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small run as MCAP and returns its path; ``spoil`` changes the streams first."""
    from worldgate.data.logs.mcap import write_log

    def record(
        seed: int,
        *,
        folder: str = "logs",
        origin: Origin = Origin.REAL,
        spoil: Callable[[list[Stream]], list[Stream]] = list,
        name: str = "",
        **facts: str | float | bool,
    ) -> Path:
        path = tmp_path / folder / f"{name or f'run_{seed:03d}'}.mcap"
        path.parent.mkdir(exist_ok=True)
        write_log(path, spoil(recorded(seed)), origin=origin, facts={"success": True, "robot": "arm-1", **facts})
        return path

    return record


@pytest.fixture
def contract_file(tmp_path: Path) -> Path:
    """A contract that the runs of ``record_log`` fulfil."""
    path = tmp_path / "small.toml"
    path.write_text(CONTRACT)
    return path


CONTRACT = """
name = "small"
origins = ["real"]
[streams."observation.state"]
kind = "vector"
width = 3
unit = "rad"
rate_hz = [45, 55]
[streams.action]
kind = "action"
width = 2
[streams."observation.images.front"]
kind = "image"
[alignment]
rate_hz = 10.0
causal = true
[alignment.default]
policy = "hold"
[checks.finite]
[checks.blank]
[checks.frozen]
[checks.stamps]
[checks.gaps]
params = { least_s = 0.2 }
[checks.jitter]
severity = "flag"
params = { most = 0.0001 }
[labels]
required = ["success"]
[splits]
fractions = { train = 0.75, val = 0.25 }
"""
