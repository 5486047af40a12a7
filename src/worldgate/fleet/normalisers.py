"""Resolved normaliser statistics: the numbers that turn sensor units into what a policy's weights were fitted on.

They are half of a policy's identity: the same weights under other statistics are another machine (lerobot #4617,
arXiv:2606.03724). So a release names their digest, and a difference is shown number by number.

Shape legend: T rows, D channels of one stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worldgate.core.config import decode
from worldgate.core.digest import digest_json
from worldgate.core.errors import DataRefused, NotFound
from worldgate.core.streams import FloatArray

STILL = 1e-6
"""A channel that deviates less than this never moved: it is centred but not scaled, so that noise is not blown up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Mean and standard deviation of each channel of one stream, in the stream's unit."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, values_TD: FloatArray) -> Statistics:
        """Measure (T, D) values.

        Raises:
            DataRefused: no rows, or a value that is not finite.
        """
        if values_TD.ndim != 2 or not len(values_TD) or not np.isfinite(values_TD).all():
            raise DataRefused("statistics need finite rows", got=f"shape {values_TD.shape}")
        std = values_TD.std(axis=0, dtype=np.float64)
        std = np.where(std < STILL, 1.0, std)
        return cls(
            mean=tuple(float(v) for v in values_TD.mean(axis=0, dtype=np.float64)), std=tuple(float(v) for v in std)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Normaliser:
    """Statistics by stream name; the action stream is one of them."""

    streams: Mapping[str, Statistics] = field(default_factory=dict)

    @classmethod
    def fit(cls, arrays: Mapping[str, FloatArray]) -> Normaliser:
        """Measure each stream's (T, D) rows."""
        return cls(streams={name: Statistics.of(values) for name, values in arrays.items()})

    @classmethod
    def from_json(cls, tree: Mapping[str, Any], *, where: str = "normaliser") -> Normaliser:
        """Read what :func:`worldgate.core.digest.to_json` wrote."""
        return decode(cls, tree, where=where)

    def digest(self) -> str:
        """Identity of the resolved statistics."""
        return digest_json(self)

    def statistics(self, stream: str) -> Statistics:
        """Of one stream.

        Raises:
            NotFound: the normaliser has none for it.
        """
        if stream not in self.streams:
            raise NotFound("the normaliser knows no such stream", got=stream, hint=f"one of {', '.join(self.streams)}")
        return self.streams[stream]

    def apply(self, stream: str, values: FloatArray) -> FloatArray:
        """(..., D) in the stream's unit to (..., D) with mean 0 and deviation 1 over the data that was measured."""
        s = self.statistics(stream)
        return np.asarray((np.asarray(values, dtype=np.float64) - s.mean) / s.std)

    def invert(self, stream: str, values: FloatArray) -> FloatArray:
        """The way back of :meth:`apply`."""
        s = self.statistics(stream)
        return np.asarray(np.asarray(values, dtype=np.float64) * s.std + s.mean)
