"""How well pictures are understood: overlap of each class and error of the object's pose, over episodes.

Intersection over union is pooled over the pixels of all pictures: sums over sums, with intervals over episodes by the
house's bootstrap (:mod:`worldgate.evidence.bootstrap`). Pictures without a label of a kind do not count for it. Figures
belong to a group, an origin and a site, and are never pooled over origins.

Shape legend: N pictures, S pixels a side, K classes, E episodes, B resamples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from worldgate.core.errors import UsageError
from worldgate.core.report import Table
from worldgate.core.streams import FloatArray, IntArray
from worldgate.evidence.bootstrap import RESAMPLES, Interval, draws, expanded_level, ratio_interval
from worldgate.evidence.exact import outward


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What one contender made of one episode; sums, so that episodes add up."""

    shared: tuple[int, ...]
    """(K,) pixels that are of a class and are said to be."""
    either: tuple[int, ...]
    """(K,) pixels that are of a class or are said to be."""
    true: tuple[int, ...]
    """(K,) pixels of a class."""
    metres: float
    """Sum of distances between the object's place and where it is said to be."""
    radians: float
    """Sum of angles between its yaw and what is said, within half of a turn that looks alike."""
    poses: int
    """Pictures with a pose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One contender on one group; each bound one-sided at 2.5 %."""

    episodes: int
    overlap: Interval | None
    """Mean IoU over the classes that occur; None without labels of pixels, or from one episode."""
    by_class: Mapping[str, Interval]
    centimetres: Interval | None
    degrees: Interval | None


def tally(
    classes: IntArray | None, said: IntArray, pose: FloatArray | None, told: FloatArray, *, count: int, turns: int
) -> Tally:
    """Compare one episode.

    Args:
        classes: (N, S, S) true ids; None: not labelled.
        said: (N, S, S) ids that are said.
        pose: (N, 3) true x, y (m) and yaw (rad); None: not labelled.
        told: (N, 3) what is said.
        count: K.
        turns: turns of the object that look alike.

    Raises:
        UsageError: arrays of other shapes.
    """
    none = (0,) * count
    shared, either, true = none, none, none
    if classes is not None:
        if classes.shape != said.shape:
            raise UsageError("classes of other pictures", got=said.shape, where=str(classes.shape))
        pairs = np.bincount((classes.ravel() * count + said.ravel()), minlength=count * count).reshape(count, count)
        both, of, guessed = np.diag(pairs), pairs.sum(1), pairs.sum(0)
        shared, either, true = (tuple(int(v) for v in part) for part in (both, of + guessed - both, of))
    metres = radians = 0.0
    if pose is not None:
        if pose.shape != told.shape:
            raise UsageError("poses of other pictures", got=told.shape, where=str(pose.shape))
        metres = float(np.linalg.norm(pose[:, :2] - told[:, :2], axis=1).sum())
        turn = 2 * math.pi / turns
        radians = float(np.abs(np.remainder(pose[:, 2] - told[:, 2] + turn / 2, turn) - turn / 2).sum())
    poses = 0 if pose is None else len(pose)
    return Tally(shared=shared, either=either, true=true, metres=metres, radians=radians, poses=poses)


def figures(tallies: Sequence[Tally], names: Sequence[str]) -> Figures:
    """Of one contender on the episodes of one group.

    Args:
        tallies: one an episode.
        names: of the classes, by id.
    """
    shared_EK, either_EK = (np.array([getattr(t, part) for t in tallies], np.int64) for part in ("shared", "either"))
    occurs = np.flatnonzero(np.array([t.true for t in tallies]).sum(0))
    by_class: dict[str, Interval] = {}
    overlap = None
    if len(tallies) > 1:
        columns = {names[int(k)]: (shared_EK[:, k].tolist(), either_EK[:, k].tolist()) for k in occurs}
        by_class = {name: ratio_interval(*pair, alpha="0.025") for name, pair in columns.items()}
        overlap = _mean_overlap(shared_EK[:, occurs], either_EK[:, occurs]) if len(occurs) else None
    posed = [t for t in tallies if t.poses]
    errors: dict[str, Interval | None] = {"metres": None, "radians": None}
    for part, scale in (("metres", 100.0), ("radians", math.degrees(1.0))):
        if len(posed) > 1:
            above, below = [scale * getattr(t, part) for t in posed], [float(t.poses) for t in posed]
            errors[part] = ratio_interval(above, below, alpha="0.025")
    return Figures(
        episodes=len(tallies),
        overlap=overlap,
        by_class=by_class,
        centimetres=errors["metres"],
        degrees=errors["radians"],
    )


def _mean_overlap(shared_EK: IntArray, either_EK: IntArray) -> Interval:
    n = len(shared_EK)
    index_BE = draws(0, RESAMPLES * n, n).reshape(RESAMPLES, n)
    counts_BE = np.stack([np.bincount(row, minlength=n) for row in index_BE])
    above, below = counts_BE @ shared_EK, counts_BE @ either_EK
    means = np.sort(np.where(below > 0, above / np.maximum(below, 1), 1.0).mean(1))
    rank = max(0, math.floor(expanded_level(n, 0.025) * RESAMPLES) - 1)
    estimate = float((shared_EK.sum(0) / np.maximum(either_EK.sum(0), 1)).mean())
    low, high = float(means[rank]), float(means[RESAMPLES - 1 - rank])
    return Interval(estimate=estimate, lower=outward(low, "down"), upper=outward(high, "up"), n=n)


def table(found: Mapping[str, Mapping[str, Figures]], *, one: str = "") -> Table:
    """Group and contender -> figures, as rows.

    Args:
        found: group -> contender -> figures.
        one: a class whose own overlap stands in a column.
    """
    headings = ("episodes of", "contender", "mean IoU", *((f"IoU of {one}",) if one else ()), "place [cm]", "yaw [deg]")
    rows = []
    for group, contenders in found.items():
        for name, f in contenders.items():
            own = (_told(f.by_class.get(one)),) if one else ()
            rows.append(
                (f"{group} ({f.episodes})", name, _told(f.overlap), *own, _told(f.centimetres), _told(f.degrees))
            )
    return Table(headings=headings, rows=tuple(rows), caption="Held-out episodes; intervals of 95 % over episodes")


def _told(found: Interval | None) -> str:
    return "-" if found is None else f"{found.estimate:.2f} [{float(found.lower):.2f}, {float(found.upper):.2f}]"
