"""A recorded dataset of the cell with colour, depth and classes, and tokenizers trained on it in seconds."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from worldgate.data import contracts, datasets
from worldgate.data.ingest import ingest
from worldgate.record.workspace import Workspace
from worldgate.sim.environment import CellEnvironment, EnvironmentConfig
from worldgate.sim.experts import EXPERTS, Expert
from worldgate.sim.sensing import SensorConfig
from worldgate.worlds.family import load_trainable
from worldgate.worlds.tokenizers._video import VideoConfig
from worldgate.worlds.tracks import Inputs
from worldgate.worlds.train import stage

FRONT, DEPTH, CLASSES = "observation.images.front", "observation.depth.front", "observation.segmentation.front"
CONTRACT = {
    "name": "bench",
    "version": 1,
    "origins": ["simulated"],
    "streams": {
        "observation.state": {"kind": "vector"},
        "action": {"kind": "action"},
        FRONT: {"kind": "image"},
        DEPTH: {"kind": "depth"},
        CLASSES: {"kind": "segmentation"},
    },
    "alignment": {"rate_hz": 10.0, "causal": True, "default": {"policy": "hold", "max_staleness_ns": 250_000_000}},
    "splits": {"fractions": {"train": 0.5, "val": 0.5}, "seed": 1},
}


def simulate(path, seed):
    sensors = SensorConfig(cameras=("front",), geometry=("depth", "segmentation"), lidar=False)
    environment = CellEnvironment("north", config=EnvironmentConfig(horizon_s=1.8), sensors=sensors)
    policy = Expert(EXPERTS["noisy"], "north")
    policy.reset(seed=seed)
    observation, done = environment.reset(seed=seed), False
    while not done:
        step = environment.step(policy.act(observation))
        observation, done = step.observation, step.done
    environment.save(path)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Workspace, dataset, and tokenizers of pictures, actions and states by the names they are called."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tokens")
    ws = Workspace.init(folder / "w", person="tester")
    for seed in range(4):
        simulate(folder / f"{seed}.mcap", seed)
        ingest(ws, folder / f"{seed}.mcap")
    contract = contracts.add(ws, contracts.from_tree(CONTRACT, where="test"))
    dataset = datasets.snapshot(ws, contract, name="cell")

    def train(family, name, inputs, **options):
        config = dataclasses.replace(load_trainable(family).debug(), inputs=inputs, **options)
        return stage.train(ws, dataset.digest, family, config, name=name)

    colour = Inputs(states=(), action="", cameras=(FRONT,), size=32)
    cameras = Inputs(states=(), action="", cameras=(FRONT, DEPTH, CLASSES), size=32)
    return SimpleNamespace(
        ws=ws,
        dataset=dataset,
        pictures=train("fsq", "pictures", cameras, video=VideoConfig(context="background", time=4)),
        continuous=train("kl", "continuous", colour),
        first=train("fsq", "first", colour, video=VideoConfig(context="first")),
        actions=train("dct", "actions", Inputs(states=(), action="action")),
        bins=train("bins", "bins", Inputs(states=(), action="action")),
        states=train("bins", "states", Inputs(states=(), action="observation.state")),
    )
