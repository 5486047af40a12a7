"""Exposure: how long a release ran on a slot, and how many episodes, told window by window (``exposure.recorded``).

A waiver that is limited to so many hours or episodes needs it. Wherever a release was assigned to a slot, or its robot
reported it, the windows must cover that time; what they leave open is unknown, and unknown is never taken for little.
Windows that overlap are added up: what is told twice counts twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from worldgate.core.errors import UsageError
from worldgate.core.names import Slot
from worldgate.core.times import format_ns
from worldgate.evidence.persons import Known
from worldgate.record.events import Event, Ref
from worldgate.record.workspace import Workspace

EXPOSED = "exposure.recorded"
ASSIGNED, REPORTED = "deployment.desired", "deployment.reported"
"""As the fleet records them, the room above this one."""
HOUR_NS = 3_600_000_000_000

Span = tuple[int, int]
"""From, and until, exclusive; ns UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a release has run since a time on some slots."""

    running_ns: int
    episodes: int
    unknown: str = ""
    """The first slot and time of which nothing is told; empty: everything is."""


def record_exposure(
    ws: Workspace,
    release: Ref,
    slot: str,
    window: Span,
    *,
    running_ns: int,
    episodes: int,
    actor: str | None = None,
) -> Event:
    """Record how much of a window a release ran on a slot.

    Args:
        ws: the workspace.
        release: what ran.
        slot: ``site/robot/arm``.
        window: from when, until when, ns UTC.
        running_ns: how much of it the arm ran; 0 for a window in which it stood still.
        episodes: how many episodes were begun in it.
        actor: name of the key that signs; None: the program's own.

    Raises:
        UsageError: an empty window, or more running than the window holds.
    """
    start, end = window
    if not (start < end and 0 <= running_ns <= end - start and episodes >= 0):
        raise UsageError(
            "an exposure fits its window",
            got=f"{running_ns / HOUR_NS:g} h and {episodes} episodes",
            where=f"{format_ns(start)} to {format_ns(end)}",
        )
    body = {
        "slot": str(Slot.parse(slot)),
        "release": release.digest,
        "running_ns": running_ns,
        "episodes": episodes,
    }
    return ws.record(EXPOSED, body=body, inputs=(release,), valid_from_ns=start, valid_to_ns=end, actor=actor)


def used(known: Known, release: str, slots: Sequence[str], since_ns: int, until_ns: int) -> Used:
    """What a release has run on these slots in a time, as far as it is told."""
    running, episodes, unknown = 0, 0, []
    for slot in slots:
        windows = []
        for event in known.events(EXPOSED):
            span = _window(event, release, slot)
            if span is not None and span[0] < until_ns and since_ns < span[1]:
                windows.append(span)
                running += event.body["running_ns"]
                episodes += event.body["episodes"]
        spans = [(max(start, since_ns), min(end, until_ns)) for start, end in _ran(known, release, slot)]
        unknown += [f"{slot} since {format_ns(at)}" for at in _open(spans, windows)]
    return Used(running_ns=running, episodes=episodes, unknown=next(iter(unknown), ""))


def _window(event: Event, release: str, slot: str) -> Span | None:
    """The window of an exposure of this release on this slot; None for another's, or for one that cannot be."""
    body, start, end = event.body, event.valid_from_ns, event.valid_to_ns
    running, episodes = body.get("running_ns"), body.get("episodes")
    if (body.get("slot"), body.get("release")) != (slot, release) or start is None or end is None:
        return None
    fits = type(running) is int and type(episodes) is int and 0 <= running <= end - start and episodes >= 0
    return (start, end) if fits else None


def _ran(known: Known, release: str, slot: str) -> Iterator[Span]:
    """When the release was assigned to the slot, until another was, and when its robot reported it."""
    assigned = []
    for event in known.events((ASSIGNED, REPORTED)):
        if event.body.get("slot") != slot or event.valid_from_ns is None:
            continue
        if event.kind == ASSIGNED:
            assigned.append((event.valid_from_ns, event.body.get("release")))
        elif event.body.get("release") == release:
            yield event.valid_from_ns, event.valid_to_ns or event.valid_from_ns
    for start, what in assigned:
        if what == release:
            yield start, min((at for at, _ in assigned if at > start), default=2**63)


def _open(spans: Iterable[Span], windows: Sequence[Span]) -> Iterator[int]:
    """Where each span is first left open by the windows."""
    for start, end in sorted(spans):
        at = start
        for begins, ends in sorted(windows):
            if begins <= at:
                at = max(at, ends)
        if at < end:
            yield at
