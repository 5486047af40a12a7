"""Telemetry of real logs trains without a special case: a car and a laboratory without commands, arms, a flight."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from worldgate.core.worlds import Prompt, rollout
from worldgate.data import contracts, datasets
from worldgate.data.ingest import ingest
from worldgate.record.events import Ref
from worldgate.worlds.models import state
from worldgate.worlds.tracks import Inputs
from worldgate.worlds.train import stage

CAR = ("observation.state.speed", "observation.state.steering_angle", "observation.imu.gyro")
FLIGHT = ("vehicle_attitude.rollspeed", "vehicle_attitude.pitchspeed", "vehicle_attitude.q")
CASES = {
    "comma2k19": ("comma2k19_segment", 20.0, CAR, ""),
    "openarm": ("openarm_dataset", 30.0, ("observation.state.left",), "action.left"),
    "px4": ("px4_ulog/test/sample.ulg", 25.0, FLIGHT, "actuator_controls_0.control"),
    "droid": ("droid_ctrlworld/droid_subset", 15.0, ("observation.state",), "action"),
    "droid-alone": ("droid_ctrlworld/droid_new_setup", 4.0, ("observation.state",), ""),
}


def contract(name, rate_hz, states, action):
    kinds = {**dict.fromkeys(states, "vector"), **({action: "action"} if action else {})}
    tree = {
        "name": name,
        "streams": {stream: {"kind": kind} for stream, kind in kinds.items()},
        "alignment": {"rate_hz": rate_hz, "causal": True, "default": {"policy": "hold"}},
    }
    return contracts.from_tree(tree, where=name)


@pytest.mark.parametrize(
    "name",
    [
        "comma2k19",
        "droid-alone",
        pytest.param("droid", marks=pytest.mark.slow),
        pytest.param("openarm", marks=pytest.mark.slow),
        pytest.param("px4", marks=pytest.mark.slow),
    ],
)
def test_real_telemetry_trains_says_how_sure_it_is_and_rolls_forward(name, workspace, real_data):
    path, rate_hz, states, action = CASES[name]
    ingest(workspace, real_data / path)
    held = contracts.add(workspace, contract(name, rate_hz, states, action))
    dataset = datasets.snapshot(workspace, held, name=name)
    config = dataclasses.replace(state.debug(), inputs=Inputs(states=states, action=action))
    model: Ref = stage.train(workspace, dataset.digest, "state", config)
    figures = next(e.body for e in workspace.ledger.events("world_model.trained") if model in e.outputs)["held_out"]
    assert np.isfinite([figures["skill_over_hold_last_0.5s"], figures["skill_over_constant_velocity_0.5s"]]).all()
    assert 0 <= figures["coverage_90_0.5s"] <= 1
    assert ("action_sensitivity_0.5s" in figures) == bool(action)
    world = stage.load(workspace, model.digest)
    episode = datasets.load(workspace, dataset.digest, "train")[0]
    rows = slice(20, 20 + world.spec.context)
    prompt = Prompt(
        states={stream: episode.array(stream)[rows] for stream in states},
        actions=episode.array(action)[rows] if action else None,
    )
    ahead = episode.array(action)[rows.stop : rows.stop + 10] if action else None
    made = rollout(world, prompt, ahead, seed=0, samples=2, horizon=10)
    assert all(np.isfinite(made.frame.states[stream]).all() for stream in states)
    if name == "comma2k19":
        assert figures["skill_over_hold_last_0.5s_low"] > 0
        assert figures["skill_over_constant_velocity_0.5s_low"] > 0.5
        assert 0.8 < figures["coverage_90_0.5s"] < 0.99
