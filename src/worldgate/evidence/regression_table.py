"""What came of recorded episodes open loop, as a table: one row an episode, so that every bound can be computed again.

The document is plain JSON (schema ``worldgate/regression/1``), put into the store and named by its digest. A value that
is not finite, or that nothing was measured for, is null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worldgate.core.config import decode
from worldgate.core.digest import to_json
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.streams import BoolArray, FloatArray, Origin
from worldgate.core.worlds import Signal
from worldgate.evidence.bootstrap import RESAMPLES, Interval, ratio_interval
from worldgate.evidence.exact import Number
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

SCHEMA = "worldgate/regression/1"
CAVEAT = "Open loop cannot show closed-loop success: nothing that was commanded here was carried out."


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionConfig:
    """How episodes are gone through."""

    moment_s: float = 0.5
    """Length of a moment: errors are told and ranked by moments, in seconds."""
    horizon_s: float = 1.0
    """How far a world model predicts from each of its windows, in seconds."""
    windows: int = 12
    """Most windows of an episode that a world model predicts."""
    seed: int = 0
    """Of the policies and the rollouts."""
    site: str = ""
    """Site of episodes whose log names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One comparison through an episode."""

    mean: float | None
    """Over every row that counts; null: none, or not finite."""
    moments: tuple[float | None, ...]
    """The same by moments."""
    nonfinite: int = 0
    """Rows or windows in which it gave NaN or infinity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What one episode says."""

    episode: str
    log: str
    name: str
    site: str
    rows: int
    """That count."""
    skipped: int
    """Rows left out because alignment marked a gap or a value is not finite."""
    new: Trace
    """The release against what was recorded."""
    old: Trace | None = None
    """The old release against what was recorded."""
    apart: Trace | None = None
    """The release against the old one."""
    world: Mapping[str, Trace] = field(default_factory=dict)
    """Stream -> the world model against what happened, at the moments its windows began."""
    hold: Mapping[str, Trace] = field(default_factory=dict)
    """Stream -> the last known row held, on the same windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """A release and a world model on recorded episodes."""

    schema: str = SCHEMA
    subject: str
    """Digest of the release."""
    baseline: str = ""
    """Digest of the old release; empty: none."""
    world_model: str = ""
    """Digest; empty: none."""
    dataset: str = ""
    origin: Origin
    """Of the episodes."""
    rate_hz: float
    action: Signal
    spread: tuple[float, ...]
    """Of each recorded action channel, in its unit; 0: it never moved."""
    config: RegressionConfig
    caveat: str = CAVEAT
    episodes: tuple[Replayed, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        tree = to_json(self)
        assert isinstance(tree, dict)
        return tree

    @classmethod
    def from_json(cls, tree: Mapping[str, Any], *, where: str = "regression") -> Regression:
        """Read back :meth:`to_json`.

        Raises:
            DataRefused: another schema.
        """
        if tree.get("schema") != SCHEMA:
            raise DataRefused("not a regression this version reads", got=tree.get("schema"), where=where)
        return decode(cls, tree, where=where)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A stretch of an episode where the release differs."""

    episode: str
    name: str
    start_s: float
    new: float
    old: float | None
    apart: float | None

    @property
    def worse(self) -> float:
        """By how much it is farther from the recording than the old release; without one, how far."""
        return self.new - (self.old or 0.0)


def trace(error_T: FloatArray, good: BoolArray, block: int) -> Trace:
    """Errors by row as a trace: rows that do not count are left out, and one that is not finite voids its mean."""
    bad = good & ~np.isfinite(error_T)

    def mean(rows: slice) -> float | None:
        kept = error_T[rows][good[rows]]
        return float(kept.mean()) if len(kept) and np.isfinite(kept).all() else None

    moments = tuple(mean(slice(start, start + block)) for start in range(0, len(error_T), block))
    return Trace(mean=mean(slice(None)), moments=moments, nonfinite=int(bad.sum()))


def interval(
    made: Regression,
    *,
    alpha: Number = "0.05",
    resamples: int = RESAMPLES,
    seed: int = 0,
    leave: frozenset[str] = frozenset(),
) -> Interval:
    """Error of the release / error of the old one, over episodes: above 1 is farther from the recordings.

    Args:
        made: with an old release.
        alpha: one-sided level of each bound.
        resamples: bootstrap resamples.
        seed: of the resampling.
        leave: ids of episodes that do not count, such as those that the release learned from.

    Raises:
        UsageError: no old release, a value that is not finite, or fewer than two episodes.
    """
    rows = [row for row in made.episodes if row.episode not in leave]
    if not made.baseline or any(row.old is None for row in rows):
        raise UsageError("nothing to compare with", hint="--against RELEASE")
    new, old = [row.new.mean for row in rows], [row.old.mean for row in rows if row.old is not None]
    kept = [(a, b) for a, b in zip(new, old, strict=True) if a is not None and b is not None]
    if len(kept) < len(rows):
        raise UsageError("an episode without a finite error", got=len(rows) - len(kept))
    return ratio_interval([a for a, _ in kept], [b for _, b in kept], alpha=alpha, resamples=resamples, seed=seed)


def world_interval(made: Regression, stream: str, *, alpha: Number = "0.05") -> Interval:
    """Error of the world model / error of the last row held, over episodes: below 1 is better than holding.

    Raises:
        UsageError: fewer than two episodes with a finite error of this stream.
    """
    pairs = [(row.world[stream].mean, row.hold[stream].mean) for row in made.episodes if stream in row.world]
    kept = [(a, b) for a, b in pairs if a is not None and b is not None]
    return ratio_interval([a for a, _ in kept], [b for _, b in kept], alpha=alpha)


def moments(made: Regression) -> list[Moment]:
    """Every moment of every episode, the one where the release is farthest behind first."""
    found = []
    for row in made.episodes:
        for number, new in enumerate(row.new.moments):
            if new is None:
                continue
            old = row.old.moments[number] if row.old else None
            apart = row.apart.moments[number] if row.apart else None
            start = number * made.config.moment_s
            found.append(Moment(episode=row.episode, name=row.name, start_s=start, new=new, old=old, apart=apart))
    return sorted(found, key=lambda moment: -moment.worse)


def ranked(made: Regression) -> list[Replayed]:
    """Episodes, the one where the release is farthest behind first; one without a finite error before all."""

    def key(row: Replayed) -> float:
        if row.new.mean is None:
            return -math.inf
        return -(row.new.mean - ((row.old.mean or 0.0) if row.old else 0.0))

    return sorted(made.episodes, key=key)


def put(ws: Workspace, made: Regression, *, inputs: Sequence[Ref] = ()) -> Ref:
    """Keep a regression and record ``evidence.made``."""
    ref = Ref("evidence", ws.put_json(made.to_json()), "regression")
    body = {
        "evidence": ref.digest,
        "schema": SCHEMA,
        "subject": made.subject,
        "origin": made.origin,
        "episodes": len(made.episodes),
    }
    ws.record("evidence.made", body=body, inputs=inputs, outputs=(ref,))
    return ref
