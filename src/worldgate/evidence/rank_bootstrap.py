"""Rank agreement from single runs, with intervals: what other policies on other starts would have given.

Two levels are redrawn. *Policies*: with replacement, for what is said of policies in general: correlations, rank
violation and bias. *Starts*: with replacement; the same draw serves every policy and both sides where runs are paired
by start, and each policy and side has its own where they are not. Regret and worst error are said of these very
policies, so that starts alone are redrawn for them.

A resample without any order (all rates of one side equal) counts as the worst for each bound. Rates are means of a few
runs, and resampling adds their noise a second time, so bounds of a correlation lie lower than they need, the more the
fewer starts; the level is widened for few units (Hesterberg's expanded percentile). Guarantee: asymptotic.

Measured share of lower 97.5 % bounds of Pearson's r above the correlation of true rates (2,000 draws of 16 policies
with normal imagined rates at r = 0.8, s.e. 0.3 points): see ``tests/evidence/test_rank_bootstrap.py``, which holds it
below 5 %.

Sources: Davison and Hinkley, Bootstrap Methods (1997), section 3.8 (several levels); Hesterberg, The American
Statistician 69 (2015); the figures themselves: :mod:`worldgate.evidence.ranking`.

Shape legend: K policies, N starts, B resamples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy import stats

from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.evidence import Status
from worldgate.core.streams import FloatArray, IntArray
from worldgate.evidence import ranking
from worldgate.evidence.bootstrap import RESAMPLES, draws, expanded_level
from worldgate.evidence.exact import Number, outward, probability, ratio

LEAST = 3
"""Policies below which nothing is said of an order."""
Runs = Mapping[str, Sequence[float]]
"""Policy -> outcome of each run: success 0/1, or a score."""
Level = Literal["policies and starts", "starts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure with its interval; each side one-sided at ``alpha``."""

    estimate: float
    lower: str
    upper: str
    redrawn: Level
    n: int
    """Units of the upper level: policies, or starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """What a world model's order of policies is worth."""

    policies: int
    starts: int
    """Fewest runs of a policy on a side."""
    paired: bool
    alpha: str
    favourite: tuple[str, ...]
    """The model's; several where it likes them equally."""
    best: tuple[str, ...]
    """Truly."""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    """``pearson``, ``spearman``, ``mmrv``, ``bias``, ``worst``, ``regret``; without the first three where ``why``."""
    why: str = ""
    """Why nothing is said of the order; empty: it was measured."""

    def status(self, bar: Number) -> Status:
        """Whether Pearson's correlation is shown to reach a bar, shown to lie below it, or neither."""
        found = self.figures.get("pearson")
        if found is None:
            return Status.INCONCLUSIVE
        if ratio(found.lower) >= ratio(bar):
            return Status.PASS
        return Status.FAIL if ratio(found.upper) < ratio(bar) else Status.INCONCLUSIVE


def ranked(*, real: Runs, imagined: Runs, paired: bool = True, alpha: Number = "0.025", seed: int = 0) -> Ranked:
    """Every figure of rank agreement with its interval.

    Args:
        real: policy -> outcomes in the true environment.
        imagined: policy -> outcomes in the world model.
        paired: whether run j of every policy, on both sides, began at start j.
        alpha: one-sided level of each bound.
        seed: of the resamples.

    Raises:
        UsageError: sides without the same policies, or none; alpha outside (0, 1).
        DataRefused: a policy without runs, outcomes that are not finite, or paired runs of unequal number.
    """
    level = float(probability(alpha, "alpha"))
    names, r, s = _sides(real, imagined, paired=paired)
    means = (np.array([v.mean() for v in side]) for side in (r, s))
    true_K, said_K = means
    exact = ({n: ratio(float(v)) for n, v in zip(names, side, strict=True)} for side in (true_K, said_K))
    rates, guesses = exact
    starts = min(len(v) for v in (*r, *s))
    why = _refused(true_K, said_K)
    true_BK, said_BK = _redrawn(r, s, paired=paired, seed=seed)
    found: dict[str, Figure] = {}

    def add(name: str, estimate: float, values_B: FloatArray, redrawn: Level) -> None:
        n = len(names) if redrawn == "policies and starts" else starts
        if n < 2:
            return
        rank = max(0, math.floor(expanded_level(n, level) * len(values_B)) - 1)
        low, high = (np.sort(np.where(np.isnan(values_B), worst, values_B)) for worst in (-1.0, 1.0))
        lower, upper = outward(float(low[rank]), "down"), outward(float(high[len(values_B) - 1 - rank]), "up")
        found[name] = Figure(estimate=estimate, lower=lower, upper=upper, redrawn=redrawn, n=n)

    pick_BK = draws(seed + 1, RESAMPLES * len(names), len(names)).reshape(RESAMPLES, len(names))
    true_of, said_of = (np.take_along_axis(side, pick_BK, axis=1) for side in (true_BK, said_BK))
    if not why:
        pearson, spearman = (f(real=rates, imagined=guesses) for f in (ranking.pearson, ranking.spearman))
        assert pearson is not None and spearman is not None
        add("pearson", pearson, _pearson(true_of, said_of), "policies and starts")
        ranks = (np.asarray(stats.rankdata(side, axis=1), np.float64) for side in (true_of, said_of))
        add("spearman", spearman, _pearson(*ranks), "policies and starts")
        violation = float(ranking.mmrv(real=rates, imagined=guesses))
        add("mmrv", violation, _mmrv(true_of, said_of), "policies and starts")
    add("bias", float(np.mean(said_K - true_K)), (said_of - true_of).mean(axis=1), "policies and starts")
    add("worst", float(np.abs(said_K - true_K).max()), np.abs(said_BK - true_BK).max(axis=1), "starts")
    add("regret", float(ranking.regret(real=rates, imagined=guesses)), _regret(true_BK, said_BK), "starts")
    return Ranked(
        policies=len(names),
        starts=starts,
        paired=paired,
        alpha=str(alpha),
        favourite=tuple(n for n, v in zip(names, said_K, strict=True) if v == said_K.max()),
        best=tuple(n for n, v in zip(names, true_K, strict=True) if v == true_K.max()),
        figures=found,
        why=why,
    )


def _sides(real: Runs, imagined: Runs, *, paired: bool) -> tuple[list[str], list[FloatArray], list[FloatArray]]:
    if set(real) != set(imagined) or not real:
        shared = len(set(real) & set(imagined))
        got = f"{len(real)} real, {len(imagined)} imagined, {shared} shared"
        raise UsageError("both sides must have the same policies", got=got)
    names = sorted(real)
    r: list[FloatArray] = [np.asarray(real[n], np.float64) for n in names]
    s: list[FloatArray] = [np.asarray(imagined[n], np.float64) for n in names]
    for name, *both in zip(names, r, s, strict=True):
        if any(v.ndim != 1 or not len(v) or not np.isfinite(v).all() for v in both):
            raise DataRefused("a policy needs runs with finite outcomes on both sides", got=name)
    lengths = {len(v) for v in (*r, *s)}
    if paired and len(lengths) > 1:
        hint = "leave starts out that some policy lacks, or say paired=False"
        raise DataRefused("paired runs begin at the same starts", got=f"{sorted(lengths)} runs", hint=hint)
    return names, r, s


def _refused(true_K: FloatArray, said_K: FloatArray) -> str:
    if len(true_K) < LEAST:
        return f"{len(true_K)} policies have no order worth a figure: at least {LEAST}"
    for side, values in (("in the true environment", true_K), ("in the world model", said_K)):
        if np.ptp(values) == 0:
            return f"all policies do equally well {side} ({values[0]:g}), so there is no order"
    return ""


def _redrawn(
    r: Sequence[FloatArray], s: Sequence[FloatArray], *, paired: bool, seed: int
) -> tuple[FloatArray, FloatArray]:
    """(B, K) means over redrawn starts, of both sides."""
    if paired:
        counts_BN, n = _counts(seed + 2, len(r[0])), len(r[0])
        return counts_BN @ np.stack(r).T / n, counts_BN @ np.stack(s).T / n
    sides = []
    for turn, side in enumerate((r, s)):
        columns = [_counts(seed + 2 + 2 * k + turn, len(v)) @ v / len(v) for k, v in enumerate(side)]
        sides.append(np.stack(columns, axis=1))
    return sides[0], sides[1]


def _counts(seed: int, n: int) -> IntArray:
    """(B, N) how often each start was drawn."""
    picked = draws(seed, RESAMPLES * n, n).reshape(RESAMPLES, n) + np.arange(RESAMPLES)[:, None] * n
    return np.bincount(picked.ravel(), minlength=RESAMPLES * n).reshape(RESAMPLES, n)


def _pearson(x_BK: FloatArray, y_BK: FloatArray) -> FloatArray:
    """(B,) correlations; NaN where one side is constant."""
    x, y = (side - side.mean(axis=1, keepdims=True) for side in (x_BK, y_BK))
    below = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    flat = (np.ptp(x_BK, axis=1) == 0) | (np.ptp(y_BK, axis=1) == 0)
    return np.where(flat, np.nan, (x * y).sum(axis=1) / np.where(flat, 1.0, below))


def _mmrv(true_BK: FloatArray, said_BK: FloatArray) -> FloatArray:
    """(B,) mean maximum rank violations, one policy's row after the other to save memory."""
    worst = []
    for k in range(true_BK.shape[1]):
        wrong = (said_BK[:, [k]] > said_BK) != (true_BK[:, [k]] > true_BK)
        worst.append((np.abs(true_BK[:, [k]] - true_BK) * wrong).max(axis=1))
    return np.asarray(np.mean(worst, axis=0))


def _regret(true_BK: FloatArray, said_BK: FloatArray) -> FloatArray:
    """(B,) of choosing the model's favourite by redrawn starts."""
    liked = said_BK == said_BK.max(axis=1, keepdims=True)
    return np.asarray(true_BK.max(axis=1) - (true_BK * liked).sum(axis=1) / liked.sum(axis=1))
