"""Exposure: how long a release was seen running, and how often something went wrong meanwhile.

Hours are counted from recordings that are stamped with the release (the observed plane), never from assignments: what
nobody recorded is no exposure. Each recording is shortened by the error of its clock at both ends, and overlapping ones
count once, so the hours are a lower bound. An incident counts against every release that may have been on the arm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Any

from worldgate.core.streams import Origin
from worldgate.core.times import SECOND
from worldgate.record.events import Event
from worldgate.record.workspace import Workspace

HOUR_NS = 3600 * SECOND
_INGESTED = "log.ingested"
_OPENED = "incident.opened"
_UNDECLARED_ERR_NS = SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What was seen of one release on some slots."""

    observed_ns: int
    """Total length of what was recorded, a lower bound."""
    recordings: tuple[str, ...]
    """Digests of the events."""
    incidents: tuple[str, ...]
    """Digests of the ``incident.opened`` events that count."""
    newest_ns: int
    """End of the last recording; 0: none."""

    @property
    def hours(self) -> Fraction:
        """Observed hours, exactly."""
        return Fraction(self.observed_ns, HOUR_NS)


def observed(
    ws: Workspace,
    release: str,
    *,
    slot: str = "*",
    origins: frozenset[Origin] = frozenset({Origin.REAL}),
    since_ns: int = 0,
    until_ns: int,
) -> Exposure:
    """Exposure of a release in a span of time.

    Args:
        ws: the workspace.
        release: digest.
        slot: pattern of slots, ``kitchen/*/left``.
        origins: which recordings count.
        since_ns: what was recorded before does not count.
        until_ns: nor what was recorded after.
    """
    spans: dict[str, list[tuple[int, int]]] = {}
    recordings, newest = [], 0
    for event in ws.ledger.events(_INGESTED):
        place, span = slot_of(event), _span(event)
        mine = event.body.get("facts", {}).get("release") == release and event.body.get("origin") in origins
        if mine and place and span and fnmatchcase(place, slot) and since_ns <= span[0] and span[1] <= until_ns:
            spans.setdefault(place, []).append(span)
            recordings.append(event.digest)
            newest = max(newest, span[1])
    return Exposure(
        observed_ns=sum(_union(found) for found in spans.values()),
        recordings=tuple(recordings),
        incidents=tuple(_incidents(ws, release, slot, since_ns, until_ns)),
        newest_ns=newest,
    )


def slot_of(event: Event) -> str:
    """``site/robot/arm`` of a recording, or nothing."""
    parts = [str(event.body.get(key) or "") for key in ("site", "robot", "arm")]
    return "/".join(parts) if all(parts) else ""


def _span(event: Event) -> tuple[int, int] | None:
    """What a recording surely covers, its clock's error taken off at both ends."""
    if event.valid_from_ns is None or event.valid_to_ns is None:
        return None
    told: Any = event.body.get("facts", {}).get("clock_error_s")
    good = isinstance(told, int | float) and not isinstance(told, bool) and math.isfinite(told) and told >= 0
    err = max(event.valid_err_ns, math.ceil(told * SECOND) if good else _UNDECLARED_ERR_NS)
    start, end = event.valid_from_ns + err, event.valid_to_ns - err
    return (start, end) if start < end else None


def _union(spans: Iterable[tuple[int, int]]) -> int:
    """Length covered by at least one span."""
    total, reached = 0, 0
    for start, end in sorted(spans):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _incidents(ws: Workspace, release: str, slot: str, since_ns: int, until_ns: int) -> list[str]:
    """Incidents in that time on arms that may have run the release: uncertainty counts against it."""
    found = []
    for event in ws.ledger.events(_OPENED):
        at = int(event.body["at_ns"])
        on = {ref.digest for ref in event.inputs if ref.kind == "release"}
        if since_ns <= at <= until_ns and fnmatchcase(event.body["slot"], slot) and (not on or release in on):
            found.append(event.digest)
    return found
