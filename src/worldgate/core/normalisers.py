"""Resolved normaliser statistics: the numbers that turn a stream's units into what weights were fitted on.

They are half of an identity: the same weights under other statistics are another machine (lerobot #4617,
arXiv:2606.03724). So a dataset, a world model and a release each name theirs by digest, in this one form. Notable
choices: the numbers stand as they are applied, so a channel that hardly moves has deviation 1 and an angle that wraps
has mean 0; a channel wraps when it jumps by about 2 pi between rows while it stays within one turn (roll of an arm, yaw
of an object).

Shape legend: T rows, D channels of one stream.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from worldgate.core.config import decode
from worldgate.core.digest import canonical, digest_json
from worldgate.core.errors import DataRefused, NotFound, WeightsRefused
from worldgate.core.streams import FloatArray

_TINY = 1e-6
"""A channel that deviates less than this share of its size never moved: scaling it would blow up its noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Of one stream's D channels, in the stream's unit; what a foreign model does not state stays empty."""

    mean: tuple[float, ...]
    """Subtracted first; 0 where the channel wraps."""
    std: tuple[float, ...]
    """Standard deviation over rows; 1 where the channel is constant."""
    unit: str = ""
    rows: int = 0
    """How many rows were measured."""
    min: tuple[float, ...] = ()
    max: tuple[float, ...] = ()
    q01: tuple[float, ...] = ()
    q99: tuple[float, ...] = ()
    step: tuple[float, ...] = ()
    """Root mean square of the change between rows, wrapped where circular."""
    circular: tuple[bool, ...] = ()
    """Angles that wrap at +-pi."""
    constant: tuple[bool, ...] = ()

    def apply(self, values: FloatArray) -> FloatArray:
        """(..., D) in the stream's unit to (..., D) with mean 0 and deviation 1 over the rows that were measured."""
        return np.asarray((np.asarray(values, np.float64) - np.asarray(self.mean)) / np.asarray(self.std))

    def invert(self, values: FloatArray) -> FloatArray:
        """The way back of :meth:`apply`."""
        return np.asarray(np.asarray(values, np.float64) * np.asarray(self.std) + np.asarray(self.mean))


@dataclass(frozen=True, slots=True, kw_only=True)
class Normaliser:
    """Statistics by stream name; the action stream is one of them."""

    streams: Mapping[str, Statistics] = field(default_factory=dict)

    @classmethod
    def fit(cls, arrays: Mapping[str, FloatArray]) -> Normaliser:
        """Measure each stream's (T, D) rows; see :func:`fit` for many episodes."""
        return cls(streams={name: fit([values]) for name, values in arrays.items()})

    @property
    def digest(self) -> str:
        """Identity of the statistics: of :meth:`to_bytes`."""
        return digest_json(self)

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical(self)

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str = "normaliser.json") -> Normaliser:
        """Read back :meth:`to_bytes`.

        Raises:
            WeightsRefused: not JSON, or without streams.
            ConfigError: another form.
        """
        try:
            tree = json.loads(data)
        except ValueError as error:
            raise WeightsRefused("normaliser statistics are not JSON", got=str(error)[:80], where=where) from error
        if not isinstance(tree, dict) or "streams" not in tree:
            raise WeightsRefused("normaliser statistics without streams", got=type(tree).__name__, where=where)
        return decode(cls, tree, where=where)

    def statistics(self, stream: str) -> Statistics:
        """Of one stream.

        Raises:
            NotFound: the normaliser has none for it.
        """
        if stream not in self.streams:
            raise NotFound("the normaliser knows no such stream", got=stream, hint=f"one of {', '.join(self.streams)}")
        return self.streams[stream]

    def apply(self, stream: str, values: FloatArray) -> FloatArray:
        """See :meth:`Statistics.apply`."""
        return self.statistics(stream).apply(values)

    def invert(self, stream: str, values: FloatArray) -> FloatArray:
        """See :meth:`Statistics.invert`."""
        return self.statistics(stream).invert(values)


def wrap(angle: FloatArray) -> FloatArray:
    """Map angles in rad to [-pi, pi)."""
    return (np.asarray(angle) + np.pi) % (2 * np.pi) - np.pi


def fit(arrays: Sequence[FloatArray], *, unit: str = "") -> Statistics:
    """Measure one stream over episodes, each (T, D), in the stream's unit; rows that are not finite do not count.

    Raises:
        DataRefused: no finite row, so nothing can be fitted.
    """
    rows = _finite(np.concatenate([np.asarray(a, np.float64) for a in arrays]) if arrays else np.empty((0, 0)))
    if not len(rows):
        raise DataRefused("no finite row to fit a normaliser on", hint="worldgate check names the NaN spans")
    deltas = _finite(np.concatenate([np.diff(np.asarray(a, np.float64), axis=0) for a in arrays]))
    if not len(deltas):
        deltas = np.zeros((1, rows.shape[1]))
    circular = (np.abs(deltas).max(axis=0) > 1.6 * np.pi) & (np.abs(rows).max(axis=0) < np.pi + 0.01)
    deltas = np.where(circular, wrap(deltas), deltas)
    std, step = rows.std(axis=0), np.sqrt((deltas**2).mean(axis=0))
    constant = std <= _TINY * (1 + np.abs(rows).max(axis=0))
    low, high = np.quantile(rows, [0.01, 0.99], axis=0)
    return Statistics(
        unit=unit,
        rows=len(rows),
        mean=_floats(np.where(circular, 0.0, rows.mean(axis=0))),
        std=_floats(np.where(constant, 1.0, std)),
        min=_floats(rows.min(axis=0)),
        max=_floats(rows.max(axis=0)),
        q01=_floats(low),
        q99=_floats(high),
        step=_floats(np.where(constant, 1.0, np.maximum(step, 1e-3 * std))),
        circular=tuple(bool(c) for c in circular),
        constant=tuple(bool(c) for c in constant),
    )


def _finite(rows_TD: FloatArray) -> FloatArray:
    return np.asarray(rows_TD[np.isfinite(rows_TD).all(axis=1)])


def _floats(values: FloatArray) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
