"""What a plan will take: the same tests as the gate's, and what cannot be shown is said."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import pytest

from worldgate.core.errors import UsageError
from worldgate.evidence import forecast, policy
from worldgate.evidence.forecast import Assumed, Need, needs, pairs_needed
from worldgate.evidence.policy import GatePolicy
from worldgate.evidence.sequential import SequentialPlan, fixed_trials


def rule(*checks: dict[str, Any]) -> GatePolicy:
    return policy.read({"name": "p", "kind": "promotion", "checks": list(checks)}, where="p")


def one(check: str, *, pairs: int = 100, **told: Any) -> Need:
    params = told.pop("params", {})
    (need,) = needs(rule({"check": check, "params": params}), pairs=pairs, **told)
    return need


def test_the_shipped_promotion_takes_what_its_tests_take() -> None:
    success, violations = needs(policy.load("promotion"), pairs=100)
    plan = SequentialPlan.make(p0="0.80", alpha="0.05", looks=tuple(range(10, 101, 10)))
    assert (success.fewest, success.scenes) == (30, 100)
    assert success.mean == pytest.approx(float(plan.expected_trials("0.95")))
    assert success.power == pytest.approx(float(sum(plan.crossings("0.95"))))
    assert (violations.fewest, violations.power) == (59, pytest.approx(0.995**59))
    assert success.mean is not None and fixed_trials(plan, 0.95) == 44


def test_a_plan_that_is_cut_short_passes_less_often() -> None:
    whole, short = one("success", pairs=100), one("success", pairs=40)
    assert short.power < whole.power
    assert short.mean is not None and short.mean <= 40
    assert one("success", pairs=20).possible is False
    assert one("success", pairs=0).mean is None


def test_attempts_make_it_dearer() -> None:
    assert one("violations", attempts=3).fewest == 80
    assert one("success", attempts=3).power < one("success").power


def test_a_budget_that_cannot_show_it_is_named() -> None:
    found = needs(policy.load("promotion"), pairs=40)
    told = forecast.limits(found)
    assert any("violations: not with 40 scenes, 59 are the fewest" in line for line in told)
    assert any("success: with" in line for line in forecast.limits(needs(policy.load("promotion"), pairs=35)))
    never = one("success", params={"looks": [5]})
    assert never.fewest is None and not never.possible
    assert "not with any number of these looks" in forecast.limits([never])[0]


def test_strata_are_each_their_own_and_missing_ones_too() -> None:
    given = rule({"check": "strata", "params": {"by": "light", "values": ["dim", "bright"]}})
    found = {n.about: n for n in needs(given, pairs=60, strata={"light": {"dim": 40}})}
    assert found["light=dim"].possible and not found["light=bright"].possible
    open_ = needs(rule({"check": "strata", "params": {"by": "light"}}), pairs=60)
    assert [n.possible for n in open_] == [False]


def test_checks_without_trials_need_nothing() -> None:
    assert needs(rule({"check": "identity"}), pairs=10) == ()


def test_an_exceedance_is_counted_as_violations_are() -> None:
    need = one("exceedance")
    assert (need.fewest, need.about) == (29, "least_clearance_m")


def test_pairs_take_about_what_the_reference_design_found() -> None:
    # 4 % discordant, margin 0.05: power about .73 at 200 and .98 at 400 pairs; margin 0.10: about 62 pairs.
    _, _, at_200 = pairs_needed("0.05", "0.05", most=200, discordant="0.04")
    _, _, at_400 = pairs_needed("0.05", "0.05", most=400, discordant="0.04")
    _, mean, _ = pairs_needed("0.10", "0.05", most=200, discordant="0.04")
    assert 0.6 < at_200 < 0.85 and at_400 > 0.93
    assert mean is not None and 45 < mean < 75


def test_two_releases_that_never_differ_need_a_number_of_pairs_that_is_not_random() -> None:
    fewest, mean, power = pairs_needed("0.10", "0.05", most=200, discordant="0")
    assert (fewest, mean, power) == (45, 45.0, 1.0)
    assert pairs_needed("0.10", "0.05", most=0, discordant="0.1") == (None, None, 0.0)
    assert pairs_needed("0.10", "0.05", most=10, discordant="0")[0] is None
    with pytest.raises(UsageError, match="between 0 and 1"):
        pairs_needed("0.10", "0.05", most=10, discordant="1.1")


def test_a_comparison_needs_a_baseline_and_is_asked_by_stratum() -> None:
    assert not one("not_worse", pairs=200).possible
    assert one("not_worse", pairs=200, baseline=True).possible
    given = rule({"check": "not_worse", "params": {"by": "light"}})
    found = needs(given, pairs=200, strata={"light": {"dim": 100, "bright": 20}}, baseline=True)
    assert {n.about: n.possible for n in found} == {"light=dim": True, "light=bright": False}
    assert [n.possible for n in needs(given, pairs=200, baseline=True)] == [False]


def test_a_canary_of_a_day_sees_a_fault_of_a_hundredth_an_hour_one_time_in_five() -> None:
    assert float(forecast.seen("24", "0.01")) == pytest.approx(0.2134, abs=1e-4)
    assert float(forecast.seen("24", "0.001")) == pytest.approx(0.0237, abs=1e-4)
    assert "24 supervised hours see a fault of 0.01 an hour with 21.3 %" in forecast.noticed("24")
    with pytest.raises(UsageError, match="at least 0"):
        forecast.seen("-1", "0.01")


def test_what_was_assumed_is_held_to_be_a_probability() -> None:
    with pytest.raises(UsageError, match="strictly between"):
        needs(policy.load("promotion"), pairs=100, assumed=Assumed(success="1.0"))
    assert Fraction(Assumed().success) < 1


def test_an_advisory_check_is_told_apart() -> None:
    spec = policy.load("promotion")
    soft = dataclasses.replace(
        spec, checks=tuple(dataclasses.replace(c, blocking=c.check != "success") for c in spec.checks)
    )
    assert [n.blocking for n in needs(soft, pairs=100)] == [False, True]


def test_a_check_that_will_likely_pass_is_no_limit() -> None:
    sure = one("success", pairs=100)
    assert sure.possible and sure.power >= forecast.ENOUGH
    assert forecast.limits([sure]) == []
