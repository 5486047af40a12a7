"""A clock model: fixed numbers that take a stream's stamps onto the clock of the log.

Steps first, then offset and drift::

    u = stamp + steps of the messages up to here
    time = u + offset_ns + drift_ppm * 1e-6 * (u - zero_ns)

Numbers, never an estimate made on the way: an episode is named by the digest of how it was aligned, so what is
estimated (:mod:`worldgate.data.clocks.estimate`) is written into the spec before anything is aligned by it. A step
belongs to a message, not to a stamp: a clock that is set back, or to 1970, gives the same stamp twice, and only the
recorded order says on which side of the step a message stands.

Shape legend: N messages of a stream, in recorded order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.errors import ConfigError
from worldgate.core.streams import FloatArray, IntArray

MOST_PPM = 500_000.0
"""Beyond this a clock would stand still or run at twice the speed; it keeps every model monotone."""

_LIMIT_NS = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockStep:
    """A clock that was set while it ran."""

    message: int
    """Recorded position of the first message stamped after it, from 0."""
    offset_ns: int
    """Added to that message's stamp and to all that follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockModel:
    """Offset, drift, and steps of one stream's clock; the defaults change nothing."""

    offset_ns: int = 0
    """Added to every stamp: what the clock is behind the log's."""
    drift_ppm: float = 0.0
    """Parts per million that the clock runs slow; negative where it runs fast."""
    zero_ns: int | None = None
    """Stamp (after steps) at which the drift adds nothing; not given: the stream's first."""
    steps: tuple[ClockStep, ...] = ()
    """In the order of their messages; a reset is a step as long as the time since 1970."""

    def __post_init__(self) -> None:
        if not abs(self.drift_ppm) < MOST_PPM:
            raise ConfigError("no clock drifts like this", got=f"{self.drift_ppm} ppm", where="clock_model.drift_ppm")
        messages = [step.message for step in self.steps]
        if messages != sorted(set(messages)) or min(messages, default=1) < 1:
            raise ConfigError("steps stand at rising messages from 1 on", got=messages, where="clock_model.steps")
        if max((abs(n) for n in (self.offset_ns, *(s.offset_ns for s in self.steps))), default=0) >= _LIMIT_NS:
            raise ConfigError("an offset beyond 146 years", where="clock_model")

    @property
    def identity(self) -> bool:
        """Whether it leaves every stamp as it is."""
        return not (self.offset_ns or self.drift_ppm or any(step.offset_ns for step in self.steps))

    def segments(self, count: int) -> IntArray:
        """(N,) how many steps each message stands behind: which piece of the clock stamped it."""
        starts = np.asarray([step.message for step in self.steps], np.int64)
        return np.searchsorted(starts, np.arange(count, dtype=np.int64), side="right").astype(np.int64)

    def apply(self, stamps_ns: IntArray) -> IntArray:
        """(N,) stamps of a whole stream, in recorded order, on the log's clock; rounded to the ns."""
        even = stamps_ns + self._stepped(len(stamps_ns))
        return np.asarray(even + self.offset_ns + self._drifted(even, self._zero(even)), np.int64)

    def undo(self, times_ns: IntArray, *, first_ns: int | None = None) -> IntArray:
        """(N,) what the stream's own clock showed: the inverse of :meth:`apply`, to 1 ns.

        Args:
            times_ns: of the messages of a whole stream, in recorded order, on the log's clock.
            first_ns: the first stamp, where ``zero_ns`` is not given and the drift counts from there.
        """
        shifted = times_ns - self.offset_ns
        if self.zero_ns is None and first_ns is None:
            zero = int(shifted[0]) if len(shifted) else 0  # the drift adds nothing to the first stamp
        else:
            zero = self.zero_ns if self.zero_ns is not None else int(first_ns or 0)
        rate = self.drift_ppm * 1e-6
        even = shifted - _round((shifted - zero) * (rate / (1.0 + rate)))
        return np.asarray(even - self._stepped(len(times_ns)), np.int64)

    def _stepped(self, count: int) -> IntArray:
        total = np.cumsum([0, *(step.offset_ns for step in self.steps)], dtype=np.int64)
        return np.asarray(total[self.segments(count)], np.int64)

    def _zero(self, even: IntArray) -> int:
        if self.zero_ns is not None:
            return self.zero_ns
        return int(even[0]) if len(even) else 0

    def _drifted(self, even: IntArray, zero: int) -> IntArray:
        return _round((even - zero) * (self.drift_ppm * 1e-6))


def _round(values: FloatArray) -> IntArray:
    return np.asarray(np.rint(values), np.int64)


def lines(stream: str, model: ClockModel, *, log: str = "") -> list[str]:
    """The model as TOML, to be pasted into a contract.

    Args:
        stream: whose clock it is.
        model: its numbers.
        log: digest of the one log in which they hold; empty: in all logs of the contract.
    """
    table = f"logs.{log}.{quoted(stream)}" if log else f"streams.{quoted(stream)}.clock_model"
    out = [f"[alignment.{table}]", f"offset_ns = {_grouped(model.offset_ns)}"]
    if model.drift_ppm:
        out.append(f"drift_ppm = {model.drift_ppm!r}")
    if model.zero_ns is not None:
        out.append(f"zero_ns = {_grouped(model.zero_ns)}")
    if model.steps:
        steps = ", ".join(f"{{ message = {s.message}, offset_ns = {_grouped(s.offset_ns)} }}" for s in model.steps)
        out.append(f"steps = [{steps}]")
    return out


def quoted(key: str) -> str:
    """A TOML basic string."""
    escaped = "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08X}" for c in key)
    return f'"{escaped}"'


def _grouped(value: int) -> str:
    return f"{value:_}"
