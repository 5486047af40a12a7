"""Every file of the policies seam keeps the same contract."""

from __future__ import annotations

import dataclasses
import functools
import json
import tempfile
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from tests.control import policy_server

from worldgate.control import policies
from worldgate.control.imagination.actor_critic import ActorCritic, BehaviourConfig
from worldgate.control.imagination.online import acting_tensors
from worldgate.control.policies import actor, lerobot, mlp, openpi, scripted
from worldgate.control.policies._lerobot_act import Act, ActConfig
from worldgate.control.policies._release import WEIGHTS
from worldgate.core import seams
from worldgate.core.episodes import Episode, Rows
from worldgate.core.errors import DataRefused, NotFound, Tampered, WeightsRefused
from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import Kind, Origin, StreamInfo
from worldgate.fleet import releases
from worldgate.fleet.releases import Controller
from worldgate.sim.experts import ExpertConfig
from worldgate.worlds import checkpoint
from worldgate.worlds.nn.rssm import RssmConfig
from worldgate.worlds.nn.rssm_net import NetConfig, RssmNet
from worldgate.worlds.tracks import Layout
from worldgate.worlds.train import loop

RNG = np.random.default_rng(3)
STATE, AROUND = scripted.OBSERVATION
SENTENCE = "push the block"


def observation(rng=RNG):
    state = np.concatenate([rng.normal(0, 1, 8), [0.05, -0.02, 0.02]])
    return {STATE.name: state, AROUND.name: np.array([0.1, 0.0, 0.2, 0.11, 0.235, 0.95, 0.0])}


def episode(length=40, rng=RNG):
    observations = [observation(rng) for _ in range(length)]
    arrays = {name: np.stack([o[name] for o in observations]) for name in observations[0]}
    arrays["action"] = arrays[STATE.name][:, 8:10] + rng.normal(0, 0.01, (length, 2))
    streams = {}
    for name, values in arrays.items():
        signal = {s.name: s for s in (*scripted.OBSERVATION, scripted.ACTION)}[name]
        info = StreamInfo(
            name=name, kind=Kind.VECTOR, count=length, shape=signal.shape, names=signal.names, unit=signal.unit
        )
        zero = np.zeros(length, dtype=np.int64)
        streams[name] = Rows(
            info=info, values=values, index=zero, source_ns=zero, skew_ns=zero, staleness_ns=zero, gap=zero.astype(bool)
        )
    return Episode(
        id="e", log="l", name="e", alignment="", origin=Origin.SIMULATED, rate_hz=10.0, times_ns=zero, streams=streams,
        facts={"task": SENTENCE},
    )  # fmt: skip


def fitted_mlp():
    return mlp.train([episode()], mlp.MlpConfig(hidden=8, steps=5, batch=16))


def fitted_scripted():
    rows = [observation() for _ in range(20)]
    normaliser = Normaliser.fit({name: np.stack([r[name] for r in rows]) for name in rows[0]})
    return scripted.configure(ExpertConfig(), "north", normaliser)


def looped(name, held=None, **phase):
    """One of those that the loop of the world models trains."""
    with tempfile.TemporaryDirectory() as folder:
        config = seams.load("policies", name).debug()
        inputs = dataclasses.replace(config.inputs, states=(STATE.name, AROUND.name))
        phase = dataclasses.replace(config.phase, **{"steps": 5, **phase})
        config = dataclasses.replace(config, inputs=inputs, phase=phase)
        made = loop.train(f"policies/{name}", [held or episode()], [], config, Path(folder) / "run")
        return checkpoint.restore(made)[1].fitted()


@functools.cache
def fitted_vla():
    """It answers in steps of a bin, so one number around must have mattered for its statistics to show."""
    rng = np.random.default_rng(5)
    held = episode(200, rng)
    moved, around = rng.uniform(-1, 1, 200), held.array(AROUND.name).copy()
    around[:, 3] = moved
    action = held.array("action") + 0.1 * moved[:, None]
    rows = {AROUND.name: around, "action": action}
    streams = {n: dataclasses.replace(r, values=rows.get(n, r.values)) for n, r in held.streams.items()}
    return looped("vla", dataclasses.replace(held, streams=streams), steps=300, rate=4e-3, ema=0.9)


def fitted_lerobot():
    """A folder as LeRobot's ACT has it, with weights of our own and the statistics of some rows."""
    small = {"chunk_size": 3, "n_action_steps": 2, "dim_model": 16, "n_heads": 2, "dim_feedforward": 16}
    small |= {"n_encoder_layers": 1, "latent_dim": 4}
    seen = {STATE.name: ("STATE", STATE.shape), AROUND.name: ("ENV", AROUND.shape)}
    seen_by_type = {name: {"type": kind, "shape": shape} for name, (kind, shape) in seen.items()}
    config = {"type": "act", "input_features": seen_by_type, **small}
    config["output_features"] = {"action": {"type": "ACTION", "shape": (2,)}}
    config["normalization_mapping"] = dict.fromkeys(("STATE", "ENV", "ACTION"), "MEAN_STD")
    torch.manual_seed(0)
    head = Act(ActConfig(**small), {name: shape[0] for name, (_, shape) in seen.items()}, (), 2)
    tensors = {name: tensor.numpy() for name, tensor in head.state_dict().items()}
    for name, width in ((STATE.name, 11), (AROUND.name, 7)):
        buffer = f"normalize_inputs.buffer_{name.replace('.', '_')}"
        tensors |= {f"{buffer}.mean": np.zeros(width), f"{buffer}.std": np.ones(width)}
    tensors |= {f"unnormalize_outputs.buffer_action.{name}": np.full(2, n) for n, name in enumerate(("mean", "std"))}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(config))
        save_file(tensors, Path(folder, "model.safetensors"))
        return lerobot.read(Path(folder), rate_hz=10)


def fitted_openpi():
    controller = Controller(convention="joint_position", rate_hz=10, chunk=policy_server.CHUNK, execute=2)
    keys = {"observation/state": STATE, "observation/around": AROUND}
    return openpi.describe(keys, scripted.ACTION, prompt="push", controller=controller)


def fitted_actor():
    rows = [observation() for _ in range(20)]
    arrays = {name: np.stack([r[name] for r in rows]) for name in rows[0]}
    arrays["action"] = arrays[STATE.name][:, 8:10]
    normaliser = Normaliser.fit(arrays)
    layout = Layout(rate_hz=10.0, states=scripted.OBSERVATION, action=scripted.ACTION)
    rssm = RssmConfig(deter=8, hidden=8, variables=2, classes=4, blocks=2)
    net = RssmNet(NetConfig(rssm=rssm, units=8, layers=2, bins=3), layout, normaliser, "reward")
    behaviour = ActorCritic(BehaviourConfig(units=8, layers=1), net.rssm.features, 2, 3)
    spec = types.SimpleNamespace(states=scripted.OBSERVATION, action=scripted.ACTION, rate_hz=10.0)
    run = types.SimpleNamespace(
        task=types.SimpleNamespace(spec=spec), net=net, normaliser=normaliser, steps=1, updates=1,
        config=types.SimpleNamespace(seed=0), acting_tensors=lambda: acting_tensors(net, behaviour),
    )  # fmt: skip
    return actor.fitted(run, "tool_position")


MAKERS = {
    **{name: functools.partial(looped, name) for name in ("act", "diffusion", "flow")},
    "vla": fitted_vla,
    "actor": fitted_actor,
    "mlp": fitted_mlp,
    "scripted": fitted_scripted,
    "lerobot": fitted_lerobot,
    "openpi": fitted_openpi,
}
THEIRS = "openpi"
"""Normalised by somebody else's server, whatever the release says."""


@pytest.fixture(autouse=True, scope="module")
def served():
    with policy_server.running() as (_, address), pytest.MonkeyPatch.context() as patch:
        patch.setenv(openpi.SERVER, address)
        yield


def test_every_policy_of_the_seam_is_under_this_contract():
    assert set(seams.cards("policies")) == set(MAKERS)


@pytest.fixture(params=sorted(MAKERS))
def made(request, workspace):
    ref = MAKERS[request.param]().publish(workspace, name=request.param)
    return releases.load(workspace, ref.digest), workspace.store


def act(release, store, seen, seed=0):
    policy = policies.load(release, store)
    policy.reset(seed=seed)
    if policies.follows(policy):
        policy.tell(SENTENCE)
    return policy.act(seen)


def test_a_policy_carries_the_digest_of_its_release(made):
    release, store = made
    assert policies.load(release, store).digest == release.digest


def test_an_action_has_the_announced_shape_and_repeats_to_the_bit(made):
    release, store = made
    seen = observation()
    action = act(release, store, seen)
    assert action.shape == release.action.shape
    assert np.isfinite(action).all()
    np.testing.assert_array_equal(action, act(release, store, seen))


def test_the_observation_is_not_changed(made):
    seen = observation()
    before = {name: row.copy() for name, row in seen.items()}
    act(*made, seen)
    for name, row in before.items():
        np.testing.assert_array_equal(seen[name], row)


@pytest.mark.parametrize("damage", ["missing", "width", "nan", "infinite"])
def test_an_observation_that_does_not_fit_is_refused(made, damage):
    seen = observation()
    if damage == "missing":
        del seen[AROUND.name]
    elif damage == "width":
        seen[AROUND.name] = seen[AROUND.name][:-1]
    else:
        seen[AROUND.name][3] = np.nan if damage == "nan" else np.inf
    with pytest.raises(DataRefused):
        act(*made, seen)


def test_other_statistics_make_another_machine_of_the_same_weights(made):
    release, store = made
    if release.policy == THEIRS:
        pytest.skip("the server normalises")
    statistics = release.normaliser.streams[AROUND.name]
    mean = (*statistics.mean[:3], statistics.mean[3] + 40.0, *statistics.mean[4:])
    streams = {**release.normaliser.streams, AROUND.name: dataclasses.replace(statistics, mean=mean)}
    other = dataclasses.replace(release, normaliser=Normaliser(streams=streams))
    assert other.digest != release.digest
    seen = [observation() for _ in range(20)]
    for i, row in enumerate(seen):  # somewhere behind, beside and before the object the goal must matter
        row[AROUND.name][:2] = 0.12 * np.cos(i), 0.12 * np.sin(i)
    apart = [np.abs(act(other, store, s) - act(release, store, s)).max() for s in seen]
    assert max(apart) > 1e-3


def test_weights_with_other_bytes_are_refused(made):
    release, store = made
    path = store.path(release.weights[WEIGHTS])
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(Tampered):
        policies.load(release, store)


@pytest.mark.parametrize("weights", [{WEIGHTS: b"\x80\x04pickle"}, {}, {"other.safetensors": b""}])
def test_weights_that_are_not_its_own_are_refused(made, weights):
    release, _ = made
    with pytest.raises(WeightsRefused):
        seams.load("policies", release.policy).build(release, weights)


def test_weights_of_another_policy_are_refused(workspace):
    one, other = (
        releases.load(workspace, MAKERS[name]().publish(workspace, name=name).digest) for name in ("mlp", "scripted")
    )
    for release, weights in ((one, other.weights), (other, one.weights)):
        with pytest.raises(WeightsRefused):
            policies.load(dataclasses.replace(release, weights=weights), workspace.store)


def test_a_release_without_weights_or_of_no_known_policy_is_refused(made):
    release, store = made
    with pytest.raises(WeightsRefused):
        policies.load(dataclasses.replace(release, weights={}), store)
    with pytest.raises(NotFound):
        policies.load(dataclasses.replace(release, policy="mpl"), store)


def test_the_store_is_only_asked_for_digests(made):
    release, store = made
    asked = []
    fake = types.SimpleNamespace(get=lambda digest: asked.append(digest) or store.get(digest))
    policies.load(release, fake)
    assert asked == list(release.weights.values())
