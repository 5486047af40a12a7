"""Clusters: logs joined by matches, which of them is kept, and where they say different things of one evidence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from worldgate.core.streams import Origin
from worldgate.data.duplicates.rules import Keep
from worldgate.data.ingest import IngestedLog

_REALNESS = (Origin.REAL, Origin.SIMULATED, Origin.IMAGINED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Logs of one evidence that say different things of it."""

    what: str
    """``fact success``, ``label manipulation/phase``."""
    says: Mapping[str, str]
    """Log -> what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Logs that hold the same evidence, directly or through others."""

    logs: tuple[str, ...]
    """Digests, in the order of ingest."""
    kept: str
    conflicts: tuple[Conflict, ...] = ()

    @property
    def left(self) -> tuple[str, ...]:
        """Those that are not kept."""
        return tuple(log for log in self.logs if log != self.kept)


class Pair(Protocol):
    """Two logs that belong together."""

    @property
    def first(self) -> str: ...
    @property
    def second(self) -> str: ...


def join(logs: Sequence[str], matches: Sequence[Pair]) -> list[tuple[str, ...]]:
    """Groups of two logs or more that matches connect, each in the order of ``logs``."""
    root = {log: log for log in logs}

    def find(log: str) -> str:
        while root[log] != log:
            root[log] = root[root[log]]
            log = root[log]
        return log

    for match in matches:
        root[find(match.second)] = find(match.first)
    groups: dict[str, list[str]] = defaultdict(list)
    for log in logs:
        groups[find(log)].append(log)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def choose(
    logs: Sequence[str],
    keep: Keep,
    records: Mapping[str, IngestedLog],
    noticed: Mapping[str, int],
    held: Collection[str] = (),
) -> str:
    """The log that is kept.

    Args:
        logs: of a cluster, in the order of ingest.
        keep: which.
        records: what is known of each.
        noticed: log -> findings of readers and checks.
        held: logs that an earlier dataset holds: one of these is kept before any other.
    """

    def rank(log: str) -> tuple[int, ...]:
        start, end = records[log].span_ns
        longest = (start - end, logs.index(log))
        by = {
            Keep.LONGEST: longest,
            Keep.FIRST: (logs.index(log),),
            Keep.FEWEST_FINDINGS: (noticed.get(log, 0), *longest),
            Keep.REAL_FIRST: (_REALNESS.index(records[log].origin), *longest),
        }
        return (log not in held, *by[keep])

    return min(logs, key=rank)


def conflicts(logs: Sequence[str], says: Mapping[str, Mapping[str, str]]) -> tuple[Conflict, ...]:
    """Where logs of one evidence disagree.

    Args:
        logs: of a cluster.
        says: log -> what it is said of -> what is said.
    """
    found = []
    for what in sorted({key for log in logs for key in says.get(log, {})}):
        told = {log: says[log][what] for log in logs if what in says.get(log, {})}
        if len(set(told.values())) > 1:
            found.append(Conflict(what=what, says=told))
    return tuple(found)
