"""New against old on the same scenes: is the new one better, or not worse by more than a margin? Ask after every pair.

A pair gives d = new - old, in {-1, 0, 1}. To show
p_new - p_old > -margin, w = (d + 1) / 2 is bet against the mean (1 - margin) / 2 (see ``betting``). A margin of 0 asks
for better, above 0 for not worse by more. Pairs are the unit, so an easy scene helps neither side. A scene's value must
stand once it was looked at, so of a scene run again the first pair counts, or the repeat is refused: nothing between.

An excluded run counts against the new: as a failure of the new, as a success of the old.

Sources: Waudby-Smith and Ramdas, JRSS B 86 (2024); Ville 1939; McNemar, Psychometrika 12 (1947) for the fixed test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from worldgate.core.errors import UsageError
from worldgate.evidence.betting import anytime_lower, final_wealth, first_crossing
from worldgate.evidence.exact import Number, outward, probability, ratio
from worldgate.evidence.scenes import one_per_scene
from worldgate.evidence.sequential import Step
from worldgate.evidence.statistics import binomial_lower, binomial_upper, tail_at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One scene run by both releases, in an order that neither knew."""

    scene: str
    new: bool | None
    """Success of the new release; ``None``: its run was excluded."""
    old: bool | None

    @property
    def difference(self) -> int:
        """New minus old, with what was excluded counted against the new."""
        return int(self.new is True) - int(self.old is not False)

    @property
    def excluded(self) -> bool:
        """Whether either run was."""
        return self.new is None or self.old is None

    @property
    def unit(self) -> Fraction:
        """The difference brought into [0, 1]."""
        return Fraction(self.difference + 1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedPlan:
    """A pre-registered test of H0: p_new - p_old <= -margin."""

    margin: Fraction
    """How much worse is still accepted; 0: the new must be better."""
    alpha: Fraction
    most: int
    """The most pairs that will be run."""

    @classmethod
    def make(cls, *, margin: Number, alpha: Number, most: int) -> PairedPlan:
        """Read a plan as people write it.

        Raises:
            UsageError: a margin outside [0, 1), alpha outside (0, 1), or no pairs.
        """
        accepted = ratio(margin)
        if not 0 <= accepted < 1:
            raise UsageError("a margin must be at least 0 and below 1", got=str(margin), hint='"0.05" is 5 points')
        if most < 1:
            raise UsageError("a plan needs at least one pair", got=most)
        return cls(margin=accepted, alpha=probability(alpha, "alpha"), most=most)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedResult:
    """Where a comparison stands after the pairs so far."""

    step: Step
    """``CROSSED``: shown; ``FUTILE``: no longer reachable, or the opposite is shown at the same level."""
    pairs: int
    """Pairs that the answer rests on: up to the crossing, or all so far."""
    wins: int
    """Of these, scenes on which the new was better."""
    losses: int
    excluded: int
    evidence: str
    """Wealth against the hypothesis at that point, rounded down; 1 / alpha crosses."""
    lower: str
    """Lower bound of p_new - p_old at level alpha, valid whenever it is read."""
    lower_without: str
    """The same without the pairs that were excluded: told, never decided on."""


def follow_pairs(
    plan: PairedPlan, pairs: Sequence[Pair], *, rule: Literal["refuse", "first"] = "refuse"
) -> PairedResult:
    """Apply a plan to pairs in the order in which they were run.

    Guarantee: if p_new - p_old <= -margin, P(ever crossed) <= alpha, whoever looks whenever. A crossing stands.

    Args:
        plan: margin, level and the most pairs; pairs beyond it are not read.
        pairs: one a scene.
        rule: what becomes of a scene that ran again: refused, or its first pair counts.

    Raises:
        UsageError: a scene that repeats under ``refuse``, or another rule.
    """
    if rule not in ("refuse", "first"):
        raise UsageError("a value that was looked at may not change", got=rule, hint="refuse or first")
    names = one_per_scene([(pair.scene, pair.difference) for pair in pairs], rule=rule).names
    firsts = {pair.scene: pair for pair in reversed(pairs)}
    read = [firsts[name] for name in names][: plan.most]
    values, hypothesis = [pair.unit for pair in read], (1 - plan.margin) / 2
    crossed = first_crossing(values, hypothesis, plan.alpha)
    step = _open(plan, values, hypothesis) if crossed is None else Step.CROSSED
    used = read[:crossed]
    kept = [pair.unit for pair in used if not pair.excluded]
    return PairedResult(
        step=step,
        pairs=len(used),
        wins=sum(pair.difference > 0 for pair in used),
        losses=sum(pair.difference < 0 for pair in used),
        excluded=len(used) - len(kept),
        evidence=outward(final_wealth(values[:crossed], hypothesis), "down"),
        lower=_as_difference(anytime_lower(values[:crossed], plan.alpha)),
        lower_without=_as_difference(anytime_lower(kept, plan.alpha)),
    )


def _open(plan: PairedPlan, values: Sequence[Fraction], hypothesis: Fraction) -> Step:
    """What to do where nothing is shown yet."""
    left = plan.most - len(values)
    if left == 0:
        return Step.EXHAUSTED
    reachable = first_crossing([*values, *[Fraction(1)] * left], hypothesis, plan.alpha) is not None
    opposite = first_crossing([1 - w for w in values], 1 - hypothesis, plan.alpha) is not None
    return Step.CONTINUE if reachable and not opposite else Step.FUTILE


def _as_difference(bound: str) -> str:
    return outward(2 * Fraction(bound) - 1, "down")


def better_p(wins: int, losses: int) -> Fraction:
    """McNemar's exact one-sided p-value that the new is better, at a number of pairs fixed beforehand.

    P(X >= wins), X ~ Binomial(wins + losses, 1/2). Guarantee: exact given the discordant pairs; not for peeking.

    Raises:
        UsageError: negative counts.
    """
    if wins < 0 or losses < 0:
        raise UsageError("counts must not be negative", got=f"{wins} wins, {losses} losses")
    return tail_at_least(wins, wins + losses, Fraction(1, 2))


def difference_lower_fixed(wins: int, losses: int, pairs: int, alpha: Number) -> str:
    """Lower bound of p_new - p_old at a number of pairs fixed beforehand: what the anytime bound is compared with.

    Lower bound of P(only the new succeeds) at 0.3 alpha, minus upper bound of P(only the old succeeds) at 0.7 alpha
    (both Clopper-Pearson). Guarantee: P(bound > p_new - p_old) <= alpha by the union bound.

    Raises:
        UsageError: counts that do not fit, or alpha outside (0, 1).
    """
    if wins + losses > pairs:
        raise UsageError("more discordant pairs than pairs", got=f"{wins} + {losses} of {pairs}")
    level = probability(alpha, "alpha")
    gained = Fraction(binomial_lower(wins, pairs, level * Fraction(3, 10)))
    return outward(gained - Fraction(binomial_upper(losses, pairs, level * Fraction(7, 10))), "down")
