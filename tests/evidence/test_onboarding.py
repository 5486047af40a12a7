"""Onboarding a site: its own evidence alone, what carries over, and how much is missing."""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any

import pytest
from tests.evidence import site_samples
from tests.evidence.site_samples import LIDAR, STATE

from worldgate.core.errors import NameRefused, UsageError
from worldgate.core.evidence import Status
from worldgate.core.streams import Origin
from worldgate.evidence import policy as policies
from worldgate.evidence.gap import gap
from worldgate.evidence.gap_report import GapConfig
from worldgate.evidence.gate_evidence import TrainingRecord
from worldgate.evidence.onboarding import Onboarding, Outlook, onboard, sentences
from worldgate.evidence.policy import GatePolicy

WORLD = format(0, "064x")
LAYOUT = [f"{LIDAR}/{end}" for end in ("occupied_iou", "free_iou", "path_error")]


def asking(*checks: str, **changes: Any) -> GatePolicy:
    params = {"optimism": {"on": ["episodes"]}, "missed_violations": {"on": ["episodes"]}}
    cheap = {"contact", "calibration", "counterfactual", "action_following", "plausibility", "layout"}
    specs = [
        {"check": c, "params": {**params.get(c, {}), **({"resamples": 200} if c in cheap else {})}} for c in checks
    ]
    tree = {"schema": "worldgate/gate-policy/1", "name": "here", "kind": "admission", "checks": specs, **changes}
    return policies.read(tree, where="here")


def of_two_sites(new: int, **change: Any) -> dict[str, Any]:
    """A document with forty good episodes of one site and some of another."""
    old, fresh = site_samples.report(40), site_samples.report(new, site="harbour", change=change)
    return dataclasses.replace(old, episodes=(*old.episodes, *fresh.episodes)).to_json()


def look(found: Onboarding) -> dict[str, Outlook]:
    return {f"{c.check} {c.signal}".strip(): c for c in found.checks}


def test_every_result_of_a_check_is_told_also_where_it_asks_several_things_of_one_signal(fakes: ModuleType) -> None:
    model = fakes.FakeModel(spec=fakes.spec(digest=WORLD))
    report = gap(model, [fakes.episode(seed) for seed in range(8)], GapConfig(windows=4))
    found = onboard(asking("skill"), [report.to_json()], "bench")
    assert len(found.checks) == 4, "two baselines at two horizons"
    assert len({c.statistic for c in found.checks}) == 4


def test_an_old_sites_evidence_never_counts_at_a_new_one() -> None:
    found = onboard(asking("optimism", "calibration"), [of_two_sites(3)], "harbour")
    assert (found.episodes, found.elsewhere, found.ready) == (3, ("bench",), False)
    for outlook in found.checks:
        assert (outlook.here, outlook.elsewhere, outlook.carries) == (
            Status.INCONCLUSIVE, Status.PASS, "not yet known"
        )  # fmt: skip
        assert outlook.n == 3


def test_how_many_more_episodes_each_check_would_need_is_where_it_then_passes() -> None:
    policy = asking("optimism", "calibration")
    found = look(onboard(policy, [of_two_sites(3)], "harbour"))
    optimism, calibration = found[f"optimism {STATE} optimism"], found[f"calibration {STATE} drawn"]
    assert optimism.more is not None and calibration.more is not None
    assert calibration.more <= 3 < optimism.more
    assert 29 <= 3 + optimism.more <= 31, "29 clean episodes show 10 % at 95 %, told to within a sixteenth"
    there = look(onboard(policy, [of_two_sites(3 + optimism.more)], "harbour"))
    assert there[f"optimism {STATE} optimism"].here is Status.PASS


def test_what_passes_elsewhere_and_fails_here_does_not_transfer() -> None:
    document = of_two_sites(40, **{f"{STATE}/coverage_90_drawn": lambda i: (20.0, 40.0)})
    found = onboard(asking("calibration", "determinism", "optimism"), [document], "harbour")
    calibration = look(found)[f"calibration {STATE} drawn"]
    assert (calibration.carries, calibration.more) == ("does not transfer", None)
    assert {c.carries for c in found.checks} == {"does not transfer", "transfers"}
    assert found.more is None
    assert any("does not transfer: calibration" in line for line in sentences(found))


def test_a_model_that_was_bad_everywhere_or_good_only_here_is_told_so() -> None:
    bad = of_two_sites(40)
    bad["episodes"] = [
        {**e, "rows": [{**r, "sums": [20.0, 40.0]} if "coverage" in r["figure"] else r for r in e["rows"]]}
        if e["site"] == "bench"
        else e
        for e in bad["episodes"]
    ]
    policy = asking("calibration")
    assert {c.carries for c in onboard(policy, [bad], "harbour").checks} == {"only here"}
    assert {c.carries for c in onboard(policy, [bad], "bench").checks} == {"does not transfer"}
    worse = of_two_sites(40, **{f"{STATE}/coverage_90_drawn": lambda i: (20.0, 40.0)})
    worse["episodes"] = [e for e in worse["episodes"] if e["site"] == "harbour"] + [
        e for e in bad["episodes"] if e["site"] == "bench"
    ]
    assert {c.carries for c in onboard(policy, [worse], "harbour").checks} == {"holds nowhere"}


def test_a_site_that_is_ready_says_so_and_one_without_episodes_says_what_lacks() -> None:
    ready = onboard(asking("optimism", "determinism"), [of_two_sites(40)], "harbour")
    assert ready.ready and ready.more == 0
    assert "every check passes here: ask the gate" in sentences(ready)
    empty = onboard(asking("optimism", "determinism"), [of_two_sites(0)], "harbour")
    assert (empty.episodes, empty.ready, empty.more) == (0, False, None)
    assert any("nothing can be projected" in line for line in sentences(empty))
    lacking = onboard(asking("layout"), [of_two_sites(6, **dict.fromkeys(LAYOUT, lambda i: None))], "harbour")
    assert any("more episodes alone will not settle: layout" in line for line in sentences(lacking))


def test_a_new_site_has_its_own_horizon(fakes: ModuleType) -> None:
    model = fakes.FakeModel(spec=fakes.spec(digest=WORLD))
    old = [fakes.episode(seed) for seed in range(20)]
    new = [fakes.episode(seed, site="harbour") for seed in range(30, 36)]
    report = gap(model, [*old, *new], GapConfig(windows=4, epsilon={STATE: 0.05}))
    training = TrainingRecord.of_model(model.spec, episodes=("other",), origin=Origin.REAL)
    found = onboard(asking("schema", "horizon", "skill"), [report.to_json(), training.to_json()], "harbour")
    (reach,) = found.horizons
    assert reach.elsewhere_s == 1.0
    assert reach.here_s == 0.0, "six clean episodes show 0.61, not 0.8"
    horizon = look(found)[f"horizon {STATE}"]
    assert horizon.here is Status.INCONCLUSIVE
    assert horizon.more is not None and 14 <= 6 + horizon.more <= 16
    assert any("H(epsilon) of observation.state: 0 s here, 1 s elsewhere" in line for line in sentences(found))
    assert any("episodes more would settle" in line for line in sentences(found))
    nowhere = gap(model, new, GapConfig(windows=4))
    (unknown,) = onboard(asking("horizon"), [nowhere.to_json()], "harbour").horizons
    assert (unknown.here_s, unknown.elsewhere_s) == (None, None)


def test_data_of_an_origin_that_does_not_count_is_left_out() -> None:
    document = {**of_two_sites(40), "origin": "simulated"}
    assert onboard(asking("optimism"), [document], "harbour").episodes == 0
    stands_in = asking("optimism", population="simulated stands in for real")
    assert onboard(stands_in, [document], "harbour").episodes == 40


def test_what_cannot_be_onboarded_is_refused() -> None:
    with pytest.raises(UsageError, match="admission policy"):
        onboard(policies.load("promotion"), [of_two_sites(3)], "harbour")
    with pytest.raises(UsageError, match="one world model"):
        onboard(asking("optimism"), [], "harbour")
    with pytest.raises(NameRefused):
        onboard(asking("optimism"), [of_two_sites(3)], "../harbour")


def test_a_projection_gives_up_on_what_no_number_of_episodes_would_show() -> None:
    halfway = {f"{STATE}/optimism": lambda i: (0.4, 4.0)}
    found = look(onboard(asking("optimism"), [of_two_sites(3, **halfway)], "harbour"))
    assert found[f"optimism {STATE} optimism"].more is None
