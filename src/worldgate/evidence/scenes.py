"""One value a scene: what every bound here counts as independent, and how repeats and exclusions become that.

Two runs of one scene are not two trials: with ten runs each of ten scenes and an intra-scene correlation of 0.3, an
exact binomial bound of 95 % misses one time in five. So repeats are refused, unless a rule is stated that makes one
value of them. A run that was excluded counts against the claim (intention to test); what the figure would be without
it is told beside, never instead.

Sources: Kress-Gazit et al., arXiv:2409.09491 (scenes, exclusions); Fisher et al. 1990 (intention to treat).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias, get_args

from worldgate.core.errors import UsageError
from worldgate.evidence.exact import Number, ratio
from worldgate.evidence.statistics import binomial_lower, mean_lower

Rule: TypeAlias = Literal["refuse", "first", "least", "largest", "mean"]
"""What several runs of one scene become. ``first``: its first run; ``least``: its worst where more is better (of
successes: all succeeded); ``largest``: its worst where less is better; ``mean``: of successes, their share."""

Value: TypeAlias = Fraction | None
"""A scene's value; ``None`` where the scene was excluded or not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenes:
    """Values by scene, each scene once, in the order in which scenes first ran.

    Raises:
        UsageError: a scene that stands twice, however the object is made.
    """

    names: tuple[str, ...]
    values: tuple[Value, ...]
    rule: Rule = "refuse"
    runs: int
    """Runs behind the values."""

    def __post_init__(self) -> None:
        assert len(self.names) == len(self.values) <= self.runs
        _refuse_repeats(self.names)

    @property
    def n(self) -> int:
        """Scenes: the sample size."""
        return len(self.names)

    @property
    def excluded(self) -> int:
        """Scenes without a value."""
        return sum(value is None for value in self.values)

    @property
    def measured(self) -> tuple[Fraction, ...]:
        """Values without the excluded scenes: for what is told beside a bound."""
        return tuple(value for value in self.values if value is not None)

    def counted(self, worst: Number) -> tuple[Fraction, ...]:
        """Values with ``worst`` in place of every excluded scene: for the bound itself."""
        stand_in = ratio(worst)
        return tuple(stand_in if value is None else value for value in self.values)


def one_per_scene(runs: Iterable[tuple[str, Number | None]], *, rule: Rule = "refuse") -> Scenes:
    """Make one value of each scene.

    Guarantee: whatever the rule, a scene counts once, so values are independent if scenes were drawn so, however much
    the runs of a scene depend on each other. A scene counts as excluded if the run that the rule takes was excluded,
    or, of ``least``, ``largest`` and ``mean``, any of its runs.

    Args:
        runs: (scene, value) in the order in which they were run; ``None`` where the run was excluded.
        rule: what repeats become; it belongs into the plan, as choosing it afterwards is choosing the result.

    Raises:
        UsageError: a scene that repeats under ``refuse``, an unknown rule, a scene without a name, NaN or infinity.
    """
    if rule not in get_args(Rule):
        raise UsageError("no such rule for repeats", got=rule, hint=", ".join(get_args(Rule)))
    groups: dict[str, list[Value]] = {}
    count = 0
    for name, value in runs:
        if not name:
            raise UsageError("a run needs its scene", got=f"run {count}", hint="the scene is the unit of a bound")
        groups.setdefault(name, []).append(None if value is None else ratio(value))
        count += 1
    if rule == "refuse":
        _refuse_repeats([name for name, values in groups.items() for _ in values])
    values = tuple(_one(values, rule) for values in groups.values())
    return Scenes(names=tuple(groups), values=values, rule=rule, runs=count)


def _one(values: Sequence[Value], rule: Rule) -> Value:
    if rule == "first":
        return values[0]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    if rule == "mean":
        return sum(known, Fraction(0)) / len(known)
    return max(known) if rule == "largest" else min(known)


def _refuse_repeats(names: Sequence[str]) -> None:
    twice = {name: count for name, count in Counter(names).items() if count > 1}
    if twice:
        first, count = next(iter(twice.items()))
        raise UsageError(
            "runs of one scene are not independent trials",
            got=f"{len(twice)} of {len(set(names))} scenes repeat, {ascii(first)[:80]} {count} times",
            hint="run each scene once, or state in the plan what repeats become: first, least, largest or mean",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BothWays:
    """A lower bound of success, with exclusions as failures, and beside it without them."""

    lower: str
    """The bound that counts: an excluded scene is a failure."""
    estimate: Fraction
    n: int
    """Scenes."""
    excluded: int
    lower_without: str
    """Told, never decided on: whoever may exclude failures may have any value of this."""
    estimate_without: Fraction


def success_lower(scenes: Scenes, alpha: Number) -> BothWays:
    """Lower bound of the success probability over scenes, exclusions counted as failures and reported both ways.

    Guarantee: for a fixed number of scenes drawn independently, P(lower > mean success over scenes) <= alpha, whatever
    the dependence inside a scene and whatever is excluded. Of successes and failures the bound is Clopper-Pearson's, of
    shares Chernoff-Hoeffding's. The rule decides which, never the values, lest an exclusion choose the sharper one.

    Args:
        scenes: values 0 or 1, or with the rule ``mean`` shares between; ``None`` where excluded.
        alpha: one-sided level.

    Raises:
        UsageError: a value that is no success, failure or share, or alpha outside (0, 1).
    """
    counted, without = scenes.counted(0), scenes.measured
    return BothWays(
        lower=_bounded(counted, scenes.rule, alpha),
        estimate=_mean(counted),
        n=scenes.n,
        excluded=scenes.excluded,
        lower_without=_bounded(without, scenes.rule, alpha),
        estimate_without=_mean(without),
    )


def _mean(values: Sequence[Fraction]) -> Fraction:
    return sum(values, Fraction(0)) / len(values) if values else Fraction(0)


def _bounded(values: Sequence[Fraction], rule: Rule, alpha: Number) -> str:
    if rule == "mean":
        return mean_lower(values, alpha)
    if any(value not in (0, 1) for value in values):
        raise UsageError("a success is 1 and a failure 0", got=str(max(values)), hint="shares need the rule mean")
    return binomial_lower(int(sum(values)), len(values), alpha)
