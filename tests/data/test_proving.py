"""What counts as caught, as a false alarm and as true beside it; the tables name what there is; the intervals."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from worldgate.core.seams import cards
from worldgate.core.streams import Finding, Kind, Origin, Stream, StreamInfo
from worldgate.data import checks, injectors, proving
from worldgate.data.injectors import Truth, kinds

SECOND = 10**9


def finding(stream: str, *spans: tuple[int, int], message: str = "is wrong") -> Finding:
    return Finding(check="c", stream=stream, message=message, value=1.0, limit=0.0, unit="", spans_ns=spans)


def test_the_tables_name_injectors_and_checks_that_there_are_and_leave_none_out() -> None:
    assert set(proving.CAUGHT_BY) == set(cards("injectors"))
    assert set(proving.CAUGHT_BY.values()) == set(cards("checks"))
    assert set(proving.ALSO_TRUE) <= set(proving.CAUGHT_BY)
    for also in proving.ALSO_TRUE.values():
        assert also <= set(cards("checks"))
    assert set(proving.kinds_for(cards("checks"))) == set(kinds())


def test_a_finding_counts_where_it_names_the_hurt_stream_near_the_hurt_span() -> None:
    truth = [Truth(stream="a", spans_ns=((10 * SECOND, 11 * SECOND),))]
    assert proving.where(finding("a", (10 * SECOND, 10 * SECOND + 1)), truth)
    assert proving.where(finding("a"), truth)
    assert proving.where(finding("b", message="apart from a"), truth)
    assert not proving.where(finding("b"), truth)
    assert not proving.where(finding("a", (0, SECOND), (13 * SECOND, 14 * SECOND)), truth)
    assert proving.where(finding("b"), [Truth(stream="")])


@pytest.mark.parametrize(("hits", "trials", "low", "high"), [(0, 10, 0.0, 0.278), (9, 10, 0.596, 0.982), (0, 0, 0, 1)])
def test_wilsons_interval_is_the_published_one(hits: int, trials: int, low: float, high: float) -> None:
    assert proving.wilson(hits, trials) == pytest.approx((low, high), abs=0.001)


def test_no_alarm_in_an_hour_bounds_the_rate_by_3_7_and_no_time_by_nothing() -> None:
    assert proving.hourly(0, 3600.0) == pytest.approx((0.0, -math.log(0.025)))
    assert proving.hourly(3, 1800.0)[0] == 6.0
    assert proving.hourly(0, 0.0)[1] == math.inf


class Arm:
    """A log of one arm in memory."""

    name, origin, facts, findings = "arm", Origin.REAL, {"success": True}, ()

    def __init__(self) -> None:
        times = np.arange(400, dtype=np.int64) * 20_000_000
        phase = times[:, None] / SECOND * (1.0, 1.3, 0.7)
        info = StreamInfo(
            name="observation.state", kind=Kind.VECTOR, count=400, shape=(3,), unit="rad,rad,m", rate_hz=50.0
        )
        self.held = Stream(info=info, times_ns=times, values=np.sin(phase) + 0.01 * phase)

    def streams(self) -> tuple[StreamInfo, ...]:
        return (self.held.info,)

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        assert (stream, window_ns) == ("observation.state", None)
        return self.held


@pytest.mark.parametrize("check", sorted(cards("checks")))
@pytest.mark.parametrize("kind", ["misdeclared.width", "misdeclared.names", "not_a_number.rows", "clock_set.reset"])
def test_no_check_stumbles_over_a_log_that_lies_about_itself(check: str, kind: str) -> None:
    """Named reproduction: four channels declared over three units stopped `spike` with an IndexError."""
    checks.run(check, injectors.inject(Arm(), kind, 1.0))


def test_every_fault_that_a_contract_is_to_find_is_tried_at_its_least_magnitude() -> None:
    proof = proving.prove([Arm()], {"finite": {}, "gaps": {}, "frozen": {}})
    caught = {line.kind: (line.caught, line.trials) for line in proof.lines}
    assert caught["not_a_number.nan"] == caught["silence.middle"] == (1, 1)
    assert caught["freeze.exact"] == (0, 0), "a log without a camera has nothing to freeze"
    assert proof.alarms == {"finite": 0, "gaps": 0, "frozen": 0}
    assert proof.seconds == pytest.approx(7.98)


def test_a_check_that_speaks_up_anyway_proves_nothing_and_others_are_false_alarms() -> None:
    arm = Arm()
    rules = {"gaps": {"periods": 0.5, "least_s": 0.0}, "finite": {}, "stamps": {}}
    before = proving.held_as_it_is(arm, rules)
    case = proving.tried(arm, before, "silence.middle", 1.0, rules, others=True)
    assert case is not None and case.blind and case.alarms == ()
    odd = proving.tried(arm, proving.held_as_it_is(arm, rules), "not_a_number.nan", 1.0, rules, others=True)
    assert odd is not None and odd.caught and not odd.blind


def test_a_fault_without_a_trace_is_counted_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    made = injectors.inject

    def traceless(*args: Any, **given: Any) -> injectors.Injected:
        return replace(made(*args, **given), trace=False)

    monkeypatch.setattr(injectors, "inject", traceless)
    (line,) = proving.prove([Arm()], {"finite": {}}, faults=["not_a_number.nan"]).lines
    assert (line.caught, line.trials, line.blind, line.hidden) == (0, 0, 0, 1)
