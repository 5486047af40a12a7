"""Demonstrations: labels are the expert's, what was executed is kept apart."""

from __future__ import annotations

import numpy as np
import pytest

from worldgate.control.demonstrations import LABEL, DemonstrationConfig, demonstrate
from worldgate.core.errors import DataRefused
from worldgate.core.streams import Kind, Origin, StreamInfo
from worldgate.core.worlds import Transition

STATE = StreamInfo(name="observation.state", kind=Kind.VECTOR, count=-1, shape=(2,), names=("x", "y"), unit="m")
ACTION = StreamInfo(name="action", kind=Kind.ACTION, count=-1, shape=(2,), names=("x", "y"), unit="m")


class Line:
    """The tool goes where it is sent; done when x reaches 1."""

    origin = Origin.SIMULATED
    rate_hz = 10.0

    def reset(self, *, seed):
        self.at, self.sent = np.zeros(2), []
        return {STATE.name: self.at}

    def step(self, action):
        self.sent.append(np.array(action))
        self.at = np.array(action)
        return Transition(observation={STATE.name: self.at}, done=False, facts={"success": float(self.at[0] > 0.9)})


class Forward:
    digest = "f" * 64

    def reset(self, *, seed):
        pass

    def act(self, observation):
        return observation[STATE.name] + [0.1, 0.0]


def shown(disturbance=0.01, seed=1, **changes):
    world = Line()
    config = DemonstrationConfig(disturbance=disturbance, **changes)
    return world, demonstrate(world, Forward(), (STATE, ACTION), seed=seed, config=config)


def test_the_label_is_the_experts_and_the_action_is_what_was_sent():
    world, episode = shown()
    np.testing.assert_array_equal(episode.array("action"), world.sent)
    np.testing.assert_allclose(episode.array(LABEL) - episode.array(STATE.name), np.tile([0.1, 0.0], (len(episode), 1)))
    assert np.abs(episode.array("action") - episode.array(LABEL)).max() > 0


def test_without_disturbance_both_are_the_same():
    _, episode = shown(disturbance=0.0)
    np.testing.assert_array_equal(episode.array("action"), episode.array(LABEL))


def test_the_disturbance_has_the_spread_and_persistence_that_were_asked_for():
    _, episode = shown(disturbance=0.02, steps=4000, rest=10**9)
    error = episode.array("action") - episode.array(LABEL)
    np.testing.assert_allclose(error.std(axis=0), 0.02, rtol=0.15)
    later = np.corrcoef(error[1:, 0], error[:-1, 0])[0, 1]
    assert 0.75 < later < 0.85


def test_a_demonstration_ends_soon_after_success_and_says_so():
    _, episode = shown(disturbance=0.0, rest=3)
    assert episode.facts["success"] is True
    assert len(episode) == 10 + 3
    _, short = shown(disturbance=0.0, steps=4)
    assert short.facts["success"] is False


def test_the_same_seed_gives_the_same_episode_and_another_another():
    assert shown()[1].id == shown()[1].id
    assert shown()[1].id != shown(seed=2)[1].id


def test_rows_carry_schema_times_and_origin():
    _, episode = shown()
    assert episode.origin is Origin.SIMULATED
    info = episode.streams[LABEL].info
    assert (info.unit, info.names, info.count, info.rate_hz) == ("m", ("x", "y"), len(episode), 10.0)
    assert set(np.diff(episode.times_ns)) == {100_000_000}


def test_an_observation_that_was_not_announced_is_refused():
    other = StreamInfo(name="observation.state", kind=Kind.VECTOR, count=-1, shape=(3,))
    with pytest.raises(DataRefused):
        demonstrate(Line(), Forward(), (other, ACTION), seed=0)
