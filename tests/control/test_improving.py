"""Improving a cloned policy inside a world model, and the check in the true environment that catches a lie."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.control.tiny import ACTION, STATE, Line, LineModel

from worldgate.control.imagination.checking import Check, Verdict, estimate
from worldgate.control.imagination.improve import Cloned, ImproveConfig, Improver
from worldgate.control.imagination.outcomes import Fitted, OutcomeConfig, to_go
from worldgate.core.errors import CapabilityMissing, DataRefused
from worldgate.core.normalisers import Normaliser, Statistics
from worldgate.core.worlds import Prompt, Signal

CONFIG = ImproveConfig(
    runs=20, rounds=25, situations=8, futures=8, horizon=8, check=12, rate=3e-3, near=0.05,
    outcomes=OutcomeConfig(steps=400, units=32),
)  # fmt: skip


def weak():
    """Goes to the middle at a fifth of the pace that would be best."""
    rng = np.random.default_rng(0)
    inner, out = rng.normal(0, 1, (16, 1)), np.zeros((1, 16))
    out[0] = -0.02 * np.sign(inner[:, 0])
    statistics = Statistics(mean=(0.0,), std=(1.0,))
    return Cloned(
        layers=((inner, np.zeros(16)), (out, np.zeros(1))),
        normaliser=Normaliser(streams={STATE.name: statistics, ACTION.name: statistics}),
        observation=(STATE,),
        action=ACTION,
    )


class Lying:
    """Heads that promise more the further away the point is."""

    def reward(self, seen_ND):
        return np.abs(seen_ND[:, 0])

    def worth(self, seen_ND):
        return 10 * np.abs(seen_ND[:, 0])

    def ended(self, seen_ND):
        return np.zeros(len(seen_ND))


def test_what_is_imagined_to_pay_is_seen_to_pay():
    made = Improver(LineModel(), weak(), Line(), CONFIG).go()
    check = made.check
    assert check.verdict is Verdict.SEEN
    assert check.true_gain.mean > 1
    assert check.imagined_gain.lower > 0
    assert check.imagined_before_P.mean() == pytest.approx(check.true_before_P.mean(), abs=2)
    assert made.moved > 0.1
    assert not made.uncertain


def test_heads_that_lie_are_caught_by_the_true_environment():
    check = Improver(LineModel(), weak(), Line(), CONFIG, Lying()).go().check
    assert check.imagined_gain.lower > 0
    assert check.true_gain.mean < 0
    assert check.verdict is Verdict.EXPLOITED
    assert check.body()["verdict"] == "exploited"


def test_a_policy_tied_to_the_cloned_one_hardly_moves():
    tied = dataclasses.replace(CONFIG, near=100.0, rounds=10)
    assert Improver(LineModel(), weak(), Line(), tied).go().moved < 0.05


def test_members_that_disagree_cost():
    class Doubtful(LineModel):
        """Knows less the further right it is."""

        def open(self, prompt, *, samples=1, seed):
            inner = super().open(prompt, samples=samples, seed=seed)
            step = inner.step

            def doubting(actions):
                frame = step(actions)
                return dataclasses.replace(frame, uncertainty={STATE.name: np.maximum(frame.states[STATE.name], 0)})

            inner.step = doubting
            return inner

    improver = Improver(Doubtful(), weak(), Line(), dataclasses.replace(CONFIG, caution=5.0))

    def worth(x, caution):
        improver.config = dataclasses.replace(CONFIG, caution=caution)
        prompt = Prompt(states={STATE.name: np.full((2, 1), x, np.float32)}, actions=np.zeros((2, 1), np.float32))
        return improver.roll(improver.net, prompt, 4, 0.0, 0)[2].mean()

    assert worth(0.9, 5.0) < worth(0.9, 0.0) - 1
    assert worth(-0.9, 5.0) == pytest.approx(worth(-0.9, 0.0))
    assert improver.uncertain


def test_worth_is_what_came_after():
    assert to_go(np.array([9.0, 1.0, 2.0, 4.0]), 0.5).tolist() == [3.0, 4.0, 4.0, 0.0]


def test_heads_learn_what_happened():
    improver = Improver(LineModel(), weak(), Line(), dataclasses.replace(CONFIG, runs=30))
    heads = Fitted([seen.run for seen in improver.known], CONFIG.discount, CONFIG.outcomes)
    x = np.linspace(-1.2, 1.2, 9)[:, None]
    assert np.abs(heads.reward(x) - (1 - np.abs(x[:, 0]))).mean() < 0.15
    assert heads.worth(np.array([[0.2]])) > heads.worth(np.array([[1.3]]))
    assert (heads.ended(x) < 0.1).all()


def test_a_gain_needs_an_interval_above_zero():
    zero, up = np.zeros(20), np.full(20, 1.0)
    noise = np.random.default_rng(0).normal(0.1, 3, 20)

    def check(imagined, true):
        return Check(
            imagined_before_P=zero, imagined_after_P=imagined, true_before_P=zero, true_after_P=true,
            success_before_P=zero, success_after_P=zero,
        ).verdict  # fmt: skip

    assert check(up, up) is Verdict.SEEN
    assert check(zero, up) is Verdict.SEEN
    assert check(up, noise) is Verdict.EXPLOITED
    assert check(noise, -up) is Verdict.NONE
    assert estimate(noise).lower < noise.mean() < estimate(noise).upper


def test_a_model_that_does_not_show_what_the_policy_sees_is_refused():
    with pytest.raises(CapabilityMissing, match="does not predict"):
        Improver(LineModel(states=(Signal(name="other", shape=(1,)),)), weak(), Line(), CONFIG)
    with pytest.raises(DataRefused, match="different rates"):
        Improver(LineModel(rate_hz=20.0), weak(), Line(), CONFIG)
