"""Continuous margins without a distribution: a quantile bounded by an order statistic, and a limit's exceedance.

Clearance, force, time: prefer the exceedance, the probability of being beyond the site's limit, which is what the
envelope asks. The quantile says how far from the limit most runs stay. A scene that was excluded or not measured counts
as the worst value there is.

Sources: David and Nagaraja, Order Statistics (2003), section 7.1; Wilks, Ann. Math. Stat. 12 (1941).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from worldgate.core.errors import UsageError
from worldgate.evidence.exact import Number, outward, probability, ratio
from worldgate.evidence.scenes import Scenes
from worldgate.evidence.statistics import (
    binomial_upper,
    tail_at_least,
    tail_at_most,
    zero_failure_trials,
)

Side: TypeAlias = Literal["below", "above"]
"""Which side of a limit is bad: ``below`` for clearance, ``above`` for force and time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantileBound:
    """A bound of a quantile, or how many scenes it would take."""

    bound: str | None
    """``None``: too few scenes, or the value it would be was not measured."""
    without: str | None
    """The bound if excluded scenes had never been: told, never decided on."""
    rank: int
    """Rank from 1 of the value that bounds, ascending, excluded scenes at the bad end; 0 where there is none."""
    n: int
    excluded: int
    least: int
    """Scenes needed for any bound at this level."""


def quantile_lower(scenes: Scenes, q: Number, alpha: Number) -> QuantileBound:
    """Lower bound of a quantile where less is worse, as of clearance; excluded scenes lie below every value.

    The r-th smallest value, r the largest with P(Binomial(n, q) <= r - 1) <= alpha. Guarantee: for any distribution,
    with ties too, and a fixed number of independent scenes P(bound > q-quantile) <= alpha.

    Args:
        scenes: one value a scene, in the unit of the bound.
        q: which quantile, in (0, 1): 0.05 for "19 of 20 runs stay above".
        alpha: one-sided level.

    Raises:
        UsageError: q or alpha outside (0, 1).
    """
    share, level = probability(q, "q"), probability(alpha, "alpha")
    measured = sorted(scenes.measured)
    rank = lower_rank(scenes.n, share, level)
    alone = lower_rank(len(measured), share, level)
    at = rank - scenes.excluded
    return QuantileBound(
        bound=outward(measured[at - 1], "down") if at >= 1 else None,
        without=outward(measured[alone - 1], "down") if alone else None,
        rank=rank,
        n=scenes.n,
        excluded=scenes.excluded,
        least=zero_failure_trials(share, level),
    )


def quantile_upper(scenes: Scenes, q: Number, alpha: Number) -> QuantileBound:
    """Upper bound of a quantile where more is worse, as of force or time; excluded scenes lie above every value.

    The r-th smallest value, r the smallest with P(Binomial(n, q) >= r) <= alpha. Guarantee: for any distribution,
    with ties too, and a fixed number of independent scenes P(bound < q-quantile) <= alpha.

    Args:
        scenes: one value a scene, in the unit of the bound.
        q: which quantile, in (0, 1): 0.95 for "19 of 20 runs stay below".
        alpha: one-sided level.

    Raises:
        UsageError: q or alpha outside (0, 1).
    """
    share, level = probability(q, "q"), probability(alpha, "alpha")
    measured = sorted(scenes.measured)
    rank, alone = upper_rank(scenes.n, share, level), upper_rank(len(measured), share, level)
    return QuantileBound(
        bound=outward(measured[rank - 1], "up") if 1 <= rank <= len(measured) else None,
        without=outward(measured[alone - 1], "up") if alone else None,
        rank=rank,
        n=scenes.n,
        excluded=scenes.excluded,
        least=zero_failure_trials(1 - share, level),
    )


def lower_rank(n: int, q: Number, alpha: Number) -> int:
    """The rank of :func:`quantile_lower`'s value among n; 0 where n is too small."""
    share, level = probability(q, "q"), probability(alpha, "alpha")
    rank = 0
    while rank < n and tail_at_most(rank, n, share) <= level:
        rank += 1
    return rank


def upper_rank(n: int, q: Number, alpha: Number) -> int:
    """The rank of :func:`quantile_upper`'s value among n; 0 where n is too small."""
    share, level = probability(q, "q"), probability(alpha, "alpha")
    rank = n + 1
    while rank > 1 and tail_at_least(rank - 1, n, share) <= level:
        rank -= 1
    return rank if rank <= n else 0


def beyond(scenes: Scenes, limit: Number, side: Side) -> tuple[bool, ...]:
    """Whether each scene lies beyond a limit; one without a value does. In their order, so a sequential test may read.

    Args:
        scenes: one value a scene.
        limit: in the unit of the values; a value at the limit is not beyond it.
        side: which side is bad.

    Raises:
        UsageError: a limit that is not finite, or no such side.
    """
    edge = ratio(limit)
    if side not in ("below", "above"):
        raise UsageError("no such side of a limit", got=side, hint="below or above")
    return tuple(v is None or (v < edge if side == "below" else v > edge) for v in scenes.values)


def exceedance_upper(scenes: Scenes, limit: Number, alpha: Number, *, side: Side) -> str:
    """Upper bound of the probability that a run ends beyond a limit: Clopper-Pearson on the scenes beyond it.

    Guarantee: for any distribution and a fixed number of independent scenes P(bound < probability) <= alpha.

    Raises:
        UsageError: as :func:`beyond`, or alpha outside (0, 1).
    """
    found = beyond(scenes, limit, side)
    return binomial_upper(sum(found), len(found), alpha)
