"""The ribbon draws what the projection says: filled where certain, hatched where not, nothing where unknown."""

from __future__ import annotations

from worldgate.core.times import SECOND
from worldgate.fleet.deployments import Deployments
from worldgate.fleet.planes import Fact, Form, Plane
from worldgate.fleet.ribbon import ribbon

DAY = 86_400 * SECOND
START = 1_700_000_000 * SECOND


def drawn(err_ns: int) -> list[tuple[bool, float]]:
    known = Deployments()
    spans = (("a" * 64, START, START + 2 * DAY), ("b" * 64, START + 2 * DAY, START + 4 * DAY))
    for release, start, end in spans:
        fact = Fact(form=Form.SPAN, release=release, from_ns=start, to_ns=end, err_ns=err_ns, evidence=release)
        known.learn("s/r/a", Plane.REPORTED, fact, START)
    figure = ribbon(known, ["s/r/a"], START - DAY, START + 6 * DAY, names={"a" * 64: "r0"}, marks={"now": START})
    return [(bool(bar.get_hatch()), float(bar.get_width())) for bar in figure.axes[0].patches]  # type: ignore[attr-defined]


def test_certain_stretches_are_filled_and_leave_the_unknown_empty() -> None:
    bars = drawn(err_ns=0)
    assert sum(width for hatched, width in bars if not hatched) > 3.9
    assert sum(width for _, width in bars) < 4.1, "the days before and after are unknown, so nothing is drawn there"


def test_a_switch_within_clock_error_is_hatched_for_both_releases() -> None:
    bars = drawn(err_ns=DAY // 2)
    assert sum(hatched for hatched, _ in bars) >= 4, "both edges and, at the switch, both releases"
