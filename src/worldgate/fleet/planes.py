"""From facts about one slot to what may have run there at any time: pure functions, no ledger, no guess.

Three planes, never merged: *desired* (what was assigned), *reported* (what the robot's signed boot receipts say),
*observed* (what recordings are stamped with). A fact's boundaries are known to ± an error, so each fact gives a span in
which its release is *possible* and a span that is *covered* (some fact certainly holds). At a time t the plane's labels
are the releases possible there, and "nothing known" unless t is covered. One label is CERTAIN, several AMBIGUOUS, none
UNKNOWN. What each kind of fact says:

- *open* (an assignment): from start ± e until the next one starts. F can be the last one started at t unless another
  certainly started after F's latest start; so F is possible on [lo_F, min{hi_G : lo_G > hi_F}).
- *span* (a recording, an imported row): possible on [lo_start, hi_end), covered on [hi_start, lo_end).
- *boot receipt*: counted by the robot. Boot n holds until boot n+1, whose receipt shows the count; where a count is
  missing, or nothing newer has come, it covers no more than the last sign of life. Counts also order boots whose clock
  errors overlap.

Times are int64 ns; spans half-open; "hi" and "lo" are a boundary's latest and earliest possible time.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby, pairwise

FOREVER_NS = 2**63 - 1
NEVER_NS = -(2**63)


class Plane(StrEnum):
    """Who says so."""

    DESIRED = "desired"
    REPORTED = "reported"
    OBSERVED = "observed"


class Form(StrEnum):
    """What kind of statement a fact is."""

    OPEN = "open"
    SPAN = "span"
    BOOT = "boot"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Fact:
    """One statement about one slot and plane. Ordered and hashable, so that a set of facts is a canonical thing."""

    form: Form
    release: str
    from_ns: int
    to_ns: int = FOREVER_NS
    """End of a span, exclusive; last sign of life of a boot; unused by an open fact."""
    err_ns: int = 0
    boot: int = 0
    evidence: str = ""
    """Digest of the event that says so."""


@dataclass(frozen=True, slots=True)
class _Interval:
    lo: int
    hi: int
    fact: Fact | None
    """``None``: covered; otherwise the fact that is possible here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A half-open span of time over which a plane's answer does not change."""

    from_ns: int
    to_ns: int
    releases: frozenset[str]
    covered: bool
    """Whether some release of ``releases`` certainly held; otherwise nothing known is possible too."""
    facts: frozenset[Fact]


@dataclass(frozen=True, slots=True)
class Timeline:
    """One plane of one slot, compiled: a lookup is one bisection."""

    starts: Sequence[int]
    segments: Sequence[Segment]

    def at(self, time_ns: int, error_ns: int = 0) -> Sequence[Segment]:
        """The segments that ``time_ns`` ± ``error_ns`` touches."""
        first = bisect.bisect_right(self.starts, time_ns - error_ns) - 1
        last = bisect.bisect_right(self.starts, time_ns + error_ns) if error_ns else first + 1
        return self.segments[first:last]


def compile_timeline(facts: Iterable[Fact]) -> Timeline:
    """Compile facts, in whatever order and however often they came, into segments that tile all of time."""
    unique = sorted(set(facts))
    intervals = [
        *_open(tuple(f for f in unique if f.form is Form.OPEN)),
        *(i for f in unique if f.form is Form.SPAN for i in _span(f)),
        *_boots(tuple(f for f in unique if f.form is Form.BOOT)),
    ]
    return _sweep(i for i in intervals if i.lo < i.hi)


def _open(facts: Sequence[Fact]) -> Iterator[_Interval]:
    if not facts:
        return
    by_lo = sorted(facts, key=lambda f: f.from_ns - f.err_ns)
    los = [f.from_ns - f.err_ns for f in by_lo]
    latest: list[int] = [FOREVER_NS] * (len(by_lo) + 1)  # latest[i]: earliest certain start among facts i and after
    for i in range(len(by_lo) - 1, -1, -1):
        latest[i] = min(latest[i + 1], by_lo[i].from_ns + by_lo[i].err_ns)
    for fact, lo in zip(by_lo, los, strict=True):
        yield _Interval(lo, latest[bisect.bisect_right(los, fact.from_ns + fact.err_ns)], fact)
    yield _Interval(latest[0], FOREVER_NS, None)


def _span(fact: Fact) -> Iterator[_Interval]:
    yield _Interval(fact.from_ns - fact.err_ns, fact.to_ns + fact.err_ns, fact)
    yield _Interval(fact.from_ns + fact.err_ns, fact.to_ns - fact.err_ns, None)


@dataclass(frozen=True, slots=True)
class _Boot:
    number: int
    facts: tuple[Fact, ...]
    """All receipts of this boot; more than one release means that they contradict each other."""
    lo: int
    hi: int
    alive_lo: int
    alive_hi: int


def _boots(facts: Iterable[Fact]) -> Iterator[_Interval]:
    boots = _merged(facts)
    broken = _stepped_back(boots)
    for chain in _chains(boots, broken):
        yield from _chain(chain)


def _merged(facts: Iterable[Fact]) -> list[_Boot]:
    ordered = sorted((f for f in facts if f.form is Form.BOOT), key=_number)
    return [_merge(number, tuple(group)) for number, group in groupby(ordered, key=_number)]


def _number(fact: Fact) -> int:
    return fact.boot


def _stepped_back(boots: Sequence[_Boot]) -> frozenset[int]:
    """Boots whose times contradict the count: some clock was off by more than it said, so they cover nothing."""
    broken: set[int] = set()
    latest = NEVER_NS
    for boot in boots:
        if boot.hi < latest:
            broken.add(boot.number)
        latest = max(latest, boot.lo, boot.alive_lo)
    earliest = FOREVER_NS
    for boot in reversed(boots):
        if max(boot.lo, boot.alive_lo) > earliest:
            broken.add(boot.number)
        earliest = min(earliest, boot.hi)
    return frozenset(broken)


def _merge(number: int, facts: tuple[Fact, ...]) -> _Boot:
    """All receipts of one boot speak of one start: their windows intersect, or, where they cannot, unite."""
    lo, hi = max(f.from_ns - f.err_ns for f in facts), min(f.from_ns + f.err_ns for f in facts)
    if lo > hi:
        lo, hi = min(f.from_ns - f.err_ns for f in facts), max(f.from_ns + f.err_ns for f in facts)
    return _Boot(number, facts, lo, hi, max(f.to_ns - f.err_ns for f in facts), max(f.to_ns + f.err_ns for f in facts))


def _chains(boots: Sequence[_Boot], broken: frozenset[int]) -> Iterator[list[_Boot]]:
    """Runs of consecutive counts, each boot's window narrowed by those before it."""
    chain: list[_Boot] = []
    for boot in boots:
        if boot.number in broken:
            # Possible where it says, but with an empty covered span: a clock that lied cannot make anything certain.
            yield [replace(boot, alive_lo=NEVER_NS)]
        elif chain and boot.number == chain[-1].number + 1:
            chain.append(replace(boot, lo=max(boot.lo, chain[-1].lo, chain[-1].alive_lo)))
        else:
            if chain:
                yield chain
            chain = [boot]
    if chain:
        yield chain


def _chain(chain: Sequence[_Boot]) -> Iterator[_Interval]:
    """Boot n may hold from its earliest start to boot n+1's latest; together they leave no hole."""
    hi = [boot.hi for boot in chain]
    for i in range(len(chain) - 2, -1, -1):
        hi[i] = min(hi[i], hi[i + 1])
    for i, boot in enumerate(chain):
        end = hi[i + 1] if i + 1 < len(chain) else max(boot.alive_hi, hi[i])
        for fact in boot.facts:
            yield _Interval(boot.lo, end + 1, fact)
    yield _Interval(hi[0], chain[-1].alive_lo, None)


def _sweep(intervals: Iterable[_Interval]) -> Timeline:
    """Segments between all boundaries, neighbours that say the same joined."""
    changes: dict[int, list[tuple[int, Fact | None]]] = {NEVER_NS: []}
    for interval in intervals:
        changes.setdefault(interval.lo, []).append((1, interval.fact))
        changes.setdefault(interval.hi, []).append((-1, interval.fact))
    active: Counter[Fact | None] = Counter()
    segments: list[Segment] = []
    starts = sorted(changes)
    for start, end in zip(starts, [*starts[1:], FOREVER_NS], strict=True):
        for step, fact in changes[start]:
            active[fact] += step
            if not active[fact]:
                del active[fact]
        facts = frozenset(f for f in active if f is not None)
        segment = Segment(
            from_ns=start,
            to_ns=end,
            releases=frozenset(f.release for f in facts),
            covered=None in active,
            facts=facts,
        )
        if segments and (segments[-1].facts, segments[-1].covered) == (segment.facts, segment.covered):
            segments[-1] = replace(segments[-1], to_ns=end)
        elif start < end:
            segments.append(segment)
    return Timeline([s.from_ns for s in segments], segments)


def contradictions(facts: Iterable[Fact]) -> Iterator[str]:
    """What the receipts of one slot say against each other, in words; each is a finding, none is resolved."""
    boots = _merged(facts)
    for boot in boots:
        releases = {f.release for f in boot.facts}
        if len(releases) > 1:
            yield f"receipts of boot {boot.number} name {len(releases)} releases"
    broken = sorted(_stepped_back(boots))
    if broken:
        yield f"times of boots {', '.join(map(str, broken))} contradict their count: the robot's clock stepped back"
    for a, b in pairwise(boots):
        if b.number > a.number + 1:
            yield f"receipts of boots {a.number + 1} to {b.number - 1} are missing"
