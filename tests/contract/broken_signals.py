"""One log for each check of signals that says of nothing else what is wrong: what the seam's contract test shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from worldgate.core.streams import Finding, Kind, Origin, Stream, StreamInfo

MS = 1_000_000
SECOND = 1_000 * MS
NOW = 1_767_600_000 * SECOND
TICKS = NOW + np.arange(600, dtype=np.int64) * 10 * MS
"""Six seconds at 100 Hz."""
NAMES = ("elbow", "wrist", "yaw")


@dataclass(frozen=True, kw_only=True)
class MadeLog:
    """A log of streams in memory."""

    held: tuple[Stream, ...]
    name: str = "made"
    origin: Origin = Origin.SIMULATED
    facts: Mapping[str, str | float | bool] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def streams(self) -> tuple[StreamInfo, ...]:
        return tuple(s.info for s in self.held)

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        return next(s for s in self.held if s.info.name == stream)


def moving(count: int = 600, *, width: int = 3, noise: float = 1e-4, seed: int = 0) -> Any:
    """A smooth motion that never repeats itself, with an encoder's noise, at rest at both ends for a moment."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 6, count)[:, None]
    phase = rng.uniform(0, 6, (1, width))
    line = np.sin(1.3 * t + phase) + 0.5 * np.sin(3.1 * t + 2 * phase) + 0.3 * np.sin(5.3 * t + 3 * phase)
    ease = np.clip(np.minimum(t, 6 - t) / 0.4, 0, 1) ** 2 * (3 - 2 * np.clip(np.minimum(t, 6 - t) / 0.4, 0, 1))
    return line * ease + rng.normal(0, noise, (count, width))


def made(
    name: str,
    values: Any,
    times: Any = TICKS,
    *,
    kind: Kind = Kind.VECTOR,
    unit: str = "rad",
    names: tuple[str, ...] = NAMES,
    rate_hz: float = 0.0,
    log_times: Any = None,
    clock: str = "log",
) -> Stream:
    """A stream of numbers or of events."""
    named = names if np.ndim(values) > 1 and np.shape(values)[1] == len(names) else ()
    info = StreamInfo(
        name=name, kind=kind, count=len(times), shape=np.shape(values)[1:], unit=unit, names=named, rate_hz=rate_hz,
        clock=clock,
    )  # fmt: skip
    return Stream(info=info, times_ns=np.asarray(times, np.int64), values=values, log_times_ns=log_times)


def log(*streams: Stream, **fields: Any) -> MadeLog:
    return MadeLog(held=streams, **fields)


def state(change: Callable[[Any], Any] = lambda v: v, **fields: Any) -> Stream:
    return made("observation.state", change(moving()), **fields)


def _beyond() -> MadeLog:
    return log(state(lambda v: v * 2))


def _late() -> MadeLog:
    values = moving(1200)
    return log(
        made("observation.state", values[:600]), made("action", values[60:660], kind=Kind.ACTION),
    )  # fmt: skip


def _still() -> MadeLog:
    values = moving(noise=1e-6)
    values[:400] = values[0] + np.random.default_rng(1).normal(0, 1e-6, (400, 3))
    return log(made("observation.state", values))


def _cut() -> MadeLog:
    return log(state(), facts={"duration_s": 9.0})


def _set_back() -> MadeLog:
    stamps = TICKS.copy()
    stamps[300:] -= 200 * MS
    delay = np.random.default_rng(0).integers(1 * MS, 3 * MS, len(TICKS))
    return log(made("observation.state", moving(), stamps, log_times=TICKS + delay, clock="header"))


def _lost() -> MadeLog:
    keep = np.delete(np.arange(600), [100, 200, 201, 400])
    return log(made("observation.state", moving()[keep], TICKS[keep]))


def _stuck(v: Any) -> Any:
    v[200:400, 1] = v[200, 1]
    return v


def _clipped(v: Any) -> Any:
    top = np.quantile(v[:, 0], 0.8)
    return np.where(np.arange(3) == 0, np.minimum(v, top), v)


def _glitch(v: Any) -> Any:
    v[300, 2] += 2.0
    return v


def _flipped() -> MadeLog:
    half = moving()[:, 0] / 2
    pose = np.zeros((600, 7))
    pose[:, 5], pose[:, 6] = np.sin(half), np.cos(half)
    pose[200:220, 3:] *= -1
    return log(made("tool.pose", pose, kind=Kind.POSE, unit=""))


def _wandering() -> MadeLog:
    rng = np.random.default_rng(0)
    force = rng.normal(0, 0.05, (600, 3))
    force[150:250] += 8 * np.sin(np.linspace(0, np.pi, 100))[:, None]
    force += np.linspace(0, 6, 600)[:, None]
    return log(made("observation.force", force, unit="N", names=("x", "y", "z")))


FAULTS: dict[str, tuple[Callable[[], MadeLog], dict[str, Any]]] = {
    "limits": (_beyond, {"channels": {"observation.state": {"elbow": {"upper": 1.9, "lower": -1.9}}}}),
    "lag": (_late, {}),
    "idle": (_still, {}),
    "truncated": (_cut, {}),
    "clock_step": (_set_back, {}),
    "dropped_packets": (_lost, {}),
    "dead_channel": (lambda: log(state(_stuck)), {}),
    "saturation": (lambda: log(state(_clipped)), {}),
    "spike": (lambda: log(state(_glitch)), {}),
    "unit_suspect": (lambda: log(state(np.degrees)), {}),
    "quaternion": (_flipped, {}),
    "contradictions": (lambda: log(replace(state(), info=replace(state().info, rate_hz=30.0))), {}),
    "force": (_wandering, {}),
}
"""Check -> a log with its fault, and the parameters that it needs."""


def sound() -> MadeLog:
    """A log in which nothing is wrong."""
    values = moving(620)
    rng = np.random.default_rng(0)
    delay = rng.integers(1 * MS, 3 * MS, 600)
    force = rng.normal(0, 0.05, (600, 3))
    force[150:250] += 8 * np.sin(np.linspace(0, np.pi, 100))[:, None]
    return log(
        made("observation.state", values[:600], log_times=TICKS + delay, clock="header", rate_hz=100.0),
        made("action", values[10:610], kind=Kind.ACTION, log_times=TICKS + delay, clock="header"),
        made("observation.force", force, unit="N", names=("x", "y", "z")),
        facts={"duration_s": 6.0, "success": True, "robot": "nr1"},
    )
