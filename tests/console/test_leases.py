"""Leases: devices get whole pairs in the plan's order, and never one that another holds."""

from __future__ import annotations

from worldgate.console.leases import Leases
from worldgate.evidence.plans import Row

LEFT, RIGHT = "bench/ur5/left", "bench/ur5/right"


def rows(slots: list[str]) -> list[Row]:
    found = []
    for pair, slot in enumerate(slots, 1):
        found += [Row(scenario=f"{pair:064x}", seed=pair, slot=slot, side=side, pair=pair) for side in ("new", "old")]
    return found


def test_devices_get_different_pairs_in_order() -> None:
    leases = Leases(rows([LEFT] * 4), span_ns=100, pairs=1)
    assert leases.take("one", LEFT, set(), 0) == [1, 2]
    assert leases.take("two", LEFT, set(), 0) == [3, 4]
    assert leases.take("one", LEFT, {1}, 10) == [2]


def test_a_device_gets_rows_of_its_own_arm_alone() -> None:
    leases = Leases(rows([LEFT, RIGHT, LEFT]), span_ns=100, pairs=2)
    assert leases.take("one", RIGHT, set(), 0) == [3, 4]
    assert leases.take("two", LEFT, set(), 0) == [1, 2, 5, 6]


def test_a_pair_is_never_split_between_devices() -> None:
    leases = Leases(rows([LEFT, LEFT]), span_ns=100, pairs=1)
    leases.take("one", LEFT, set(), 0)
    assert leases.take("two", LEFT, {1}, 0) == [3, 4]


def test_rows_of_a_device_that_fell_silent_go_to_another() -> None:
    leases = Leases(rows([LEFT]), span_ns=100, pairs=1)
    leases.take("one", LEFT, set(), 0)
    assert leases.take("two", LEFT, set(), 99) == []
    assert leases.holder(1, 99) == "one"
    assert leases.take("two", LEFT, set(), 100) == [1, 2]
    assert leases.holder(1, 150) == "two"


def test_asking_again_keeps_rows_longer_and_giving_back_lets_them_go() -> None:
    leases = Leases(rows([LEFT]), span_ns=100, pairs=1)
    leases.take("one", LEFT, set(), 0)
    leases.take("one", LEFT, set(), 90)
    assert leases.holder(1, 150) == "one"
    leases.give_back("one")
    assert leases.holder(1, 150) == ""
