"""The drift alarm: do a site's episodes look like those the model was calibrated on?

Energy distance between two sets of feature vectors, by the sum of absolute differences, with a p value by exchanging
labels of whole episodes. Features are whole numbers, so the statistic is one too, and anyone finds the same p.

Sources: Szekely and Rizzo, J. Stat. Plan. Inference 143 (2013), for the statistic (the city-block distance is of
negative type); Phipson and Smyth, Statistical Applications in Genetics 9 (2010), for p.

Shape legend: M + N episodes, F features, R permutations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from worldgate.core.streams import Array, IntArray
from worldgate.evidence.bootstrap import GOLDEN, splitmix

MOST = 128
"""Episodes a side; evenly thinned beyond."""


def permutation_p(
    here: Sequence[Sequence[int]], there: Sequence[Sequence[int]], *, permutations: int, seed: int
) -> Fraction:
    """P of no difference: (1 + relabellings with a distance at least as large) / (1 + relabellings).

    Guarantee: P(p <= a) <= a for every a if all episodes are exchangeable, at any number of them. The relabellings are
    orders of 64-bit numbers of SplitMix64 as a counter (permutation b of n episodes uses draws b*n + 1 to b*n + n,
    ties by place); the first M are called ``here``.

    Args:
        here: (M, F) whole numbers.
        there: (N, F).
        permutations: how many.
        seed: of the counter generator; part of the gate policy.
    """
    assert here and there
    points = np.asarray([*here, *there], np.int64)
    apart = np.abs(points[:, None, :] - points[None, :, :]).sum(axis=2)
    first, total = len(here), len(points)
    counter = np.arange(1, permutations * total + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    keys = splitmix(counter + np.uint64(seed & ((1 << 64) - 1))).reshape(permutations, total)
    order = np.argsort(keys, axis=1, kind="stable")
    observed = distance(apart, np.arange(total), first)
    larger = sum(distance(apart, row, first) >= observed for row in order)
    return Fraction(1 + larger, 1 + permutations)


def distance(apart: Array, order: IntArray, first: int) -> int:
    """M^2 N^2 times the energy distance of the first M in ``order`` from the others: a whole number."""
    one, two = order[:first], order[first:]
    m, n = len(one), len(two)
    between = int(apart[np.ix_(one, two)].sum())
    within = int(apart[np.ix_(one, one)].sum()) * n * n + int(apart[np.ix_(two, two)].sum()) * m * m
    return 2 * between * m * n - within


def smallest_p(here: int, there: int, permutations: int) -> Fraction:
    """The smallest p that so few episodes can give."""
    return max(Fraction(1, 1 + permutations), Fraction(1, math.comb(here + there, here)))


def thinned(rows: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """At most ``MOST`` of them, evenly spread."""
    count = min(MOST, len(rows))
    return [rows[(i * (len(rows) - 1)) // max(count - 1, 1)] for i in range(count)]
