"""What a model reads out without being shown it is measured, too: its numbers, its deviations and its probabilities."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from tests.evidence.test_evaluation import HELD, TRAIN, judged, only, row, value
from tests.evidence.worlds_to_judge import FORCE, STATE, Model, read_frames, spec

from worldgate.core.streams import FloatArray
from worldgate.core.worlds import CONTACT, Capability, Frame, ModelSpec, Prompt, Signal, Unrolling
from worldgate.evidence.evaluation import evaluate
from worldgate.evidence.evaluation.sums import calibration

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
