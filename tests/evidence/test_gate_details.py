"""What gate checks say where one thing differs, is missing, or is measured in too few episodes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.contract.test_gate_checks import DIGEST, STATE, STEPS, evidence, gap, results, runs, tried

from worldgate.core import seams
from worldgate.core.evidence import Status
from worldgate.core.worlds import Signal
from worldgate.evidence.gap_report import Errors, GapReport
from worldgate.evidence.gates._identity import compare_signals


@pytest.mark.parametrize("name", ["skill", "action_sensitivity", "horizon"])
def test_a_report_without_a_signal_that_may_be_judged_shows_nothing(name: str) -> None:
    (found,) = results(name, evidence(gap=dataclasses.replace(gap(0.1), signals=())))
    assert found.status is Status.INCONCLUSIVE
    assert found.detail.startswith("no signal")
    assert found.n == 16


def measured_in(episodes: int) -> GapReport:
    """A report whose other episodes have no window that measures the signal."""
    whole = gap(0.1)
    none: Any = (None,) * STEPS
    empty = Errors(
        model=none, hold=none, velocity=none, shuffled=none, measured=(0,) * STEPS, within=(0,) * STEPS, nonfinite=0
    )
    rows = [
        row if i < episodes else dataclasses.replace(row, signals={STATE.name: empty})
        for i, row in enumerate(whole.episodes)
    ]
    return dataclasses.replace(whole, episodes=tuple(rows))


@pytest.mark.parametrize("name", ["skill", "action_sensitivity"])
def test_episodes_that_measure_nothing_do_not_make_up_the_number(name: str) -> None:
    for found in results(name, evidence(gap=measured_in(2))):
        assert found.status is Status.INCONCLUSIVE
        assert found.detail.endswith("held-out episodes that measure it, has 2")


def test_pictures_have_no_constant_velocity_to_beat() -> None:
    report = gap(0.1)
    seen = dataclasses.replace(report, signals=(dataclasses.replace(report.signals[0], channels=()),))
    statistics = {r.statistic for r in results("skill", evidence(gap=seen))}
    assert all("copy-last" in s for s in statistics)
    assert len(statistics) == 2, "two horizons"
    assert len(results("skill", evidence())) == 4, "numbers have both"


def test_a_horizon_beyond_the_report_is_not_reached_and_not_refused() -> None:
    module = seams.load("gates", "horizon")
    (found,) = module.check(module.Config(required_s=5.0), evidence())
    assert found.status is Status.INCONCLUSIVE
    assert (found.estimate, gap(0.1).steps) == ("1 s", 10)


def test_a_model_without_its_training_record_is_not_judged_for_its_inputs() -> None:
    (found,) = results("schema", evidence(training=None))
    assert found.status is Status.INCONCLUSIVE
    assert "needs the record of the model's training run" in found.detail


def test_the_training_record_is_of_the_model_that_was_judged() -> None:
    given = evidence()
    assert given.training is not None
    other = dataclasses.replace(given.training, subject="f" * 64)
    found = next(r for r in results("schema", evidence(training=other)) if r.status is Status.FAIL)
    assert f"training record of {'f' * 12}, judged {DIGEST['model'][:12]}" in found.detail


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"subject": "f" * 64}, "training record of weights ffffffffffff, which the release does not hold"),
        ({"dataset": "f" * 64}, "trained on ffffffffffff"),
        ({"normaliser": "f" * 64}, "trained with ffffffffffff"),
    ],
)
def test_a_release_is_what_was_trained_or_is_told_what_differs(changes: dict[str, str], words: str) -> None:
    given = evidence()
    assert given.training is not None
    (found,) = results("identity", evidence(training=dataclasses.replace(given.training, **changes)))
    assert found.status is Status.FAIL
    assert words in found.detail


def test_a_signal_of_another_shape_is_another_signal() -> None:
    narrow, wide = (Signal(name="s", unit="m", shape=(n,)) for n in (1, 2))
    assert compare_signals([wide], [narrow]) == ["s has shape [2], trained [1]"]
    assert compare_signals([wide], [wide]) == []


def test_a_world_model_that_chose_the_scenes_is_admitted_at_every_site() -> None:
    told = {
        "verdict": "ADMIT", "not_before_ns": 0, "expires_ns": 2_000, "population": "real",
        "scope": {"sites": ["bench"]},
    }  # fmt: skip
    given = evidence(**runs(tried()))
    chosen = tuple(dataclasses.replace(t, chosen_by=DIGEST["data"]) for t in given.trials)
    here = dataclasses.replace(given, trials=chosen, admissions={DIGEST["data"]: told})
    assert {r.status for r in results("admitted", here)} == {Status.PASS}
    (found,) = results("admitted", dataclasses.replace(here, sites=("bench", "kitchen")))
    assert found.status is Status.FAIL
    assert found.detail.endswith("is not admitted at kitchen")
