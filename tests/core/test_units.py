"""Units: a closed table, one symbol for all channels or one each, nothing converted silently."""

from __future__ import annotations

import pytest

from worldgate.core.errors import UsageError
from worldgate.core.units import UNITS, check_unit, same_unit


def test_each_dimension_has_one_base_unit() -> None:
    bases = [unit.dimension for unit in UNITS.values() if unit.factor == 1.0]
    assert sorted(bases) == sorted({unit.dimension for unit in UNITS.values()})


def test_one_symbol_serves_every_channel_and_a_list_serves_one_each() -> None:
    assert [u.symbol for u in check_unit("rad", channels=7)] == ["rad"]
    assert [u.symbol for u in check_unit("m,m,rad", channels=3)] == ["m", "m", "rad"]
    assert check_unit("", channels=3) == ()


def test_a_list_of_another_length_is_refused() -> None:
    with pytest.raises(UsageError, match="as many units as channels"):
        check_unit("m,m,rad", channels=4)


@pytest.mark.parametrize(("text", "hint"), [("radian", "rad"), ("Rad", "rad"), ("N m", "N"), ("m, m", "m")])
def test_an_unknown_symbol_is_refused_with_the_nearest(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_unit(text)
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_degrees_are_not_radians_and_an_angle_is_no_ratio() -> None:
    assert same_unit("rad", "rad,rad,rad")
    assert same_unit("m,m,rad", "m,m,rad")
    assert not same_unit("rad", "deg")
    assert not same_unit("rad", "1")
    assert not same_unit("m,m,rad", "m,rad,m")
    assert not same_unit("m,m", "m,m,m")


def test_an_unknown_unit_equals_nothing_itself_included() -> None:
    assert not same_unit("", "")
    assert not same_unit("m", "")
