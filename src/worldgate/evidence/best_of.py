"""The best of several candidates: the one place where a gate corrects for trying several things.

Checks that must all pass need no correction: to be promoted wrongly, a bad release has to pass the very check that it
fails (intersection-union). Picking the best of K is the other way round, as each candidate is one more chance. Holm's
step-down bounds the probability that any candidate below the bar is called good, whatever the dependence.

Sources: Holm, Scand. J. Statist. 6 (1979); Berger, Technometrics 24 (1982) for checks that must all pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from worldgate.core.errors import UsageError
from worldgate.evidence.exact import Number, outward, probability, ratio
from worldgate.evidence.scenes import Scenes
from worldgate.evidence.statistics import tail_at_least


def holm(p_values: Mapping[str, Number], alpha: Number) -> tuple[str, ...]:
    """The candidates whose hypotheses are rejected, smallest p-value first; equal ones by name.

    The i-th smallest of K p-values must be at most alpha / (K - i + 1); the first that is not ends the list. Guarantee:
    P(any true hypothesis is rejected) <= alpha, if each p-value is valid, whatever their dependence.

    Args:
        p_values: by candidate, each at a number of trials fixed beforehand, of every candidate that was tried.
        alpha: level over all of them.

    Raises:
        UsageError: no candidates, a p-value outside [0, 1] or NaN, or alpha outside (0, 1).
    """
    level = probability(alpha, "alpha")
    if not p_values:
        raise UsageError("no candidates to choose from", got="0 p-values")
    exact = {name: ratio(value) for name, value in p_values.items()}
    wrong = [name for name, value in exact.items() if not 0 <= value <= 1]
    if wrong:
        raise UsageError("a p-value must lie between 0 and 1", got=str(p_values[wrong[0]]), where=wrong[0])
    out: list[str] = []
    for name, value in sorted(exact.items(), key=lambda item: (item[1], item[0])):
        if value > level / (len(exact) - len(out)):
            break
        out.append(name)
    return tuple(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """Which candidates are shown to be good, and the best of them."""

    name: str | None
    """The shown candidate with the smallest p-value; ``None``: none is shown."""
    shown: tuple[str, ...]
    p_values: Mapping[str, str]
    """Of every candidate, rounded up."""


def best_of(candidates: Mapping[str, Scenes], p0: Number, alpha: Number) -> Best:
    """Candidates whose success probability exceeds p0, each from its own successes, excluded scenes as failures.

    Guarantee: P(any candidate with p <= p0 is shown) <= alpha, so the best may be picked after looking.

    Args:
        candidates: by name, every one that was tried: successes 0 or 1, one a scene, a fixed number of scenes.
        p0: the bar.
        alpha: level over all candidates.

    Raises:
        UsageError: no candidates, one without scenes, values other than 0 and 1, or a level outside (0, 1).
    """
    bar = probability(p0, "p0")
    found: dict[str, Fraction] = {}
    for name, scenes in candidates.items():
        values = scenes.counted(0)
        if not values or any(v not in (0, 1) for v in values):
            raise UsageError("a candidate needs successes and failures", got=f"{len(values)} scenes", where=name)
        found[name] = tail_at_least(int(sum(values)), len(values), bar)
    shown = holm(found, alpha)
    p_values = {name: outward(value, "up") for name, value in found.items()}
    return Best(name=shown[0] if shown else None, shown=shown, p_values=p_values)
