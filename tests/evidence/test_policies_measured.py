"""Policies beside recorded actions, in tasks and in world models: figures that can be worked out, and refusals."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest

from worldgate.core.episodes import Episode, Rows
from worldgate.core.errors import CapabilityMissing, DataRefused, UsageError
from worldgate.core.streams import Kind, Origin, StreamInfo
from worldgate.core.worlds import Frame, ModelSpec, Signal, Transition
from worldgate.evidence.action_error import ActionErrorConfig, action_errors
from worldgate.evidence.closed_loop import try_in_model, try_in_task
from worldgate.evidence.regression import Actor

STATE = Signal(name="observation.state", unit="m", names=("x",), shape=(1,))
CAMERA = Signal(name="observation.images.top", shape=(4, 4, 3))
ACTION = Signal(name="action", unit="m", names=("x",), shape=(1,))


def episode(number=0, length=30, *, origin=Origin.REAL, unit="m", gap=None):
    """The place is the row's number, the action the next one; a picture as bright as the row."""
    rows = np.arange(float(length))[:, None]
    frames = np.broadcast_to(rows[:, :, None, None], (length, 4, 4, 3)).astype(np.uint8)
    arrays = {
        "observation.state": (Kind.VECTOR, rows),
        "action": (Kind.ACTION, rows + 1),
        "observation.images.top": (Kind.IMAGE, frames),
    }
    gaps, zero = np.zeros(length, bool), np.zeros(length, np.int64)
    if gap is not None:
        gaps[gap] = True
    streams = {}
    for name, (kind, values) in arrays.items():
        numbers = kind is not Kind.IMAGE
        info = StreamInfo(
            name=name, kind=kind, count=length, shape=values.shape[1:], names=("x",) * numbers, unit=unit * numbers
        )
        streams[name] = Rows(
            info=info, values=values, index=np.arange(length), source_ns=zero, skew_ns=zero, staleness_ns=zero, gap=gaps
        )
    times = np.arange(length) * 100_000_000
    return Episode(
        id=f"e{number}", log=f"l{number}", name=f"e{number}", alignment="", origin=origin, rate_hz=10.0, times_ns=times,
        streams=streams,
    )  # fmt: skip


class Acts:
    """Asks for the next place, ``off`` by so much; remembers what it was shown."""

    digest = "d" * 64

    def __init__(self, off=0.0, width=1):
        self.off, self.width, self.goals, self.seen = off, width, [], []

    def reset(self, *, seed):
        self.goal = None

    def aim(self, goal, *, steps):
        self.goals.append((goal, steps))

    def act(self, observation):
        self.seen.append(observation)
        return np.repeat(observation["observation.state"] + 1 + self.off, self.width)


class Plans(Acts):
    """A chunk of them."""

    def plan(self, observation):
        return np.stack([self.act(observation) + k for k in range(5)])


def actor(policy, *more):
    return Actor(digest=policy.digest, policy=policy, observation=(STATE, *more), action=ACTION, rate_hz=10.0)


def test_errors_by_time_ahead_stand_beside_both_guesses():
    told = []
    found = action_errors(
        [episode(0), episode(1)], actor(Plans(off=0.5)), config=ActionErrorConfig(rows=4, horizon=9),
        progress=lambda *at: told.append(at),
    )  # fmt: skip
    assert (found.chunk, found.rows, found.episodes, found.origin) == (5, 8, 2, Origin.REAL)
    assert told == [(1, 2), (2, 2)]
    assert [c.step for c in found.channels] == [0, 2, 4]
    for channel in found.channels:
        assert channel.policy == pytest.approx(0.5)
        assert channel.copy_last == pytest.approx(1 + channel.step)
        assert (channel.channel, channel.unit) == ("x", "m")
        assert channel.ratio is not None
        assert channel.ratio.estimate == pytest.approx(0.5 / min(channel.copy_last, channel.mean_action))


def test_a_policy_without_a_chunk_is_asked_for_the_next_action_and_one_episode_bounds_nothing():
    found = action_errors([episode()], actor(Acts()))
    assert (found.chunk, len(found.channels)) == (1, 1)
    assert found.channels[0].policy == 0
    assert found.channels[0].ratio is None


def test_a_unit_for_all_channels_or_one_for_each():
    assert action_errors([episode()], actor(Acts())).channels[0].unit == "m"
    wide = dataclasses.replace(ACTION, names=(), unit="m,rad", shape=(2,))
    held = episode(unit="")
    rows = held.streams["action"]
    turning = np.stack([np.arange(30.0) + 1, (np.arange(30) * 0.5 + np.pi) % (2 * np.pi) - np.pi], axis=1)
    info = dataclasses.replace(rows.info, names=(), unit="m,rad", shape=(2,))
    held = dataclasses.replace(
        held, streams={**held.streams, "action": dataclasses.replace(rows, values=turning, info=info)}
    )
    policy = Acts(width=2)
    found = action_errors([held], dataclasses.replace(actor(policy), action=wide, observation=(
        dataclasses.replace(STATE, unit=""),)))  # fmt: skip
    assert [(c.channel, c.unit) for c in found.channels] == [("0", "m"), ("1", "rad")]
    assert found.channels[1].policy <= np.pi  # the short way round
    assert found.channels[1].copy_last == pytest.approx(0.5)


def test_goals_are_later_rows_and_pictures_come_as_they_are_seen():
    policy = Acts()
    config = ActionErrorConfig(rows=2, horizon=3, goal_steps=7)
    action_errors([episode()], actor(policy, CAMERA), ("observation.images.top", "observation.state"), config)
    for (goal, steps), seen in zip(policy.goals, policy.seen, strict=True):
        assert steps == 7
        assert goal["observation.state"] - seen["observation.state"] == 7
        assert goal["observation.images.top"][0, 0, 0] - seen["observation.images.top"][0, 0, 0] == 7


def test_recordings_that_do_not_serve_are_refused():
    with pytest.raises(UsageError, match="one origin"):
        action_errors([], actor(Acts()))
    with pytest.raises(UsageError, match="one origin"):
        action_errors([episode(), episode(1, origin=Origin.SIMULATED)], actor(Acts()))
    with pytest.raises(DataRefused, match="another unit"):
        action_errors([episode(unit="mm")], actor(Acts()))
    with pytest.raises(DataRefused, match="long enough"):
        action_errors([episode(length=10)], actor(Acts()))
    for bad in (Acts(width=2), Acts(off=np.nan)):
        with pytest.raises(DataRefused, match="another width, or not finite"):
            action_errors([episode()], actor(bad))
    found = action_errors([episode(0, gap=15), episode(1)], actor(Acts()), config=ActionErrorConfig(horizon=20))
    assert found.episodes == 1


class Line:
    """A task on a line: the action is a step, the goal at 5; done there or after its steps."""

    origin, rate_hz = Origin.SIMULATED, 10.0

    def __init__(self, *, goals=True):
        self.spec = types.SimpleNamespace(low=(-1.0,), high=(1.0,), steps=8, takes_goals=goals)

    def reset(self, *, seed):
        self.at, self.count = float(seed), 0
        return {"observation.state": np.array([self.at])}

    def goal(self):
        return {"observation.state": np.array([5.0])}

    def step(self, action):
        self.at, self.count = self.at + float(action[0]), self.count + 1
        success = abs(self.at - 5) < 0.1
        facts = {"success": float(success), "reward": 1.0}
        facts |= {"distance": abs(self.at - 5)} if self.spec.takes_goals else {}
        done = success or self.count >= 8
        return Transition(observation={"observation.state": np.array([self.at])}, done=done, facts=facts)


class Steps(Acts):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def act(self, observation):
        return np.array([self.step])


def test_success_is_counted_with_exact_bounds_and_what_was_brought_back():
    told = []
    good = Steps(2.0)
    tried = try_in_task(Line(), good, who="good", runs=3, seed=0, aimed=True, progress=lambda *at: told.append(at))
    assert (tried.successes, tried.clipped, tried.distance) == (3, 1.0, 0.0)
    assert (tried.reward, tried.high) == (4.0, "1")
    assert float(tried.low) == pytest.approx(0.025 ** (1 / 3))
    assert len(good.goals) == 3
    assert told == [(1, 3), (2, 3), (3, 3)]
    short = Line()
    short.spec.steps = 3
    assert try_in_task(short, Steps(0.1), who="slow", runs=1, seed=0, aimed=False).reward == 3.0
    away = try_in_task(Line(goals=False), Steps(-0.5), who="away", runs=2, seed=0, aimed=False)
    assert (away.successes, away.clipped, away.distance, away.reward) == (0, 0.0, None, 8.0)


def test_an_action_that_is_not_finite_ends_the_trying():
    with pytest.raises(DataRefused, match="not finite"):
        try_in_task(Line(), Steps(np.nan), who="bad", runs=1, seed=0, aimed=False)


class World:
    """The place becomes what was asked for."""

    def __init__(self, **changes):
        base = {"states": (STATE,), "action": ACTION, "context": 1}
        self.spec = ModelSpec(family="exact", digest="m", normaliser="n", rate_hz=10.0, **{**base, **changes})
        self.capabilities = frozenset()

    def open(self, prompt, *, samples=1, seed):
        return types.SimpleNamespace(step=lambda actions: Frame(states={"observation.state": np.asarray(actions)}))


def test_in_a_model_the_end_is_compared_with_recorded_actions_and_a_held_one():
    told = []
    policy = Acts(off=0.25)
    (end,) = try_in_model(
        World(), policy, [episode()], ("observation.state",), steps=4, windows=3, seed=0,
        progress=lambda *at: told.append(at),
    )  # fmt: skip
    spread = np.arange(30.0).std()
    assert end.stream == "observation.state"
    assert end.recorded == pytest.approx(0, abs=1e-6)
    assert end.policy == pytest.approx(4 * 0.25 / spread)
    assert end.held == pytest.approx(4 / spread)
    assert (end.runs, end.nearer, told) == (3, 3, [(1, 1)])
    assert [steps for _, steps in policy.goals] == [4, 4, 4]
    (other,) = try_in_model(World(), Acts(off=9.0), [episode()], steps=4, windows=3, seed=0)
    assert other.nearer == 0


def test_a_model_that_tells_no_numbers_and_recordings_that_are_too_short_are_refused():
    with pytest.raises(CapabilityMissing):
        try_in_model(World(states=()), Acts(), [episode()], steps=4, windows=1, seed=0)
    with pytest.raises(CapabilityMissing):
        try_in_model(World(action=None), Acts(), [episode()], steps=4, windows=1, seed=0)
    with pytest.raises(DataRefused, match="long enough"):
        try_in_model(World(), Acts(), [episode(length=4)], steps=4, windows=1, seed=0)
