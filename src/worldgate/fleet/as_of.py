"""Which release was on this slot at that time, as known now or as known then. Never a guess.

Each plane answers CERTAIN (one release, nothing else possible), AMBIGUOUS (several are possible: the time lies within
the error of a switch, or sources contradict each other) or UNKNOWN (a gap). The headline speaks of what ran, so it
reads only planes that saw something run: *observed* and *reported*. *Desired* is intent; where it differs, that is a
finding. Disagreement is a finding and never settled silently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from worldgate.core.digest import short
from worldgate.core.errors import UsageError
from worldgate.core.names import Slot
from worldgate.core.times import format_ns
from worldgate.fleet.deployments import Deployments
from worldgate.fleet.planes import FOREVER_NS, NEVER_NS, Fact, Form, Plane, Segment
from worldgate.record.workspace import Workspace


class Certainty(StrEnum):
    """How much is known."""

    CERTAIN = "CERTAIN"
    AMBIGUOUS = "AMBIGUOUS"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneAnswer:
    """What one plane, or the headline, says."""

    certainty: Certainty
    releases: tuple[str, ...]
    """Digests that are possible; one where certain, none where unknown."""
    or_nothing: bool = False
    """Ambiguous only: that nothing is known to have run is possible too."""
    error_ns: int = 0
    """Largest clock error among the facts it rests on."""
    span_ns: tuple[int, int] = (NEVER_NS, FOREVER_NS)
    """Half-open span of time over which this answer is the same."""
    evidence: tuple[str, ...] = ()
    """Digests of the events it rests on."""
    why: str = ""
    disputed: bool = False
    """Sources contradict each other, errors taken into account."""

    @property
    def release(self) -> str:
        """The one release of a certain answer."""
        assert self.certainty is Certainty.CERTAIN
        return self.releases[0]

    def __str__(self) -> str:
        names = ", ".join(_label(r) for r in self.releases) + (" or nothing" if self.or_nothing else "")
        if self.certainty is Certainty.CERTAIN:
            return f"CERTAIN {names} (± {self.error_ns / 1e9:g} s)"
        return f"AMBIGUOUS {{{names}}}: {self.why}" if self.releases else f"UNKNOWN: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The headline, each plane for itself, and what disagrees."""

    slot: str
    time_ns: int
    error_ns: int
    """Error of the time asked for."""
    known_as_of_ns: int | None
    headline: PlaneAnswer
    planes: Mapping[Plane, PlaneAnswer]
    findings: tuple[str, ...]

    @property
    def certainty(self) -> Certainty:
        """Of the headline."""
        return self.headline.certainty

    @property
    def releases(self) -> tuple[str, ...]:
        """Of the headline."""
        return self.headline.releases

    @property
    def release(self) -> str:
        """The release of a certain headline."""
        return self.headline.release


def as_of(
    ws: Workspace | Deployments,
    slot: Slot | str,
    time_ns: int,
    known_as_of_ns: int | None = None,
    *,
    error_ns: int = 0,
) -> Answer:
    """Which release was on a slot at a time.

    Args:
        ws: a workspace, or a projection that is asked many times.
        slot: ``site/robot/arm``.
        time_ns: the time asked for, UTC.
        known_as_of_ns: answer from what had been recorded by then; now without.
        error_ns: how far ``time_ns`` itself may be off.

    Raises:
        UsageError: a negative error.
    """
    if error_ns < 0:
        raise UsageError("a negative error bound", got=error_ns)
    projection = ws if isinstance(ws, Deployments) else Deployments.of(ws)
    name = str(slot)
    planes = {
        plane: _plane(projection.timeline(name, plane, known_as_of_ns).at(time_ns, error_ns), plane) for plane in Plane
    }
    findings = [*_findings(planes), *projection.contradictions(name, Plane.REPORTED, known_as_of_ns)]
    return Answer(
        slot=name,
        time_ns=time_ns,
        error_ns=error_ns,
        known_as_of_ns=known_as_of_ns,
        headline=_headline(planes),
        planes=planes,
        findings=tuple(findings),
    )


def _plane(segments: Sequence[Segment], plane: Plane) -> PlaneAnswer:
    releases = tuple(sorted(frozenset[str]().union(*(s.releases for s in segments))))
    facts = frozenset(f for s in segments for f in s.facts)
    covered = all(s.covered for s in segments)
    span = (segments[0].from_ns, segments[-1].to_ns)
    if not releases:
        why = f"nothing {plane} {_gap(span)}"
        return PlaneAnswer(certainty=Certainty.UNKNOWN, releases=(), span_ns=span, why=why)
    certain = covered and len(releases) == 1
    return PlaneAnswer(
        certainty=Certainty.CERTAIN if certain else Certainty.AMBIGUOUS,
        releases=releases,
        or_nothing=not covered,
        error_ns=max(f.err_ns for f in facts),
        span_ns=span,
        evidence=tuple(sorted({f.evidence for f in facts})),
        why="" if certain else _why(segments),
        disputed=any(_disputed(segment) for segment in segments),
    )


def _gap(span: tuple[int, int]) -> str:
    after, before = span
    if after == NEVER_NS and before == FOREVER_NS:
        return "at any time"
    if after == NEVER_NS:
        return f"before {format_ns(before)}"
    if before == FOREVER_NS:
        return f"after {format_ns(after)}"
    return f"between {format_ns(after)} and {format_ns(before)}"


def _label(release: str) -> str:
    """Short form of a release, or of the bare weights that an imported row may name."""
    kind, colon, digest = release.rpartition(":")
    return f"{kind}{colon}{short(digest)}"


def _disputed(segment: Segment) -> bool:
    """Whether two facts with different releases both say that theirs held throughout."""
    sure = [f for f in segment.facts if f.form is Form.SPAN and _inside(f, segment)]
    boots = [f for f in segment.facts if f.form is Form.BOOT]
    sure += [f for f in boots if any(f.boot == g.boot and f.release != g.release for g in boots) or _inside(f, segment)]
    return len({f.release for f in sure}) > 1


def _inside(fact: Fact, segment: Segment) -> bool:
    return fact.from_ns + fact.err_ns <= segment.from_ns and segment.to_ns <= fact.to_ns - fact.err_ns


def _why(segments: Sequence[Segment]) -> str:
    if len(segments) > 1:
        return "the time asked for is uncertain across a switch"
    if _disputed(segments[0]):
        return "sources contradict each other"
    width = max(f.err_ns for f in segments[0].facts)
    return f"within the clock error of a switch (± {width / 1e9:g} s)"


def _headline(planes: Mapping[Plane, PlaneAnswer]) -> PlaneAnswer:
    """From the planes that saw something run; a certain one settles a mere overlap of errors, never a contradiction."""
    seen = [planes[p] for p in (Plane.OBSERVED, Plane.REPORTED) if planes[p].releases]
    if not seen:
        intent = planes[Plane.DESIRED]
        why = f"{planes[Plane.OBSERVED].why}; {planes[Plane.REPORTED].why}"
        if intent.releases:
            why = f"{why}; an assignment is no evidence that it ran"
        return PlaneAnswer(certainty=Certainty.UNKNOWN, releases=(), span_ns=_common(list(planes.values())), why=why)
    certain = [answer for answer in seen if answer.certainty is Certainty.CERTAIN]
    agreed = {answer.releases for answer in certain}
    disputed = any(answer.disputed for answer in seen)
    if len(agreed) == 1 and not disputed and all(set(certain[0].releases) <= set(a.releases) for a in seen):
        best = min(certain, key=lambda answer: answer.error_ns)
        evidence = tuple(sorted({e for answer in certain for e in answer.evidence}))
        return PlaneAnswer(
            certainty=Certainty.CERTAIN,
            releases=best.releases,
            error_ns=best.error_ns,
            span_ns=best.span_ns,
            evidence=evidence,
        )
    return PlaneAnswer(
        certainty=Certainty.AMBIGUOUS,
        releases=tuple(sorted({r for answer in seen for r in answer.releases})),
        or_nothing=not certain,
        error_ns=max(answer.error_ns for answer in seen),
        span_ns=_common(seen),
        evidence=tuple(sorted({e for answer in seen for e in answer.evidence})),
        why="sources disagree" if certain or disputed else seen[0].why,
        disputed=disputed,
    )


def _common(answers: Sequence[PlaneAnswer]) -> tuple[int, int]:
    return max(a.span_ns[0] for a in answers), min(a.span_ns[1] for a in answers)


def _findings(planes: Mapping[Plane, PlaneAnswer]) -> Iterator[str]:
    known = [(plane, answer) for plane, answer in planes.items() if answer.releases]
    for i, (a, left) in enumerate(known):
        for b, right in known[i + 1 :]:
            if not set(left.releases) & set(right.releases):
                yield (
                    f"{a} and {b} disagree: {', '.join(map(_label, left.releases))} "
                    f"against {', '.join(map(_label, right.releases))}"
                )
