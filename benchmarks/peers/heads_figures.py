"""Lines of the state heads' benchmark: figures of sums by episode with their intervals, and how the sums are made.

Shape legend: N sequences, L rows of a sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from worldgate.core.streams import BoolArray, FloatArray
from worldgate.evidence.evaluation.sums import estimate


class Rows:
    """Lines of the answer."""

    def __init__(self, family: str) -> None:
        self.family = family
        self.rows: list[dict[str, Any]] = []

    def add(
        self,
        what: str,
        unit: str,
        ours: Mapping[int, FloatArray],
        peer: str = "",
        theirs: Mapping[int, FloatArray] | None = None,
        *,
        reduction: str = "mean",
        bar: float | None = None,
        higher: bool = False,
    ) -> None:
        """One figure of sums by episode, beside a baseline's."""
        mine = estimate(ours, reduction, level=0.05, resamples=1000, seed=0)
        other = None if theirs is None else estimate(theirs, reduction, level=0.05, resamples=1000, seed=0)
        base = None if other is None else other.value
        ratio = None if not base or mine.value is None else round(mine.value / base, 3)
        ok = None
        if mine.value is not None and (bar is not None or base is not None):
            ok = bool((mine.value > (base if bar is None else bar)) == higher)
        self.rows.append(
            {
                "what": f"{self.family}: {what}",
                "value": mine.value,
                "unit": unit,
                "low": mine.lower,
                "high": mine.upper,
                "episodes": mine.episodes,
                "peer": peer or None,
                "peer_value": base,
                "peer_low": None if other is None else other.lower,
                "peer_high": None if other is None else other.upper,
                "ratio": ratio,
                "bar": bar,
                "ok": ok,
            }
        )

    def target(self, what: str, aim: float, ours: Mapping[int, FloatArray]) -> None:
        """A coverage, whose interval should hold what was claimed."""
        mine = estimate(ours, "mean", level=0.05, resamples=1000, seed=0)
        ok = None if mine.lower is None or mine.upper is None else bool(mine.lower <= aim <= mine.upper)
        self.rows.append(
            {
                "what": f"{self.family}: {what}",
                "value": mine.value,
                "unit": "1",
                "low": mine.lower,
                "high": mine.upper,
                "episodes": mine.episodes,
                "peer": "claimed",
                "peer_value": aim,
                "ratio": None,
                "bar": aim,
                "ok": ok,
            }
        )


def means(value_NL: FloatArray, episode_N: FloatArray, keep_NL: BoolArray) -> dict[int, FloatArray]:
    """(total, weight) by episode, of what is kept and finite."""
    out: dict[int, FloatArray] = {}
    keep = keep_NL & np.isfinite(value_NL)
    for e in np.unique(episode_N):
        mine = episode_N == e
        if keep[mine].any():
            out[int(e)] = np.array([value_NL[mine][keep[mine]].sum(), float(keep[mine].sum())])
    return out


def confusion(
    said_NL: BoolArray, true_NL: FloatArray, episode_N: FloatArray, keep_NL: BoolArray
) -> dict[int, FloatArray]:
    """(hits, false alarms, misses) by episode."""
    out = {}
    for e in np.unique(episode_N):
        keep = keep_NL[episode_N == e] & np.isfinite(true_NL[episode_N == e])
        said, true = said_NL[episode_N == e][keep], true_NL[episode_N == e][keep] > 0.5
        out[int(e)] = np.array([(said & true).sum(), (said & ~true).sum(), (~said & true).sum()], np.float64)
    return out


def binned(
    chance_NL: FloatArray, true_NL: FloatArray, episode_N: FloatArray, keep_NL: BoolArray
) -> dict[int, FloatArray]:
    """Ten bins of (count, said, true) by episode."""
    out = {}
    for e in np.unique(episode_N):
        keep = keep_NL[episode_N == e] & np.isfinite(true_NL[episode_N == e])
        said, true = chance_NL[episode_N == e][keep], true_NL[episode_N == e][keep]
        sums = np.zeros((10, 3))
        np.add.at(sums, np.minimum((said * 10).astype(int), 9), np.stack([np.ones_like(said), said, true], axis=1))
        out[int(e)] = sums.ravel()
    return out
