"""Exposure: what is told is added up, what is not told is unknown, and what cannot be is no word at all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evidence import promotions_to_sign as signing
from tests.evidence.promotions_to_sign import HOUR_NS, LEFT, NOW, RIGHT, Hall

from worldgate.core.errors import NameRefused, UsageError
from worldgate.evidence import exposure
from worldgate.evidence.exposure import Used, record_exposure, used
from worldgate.evidence.persons import Known
from worldgate.record.workspace import Workspace

DAY = 24 * HOUR_NS


@pytest.fixture
def hall(workspace: Workspace) -> Hall:
    return Hall.of(workspace)


def since(hall: Hall, until: int = NOW + DAY, slots: tuple[str, ...] = (LEFT, RIGHT), start: int = NOW) -> Used:
    return used(Known(hall.ws), hall.release.digest, slots, start, until)


def test_nothing_assigned_and_nothing_told_is_nothing_run(hall: Hall) -> None:
    assert since(hall) == Used(running_ns=0, episodes=0)


def test_windows_of_all_slots_are_added_up(hall: Hall) -> None:
    event = signing.run_for(hall, 2.5, 7)
    signing.run_for(hall, 1, 3, slot=RIGHT)
    signing.run_for(hall, 4, 9, slot="bench/ur5/third")
    assert since(hall) == Used(running_ns=round(3.5 * HOUR_NS), episodes=10)
    assert event.body == {
        "slot": LEFT, "release": hall.release.digest, "running_ns": round(2.5 * HOUR_NS), "episodes": 7
    }  # fmt: skip
    assert (event.valid_from_ns, event.valid_to_ns, event.inputs) == (NOW, NOW + DAY, (hall.release,))
    by = hall.ws.ledger.keyring().find(event.actor)
    assert by is not None and by.name == "service"


def test_an_exposure_is_signed_by_whom_it_is_said_to_be(hall: Hall) -> None:
    event = record_exposure(hall.ws, hall.release, LEFT, (1, 2), running_ns=1, episodes=0, actor="eve")
    by = hall.ws.ledger.keyring().find(event.actor)
    assert by is not None and by.name == "eve"


def test_a_window_counts_whole_as_soon_as_it_touches_the_time(hall: Hall) -> None:
    signing.run_for(hall, 1, 1, start=NOW - DAY)
    signing.run_for(hall, 2, 2, start=NOW - DAY + 1)
    signing.run_for(hall, 4, 4, start=NOW + DAY - 1)
    signing.run_for(hall, 8, 8, start=NOW + DAY)
    assert since(hall) == Used(running_ns=6 * HOUR_NS, episodes=6)


def test_what_is_told_twice_counts_twice(hall: Hall) -> None:
    signing.run_for(hall, 1, 1)
    signing.run_for(hall, 1, 2)
    assert since(hall) == Used(running_ns=2 * HOUR_NS, episodes=3)


def test_an_assignment_must_be_told_of_until_another_follows(hall: Hall) -> None:
    signing.assign_by_hand(hall, LEFT, NOW + HOUR_NS)
    assert since(hall, NOW + HOUR_NS).unknown == ""
    assert since(hall, NOW + HOUR_NS + 1).unknown == f"{LEFT} since 2027-01-15T09:00:00Z"
    signing.assign_by_hand(hall, RIGHT, NOW + HOUR_NS, release="9" * 64)
    signing.assign_by_hand(hall, LEFT, NOW + 3 * HOUR_NS, release="9" * 64)
    signing.run_for(hall, 0, 0, start=NOW + HOUR_NS, window_h=1)
    assert since(hall).unknown == f"{LEFT} since 2027-01-15T10:00:00Z"
    signing.run_for(hall, 0, 0, start=NOW + 2 * HOUR_NS, window_h=1)
    assert since(hall).unknown == ""


def test_an_assignment_from_before_the_time_matters_from_its_start(hall: Hall) -> None:
    signing.assign_by_hand(hall, LEFT, NOW - DAY)
    assert since(hall).unknown == f"{LEFT} since 2027-01-15T08:00:00Z"
    signing.run_for(hall, 0, 0)
    assert since(hall).unknown == ""
    assert since(hall, NOW + DAY + 1).unknown == f"{LEFT} since 2027-01-16T08:00:00Z"


def test_two_assignments_at_one_moment_leave_both_open(hall: Hall) -> None:
    signing.assign_by_hand(hall, LEFT, NOW)
    signing.assign_by_hand(hall, LEFT, NOW, release="9" * 64)
    assert since(hall).unknown != ""


def test_windows_in_any_order_and_overlapping_close_a_span(hall: Hall) -> None:
    signing.assign_by_hand(hall, LEFT, NOW)
    for start, hours in ((12, 12), (0, 8), (2, 3), (6, 6)):
        assert since(hall).unknown != ""
        signing.run_for(hall, 0, 0, start=NOW + start * HOUR_NS, window_h=hours)
    assert since(hall).unknown == ""


def test_what_a_robot_reported_must_be_told_of(hall: Hall) -> None:
    def report(slot: str, release: str, start: int | None, end: int | None) -> None:
        body = {"slot": slot, "release": release}
        hall.ws.record("deployment.reported", body=body, valid_from_ns=start, valid_to_ns=end)

    own = hall.release.digest
    for slot, release, start, end in (
        ("bench/ur5/third", own, NOW, NOW + 5),
        (LEFT, "9" * 64, NOW, NOW + 5),
        (LEFT, own, None, None),
        (LEFT, own, NOW, None),
        (LEFT, own, NOW - 9, NOW),
        (LEFT, own, NOW + DAY, NOW + DAY + 9),
    ):
        report(slot, release, start, end)
    assert since(hall).unknown == ""
    report(LEFT, own, NOW + HOUR_NS, NOW + 2 * HOUR_NS)
    assert since(hall).unknown == f"{LEFT} since 2027-01-15T09:00:00Z"


@pytest.mark.parametrize(
    "change",
    [
        {"running_ns": "long"},
        {"running_ns": None},
        {"running_ns": -1},
        {"running_ns": DAY + 1},
        {"episodes": -1},
        {"episodes": "9"},
        {"episodes": True},
        {"episodes": 1.5},
        {"slot": RIGHT + "x"},
        {"release": "9" * 64},
        {"start": None},
        {"end": None},
    ],
)
def test_an_exposure_that_cannot_be_closes_nothing(hall: Hall, change: dict[str, Any]) -> None:
    told = {
        "slot": LEFT,
        "release": hall.release.digest,
        "running_ns": 5,
        "episodes": 1,
        "start": NOW,
        "end": NOW + DAY,
    }
    told |= change
    start, end = told.pop("start"), told.pop("end")
    signing.assign_by_hand(hall, LEFT, NOW)
    hall.ws.record("exposure.recorded", body=told, valid_from_ns=start, valid_to_ns=end)
    found = since(hall)
    assert (found.running_ns, found.episodes) == (0, 0)
    assert found.unknown != ""


@pytest.mark.parametrize(
    ("window", "running", "episodes"),
    [((5, 5), 0, 0), ((5, 4), 0, 0), ((5, 9), 5, 0), ((0, 9), -1, 0), ((0, 9), 9, -1)],
)
def test_only_what_fits_its_window_is_recorded(
    hall: Hall, window: tuple[int, int], running: int, episodes: int
) -> None:
    with pytest.raises(UsageError, match="fits its window"):
        record_exposure(hall.ws, hall.release, LEFT, window, running_ns=running, episodes=episodes)


def test_a_full_window_and_an_empty_one_are_recorded(hall: Hall) -> None:
    record_exposure(hall.ws, hall.release, LEFT, (NOW, NOW + 1), running_ns=1, episodes=0)
    record_exposure(hall.ws, hall.release, LEFT, (NOW, NOW + 1), running_ns=0, episodes=0)
    with pytest.raises(NameRefused):
        record_exposure(hall.ws, hall.release, "left", (NOW, NOW + 1), running_ns=0, episodes=0)


def test_an_assignment_that_was_refused_ran_nothing(hall: Hall) -> None:
    body = {"slot": LEFT, "release": hall.release.digest}
    hall.ws.record("deployment.refused", body=body, valid_from_ns=NOW, valid_to_ns=NOW + DAY)
    assert since(hall).unknown == ""


def test_only_an_exposure_tells_of_exposure(hall: Hall) -> None:
    body = {"slot": LEFT, "release": hall.release.digest, "running_ns": 5, "episodes": 1}
    hall.ws.record("exposure.guessed", body=body, valid_from_ns=NOW, valid_to_ns=NOW + DAY)
    assert since(hall) == Used(running_ns=0, episodes=0)


def test_what_is_recorded_later_was_not_known_before(hall: Hall) -> None:
    head = hall.ws.ledger.head().seq
    signing.run_for(hall, 1, 1)
    assert used(Known(hall.ws, head), hall.release.digest, (LEFT,), NOW, NOW + DAY).episodes == 0


SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted), max_size=6)


@given(SPANS, SPANS)
def test_a_span_is_open_where_no_window_holds_a_moment_of_it(spans: list[list[int]], windows: list[list[int]]) -> None:
    opened = list(exposure._open([(a, b) for a, b in spans], [(a, b) for a, b in windows]))
    told = {at for a, b in windows for at in range(a, b)}
    missing = [next((at for at in range(a, b) if at not in told), None) for a, b in sorted(spans)]
    assert opened == [at for at in missing if at is not None]
