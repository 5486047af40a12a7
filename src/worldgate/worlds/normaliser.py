"""Normaliser statistics of the streams a model is fed: centre, spread, step size, range and which channels wrap.

They are resolved once on training episodes, saved as ``normaliser.json`` beside the weights and named by their digest:
a release with the right weights and another normaliser is another release. Notable choices: a channel that hardly moves
gets scale 1 and is marked constant, so encoder noise is never blown up; a channel wraps when it jumps by about 2 pi
between rows while staying within one turn (roll of a DROID arm, yaw of an object).

Shape legend: T rows, D channels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from worldgate.core.config import decode
from worldgate.core.digest import canonical, digest_json
from worldgate.core.errors import DataRefused, WeightsRefused
from worldgate.core.streams import FloatArray

_TINY = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Statistics of one stream's D channels, in the stream's unit."""

    unit: str
    center: tuple[float, ...]
    scale: tuple[float, ...]
    """Standard deviation over rows; 1 where the channel is constant."""
    step: tuple[float, ...]
    """Root mean square of the change between rows, wrapped where circular."""
    low: tuple[float, ...]
    high: tuple[float, ...]
    circular: tuple[bool, ...]
    """Angles that wrap at +-pi."""
    constant: tuple[bool, ...]

    def encode(self, values_TD: FloatArray) -> FloatArray:
        """Centre and scale: (T, D) in the stream's unit to (T, D) without unit."""
        encoded: FloatArray = (np.asarray(values_TD, np.float64) - np.asarray(self.center)) / np.asarray(self.scale)
        return encoded

    def decode(self, values_TD: FloatArray) -> FloatArray:
        """The inverse of :meth:`encode`."""
        decoded: FloatArray = np.asarray(values_TD, np.float64) * np.asarray(self.scale) + np.asarray(self.center)
        return decoded


@dataclass(frozen=True, slots=True, kw_only=True)
class Normaliser:
    """Statistics by stream name."""

    streams: Mapping[str, Channels]

    @property
    def digest(self) -> str:
        """Identity of the statistics."""
        return digest_json(self)

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Normaliser:
        """Read back :meth:`to_bytes`.

        Raises:
            WeightsRefused: not JSON of this form.
        """
        try:
            tree = json.loads(data)
        except ValueError as error:
            raise WeightsRefused("normaliser statistics are not JSON", got=str(error)[:80]) from error
        return decode(cls, tree, where="normaliser.json")


def wrap(angle: FloatArray) -> FloatArray:
    """Map angles in rad to [-pi, pi)."""
    return (np.asarray(angle) + np.pi) % (2 * np.pi) - np.pi


def fit_channels(arrays: Sequence[FloatArray], *, unit: str = "") -> Channels:
    """Statistics of one stream over episodes, each (T, D), in the stream's unit.

    Raises:
        DataRefused: no finite row, so nothing can be fitted.
    """
    rows = np.concatenate([np.asarray(a, np.float64) for a in arrays])
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        raise DataRefused("no finite row to fit a normaliser on", hint="worldgate check names the NaN spans")
    deltas = np.concatenate([np.diff(np.asarray(a, np.float64), axis=0) for a in arrays])
    deltas = deltas[np.isfinite(deltas).all(axis=1)]
    if not len(deltas):
        deltas = np.zeros((1, rows.shape[1]))
    circular = (np.abs(deltas).max(axis=0) > 1.6 * np.pi) & (np.abs(rows).max(axis=0) < np.pi + 0.01)
    deltas = np.where(circular, wrap(deltas), deltas)
    scale, step = rows.std(axis=0), np.sqrt((deltas**2).mean(axis=0))
    constant = scale <= _TINY * (1 + np.abs(rows).max(axis=0))
    step = np.where(constant, 1.0, np.maximum(step, 1e-3 * scale))
    return Channels(
        unit=unit,
        center=_floats(np.where(circular, 0.0, rows.mean(axis=0))),
        scale=_floats(np.where(constant, 1.0, scale)),
        step=_floats(step),
        low=_floats(rows.min(axis=0)),
        high=_floats(rows.max(axis=0)),
        circular=tuple(bool(c) for c in circular),
        constant=tuple(bool(c) for c in constant),
    )


def _floats(values: FloatArray) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
