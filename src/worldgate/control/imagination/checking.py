"""The check that is always made: what a policy gained in imagination beside what it gained in the true environment.

Both sides begin in the same situations, run the same policy and count the same discounted reward; the imagined side
stops after the model's horizon and lets a head that was fitted to true outcomes guess the rest, the true side runs to
the end. A gain is one whose interval, over situations, lies above zero.

Shape legend: P situations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from worldgate.core.streams import FloatArray

_RESAMPLES = 4000
_LEVEL = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over situations or runs with its 90 % bootstrap interval."""

    mean: float
    lower: float
    upper: float
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.3g} ({self.lower:.3g} to {self.upper:.3g})"


def estimate(values_P: FloatArray, *, seed: int = 0) -> Estimate:
    """The mean of situations or runs, resampled whole; each bound is one-sided at 5 %."""
    values = np.asarray(values_P, np.float64)
    drawn = np.random.default_rng(seed).integers(len(values), size=(_RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [_LEVEL, 1 - _LEVEL])
    return Estimate(mean=float(values.mean()), lower=float(low), upper=float(high), count=len(values))


class Verdict(StrEnum):
    """What came of an improvement."""

    SEEN = "seen"
    """The true environment shows a gain."""
    EXPLOITED = "exploited"
    """The model shows a gain and the true environment does not."""
    NONE = "none"
    """Neither shows one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Returns (P,) before and after, imagined and true, from the same situations."""

    imagined_before_P: FloatArray
    imagined_after_P: FloatArray
    true_before_P: FloatArray
    true_after_P: FloatArray
    success_before_P: FloatArray
    success_after_P: FloatArray

    @property
    def imagined_gain(self) -> Estimate:
        """Paired, by situation."""
        return estimate(self.imagined_after_P - self.imagined_before_P)

    @property
    def true_gain(self) -> Estimate:
        """Paired, by situation."""
        return estimate(self.true_after_P - self.true_before_P)

    @property
    def verdict(self) -> Verdict:
        """Seen in truth, or imagined alone, or none."""
        if self.true_gain.lower > 0:
            return Verdict.SEEN
        return Verdict.EXPLOITED if self.imagined_gain.lower > 0 else Verdict.NONE

    def rows(self) -> list[tuple[str, Estimate, Estimate, Estimate]]:
        """Name, before, after and paired gain of each kind of return."""
        pairs: Mapping[str, tuple[FloatArray, FloatArray]] = {
            "imagined return": (self.imagined_before_P, self.imagined_after_P),
            "true return": (self.true_before_P, self.true_after_P),
            "true success": (self.success_before_P, self.success_after_P),
        }
        return [(name, estimate(a), estimate(b), estimate(b - a)) for name, (a, b) in pairs.items()]

    def body(self) -> dict[str, Any]:
        """For a record: every figure with its interval, and the verdict."""
        out: dict[str, Any] = {"verdict": self.verdict.value}
        for name, before, after, gain in self.rows():
            parts = {"before": before, "after": after, "gain": gain}
            out[name.replace(" ", "_")] = {
                key: {"mean": e.mean, "lower": e.lower, "upper": e.upper, "n": e.count} for key, e in parts.items()
            }
        return out
