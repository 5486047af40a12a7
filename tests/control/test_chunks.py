"""Policies that predict chunks: what they learn, how chunks are executed, goals, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from worldgate.control import policies
from worldgate.control.policies import act, diffusion, flow, mlp
from worldgate.control.policies._chunks import Windows, sight_of
from worldgate.control.policies._release import WEIGHTS
from worldgate.core.episodes import Episode, Rows
from worldgate.core.errors import CapabilityMissing, DataRefused, UsageError, WeightsRefused
from worldgate.core.streams import Kind, Origin, StreamInfo
from worldgate.core.worlds import Signal
from worldgate.evidence.action_error import ActionErrorConfig, action_errors
from worldgate.evidence.regression import Actor
from worldgate.fleet import releases
from worldgate.fleet.releases import Controller
from worldgate.worlds import checkpoint
from worldgate.worlds.tracks import Inputs, Layout, fit_normaliser, make_tracks, resolve_layout
from worldgate.worlds.train import loop
from worldgate.worlds.train.config import LoopConfig, PhaseConfig

STATE, CAMERA = "observation.state", "observation.images.top"
MODULES = {"act": act, "diffusion": diffusion, "flow": flow}


def episode(seed=0, length=40, *, picture=False, size=16):
    """A point goes straight to a place of its own, by a fifth of the way each row; the action is where it is sent."""
    rng = np.random.default_rng(seed)
    at, goal = rng.uniform(-1, 1, 2), rng.uniform(-1, 1, 2)
    places, actions = [], []
    for _ in range(length):
        step = (goal - at) * min(1.0, 0.15 / max(np.linalg.norm(goal - at), 1e-9))
        places.append(at)
        at = at + step
        actions.append(at)
    seen = np.concatenate([np.stack(places), np.tile(goal, (length, 1))], axis=1)
    times = np.arange(length) * 100_000_000
    zero = np.zeros(length, np.int64)
    arrays = {
        STATE: (Kind.VECTOR, ("x", "y", "gx", "gy"), seen),
        "action": (Kind.ACTION, ("x", "y"), np.stack(actions)),
    }
    if picture:
        frames = np.zeros((length, size, size, 3), np.uint8)
        for row, pair in enumerate(seen):
            for channel, point in enumerate((pair[:2], pair[2:])):
                y, x = np.clip(((point + 1.3) / 2.6 * size).astype(int), 1, size - 2)
                frames[row, y - 1 : y + 2, x - 1 : x + 2, channel] = 255
        arrays[CAMERA] = (Kind.IMAGE, (), frames)
    streams = {}
    for name, (kind, names, held) in arrays.items():
        unit = "m" if names else ""
        info = StreamInfo(name=name, kind=kind, count=length, shape=held.shape[1:], names=names, unit=unit)
        index, gap = np.arange(length), zero.astype(bool)
        streams[name] = Rows(
            info=info, values=held, index=index, source_ns=times, skew_ns=zero, staleness_ns=zero, gap=gap
        )
    return Episode(
        id=f"e{seed}", log=f"l{seed}", name=f"e{seed}", alignment="", origin=Origin.SIMULATED, rate_hz=10.0,
        times_ns=times, streams=streams,
    )  # fmt: skip


def learned(module, tmp_path, episodes, **changes):
    config = dataclasses.replace(module.debug(), **changes)
    family = f"policies/{module.__name__.rpartition('.')[2]}"
    folder = loop.train(family, episodes, [episode(99)], config, tmp_path / "run")
    return checkpoint.restore(folder)[1].fitted()


def registered(workspace, fitted):
    release = releases.load(workspace, fitted.publish(workspace, name="p").digest)
    return release, policies.load(release, workspace.store)


def rows(held):
    return [{name: stream.values[t] for name, stream in held.streams.items()} for t in range(len(held))]


LONGER = {"relative_to": STATE, "phase": PhaseConfig(steps=120, batch=64, rate=2e-3, warmup=10, ema=0.95)}
LONGER["loop"] = LoopConfig(evaluate_every=120, threads=1)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_learned_policy_beats_both_guesses_on_episodes_it_never_saw(name, workspace, tmp_path):
    fitted = learned(MODULES[name], tmp_path, [episode(seed) for seed in range(30)], **LONGER)
    release, policy = registered(workspace, fitted)
    actor = Actor(
        digest=release.digest, policy=policy, observation=release.observation, action=release.action, rate_hz=10.0
    )
    found = action_errors([episode(100 + k) for k in range(6)], actor, config=ActionErrorConfig(rows=6, horizon=4))
    assert found.chunk == 4
    assert found.caveat
    for channel in (c for c in found.channels if c.step == found.chunk - 1):
        assert channel.ratio is not None
        assert float(channel.ratio.upper) < 1, channel


def test_a_chunk_is_executed_in_parts_or_averaged_over_time(workspace, tmp_path):
    fitted = learned(act, tmp_path, [episode()])
    _, policy = registered(workspace, fitted)
    seen = rows(episode(3))
    plans = [policy.plan(row) for row in seen[:4]]
    policy.reset(seed=0)
    np.testing.assert_allclose([policy.act(row) for row in seen[:3]], [plans[0][0], plans[0][1], plans[2][0]])
    _, averaged = registered(workspace, dataclasses.replace(fitted, post={**fitted.post, "ensemble": 0.5}))
    told = np.stack([averaged.act(row) for row in seen[:4]])
    np.testing.assert_allclose(told[0], plans[0][0])
    weights = np.exp(-0.5 * np.arange(4))
    wanted = sum(w * plan[3 - k] for k, (w, plan) in enumerate(zip(weights, plans, strict=True))) / weights.sum()
    np.testing.assert_allclose(told[3], wanted)


@pytest.mark.parametrize("name", ["diffusion", "flow"])
def test_chance_is_the_seeds(name, workspace, tmp_path):
    _, policy = registered(workspace, learned(MODULES[name], tmp_path, [episode()]))
    seen = rows(episode(3))[0]
    told = []
    for seed in (4, 4, 5):
        policy.reset(seed=seed)
        told.append(policy.act(seen))
    np.testing.assert_array_equal(told[0], told[1])
    assert np.abs(told[0] - told[2]).max() > 1e-6


def test_pictures_come_at_any_size_and_never_missing_or_of_another_type(workspace, tmp_path):
    inputs = Inputs(cameras=(CAMERA,), size=16)
    config = dataclasses.replace(act.debug(), inputs=inputs, goal=(CAMERA,))
    folder = loop.train("policies/act", [episode(picture=True)], [episode(1, picture=True)], config, tmp_path / "run")
    release, policy = registered(workspace, checkpoint.restore(folder)[1].fitted())
    assert release.pre == {"goal": CAMERA, "size": 16.0}
    seen = rows(episode(3, picture=True))
    with pytest.raises(UsageError, match="not told where to go"):
        policy.act(seen[0])
    policy.aim(seen[20], steps=20)
    there = policy.plan(seen[0])
    policy.aim(seen[1], steps=1)
    assert np.abs(policy.plan(seen[0]) - there).max() > 1e-6
    large = seen[0] | {CAMERA: np.repeat(np.repeat(seen[0][CAMERA], 2, axis=0), 2, axis=1)}
    np.testing.assert_allclose(policy.plan(large), policy.plan(seen[0]), atol=1e-6)
    for bad in ({}, {CAMERA: np.zeros((16, 16))}, {CAMERA: np.zeros((16, 16, 3))}):
        with pytest.raises(DataRefused, match="picture"):
            policy.plan({STATE: seen[0][STATE], **bad})
    with pytest.raises(UsageError, match="goal"):
        policy.aim({STATE: seen[0][STATE]}, steps=1)


def test_goals_are_later_rows_and_what_comes_after_them_teaches_nothing():
    config = dataclasses.replace(flow.debug(), goal=(STATE,), chunk=6)
    counted = np.repeat(np.arange(40.0)[:, None], 4, axis=1)
    held = [episode(), episode(1)]
    held = [
        dataclasses.replace(e, streams={**e.streams, STATE: dataclasses.replace(e.streams[STATE], values=counted)})
        for e in held
    ]
    layout = resolve_layout(held, config.inputs)
    tracks = make_tracks(held, layout)
    model = flow.create(config, layout, fit_normaliser(tracks, layout))
    windows = Windows(tracks, model)
    assert windows.rows_N3[:, 1].tolist() == 2 * list(range(39))
    told = windows.gather(windows.rows_N3, np.random.default_rng(0))
    goals = model.normaliser.statistics(STATE).invert(told[f"goal/{STATE}"].numpy())[:, 0].round().astype(int)
    ahead = goals - windows.rows_N3[:, 1]
    assert ahead.min() >= 1
    assert goals.max() == 39
    assert len(set(ahead.tolist())) > 20
    np.testing.assert_array_equal(told["there"].sum(1), np.minimum(ahead, 6))


def test_pictures_of_now_and_of_the_goal_are_shifted_together():
    inputs = Inputs(cameras=(CAMERA,), size=16)
    config = dataclasses.replace(flow.debug(), inputs=inputs, goal=(CAMERA,), shift=3)
    held = episode(picture=True)
    spot = np.zeros((40, 16, 16, 3), np.uint8)
    spot[:, 8, 8] = 255
    held = dataclasses.replace(
        held, streams={**held.streams, CAMERA: dataclasses.replace(held.streams[CAMERA], values=spot)}
    )
    layout = resolve_layout([held], config.inputs)
    tracks = make_tracks([held], layout)
    model = flow.create(config, layout, fit_normaliser(tracks, layout))
    batch = Windows(tracks, model).draw(np.random.default_rng(0))
    assert bool((batch[CAMERA] == batch[f"goal/{CAMERA}"]).all())
    places = {tuple(spot.argwhere()[0].tolist()) for spot in batch[CAMERA].amax(-1)}
    assert len(places) > 8
    assert all(5 <= x <= 11 for place in places for x in place)


def test_angles_that_wrap_are_learned_the_short_way_round(workspace, tmp_path):
    """A joint that turns through pi: relative targets stay small, and what is commanded lies within one turn."""
    held = episode()
    angle = (np.arange(40) * 0.4 + np.pi) % (2 * np.pi) - np.pi
    seen = np.stack([angle, np.zeros(40), np.zeros(40), np.zeros(40)], axis=1)
    sent = np.stack([(angle + 0.4 + np.pi) % (2 * np.pi) - np.pi, np.zeros(40)], axis=1)
    streams = {}
    for name, values in ((STATE, seen), ("action", sent)):
        info = dataclasses.replace(held.streams[name].info, unit="rad")
        streams[name] = dataclasses.replace(held.streams[name], values=values, info=info)
    fitted = learned(act, tmp_path, [dataclasses.replace(held, streams=streams)], relative_to=STATE)
    assert max(np.abs(fitted.normaliser.statistics("action").max)) < 2
    _, policy = registered(workspace, fitted)
    plans = np.stack([policy.plan({STATE: row}) for row in seen])
    assert np.abs(plans[..., 0]).max() <= np.pi


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"goal": ("observation.force",)}, UsageError),
        ({"execute": 5}, UsageError),
        ({"relative_to": "observation.force"}, DataRefused),
    ],
)
def test_configurations_that_cannot_be_are_refused(tmp_path, changes, error):
    with pytest.raises(error):
        learned(act, tmp_path, [episode()], **changes)


def test_a_camera_of_depth_is_refused():
    layout = Layout(
        rate_hz=10.0,
        states=(),
        action=Signal(name="action", shape=(2,)),
        cameras=(Signal(name="observation.depth", shape=(16, 16), kind=Kind.DEPTH),),
    )
    with pytest.raises(CapabilityMissing):
        sight_of(act.debug(), layout)


def test_another_rate_or_normaliser_than_the_releases_is_refused(workspace, tmp_path):
    release, _ = registered(workspace, learned(act, tmp_path, [episode()]))
    policies.admit(release, rate_hz=10.0, normaliser=release.normaliser.digest)
    with pytest.raises(DataRefused, match="another control rate"):
        policies.admit(release, rate_hz=20.0)
    with pytest.raises(DataRefused, match="other statistics"):
        policies.admit(release, rate_hz=10.0, normaliser="0" * 64)
    other = dataclasses.replace(release, controller=Controller(convention="joint_position", rate_hz=20.0))
    assert other.digest != release.digest


@pytest.mark.parametrize("damage", ["truncated", "pickle", "other net"])
def test_weights_that_are_not_whole_or_not_the_nets_are_refused(damage, workspace, tmp_path):
    release, _ = registered(workspace, learned(act, tmp_path, [episode()]))
    data = workspace.store.get(release.weights[WEIGHTS])
    bad = {
        "truncated": data[:-9],
        "pickle": b"\x80\x04pickle",
        "other net": data.replace(b'\\"width\\":32', b'\\"width\\":64'),
    }[damage]
    assert bad != data
    with pytest.raises(WeightsRefused):
        act.build(release, {WEIGHTS: bad})


def test_goal_conditioned_cloning_by_the_small_network_goes_where_it_is_aimed(workspace):
    config = mlp.MlpConfig(observation=(STATE,), relative_to=STATE, goal=(STATE,), hidden=32, steps=300, batch=128)
    release, policy = registered(workspace, mlp.train([episode(seed) for seed in range(20)], config))
    assert release.pre == {"goal": STATE}
    seen = rows(episode(50))
    with pytest.raises(UsageError, match="not told where to go"):
        policy.act(seen[0])
    with pytest.raises(UsageError, match="goal"):
        policy.aim({STATE: np.zeros(3)}, steps=5)
    policy.aim(seen[30], steps=30)
    toward = seen[30][STATE][:2] - seen[0][STATE][:2]
    step = policy.act(seen[0]) - seen[0][STATE][:2]
    assert toward @ step / (np.linalg.norm(toward) * np.linalg.norm(step)) > 0.8
    plain, clone = registered(workspace, mlp.train([episode()], dataclasses.replace(config, goal=(), steps=5)))
    assert "goal" not in plain.pre
    with pytest.raises(UsageError, match="takes no goal"):
        clone.aim(seen[0], steps=1)
    with pytest.raises(UsageError, match="sees"):
        mlp.train([episode()], dataclasses.replace(config, goal=("observation.force",)))
