"""Estimates that simulation or a world model aids: reported, never gating alone.

What comes out is a :class:`ReportedOnly`, which is no number: it has no order, no arithmetic, no ``float()``, and its
text does not parse as one. So no check can hold it against a limit. There is a reason besides the rule. The interval of
a prediction-powered estimate is asymptotic: its lower bound at 95 % misses a third of the time at a true success of
0.95 and 20 real trials. A bound that holds at every number of scenes (:func:`block_bound`) gains nothing over the real
scenes alone until simulation agrees nearly perfectly.

Sources: Angelopoulos et al., Science 382 (2023); Angelopoulos, Duchi and Zrnic, arXiv:2311.01453 (the weight);
SureSim, arXiv:2510.04354 (blocks of simulations beside each pair); Waudby-Smith and Ramdas, JRSS B 86 (2024).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from worldgate.core.errors import UsageError
from worldgate.evidence.betting import PARTS
from worldgate.evidence.exact import Number, probability, shown
from worldgate.evidence.scenes import Scenes
from worldgate.evidence.statistics import binomial_lower, binomial_upper

Samples: TypeAlias = NDArray[np.float64]
_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""How much simulation may count in a block bound; each has a fifth of the money."""
_HALVINGS = 40


class ReportedOnly:
    """A figure for people. It cannot be compared, added or turned into a number, so nothing can decide on it."""

    __slots__ = ("_words",)

    def __init__(self, value: float) -> None:
        self._words = f"{shown(value)} (reported, not gating)"

    def __str__(self) -> str:
        return self._words

    def __repr__(self) -> str:
        return f"ReportedOnly({self._words!r})"

    def __bool__(self) -> bool:
        raise TypeError("a figure that is only reported decides nothing")

    def __eq__(self, other: object) -> bool:
        raise TypeError("a figure that is only reported is not compared")

    __hash__ = None  # type: ignore[assignment]  # as it has no equality


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aided:
    """A prediction-powered estimate of the real success probability, with its two-sided interval."""

    estimate: ReportedOnly
    lower: ReportedOnly
    upper: ReportedOnly
    weight: ReportedOnly
    """How much simulation counted: 0 not at all, 1 fully."""
    real: int
    """Scenes run for real."""
    simulated: int
    """Scenes run in simulation only."""


def prediction_powered(real: Scenes, predicted: Scenes, simulated: Scenes, alpha: Number) -> Aided:
    """Estimate of the mean success from few real scenes and many simulated ones.

    weight * mean(simulated) + mean(real - weight * predicted), the weight by least variance within [0, 1]; interval
    from the normal approximation. Guarantee: none at any number of scenes; coverage 1 - alpha as real scenes grow.

    Args:
        real: outcomes in [0, 1] of scenes that were run for real; excluded scenes count as 0.
        predicted: what simulation said of the same scenes, in the same order.
        simulated: what simulation said of other scenes of the same kind.
        alpha: two-sided level.

    Raises:
        UsageError: scenes that do not pair, scenes that stand on both sides, fewer than two, or values outside [0, 1].
    """
    level = float(probability(alpha, "alpha"))
    _paired(real, predicted)
    shared = set(real.names) & set(simulated.names)
    if shared:
        raise UsageError(
            "simulated scenes must be others than the paired ones", got=f"{len(shared)} stand on both sides"
        )
    if real.n < 2 or simulated.n < 2:
        raise UsageError("an estimate needs two scenes at the least", got=f"{real.n} real, {simulated.n} simulated")
    estimate, error, weight = powered(_array(real), _array(predicted), _array(simulated))
    half = NormalDist().inv_cdf(1 - level / 2) * float(error)
    return Aided(
        estimate=ReportedOnly(float(estimate)),
        lower=ReportedOnly(float(estimate) - half),
        upper=ReportedOnly(float(estimate) + half),
        weight=ReportedOnly(float(weight)),
        real=real.n,
        simulated=simulated.n,
    )


def powered(real_Rn: Samples, predicted_Rn: Samples, simulated_RN: Samples) -> tuple[Samples, Samples, Samples]:
    """(R,) estimates, standard errors and weights of R repetitions at once: for simulation studies of the method.

    Args:
        real_Rn: (..., n) real outcomes.
        predicted_Rn: (..., n) predictions of the same scenes.
        simulated_RN: (..., N) predictions of other scenes.
    """
    n, many = real_Rn.shape[-1], simulated_RN.shape[-1]
    spread = predicted_Rn.var(axis=-1, ddof=1)
    centred = predicted_Rn - predicted_Rn.mean(axis=-1, keepdims=True)
    together = (centred * (real_Rn - real_Rn.mean(axis=-1, keepdims=True))).sum(axis=-1) / (n - 1)
    raw = np.divide(together, (1 + n / many) * spread, out=np.zeros_like(spread), where=spread > 0)
    weight = np.clip(raw, 0.0, 1.0)
    rest = real_Rn - weight[..., None] * predicted_Rn
    estimate = weight * simulated_RN.mean(axis=-1) + rest.mean(axis=-1)
    variance = weight**2 * simulated_RN.var(axis=-1, ddof=1) / many + rest.var(axis=-1, ddof=1) / n
    return estimate, np.sqrt(variance), weight


def block_bound(real: Scenes, predicted: Scenes, simulated: Scenes, alpha: Number) -> ReportedOnly:
    """Lower bound of real success that simulation aids and that holds at every number of scenes.

    Each real scene brings a block of as many simulated ones as there are for all. w mean(block) + real - w predicted
    has the real mean whatever the weight w; five weights 0 ... 1 bet on it together. Guarantee: P(bound > mean) <=
    alpha if real scenes and simulated ones are drawn alike, whoever looks after whichever scene.

    Args:
        real: outcomes in [0, 1]; excluded scenes count as 0.
        predicted: what simulation said of the same scenes, in the same order.
        simulated: what simulation said of other scenes of the same kind, in the order in which they were drawn.
        alpha: one-sided level.

    Raises:
        UsageError: scenes that do not pair, fewer simulated than real ones, or values outside [0, 1].
    """
    level = float(probability(alpha, "alpha"))
    _paired(real, predicted)
    size = simulated.n // real.n if real.n else 0
    if size < 1:
        raise UsageError(
            "each real scene needs a simulated one of its own", got=f"{real.n} real, {simulated.n} simulated"
        )
    blocks = _array(simulated)[: size * real.n].reshape(real.n, size).mean(axis=1)
    found = block_bounds(_array(real)[None], _array(predicted)[None], blocks[None], level)
    return ReportedOnly(float(found[0]))


def block_bounds(real_Rn: Samples, predicted_Rn: Samples, blocks_Rn: Samples, alpha: float) -> Samples:
    """(R,) lower bounds of R repetitions at once, as :func:`block_bound`.

    Args:
        real_Rn: real outcomes.
        predicted_Rn: predictions of the same scenes.
        blocks_Rn: mean prediction of each scene's own block of other scenes.
        alpha: one-sided level.
    """
    low, high = np.zeros(len(real_Rn)), np.ones(len(real_Rn))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        refuted = _peak(real_Rn, predicted_Rn, blocks_Rn, middle) >= -np.log(alpha)
        low, high = np.where(refuted, middle, low), np.where(refuted, high, middle)
    return low


def _peak(real_Rn: Samples, predicted_Rn: Samples, blocks_Rn: Samples, mean_R: Samples) -> Samples:
    """(R,) logarithm of the most that bets against "the mean is at most so much" ever owned."""
    owned: Samples | None = None
    for weight in _WEIGHTS:
        value = weight * blocks_Rn + real_Rn - weight * predicted_Rn  # in [-weight, 1 + weight]
        scale, expected = 1 + 2 * weight, (mean_R + weight) / (1 + 2 * weight)
        unit = (value + weight) / scale
        for stake in range(1, PARTS):
            path = np.cumsum(np.log1p(stake / PARTS * (unit / np.maximum(expected, 1e-12)[:, None] - 1)), axis=1)
            owned = path if owned is None else np.logaddexp(owned, path)
    assert owned is not None
    return np.asarray(owned.max(axis=1) - np.log(len(_WEIGHTS) * (PARTS - 1)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Discounted:
    """Simulated success, discounted by how often simulation succeeds where the real run fails."""

    simulated_lower: str
    """Lower bound of success in simulation."""
    optimism_upper: str
    """Upper bound of P(simulation succeeds, the real run fails). It may block; it speaks against simulation."""
    optimistic: tuple[str, ...]
    """Scenes on which simulation was optimistic."""
    bound: ReportedOnly
    """Lower bound of real success: the first minus the second."""


def optimism_discounted(simulated: Scenes, real: Scenes, predicted: Scenes, alpha: Number) -> Discounted:
    """Lower bound of real success from simulated runs and paired real ones.

    p_real = p_sim - P(sim succeeds, real fails) + P(sim fails, real succeeds) >= lower bound of the first at 0.1 alpha
    minus upper bound of the second at 0.9 alpha. Guarantee: P(bound > p_real) <= alpha at fixed numbers of scenes, by
    the union bound, if both kinds of scenes are drawn alike. Rarely above the bound of the real runs alone.

    Args:
        simulated: successes (0 or 1) of simulated scenes; an excluded one counts as a failure.
        real: successes of scenes run for real; an excluded one counts as a failure.
        predicted: what simulation said of the same scenes; an excluded one counts as a success.
        alpha: one-sided level.

    Raises:
        UsageError: scenes that do not pair, values other than 0 and 1, or alpha outside (0, 1).
    """
    level = probability(alpha, "alpha")
    _paired(real, predicted)
    successes, ran, said = simulated.counted(0), real.counted(0), predicted.counted(1)
    if any(v not in (0, 1) for v in (*successes, *ran, *said)):
        raise UsageError("this bound needs successes and failures", got="a value other than 0 and 1")
    wrong = tuple(name for name, y, f in zip(real.names, ran, said, strict=True) if f > y)
    lower = binomial_lower(int(sum(successes)), len(successes), level / 10)
    upper = binomial_upper(len(wrong), real.n, level * Fraction(9, 10))
    return Discounted(
        simulated_lower=lower,
        optimism_upper=upper,
        optimistic=wrong,
        bound=ReportedOnly(float(Fraction(lower) - Fraction(upper))),
    )


def _paired(real: Scenes, predicted: Scenes) -> None:
    if real.names != predicted.names:
        raise UsageError(
            "real and predicted scenes must be the same, in the same order",
            got=f"{real.n} real, {predicted.n} predicted, {len(set(real.names) & set(predicted.names))} shared",
        )


def _array(scenes: Scenes) -> Samples:
    values = scenes.counted(0)
    if any(not 0 <= v <= 1 for v in values):
        raise UsageError("values must lie between 0 and 1", got=str(max(values)))
    return np.array([float(v) for v in values])
