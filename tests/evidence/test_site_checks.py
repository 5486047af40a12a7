"""The gap checks per site: what each catches, what each cannot say, and how often each errs at its limit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evidence import site_samples
from tests.evidence.site_samples import FORCE, GOOD, LIDAR, STATE, report, trials

from worldgate.core import seams
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.evidence import CheckResult, Status
from worldgate.evidence.drift import MOST, permutation_p, smallest_p, thinned
from worldgate.evidence.evaluation.sums import REDUCTIONS
from worldgate.evidence.gap_bounds import Unmeasured
from worldgate.evidence.gate_evidence import GateEvidence
from worldgate.evidence.site_bounds import mean_upper, median, middle, quotient, rate, shares
from worldgate.evidence.site_report import SiteReport

PASS, FAIL, INCONCLUSIVE = Status.PASS, Status.FAIL, Status.INCONCLUSIVE


def evidence(measured: SiteReport | None, **changes: Any) -> GateEvidence:
    fields: dict[str, Any] = {"subject": format(0, "064x"), "sites": ("bench",), "now_ns": 0, "measured": measured}
    return GateEvidence(**{**fields, **changes})


def ask(check: str, measured: SiteReport | None, **params: Any) -> dict[str, CheckResult]:
    module = seams.load("gates", check)
    if "resamples" in {f.name for f in dataclasses.fields(module.Config)}:
        params = {"resamples": 400, **params}
    return {r.signal: r for r in module.check(module.Config(**params), evidence(measured))}


def flat(*sums: float | None) -> Callable[[int], tuple[float | None, ...]]:
    return lambda number: sums


WORSE = [
    ("action_following", "states", {"states/action_gain": flat(40.0, 20.0)}),
    ("action_following", "states", {"states/action_gain": flat(40.0, 60.0)}),
    ("action_following", "states", {"states/action_gain": flat(40.0, -5.0)}),
    ("action_following", f"{STATE} standing still", {f"{STATE}/still_motion": flat(3.0, 4.0)}),
    ("counterfactual", STATE, {f"{STATE}/counterfactual_gain": flat(8.0, 1.0)}),
    ("contact", f"{FORCE} F1", {f"{FORCE}/onset_f1": flat(1.0, 6.0, 5.0)}),
    ("contact", f"{FORCE} timing", {f"{FORCE}/onset_late": flat(0.0, 0.0, 0.0, 0.0, 5.0)}),
    ("plausibility", "limits", {"violations/limits": flat(20.0, 2.0)}),
    ("calibration", f"{STATE} drawn", {f"{STATE}/coverage_90_drawn": flat(20.0, 40.0)}),
    ("calibration", f"{STATE} drawn", {f"{STATE}/coverage_90_drawn": flat(40.0, 40.0)}),
    ("optimism", f"{STATE} optimism", {f"{STATE}/optimism": flat(2.0, 4.0)}),
    ("optimism", f"{STATE} recall", {f"{STATE}/recall": flat(0.0, 2.0)}),
    ("missed_violations", f"{FORCE}/force_crossings", {f"{FORCE}/force_crossings": flat(0.0, 0.0, 1.0, 3.0)}),
    ("layout", f"{LIDAR}/occupied_iou", {f"{LIDAR}/occupied_iou": flat(40.0, 200.0)}),
    ("layout", f"{LIDAR}/path_error", {f"{LIDAR}/path_error": flat(40.0, 100.0)}),
    ("determinism", "", {"same_seed": lambda i: (float(i != 3), 1.0)}),
]


@pytest.mark.parametrize(("check", "signal", "change"), WORSE)
def test_each_check_fails_the_model_that_is_bad_in_its_own_way(
    check: str, signal: str, change: dict[str, Callable[[int], tuple[float | None, ...]]]
) -> None:
    assert ask(check, report())[signal].status is PASS
    found = ask(check, report(change=change))
    assert found[signal].status is FAIL, found[signal]
    assert {r.status for s, r in found.items() if s != signal} <= {PASS}
    others = [c for c, _, _ in WORSE if c != check]
    assert all(r.status is PASS for other in set(others) for r in ask(other, report(change=change)).values())


@pytest.mark.parametrize(("check", "signal", "change"), WORSE)
def test_what_is_not_finite_is_never_passed(
    check: str, signal: str, change: dict[str, Callable[[int], tuple[float | None, ...]]]
) -> None:
    (figure,) = change
    broken = {figure: lambda i: (None,) * 5 if i == 7 else next(v for (n, _, _), v in GOOD.items() if n == figure)}
    assert ask(check, report(change=broken))[signal].status is FAIL
    gone = ask(check, report(change={figure: lambda i: None}))
    assert PASS not in {r.status for s, r in gone.items() if s in {signal, ""}}


@pytest.mark.parametrize("check", sorted({c for c, _, _ in WORSE} - {"determinism"}))
def test_four_episodes_can_show_nothing(check: str) -> None:
    found = ask(check, report(4))
    assert {r.status for r in found.values()} == {INCONCLUSIVE}
    assert all(r.detail for r in found.values())


def test_a_read_out_that_does_not_tell_real_actions_decides_nothing() -> None:
    measured = report()
    weak = [
        dataclasses.replace(
            e,
            rows=tuple(
                dataclasses.replace(r, sums=(100.0, 70.0, 0.0, 100.0))
                if (r.figure, r.contender) == ("states/action_r2", "real")
                else r
                for r in e.rows
            ),
        )
        for e in measured.episodes
    ]
    found = ask("action_following", dataclasses.replace(measured, episodes=tuple(weak)))
    assert found["states"].status is INCONCLUSIVE
    assert "0.3 of real actions" in found["states"].detail


def without(measured: SiteReport, figure: str, contender: str) -> SiteReport:
    rows = [
        dataclasses.replace(e, rows=tuple(r for r in e.rows if (r.figure, r.contender) != (figure, contender)))
        for e in measured.episodes
    ]
    return dataclasses.replace(measured, episodes=tuple(rows))


def test_without_a_real_pair_the_response_is_held_against_the_command() -> None:
    alone = ask("action_following", without(report(), "states/action_gain", "real"))["states"]
    assert float(alone.estimate) == pytest.approx(38 / 40)
    assert float(ask("action_following", report())["states"].estimate) == pytest.approx(38 / 37, rel=1e-5)


def test_real_actions_that_cannot_be_read_back_and_episodes_without_windows_decide_nothing() -> None:
    measured = report()
    turned = [
        dataclasses.replace(
            e,
            rows=tuple(
                dataclasses.replace(r, sums=(40.0, -1.0))
                if (r.figure, r.contender) == ("states/action_gain", "real")
                else r
                for r in e.rows
            ),
        )
        for e in measured.episodes
    ]
    found = ask("action_following", dataclasses.replace(measured, episodes=tuple(turned)))
    assert found["states"].status is INCONCLUSIVE
    assert "read back" in found["states"].detail
    empty = ask("optimism", report(change={f"{STATE}/optimism": flat(0.0, 0.0)}))
    assert empty[f"{STATE} optimism"].status is INCONCLUSIVE


def test_pictures_are_judged_only_where_there_is_nothing_else() -> None:
    camera = "observation.images.front"

    def renamed(name: str) -> str:
        return name.replace("states/", f"{camera}/")

    measured = report()
    seen = [
        dataclasses.replace(e, rows=(*e.rows, *(
            dataclasses.replace(r, figure=renamed(r.figure)) for r in e.rows if r.figure.startswith("states/")
        )))
        for e in measured.episodes
    ]  # fmt: skip
    both = dataclasses.replace(measured, episodes=tuple(seen))
    assert set(ask("action_following", both)) == {"states", f"{STATE} standing still"}
    assert camera in ask("action_following", both, labels=(camera,))
    only = without(without(both, "states/action_gain", "model"), "states/action_r2", "real")
    assert camera in ask("action_following", only)


def test_a_wide_interval_that_holds_nominal_is_no_calibration() -> None:
    spread = {f"{STATE}/coverage_90_drawn": lambda i: (40.0 if i % 2 else 32.0, 40.0)}
    found = ask("calibration", report(6, change=spread), tolerance="0.05")[f"{STATE} drawn"]
    assert found.status is INCONCLUSIVE
    assert "contains 0.9" in found.detail
    assert ask("calibration", report(60, change=spread), tolerance="0.05")[f"{STATE} drawn"].status is PASS


def test_false_alarms_are_told_and_decide_nothing() -> None:
    alarms = {f"{FORCE}/force_crossings": lambda i: (1.0, 0.0, 0.0, 3.0) if i % 2 else (0.0, 4.0, 0.0, 0.0)}
    found = ask("missed_violations", report(change=alarms))[f"{FORCE}/force_crossings"]
    assert found.status is PASS
    assert "20 false alarms in the 20 episodes" in found.detail
    quiet = {f"{FORCE}/force_crossings": flat(0.0, 0.0, 0.0, 4.0)}
    assert ask("missed_violations", report(change=quiet))[f"{FORCE}/force_crossings"].status is INCONCLUSIVE


def test_whoever_measures_does_not_choose_the_limit_or_the_tolerance() -> None:
    crossings = f"{FORCE}/force_crossings"
    assert ask("missed_violations", report(), force_limit_n="40")[crossings].status is PASS
    for settings in ({}, {"force_limit_n": 400.0}):
        found = ask("missed_violations", report(settings=settings), force_limit_n="40")[crossings]
        assert found.status is INCONCLUSIVE
        assert "the policy's limit is 40" in found.detail
    assert ask("missed_violations", report(settings={}))[crossings].status is PASS, "where the policy names none"
    assert {r.status for r in ask("layout", report(layout="a" * 64), layout="a" * 64).values()} == {PASS}
    assert {r.status for r in ask("layout", report(layout="a" * 64), layout="b" * 64).values()} == {INCONCLUSIVE}
    for settings in ({}, {"contact_tolerance_s": 2.0}):
        (wide,) = ask("contact", report(settings=settings)).values()
        assert wide.status is INCONCLUSIVE
        assert "within 0.15 s" in wide.detail
    assert ask("contact", report(settings={"contact_tolerance_s": 0.05}))[f"{FORCE} F1"].status is PASS


def test_a_site_that_looks_otherwise_raises_the_alarm_and_one_that_looks_alike_does_not() -> None:
    assert ask("drift", report())[""].status is PASS
    assert ask("drift", report(shift=80))[""].status is FAIL
    assert ask("drift", report(4))[""].status is INCONCLUSIVE
    assert ask("drift", report(shift=80), permutations=50)[""].status is INCONCLUSIVE, "p cannot be that small"
    assert ask("drift", report(calibration=()))[""].status is INCONCLUSIVE


def test_a_policy_that_names_no_source_decides_nothing() -> None:
    for check in ("optimism", "missed_violations"):
        assert {r.status for r in ask(check, report(), on=()).values()} == {INCONCLUSIVE}
    assert ask("plausibility", report(), kinds=("vanishing",))["vanishing"].status is INCONCLUSIVE


def test_only_streams_that_the_policy_is_about_are_judged() -> None:
    module = seams.load("gates", "counterfactual")
    for patterns, judged in ((("observation.state[m]",), True), (("*",), True), (("observation.force",), False)):
        (found,) = module.check(module.Config(resamples=200), evidence(report(), signals=patterns))
        assert (found.signal == STATE) == judged


def test_evidence_of_another_site_never_counts() -> None:
    measured = report(40, site="kitchen")
    assert measured.at_sites(["bench"]).episodes == ()
    for check in {c for c, _, _ in WORSE}:
        assert {r.status for r in ask(check, measured.at_sites(["bench"])).values()} == {INCONCLUSIVE}


# ---- the document ---------------------------------------------------------------------------------------------------


def test_a_site_report_goes_to_json_and_back() -> None:
    measured = report(3, change={"same_seed": flat(None, 1.0)})
    assert SiteReport.from_json(measured.to_json()) == measured
    assert measured.step_of(1.0) == 10


def test_a_report_that_counts_something_twice_is_refused() -> None:
    measured = report(3)
    first = measured.episodes[0]
    for wrong, what in (
        ({"episodes": (*measured.episodes, first)}, "stands twice"),
        ({"episodes": (dataclasses.replace(first, episode=measured.calibration[0].episode),)}, "stands twice"),
        ({"episodes": (dataclasses.replace(first, rows=(first.rows[0], first.rows[0])),)}, "twice in one episode"),
        ({"episodes": (dataclasses.replace(first, features=(1,)),)}, "wrong number"),
        ({"schema": "worldgate/site-gap/9"}, "this version reads"),
    ):
        tree = dataclasses.replace(measured, **wrong).to_json()
        with pytest.raises(DataRefused, match=what):
            SiteReport.from_json(tree)


# ---- bounds ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 20)), min_size=5, max_size=12))
def test_a_quotient_with_negative_parts_is_that_without_them_moved(pairs: list[tuple[int, int]]) -> None:
    above, below = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    found = quotient(above, below, alpha="0.05", resamples=100)
    moved = quotient([a + 64 * b for a, b in zip(above, below, strict=True)], below, alpha="0.05", resamples=100)
    assert float(found.lower) == pytest.approx(float(moved.lower) - 64, abs=1e-8)
    assert float(found.upper) == pytest.approx(float(moved.upper) - 64, abs=1e-8)
    assert float(found.lower) - 1e-9 <= sum(above) / sum(below) + 1e-9


def test_a_quotient_over_nothing_is_refused() -> None:
    for above, below in (([1.0, -1.0], [1.0, 0.0]), ([1.0, 1.0], [1.0, -1.0])):
        with pytest.raises(Unmeasured):
            quotient(above, below, alpha="0.05")
    with pytest.raises(UsageError):
        quotient([1.0], [1.0], alpha="0.05")
    with pytest.raises(Unmeasured):
        rate([], futures=1, alpha="0.05")


@given(st.lists(st.integers(0, 6), min_size=5, max_size=5))
def test_the_median_of_counts_is_that_of_the_numbers(counts: list[int]) -> None:
    numbers = [i - 2 for i, n in enumerate(counts) for _ in range(n)]
    reduced = float(REDUCTIONS["middle"](np.array(counts, np.float64)))
    if numbers:
        assert float(middle(counts)) == reduced == float(np.median(numbers))
    else:
        assert np.isnan(reduced)


def test_shares_leave_out_episodes_without_a_whole_and_their_bound_is_exact() -> None:
    held = [("a", (1.0, 2.0)), ("b", (0.0, 0.0)), ("c", (0.0, 3.0))]
    assert shares(held) == [Fraction(1, 2), Fraction(0)]
    assert float(mean_upper([Fraction(0)] * 29, "0.05")) == pytest.approx(1 - 0.05 ** (1 / 29))
    assert median([("a", (0.0, 0.0, 0.0))], "0.05") == (None, None, 0)


def test_a_rate_takes_the_wider_of_two_bounds() -> None:
    clean = rate([(0.0, 1.0)] * 10, futures=4, alpha="0.05")
    assert float(clean.upper) == pytest.approx(2.9957 / 2.5, rel=1e-4), "Garwood's; the bootstrap says 0"
    clustered = rate([(0.0, 1.0)] * 9 + [(40.0, 1.0)], futures=1, alpha="0.05")
    assert float(clustered.upper) == pytest.approx(0.3942 * 40, rel=1e-3), "one of ten episodes; Garwood says 5.2"


# ---- at the limit, by simulation ------------------------------------------------------------------------------------

RUNS = [pytest.param(150, id="fast"), pytest.param(2000, id="long", marks=pytest.mark.slow)]


def ceiling(alpha: float, runs: int) -> float:
    return alpha + 3 * (alpha * (1 - alpha) / runs) ** 0.5


@pytest.mark.parametrize("runs", RUNS)
def test_a_model_at_the_limit_of_optimism_passes_at_most_alpha_of_the_time(runs: int) -> None:
    """Windows of an episode are all alike or not at all: the worst dependence."""
    passed = 0
    for run in range(runs):
        rng = np.random.default_rng(run)
        wrong = rng.random(60) < 0.1
        change = {f"{STATE}/optimism": lambda i, wrong=wrong: (4.0 * wrong[i], 4.0)}
        passed += ask("optimism", report(60, change=change))[f"{STATE} optimism"].status is PASS
    assert passed / runs <= ceiling(0.05, runs)


@pytest.mark.parametrize("runs", RUNS)
def test_pairs_at_the_limit_of_optimism_pass_at_most_alpha_of_the_time_however_often_scenes_repeat(runs: int) -> None:
    """Ten releases that all fail on the same scenes are not ten times the evidence."""
    module = seams.load("gates", "optimism")
    passed = 0
    for run in range(runs):
        wrong = np.random.default_rng(run).random(50) < 0.1
        found = trials(releases=3, scenes=50, real=lambda r, s, w=wrong: (not w[s], 0), imagined=lambda r, s: (True, 0))
        given = evidence(None, pairs=found, gap=horizon())
        first = module.check(module.Config(on=("trials",), recall="0.001"), given)[0]
        passed += first.status is PASS
    assert passed / runs <= ceiling(0.05, runs)


def horizon() -> Any:
    """A gap report whose horizon is long enough for the sample trials."""
    from tests.contract.test_gate_checks import gap

    return gap(0.1)


@pytest.mark.parametrize("runs", RUNS)
def test_clustered_violations_at_the_limit_pass_at_most_alpha_of_the_time(runs: int) -> None:
    """Bursts of ten in one episode of ten; a bound for independent events would pass far too often."""
    passed = 0
    for run in range(runs):
        bursts = 10.0 * (np.random.default_rng(run).random(60) < 0.1)
        change = {"violations/limits": lambda i, b=bursts: (8.0 * b[i], 8.0)}
        passed += ask("plausibility", report(60, change=change), limit="1")["limits"].status is PASS
    assert passed / runs <= ceiling(0.05, runs)


@pytest.mark.parametrize("runs", RUNS)
def test_a_site_that_does_not_differ_raises_the_alarm_at_most_alpha_of_the_time(runs: int) -> None:
    alarms = 0
    for run in range(runs):
        points = np.random.default_rng(run).integers(0, 1000, (20, 3)).tolist()
        alarms += permutation_p(points[:8], points[8:], permutations=39, seed=run) <= Fraction(1, 20)
    assert alarms / runs <= ceiling(0.05, runs)


@pytest.mark.parametrize("runs", RUNS)
def test_contacts_that_are_late_by_the_limit_pass_at_most_alpha_of_the_time(runs: int) -> None:
    """The median lies at 1.5 rows, half a row beyond what is allowed."""
    passed = 0
    for run in range(runs):
        late = np.random.default_rng(run).random(15) < 0.5
        change = {f"{FORCE}/onset_late": lambda i, w=late: (0.0, 0.0, 0.0, float(not w[i]), float(w[i]))}
        passed += ask("contact", report(15, change=change))[f"{FORCE} timing"].status is PASS
    assert passed / runs <= ceiling(0.05, runs)


def test_the_smallest_p_of_few_episodes_and_the_thinning_of_many() -> None:
    assert smallest_p(3, 3, 999) == Fraction(1, 20)
    assert smallest_p(20, 20, 999) == Fraction(1, 1000)
    rows = [(i,) for i in range(1000)]
    assert len(thinned(rows)) == MOST
    assert (thinned(rows)[0], thinned(rows)[-1], thinned(rows[:3])) == ((0,), (999,), rows[:3])


def test_the_sample_report_passes_every_check() -> None:
    for check in {c for c, _, _ in WORSE} | {"drift"}:
        assert {r.status for r in ask(check, site_samples.report()).values()} == {PASS}, check
