"""Split-conformal thresholds: the alarm that a normal run rarely sets off, without knowing the scores' distribution.

Calibrate per site, with one score a scene or episode (its maximum: frames of a run depend on each other), on runs that
neither trained the score nor chose it.

Sources: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005), proposition 4.1; Lei et al., JASA
113 (2018), theorem 2.2; the coverage of one calibration is Beta distributed (Vovk, ACML 2012, proposition 2a).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from worldgate.core.errors import UsageError
from worldgate.evidence.exact import Number, outward, probability
from worldgate.evidence.scenes import Scenes
from worldgate.evidence.statistics import binomial_lower


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """An alarm sounds above ``value``."""

    value: str
    """In the unit of the scores."""
    rank: int
    """Rank from 1 of the calibration score that it is."""
    n: int
    covers: str
    """With 95 % confidence over calibrations, the share of normal runs at or below ``value`` is at least this."""


def least_scores(alpha: Number) -> int:
    """The fewest scores that can give a threshold at this level: 19 for 0.05, 99 for 0.01.

    The smallest n with ceil((n + 1)(1 - alpha)) <= n.

    Raises:
        UsageError: alpha outside (0, 1).
    """
    return math.ceil(1 / probability(alpha, "alpha")) - 1


def threshold(scores: Scenes, alpha: Number) -> Threshold:
    """The ceil((n + 1)(1 - alpha))-th smallest score; an excluded run counts as above every score.

    Guarantee: for runs exchangeable with those of the calibration, P(score of a new run > value) <= alpha, on average
    over calibrations; ``covers`` is what one calibration promises (exact, for independent runs and any distribution).

    Args:
        scores: one a scene, higher is stranger.
        alpha: share of normal runs that may set off the alarm.

    Raises:
        UsageError: too few scores that were measured, or alpha outside (0, 1).
    """
    level = probability(alpha, "alpha")
    rank = math.ceil((scores.n + 1) * (1 - level))
    measured = sorted(scores.measured)
    if rank > len(measured):
        raise UsageError(
            "too few scores for a threshold at this level",
            got=f"{len(measured)} of {scores.n} scenes measured",
            hint=f"{least_scores(level)} are needed at the least, or a larger alpha",
        )
    return Threshold(
        value=outward(measured[rank - 1], "up"),
        rank=rank,
        n=scores.n,
        covers=binomial_lower(rank, scores.n, "0.05"),
    )
