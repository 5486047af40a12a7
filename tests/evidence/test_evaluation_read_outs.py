"""What a model reads out without being shown it is measured, too: its numbers, its deviations and its probabilities."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from tests.evidence.test_evaluation import HELD, TRAIN, judged, only, row, value
from tests.evidence.worlds_to_judge import FORCE, POSE, STATE, Model, read_frames, spec

from worldgate.core.episodes import Episode
from worldgate.core.streams import FloatArray
from worldgate.core.worlds import CONTACT, Capability, Frame, ModelSpec, Prompt, Signal, Unrolling
from worldgate.evidence.evaluation import evaluate
from worldgate.evidence.evaluation.sums import calibration
from worldgate.evidence.metrics.pose import angle_deg, mean_rotation, turned_on

READS = (
    Signal(name=FORCE, unit="N", names=("x", "y", "z"), shape=(3,)),
    Signal(name=CONTACT, unit="1", names=(CONTACT,), shape=(1,)),
)


@dataclass
class Reader(Model):
    """Tells force and contact, and is shown neither."""

    spec: ModelSpec = field(default_factory=lambda: spec(reads=READS))
    sure: float = 0.99
    """The probability that it gives to what is so."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.ACTIONS, Capability.STATE, Capability.CONTACT, Capability.UNCERTAINTY})

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> Unrolling:
        assert set(prompt.states) == {STATE}
        wide = Model(spec=spec(force=True), noise=self.noise)
        return _Reading(wide.open(prompt, samples=samples, seed=seed), self.sure)


class _Reading:
    def __init__(self, inner: Unrolling, sure: float) -> None:
        self.inner, self.sure = inner, sure

    def step(self, actions_BKA: FloatArray | None) -> Frame:
        frame = self.inner.step(actions_BKA)
        force = frame.states[FORCE]
        touch = np.where(force[..., :1] > 0.3, self.sure, 1 - self.sure)
        return replace(frame, states={**frame.states, CONTACT: touch}, uncertainty={FORCE: np.full(force.shape, 0.1)})


def test_a_force_that_is_read_out_is_judged_as_one_that_is_predicted() -> None:
    found = judged(Reader(), only("contact", "state_rms", "coverage"))
    assert value(found, f"{FORCE}/contact_f1", 10) > 0.9
    assert value(found, f"{FORCE}/rms", 5) < value(found, f"{FORCE}/rms", 5, "hold")
    assert found.row(f"{FORCE}/coverage_90_claimed", 5) is not None
    assert found.row(f"{FORCE}/coverage_90_drawn", 5) is None


def test_a_probability_of_contact_is_taken_at_its_word_and_held_to_it() -> None:
    honest = judged(Reader(sure=0.9), only("contact"))
    assert value(honest, f"{CONTACT}/contact_f1", 5) > 0.7
    assert value(honest, f"{CONTACT}/onset_f1", who="hold") == 0.0
    assert value(honest, f"{CONTACT}/ece", 10) == pytest.approx(0.1, abs=0.03)
    assert row(honest, f"{CONTACT}/brier", 10).advantage is not None
    lying = judged(Reader(sure=0.01), only("contact"))
    assert value(lying, f"{CONTACT}/ece", 5) > 0.8 and value(lying, f"{CONTACT}/brier", 5) > 0.8


def test_what_the_episodes_do_not_hold_is_left_out() -> None:
    bare = [
        [replace(e, streams={n: r for n, r in e.streams.items() if n != FORCE}) for e in part] for part in (HELD, TRAIN)
    ]
    found = evaluate(Reader(), bare[0], only("state_rms", "contact"), references=bare[1], read_frames=read_frames)
    assert {r.figure.split("/")[0] for r in found.rows} == {STATE}
    assert "force" in found.facts.not_measured["contact"]


def test_a_calibration_error_is_the_mean_distance_of_what_was_said_from_how_often_it_was_so() -> None:
    bins = np.zeros((10, 3))
    bins[9] = 100, 95, 75
    bins[0] = 100, 5, 5
    assert float(calibration(bins.ravel())) == pytest.approx(0.1)
    assert np.isnan(calibration(np.zeros(30)))


# ------------------------------------------------------------------ poses


def test_the_rotation_of_a_pose_that_is_read_out_is_judged_by_its_angle() -> None:
    good, blind = (judged(Model(spec=spec(pose=True), gain=gain), only("pose", "state_rms")) for gain in (1.0, 0.0))
    figure = f"{POSE}/angle_error"
    assert row(good, figure, 5).unit == "deg"
    assert value(good, figure, 5) < 0.01, "the truth's quaternions change their sign from row to row"
    assert value(blind, figure, 10) == pytest.approx(value(blind, figure, 10, "hold"), abs=1e-3)
    assert value(good, figure, 10, "velocity") > 1 and value(good, figure, 10, "hold") > 1
    assert row(good, figure, 10).advantage.value == pytest.approx(1.0, abs=0.01)
    assert value(good, f"{POSE}/place_error", 5) < 1e-6
    assert not any(r.figure.startswith(POSE) and not r.figure.endswith("_error") for r in good.rows)


@dataclass
class Unturned(Model):
    """Says four zeros for every rotation."""

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> Unrolling:
        return _Unturned(super().open(prompt, samples=samples, seed=seed))


class _Unturned:
    def __init__(self, inner: Unrolling) -> None:
        self.inner = inner

    def step(self, actions_BKA: FloatArray | None) -> Frame:
        frame = self.inner.step(actions_BKA)
        none = frame.states[POSE] * np.array([1, 1, 1, 0, 0, 0, 0])
        return replace(frame, states={**frame.states, POSE: none})


def test_a_model_that_says_no_rotation_has_no_angle_and_does_not_get_around_it() -> None:
    found = row(judged(Unturned(spec=spec(pose=True)), only("pose")), f"{POSE}/angle_error", 5)
    assert found.values["model"].value is None
    assert found.values["hold"].value is not None


def test_moments_whose_truth_is_no_rotation_have_no_angle_for_anyone() -> None:
    def lost(held: Episode) -> Episode:
        values = np.array(held.array(POSE))
        values[:, 3:] = 0
        return replace(held, streams={**held.streams, POSE: replace(held.streams[POSE], values=values)})

    held = [lost(e) for e in HELD]
    found = evaluate(Model(spec=spec(pose=True)), held, only("pose"), references=TRAIN, read_frames=read_frames)
    assert found.row(f"{POSE}/angle_error", 5) is None
    assert value(found, f"{POSE}/place_error", 5) < 1e-6


def test_a_model_that_tells_no_pose_says_so() -> None:
    assert "tells no pose" in judged(Model(spec=spec()), only("pose")).facts.not_measured["pose"]


turns = st.lists(st.floats(-3, 3), min_size=3, max_size=3).map(np.array)


@settings(deadline=None, max_examples=50)
@given(turn=turns, step=turns, steps=st.integers(1, 20))
def test_angles_do_not_mind_signs_and_lengths_and_constant_velocity_goes_on_turning(
    turn: FloatArray, step: FloatArray, steps: int
) -> None:
    one, little = Rotation.from_rotvec(turn), Rotation.from_rotvec(step / 100)
    last, on = little * one, Rotation.from_rotvec(step / 100 * (steps + 1)) * one
    q = one.as_quat()
    assert angle_deg(q, -2 * q) == pytest.approx(0, abs=1e-5)
    assert angle_deg(q, last.as_quat()) == pytest.approx(np.degrees(np.linalg.norm(step / 100)), abs=1e-5)
    assert angle_deg(turned_on(q, last.as_quat(), steps), on.as_quat()) == pytest.approx(0, abs=1e-4)
    several = np.stack([q, -last.as_quat(), 3 * (little.inv() * one).as_quat()])
    mean = mean_rotation(several)
    assert mean is not None and angle_deg(mean, q) == pytest.approx(0, abs=1e-4)
    assert mean_rotation(np.zeros((1, 4))) is None
