"""Every gate statistic at its null, with clusters, exclusions and users who peek: how often is something bad passed?

``.venv/bin/python benchmarks/gate_honesty.py [--quick] [--json]``; a whole run is kept. False promotion may be at most
alpha plus three standard errors of the simulation. Beside it stands what people do instead, in the same run: an
unadjusted test at every look, repeats counted as trials, failures excluded, the best of several uncorrected. Power and
trials are held against exact tests with a fixed number. ``earlier`` is the figure of an independent simulation that
this one must reproduce. Bounds come from the library as tables by count; paths of wealth are vectorised here and held
equal to the library's on a sample. numpy ``default_rng``, seeded by row.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from worldgate.core import seams
from worldgate.core.evidence import CheckResult, Trial, Verdict
from worldgate.core.streams import Origin
from worldgate.evidence import betting, bootstrap, paired, planned, quantiles, sequential, statistics
from worldgate.evidence.aided import block_bounds, powered
from worldgate.evidence.best_of import holm
from worldgate.evidence.conformal import threshold
from worldgate.evidence.decide import judge
from worldgate.evidence.gate_evidence import GateEvidence
from worldgate.evidence.plans import EvalPlan
from worldgate.evidence.plans import Row as PlanRow
from worldgate.evidence.scenes import one_per_scene
from worldgate.evidence.trials import RecordedTrial

Array: TypeAlias = NDArray[Any]
Row: TypeAlias = dict[str, Any]
ALPHA = 0.05
LEVEL = "0.05"
RESULT = Path(__file__).parent / "results" / "gate_honesty.json"
BLOCK = 5000
"""Paths simulated at a time, so that memory stays small."""


def row(what: str, value: float, *, earlier: str = "", bar: float | None = None) -> Row:
    """One line; the value may be at most the bar."""
    ok = None if bar is None else bool(value <= bar)
    peer = "earlier figure" if earlier else None
    found = {"what": what, "value": round(float(value), 4), "unit": "1", "peer": peer, "peer_value": earlier or None}
    return {**found, "ratio": None, "bar": None if bar is None else round(bar, 4), "ok": ok}


def honest(what: str, wrong: Array, *, earlier: str = "", alpha: float = ALPHA) -> Row:
    """A rate of false promotion (or of a bound that misses) and its ceiling."""
    ceiling = alpha + 3 * (alpha * (1 - alpha) / wrong.size) ** 0.5
    return row(what, float(wrong.mean()), earlier=earlier, bar=ceiling)


def told(what: str, wrong: Array, *, earlier: str = "") -> Row:
    """A rate that nobody promises: what people do instead."""
    return row(f"  instead: {what}", float(wrong.mean()), earlier=earlier)


def table(bound: Callable[[int], str], n: int) -> Array:
    """A bound for every count from 0 to n."""
    return np.array([float(bound(k)) for k in range(n + 1)])


def rows_fixed(runs: int) -> Iterator[Row]:
    """Binomial, Poisson and mean bounds at a fixed number of trials."""
    rng = np.random.default_rng(1)
    for n, p in ((20, 0.85), (60, 0.8), (60, 0.95), (300, 0.99)):
        k = rng.binomial(n, p, runs)
        lower = table(lambda k, n=n: statistics.binomial_lower(k, n, LEVEL), n)
        upper = table(lambda k, n=n: statistics.binomial_upper(k, n, LEVEL), n)
        yield honest(f"binomial lower bound above the truth, {n} trials, p {p}", lower[k] > p)
        yield honest(f"binomial upper bound below the truth, {n} trials, p {1 - p:.2f}", upper[n - k] < 1 - p)
    for rate in (0.5, 3.0, 12.0):
        c = rng.poisson(rate, runs)
        lower = table(lambda k: statistics.poisson_lower(k, 1, LEVEL), int(c.max()))
        upper = table(lambda k: statistics.poisson_upper(k, 1, LEVEL), int(c.max()))
        yield honest(f"Poisson upper bound below the truth, {rate:g} events expected", upper[c] < rate)
        yield honest(f"Poisson lower bound above the truth, {rate:g} events expected", lower[c] > rate)
    hours = statistics.poisson_upper(0, 1, LEVEL)
    yield row("zero events: upper bound of the rate times the exposure", float(hours), earlier="2.996")
    clean = statistics.zero_failure_trials(LEVEL, LEVEL)
    yield row("zero failures: trials for a failure probability of 5 %", clean, earlier="59")
    for k, n, earlier in ((20, 20, "0.861"), (50, 50, "0.942"), (49, 50, "0.909")):
        yield row(f"lower bound of {k} of {n}", float(statistics.binomial_lower(k, n, LEVEL)), earlier=earlier)


def walk(p: float, runs: int, last: int, rng: np.random.Generator) -> Array:
    """(runs, last) successes after each trial."""
    return np.cumsum(rng.random((runs, last), dtype=np.float32) < p, axis=1, dtype=np.int16)


def crossed_at(plan: sequential.SequentialPlan, sums: Array) -> Array:
    """Trials at the first crossing of each run; 0: none. Looking between the looks changes nothing."""
    out = np.zeros(len(sums), int)
    for look, boundary in reversed(list(zip(plan.looks, plan.boundaries, strict=True))):
        if boundary is not None:
            out[sums[:, look - 1] >= boundary] = look
    return out


def rows_sequential(runs: int) -> Iterator[Row]:
    """The alpha-spending test: users who look after every trial, and what it saves."""
    rng = np.random.default_rng(2)
    for p0, last, rho in (("0.80", 100, 1), ("0.90", 100, 1), ("0.90", 200, 3)):
        plan = sequential.SequentialPlan.make(p0=p0, alpha=LEVEL, looks=range(10, last + 1, 10), rho=rho)
        at = crossed_at(plan, walk(float(p0), runs, last, rng))
        name = f"sequential success passes at p = p0 = {p0}, N {last}, rho {rho}, looks at will"
        yield honest(name, at > 0, earlier="0.046-0.048" if rho == 1 else "")
    n = np.arange(1, 201)
    sums = np.concatenate([walk(0.5, min(runs, BLOCK), 200, rng) for _ in range(max(1, runs // BLOCK // 2))])
    hot = (sums - 0.5 * n) / np.sqrt(0.25 * n) > stats.norm.ppf(1 - ALPHA)
    tens = hot[:, 9::10]
    for last, each, tenth in ((50, "0.24", "0.14"), (100, "0.32", "0.20"), (200, "0.35", "0.26")):
        yield told(f"unadjusted z-test after every trial, N {last}, p0 0.5", hot[:, :last].any(1), earlier=each)
        some = tens[:, : last // 10].any(1)
        yield told(f"unadjusted z-test after every tenth, N {last}, p0 0.5", some, earlier=tenth)
    yield from rows_saved(runs, rng)


def rows_saved(runs: int, rng: np.random.Generator) -> Iterator[Row]:
    """Power and mean trials against fixed numbers; coverage of the bound after a crossing."""
    cases = (("0.80", 0.95, 100, "0.999", "40"), ("0.90", 0.98, 100, "0.959", "58"), ("0.90", 0.98, 200, "", "73"))
    for p0, p, last, power, mean in cases:
        plan = sequential.SequentialPlan.make(p0=p0, alpha=LEVEL, looks=range(10, last + 1, 10))
        at = crossed_at(plan, walk(p, runs, last, rng))
        spent, name = np.where(at > 0, at, last).mean(), f"p0 {p0}, p {p}, N {last}"
        yield row(f"sequential power, {name}", (at > 0).mean(), earlier=power)
        yield row(f"sequential mean trials, {name}", spent, earlier=mean)
        share = 0.6 if p0 == "0.80" else None
        yield row(f"  trials as a share of {last}, fixed", spent / last, bar=share)
        same = sequential.fixed_trials(plan, p, power=sequential.operating(plan, p).power)
        yield row(f"  trials as a share of {same}, the exact fixed test of the same power", spent / (same or np.nan))
    plan = sequential.SequentialPlan.make(p0="0.80", alpha=LEVEL, looks=range(10, 101, 10))
    for p in (0.82, 0.9, 0.97):
        sums = walk(p, runs, 100, rng)
        at = crossed_at(plan, sums)
        missed = np.zeros(runs, bool)
        for index, (look, boundary) in enumerate(zip(plan.looks, plan.boundaries, strict=True)):
            for k in range(look + 1 if boundary is None else boundary, look + 1):
                here = (at == look) & (sums[:, look - 1] == k)
                if here.any():
                    missed |= here & (stagewise(plan, look, k, index) > p)
        yield honest(f"bound after a crossing above the truth, p0 0.80, p {p}", missed)


def stagewise(plan: sequential.SequentialPlan, look: int, successes: int, index: int) -> float:
    """The library's bound after a crossing with so many successes."""
    crossed = sequential.Step.CROSSED
    result = sequential.SequentialResult(
        step=crossed, trials=look, successes=successes, look=index, next_look=None, needed=None
    )
    return float(sequential.stagewise_lower(plan, result))


def wealth_paths(values: Array, mean: float) -> Array:
    """(runs, n) logarithm of the wealth after each value, as :func:`betting.wealth` in floating point."""
    total: Array | None = None
    for j in range(1, betting.PARTS):
        path = np.cumsum(np.log1p(j / betting.PARTS * (values / mean - 1)), axis=1)
        total = path if total is None else np.logaddexp(total, path)
    assert total is not None
    return total - np.log(betting.PARTS - 1)


def crossings(draw: Callable[[int], Array], mean: float, runs: int) -> Array:
    """After how many values each run first refuted the mean; 0: never. The first fifty are held to the library."""
    out, done = [], 0
    while done < runs:
        values = draw(min(BLOCK, runs - done))
        hit = wealth_paths(values, mean) >= np.log(1 / ALPHA)
        out.append(np.where(hit.any(1), hit.argmax(1) + 1, 0))
        done += len(values)
        if len(out) == 1:
            for path, at in zip(values[:50], out[0][:50], strict=True):
                exact = [Fraction(float(v)) for v in path]
                found = betting.first_crossing(exact, Fraction(str(mean)), LEVEL)
                assert (found or 0) == at, "the benchmark and the library disagree"
    return np.concatenate(out)


def differences(rng: np.random.Generator, n: int, won: float, lost: float) -> Callable[[int], Array]:
    """Pairs as values in [0, 1]: 1 where only the new succeeds, 0 where only the old does."""

    def draw(runs: int) -> Array:
        u = rng.random((runs, n))
        return np.where(u < won, 1.0, np.where(u < won + lost, 0.0, 0.5))

    return draw


def rows_paired(runs: int) -> Iterator[Row]:
    """New against old, users who look after every pair."""
    rng = np.random.default_rng(3)
    for discordant in (0.1, 0.3, 0.6):
        at = crossings(differences(rng, 200, discordant / 2, discordant / 2), 0.5, runs)
        name = f"called better, equal releases, {discordant:.0%} discordant, 200 pairs"
        yield honest(name, at > 0, earlier="0.001-0.021")
    u = rng.random((runs // 4, 200))
    step = np.where(u < 0.15, 1, np.where(u < 0.3, -1, 0))
    wins, pairs = np.cumsum(step > 0, axis=1), np.cumsum(step != 0, axis=1)
    peeked = (stats.binom.sf(wins - 1, pairs, 0.5) <= ALPHA).any(1)
    yield told("unadjusted McNemar after every pair, 30% discordant", peeked)
    at = crossings(differences(rng, 100, 0.25, 0.05), 0.5, runs)
    yield row("called better, +20 points, 30% discordant, by 100 pairs", (at > 0).mean(), earlier="0.90")
    yield row("  median pairs until then", float(np.median(at[at > 0])), earlier="38")
    wins, lost = rng.multinomial(100, (0.25, 0.05, 0.70), runs).T[:2]
    fixed = np.array([[float(paired.better_p(a, b)) for b in range(31)] for a in range(61)])
    shown = fixed[np.minimum(wins, 60), np.minimum(lost, 30)] <= ALPHA
    yield row("  power of exact McNemar at 100 pairs, fixed", shown.mean())
    for margin, discordant in ((0.05, 0.04), (0.05, 0.3), (0.1, 0.1)):
        won = max(0.0, (discordant - margin) / 2)
        at = crossings(differences(rng, 400, won, won + margin), (1 - margin) / 2, runs // 2)
        name = f"called not worse by {margin:g}, worse by as much, {won:.1%} won, 400 pairs"
        yield honest(name, at > 0, earlier="0.021-0.030")
    for margin, n, power, median in ((0.05, 200, "0.73", ""), (0.05, 400, "0.98", "124-143"), (0.10, 200, "", "62")):
        at = crossings(differences(rng, n, 0.02, 0.02), (1 - margin) / 2, runs // 2)
        yield row(f"called not worse by {margin:g}, equal, 4% discordant, by {n} pairs", (at > 0).mean(), earlier=power)
        yield row("  median pairs until then", float(np.median(at[at > 0])), earlier=median)
    shares = crossings(lambda r: rng.binomial(4, rng.beta(3.2, 0.8, (r, 100))) / 4, 0.8, runs // 2)
    yield honest("anytime bound of a mean of shares ever above the truth, 100 scenes of 4 runs", shares > 0)


def rows_clusters(runs: int) -> Iterator[Row]:
    """Scenes with several runs, and failures that somebody leaves out."""
    rng = np.random.default_rng(5)
    p = 0.8
    cases = ((10, 10, 0.1, "0.12"), (10, 10, 0.3, "0.21"), (5, 20, 0.3, "0.30"), (40, 5, 0.3, ""))
    for scenes, repeats, icc, earlier in cases:
        share = rng.beta(p * (1 / icc - 1), (1 - p) * (1 / icc - 1), (runs, scenes))
        wins = rng.binomial(repeats, share).sum(axis=1)
        n, name = scenes * repeats, f"{scenes} scenes x {repeats} runs, ICC {icc}"
        first = (rng.random((runs, scenes)) < share).sum(axis=1)
        single = table(lambda k, n=scenes: statistics.binomial_lower(k, n, LEVEL), scenes)
        yield honest(f"bound by first run above the truth, {name}", single[first] > p)
        mean = table(lambda k, s=scenes, r=repeats: statistics.mean_lower([Fraction(k, r * s)] * s, LEVEL), n)
        yield honest(f"bound by mean of shares above the truth, {name}", mean[wins] > p)
        pooled = table(lambda k, n=n: statistics.binomial_lower(k, n, LEVEL), n)
        yield told(f"repeats counted as trials, {name}", pooled[wins] > p, earlier=earlier)
    wins = rng.binomial(60, p, runs)
    kept = 60 - rng.binomial(60 - wins, 0.5)
    counted = table(lambda k: statistics.binomial_lower(k, 60, LEVEL), 60)
    yield honest("half of the failures excluded, counted as failures, 60 scenes", counted[wins] > p)
    cells = {(int(k), int(n)) for k, n in zip(wins, kept, strict=True)}
    without = {cell: float(statistics.binomial_lower(*cell, LEVEL)) > p for cell in cells}
    missed = np.array([without[int(k), int(n)] for k, n in zip(wins, kept, strict=True)])
    yield told("half of the failures excluded and left out", missed)


def rows_continuous(runs: int) -> Iterator[Row]:
    """Quantiles and exceedances, whatever the distribution; conformal thresholds."""
    rng = np.random.default_rng(6)
    kinds: dict[str, tuple[Callable[[tuple[int, int]], Array], Any]] = {
        "lognormal": (lambda s: rng.lognormal(0, 1, s), stats.lognorm(1)),
        "whole numbers": (lambda s: rng.poisson(2.3, s).astype(float), stats.poisson(2.3)),
        "uniform": (lambda s: rng.random(s), stats.uniform()),
    }
    for name, (draw, law) in kinds.items():
        values = np.sort(draw((runs // 4, 60)), axis=1)
        low, high = quantiles.lower_rank(60, "0.1", LEVEL), quantiles.upper_rank(60, "0.9", LEVEL)
        limit = float(law.ppf(0.9))
        yield honest(f"lower bound of the 10 % quantile above it, 60 scenes, {name}", values[:, low - 1] > law.ppf(0.1))
        yield honest(f"upper bound of the 90 % quantile below it, 60 scenes, {name}", values[:, high - 1] < limit)
        upper = table(lambda k: statistics.binomial_upper(k, 60, LEVEL), 60)
        missed = upper[(values > limit).sum(axis=1)] < law.sf(limit)
        yield honest(f"exceedance bound below the truth, 60 scenes, {name}", missed)
    for n, covers in ((19, ""), (100, "0.911"), (500, "0.933")):
        found = threshold(one_per_scene([(str(i), i) for i in range(n)]), LEVEL)
        reached = rng.beta(found.rank, n + 1 - found.rank, runs)  # uniform scores: the order statistic's own law
        new = rng.random(runs) > reached
        yield honest(f"normal run sets off the alarm, {n} scores", new)
        yield honest(f"  one calibration covers less than it says, {n} scores", reached < float(found.covers))
        yield row("  what it says", float(found.covers), earlier=covers)


def rows_best_of(runs: int) -> Iterator[Row]:
    """The best of eight candidates, none good enough."""
    rng = np.random.default_rng(7)
    exact = [statistics.tail_at_least(k, 60, Fraction(4, 5)) for k in range(61)]
    wins = rng.binomial(60, 0.8, (runs, 8))
    # Holm shows somebody exactly where the smallest p-value is at most alpha / 8; held to the library on a sample.
    cut = min(k for k in range(61) if exact[k] <= Fraction(1, 20) / 8)
    any_shown = wins.max(axis=1) >= cut
    for picked, shown in zip(wins[:200], any_shown[:200], strict=True):
        assert bool(holm({str(i): exact[k] for i, k in enumerate(picked)}, LEVEL)) == shown
    yield honest("best of 8 at p = p0 = 0.80 shown good, Holm, 60 trials each", any_shown)
    alone = min(k for k in range(61) if exact[k] <= Fraction(1, 20))
    yield told("best of 8 without correction", wins.max(axis=1) >= alone)


def together(rng: np.random.Generator, p: float, rho: float, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Real outcomes and predictions, both with mean p and correlation rho."""
    real = rng.random(shape) < p
    said = rng.random(shape) < np.where(real, p + rho * (1 - p), p * (1 - rho))
    return real.astype(float), said.astype(float)


def rows_aided(runs: int) -> Iterator[Row]:
    """Figures that are reported and never gate: what they miss, and what discounting optimism keeps."""
    rng = np.random.default_rng(11)
    runs = max(400, runs // 20)
    earlier = {(0.95, 20): "0.33-0.39", (0.95, 50): "0.08-0.14", (0.95, 100): "0.12-0.13"}
    for p in (0.95, 0.8):
        for n in (20, 50, 100):
            missed = []
            for rho in (0.0, 0.3, 0.6, 0.8, 0.9):
                real, said = together(rng, p, rho, (runs, n))
                others = (rng.random((runs, 20 * n), dtype=np.float32) < p).astype(float)
                estimate, error, _ = powered(real, said, others)
                missed.append((estimate - stats.norm.ppf(1 - ALPHA) * error > p).mean())
            name = f"prediction-powered bound above the truth, p {p}, {n} real (reported only)"
            yield row(f"{name}, least correlation", missed[0], earlier=earlier.get((p, n), "0.04-0.10"))
            yield row(f"{name}, worst of 5 correlations", max(missed), earlier=earlier.get((p, n), "0.04-0.10"))
    for p, n, rho, told_before in ((0.95, 20, 0.0, ""), (0.8, 100, 0.6, ""), (0.8, 100, 0.9, "0.728")):
        real, said = together(rng, p, rho, (runs, n))
        blocks = rng.binomial(20, p, (runs, n)) / 20
        found, name = block_bounds(real, said, blocks, ALPHA), f"p {p}, {n} real, correlation {rho}"
        yield honest(f"block bound above the truth, {name} (reported only)", found > p)
        yield row("  its mean", found.mean(), earlier=told_before)
        alone = table(lambda k, n=n: statistics.binomial_lower(k, n, LEVEL), n)
        yield row("  mean of Clopper and Pearson's on the real scenes alone", alone[real.sum(1).astype(int)].mean())
    runs *= 20
    many = 200
    lower = table(lambda k: statistics.binomial_lower(k, many, "0.005"), many)
    for optimism, pessimism in ((0.0, 0.0), (0.1, 0.0), (0.02, 0.02), (0.2, 0.1)):
        p, n = 0.75, 50
        upper = table(lambda k, n=n: statistics.binomial_upper(k, n, "0.045"), n)
        found = lower[rng.binomial(many, p + optimism - pessimism, runs)] - upper[rng.binomial(n, optimism, runs)]
        yield honest(f"optimism-discounted bound above the truth, p {p}, {optimism:.0%} optimism", found > p)


def rows_bootstrap(runs: int) -> Iterator[Row]:
    """The episode bootstrap, which is asymptotic and does not keep its level."""
    rng = np.random.default_rng(14)
    for n, skew, earlier in ((12, 0.25, "0.070"), (30, 0.25, "0.066"), (12, 0.6, "0.113")):
        missed = np.zeros(runs, bool)
        for run in range(runs):
            base = rng.gamma(4.0, 0.25, n)
            model = base * rng.lognormal(0.0, skew, n) / np.exp(skew**2 / 2)
            found = bootstrap.ratio_interval(model.tolist(), base.tolist(), resamples=500, seed=run)
            missed[run] = float(found.upper) < 1
        name = f"episode bootstrap misses, {n} episodes, skew {skew} (5 % promised, not kept)"
        yield row(name, missed.mean(), earlier=earlier)


CHECKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("success", {"p0": "0.80", "looks": tuple(range(10, 101, 10))}),
    ("violations", {"limit": "0.10"}),
    ("strata", {"by": "scene", "p0": "0.70", "looks": (10, 20, 30, 40, 50)}),
    ("not_worse", {"margin": "0.10"}),
)
"""The whole gate of this benchmark: every check of trials that a promotion may ask."""
DIGEST = {name: format(i, "064x") for i, name in enumerate(("policy", "release", "old", "suite", "plan"), 1)}


def registered(pairs: int, attempts: int) -> EvalPlan:
    """A plan of two strata with a baseline."""
    rows = [
        PlanRow(scenario=format(i, "064x"), seed=i, slot="a/b/c", side=side, pair=i, strata={"scene": "ab"[i % 2]})
        for i in range(1, pairs + 1)
        for side in (("new", "old") if i % 3 else ("old", "new"))
    ]
    return EvalPlan(
        name="plan",
        policy=DIGEST["policy"],
        release=DIGEST["release"],
        baseline=DIGEST["old"],
        suite=DIGEST["suite"],
        executor=Origin.REAL,
        slots=("a/b/c",),
        pairs=pairs,
        attempt=1,
        attempts=attempts,
        registered_ns=0,
        rows=tuple(rows),
    )


class WholeGate:
    """The shipped checks over the same plan, asked by a user who peeks after every fifth scene."""

    def __init__(self, *, pairs: int = 100, attempts: int = 1) -> None:
        self.plan = registered(pairs, attempts)
        modules = [(seams.load("gates", name), params) for name, params in CHECKS]
        self.checks = [(module, module.Config(**params)) for module, params in modules]
        self.kept: dict[tuple[int, bool, int], RecordedTrial] = {}

    def trial(self, number: int, success: bool, violations: int) -> RecordedTrial:
        """The trial of a row; kept, as making one takes longer than all else."""
        key = (number, success, violations)
        if key not in self.kept:
            row = self.plan.rows[number - 1]
            trial = Trial(
                scenario=row.scenario,
                release=DIGEST["release" if row.side == "new" else "old"],
                executor=Origin.REAL,
                slot=row.slot,
                seed=row.seed,
                success=success,
                violations=violations,
                started_ns=1,
                plan=DIGEST["plan"],
                row=number,
            )
            self.kept[key] = RecordedTrial(digest=DIGEST["plan"], trial=trial, chosen_by="")
        return self.kept[key]

    def judged(self, given: GateEvidence) -> Verdict:
        """The verdict; the comparison, the dearest, is asked last and only where all else passes.

        So a comparison that would already reject goes unheard, which can only promote more.
        """
        results: list[CheckResult] = []
        for module, config in self.checks:
            results += module.check(config, given)
            verdict = judge("promotion", results)
            if verdict is not Verdict.PROMOTE:
                return verdict
        return Verdict.PROMOTE

    def asked(self, new: Array, old: Array, broken: Array, *, every: int = 5) -> tuple[str, int]:
        """(verdict, scenes) at the first answer that is no HOLD."""
        outcome = {"new": new, "old": old}
        trials = [
            self.trial(
                n,
                bool(outcome[row.side][row.pair - 1]),
                int(broken[row.pair - 1]) if row.side == "new" else 0,
            )
            for n, row in enumerate(self.plan.rows, 1)
        ]
        whole = planned.read(self.plan, DIGEST["plan"], trials, attempt=1)
        verdict, scenes = Verdict.HOLD, 0
        for scenes in range(every, self.plan.pairs + 1, every):
            so_far = dataclasses.replace(whole, runs=whole.runs[: 2 * scenes])
            given = GateEvidence(subject=DIGEST["release"], sites=("a",), now_ns=2, planned=so_far)
            verdict = self.judged(given)
            if verdict is not Verdict.HOLD:
                break
        return verdict, scenes


def rows_whole_gate(runs: int) -> Iterator[Row]:
    """The gate itself: success, violations, two strata and a comparison, all of which must pass, and users who peek."""
    rng = np.random.default_rng(17)
    gate = WholeGate()
    half = np.arange(1, 101) % 2 == 1

    def promoted(p: Any, q: Any, broken: float, asked: WholeGate = gate, count: int = runs) -> Array:
        out = []
        for _ in range(count):
            new, old, bad = rng.random(100) < p, rng.random(100) < q, rng.random(100) < broken
            out.append(asked.asked(new, old, bad)[0] is Verdict.PROMOTE)
        return np.array(out)

    yield honest("whole gate promotes at success = p0 = 0.80", promoted(0.80, 0.80, 0.0))
    yield honest("whole gate promotes at violations = limit = 10%", promoted(1.0, 1.0, 0.10))
    yield honest("whole gate promotes with one of two strata at its 0.70", promoted(np.where(half, 0.70, 1.0), 0.85, 0))
    yield honest("whole gate promotes at 10 points worse than the old", promoted(0.90, 1.0, 0.0, count=runs // 4))
    for name, attempts in (("a suite of 3 attempts, each at alpha / 3", 3), ("  instead: each at alpha", 1)):
        asked = WholeGate(attempts=attempts)
        tried = np.any([promoted(0.80, 0.80, 0.0, asked) for _ in range(3)], axis=0)
        yield (
            honest(f"resubmitted until it passes, {name}", tried)
            if attempts > 1
            else told("resubmitted until it passes, three times at alpha each", tried, earlier="0.14")
        )
    for p, broken in ((0.95, 0.0), (0.98, 0.0), (0.95, 0.01)):
        found = [
            gate.asked(rng.random(100) < p, rng.random(100) < p, rng.random(100) < broken)
            for _ in range(max(40, runs // 10))
        ]
        done = [scenes for verdict, scenes in found if verdict is Verdict.PROMOTE]
        yield row(f"whole gate passes a good release, success {p}, {broken:.0%} violations", len(done) / len(found))
        yield row("  mean scenes of those that pass, 100 fixed", float(np.mean(done)) if done else float("nan"))


def markdown(result: dict[str, Any]) -> str:
    """The table of the documentation page."""
    lines = ["| at the null, or as said | measured | at most | earlier |", "|---|---|---|---|"]
    for found in result["rows"]:
        bar = "" if found["bar"] is None else f"{found['bar']:g}"
        lines.append(f"| {found['what'].strip()} | {found['value']:g} | {bar} | {found['peer_value'] or ''} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the runs")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    asked = parser.parse_args()
    runs, began = 5_000 if asked.quick else 100_000, time.perf_counter()
    rows: list[Row] = []
    for part, count in (
        (rows_fixed, runs),
        (rows_sequential, runs),
        (rows_paired, runs // 5),
        (rows_clusters, runs),
        (rows_continuous, runs),
        (rows_best_of, runs),
        (rows_aided, runs),
        (rows_bootstrap, runs // 50),
        (rows_whole_gate, runs // 50),
    ):
        rows += part(count)
    spent = time.perf_counter() - began
    load = f"load {os.getloadavg()[0]:.1f}"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {load}, Python {platform.python_version()}"
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    head = {"name": "gate_honesty", "machine": machine, "runs": runs, "seconds": round(spent, 1)}
    result = {**head, "commit": told.stdout.strip(), "rows": rows}
    if not asked.quick:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    if asked.json:
        print(json.dumps(result))
        return
    for found in rows:
        bar = "" if found["ok"] is None else f"  bar {found['bar']:g} {'ok' if found['ok'] else 'MISSED'}"
        peer = f"  earlier {found['peer_value']}" if found["peer"] else ""
        print(f"{found['what']:<100} {found['value']:g}{bar}{peer}")
    print(f"{runs} runs, {spent:.0f} s, {machine}")


if __name__ == "__main__":
    main()
