"""The ribbon: which release was on which slot when, one band a plane, drawn from the deployments projection.

A filled stretch is one release for certain; a hatched one may be several; where nothing is known the band is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from worldgate.core.digest import short
from worldgate.core.times import SECOND
from worldgate.fleet.deployments import Deployments
from worldgate.fleet.planes import Plane

_COLOURS = ("#2f6fb0", "#d98032", "#3d8f5f", "#9a5fb0", "#b0483f", "#6b7480")
_BAND = 0.26


def ribbon(
    known: Deployments,
    slots: Sequence[str],
    from_ns: int,
    to_ns: int,
    *,
    names: Mapping[str, str] | None = None,
    known_as_of_ns: int | None = None,
    marks: Mapping[str, int] | None = None,
) -> Figure:
    """Draw slots from top to bottom and UTC time from left to right.

    Args:
        known: the projection.
        slots: ``site/robot/arm`` in the order in which they are drawn.
        from_ns: left edge.
        to_ns: right edge.
        names: release digest -> what people call it; others show the first digits.
        known_as_of_ns: draw what was known then; None: now.
        marks: words -> time of a vertical line, such as an incident.
    """
    names = names or {}
    figure = Figure(figsize=(9.6, 0.9 + 0.75 * len(slots)), layout="constrained")
    axes = figure.add_subplot()
    colours: dict[str, str] = {}
    for row, slot in enumerate(slots):
        for band, plane in enumerate(Plane):
            for segment in known.timeline(slot, plane, known_as_of_ns).segments:
                start, end = max(segment.from_ns, from_ns), min(segment.to_ns, to_ns)
                if start >= end or not segment.releases:
                    continue
                sure = segment.covered and len(segment.releases) == 1
                for release in sorted(segment.releases):
                    colour = colours.setdefault(release, _COLOURS[len(colours) % len(_COLOURS)])
                    axes.barh(
                        row + (band - 1) * _BAND, _days(end) - _days(start), left=_days(start), height=_BAND * 0.86,
                        color=colour if sure else "none", edgecolor=colour, hatch="" if sure else "////", linewidth=0.6,
                    )  # fmt: skip
    for words, at_ns in (marks or {}).items():
        axes.axvline(_days(at_ns), color="#b3261e", linewidth=1.2)
        axes.annotate(words, (_days(at_ns), -0.62), fontsize=8, color="#b3261e", ha="right", annotation_clip=False)
    places = [row + (band - 1) * _BAND for row in range(len(slots)) for band in range(len(Plane))]
    labels = [f"{slot}  {plane}" if band == 1 else plane for slot in slots for band, plane in enumerate(Plane)]
    axes.set_yticks(places, labels, fontsize=7)
    axes.set_ylim(len(slots) - 0.4, -0.6)
    axes.set_xlim(_days(from_ns), _days(to_ns))
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]  # matplotlib leaves dates untyped
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set_xlabel("time, UTC; hatched: may be; empty: unknown", fontsize=8)
    handles = [Patch(color=c, label=names.get(r) or short(r)) for r, c in colours.items()]
    if handles:
        axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(handles), frameon=False)
    return figure


def _days(time_ns: int) -> float:
    """Matplotlib's date number; drawing needs no more than microseconds."""
    return float(date2num(datetime.fromtimestamp(time_ns / SECOND, tz=UTC)))  # type: ignore[no-untyped-call]
