"""Training as a stage of the record."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
from tests.worlds.synthetic import debug_config, episodes

from worldgate.core.digest import sha256
from worldgate.core.errors import Interrupted, NotFound, Tampered, WeightsRefused
from worldgate.core.streams import Origin, Stream
from worldgate.data import contracts, datasets
from worldgate.data.ingest import ingest
from worldgate.data.logs.mcap import write_log
from worldgate.record import lineage
from worldgate.record.verify import verify
from worldgate.worlds.train import loop, stage

CONTRACT = {
    "name": "bench",
    "version": 1,
    "origins": ["simulated"],
    "streams": {"observation.state": {"kind": "vector"}, "action": {"kind": "action"}},
    "alignment": {"rate_hz": 10.0, "causal": True, "default": {"policy": "hold", "tolerance_ns": 150_000_000}},
    "splits": {"fractions": {"train": 0.7, "val": 0.3}, "seed": 1},
}


@pytest.fixture
def dataset(workspace, tmp_path):
    """A recorded dataset of eight short logs."""
    for held in episodes(8):
        streams = [
            Stream(info=held.streams[n].info, times_ns=held.times_ns + 10**18, values=np.asarray(held.array(n)))
            for n in ("observation.state", "action")
        ]
        write_log(tmp_path / f"{held.name}.mcap", streams, origin=Origin.SIMULATED, facts={"site": "bench"})
        ingest(workspace, tmp_path / f"{held.name}.mcap")
    contract = contracts.add(workspace, contracts.from_tree(CONTRACT, where="test"))
    return datasets.snapshot(workspace, contract, name="bench")


def test_a_model_is_recorded_with_what_made_it(workspace, dataset):
    model = stage.train(workspace, dataset.digest, "state", debug_config("state"), name="first")
    made = next(iter(workspace.ledger.events(stage.FINISHED["world_model"])))
    assert [r.kind for r in made.inputs] == ["dataset", "run"]
    assert [r.kind for r in made.outputs] == ["world_model", "weights", "normaliser"]
    assert made.inputs[0].digest == dataset.digest
    assert made.body["held_out"]["skill_over_hold_last_0.5s"] > 0.5
    assert workspace.resolve("first", "world_model").digest == model.digest
    assert dataset.digest in str(lineage.backward(workspace, model.digest))
    assert verify(workspace).ok


def test_a_recorded_model_loads_from_the_store_by_its_digest(workspace, dataset):
    model = stage.train(workspace, dataset.digest, "state", debug_config("state"))
    world = stage.load(workspace, model.digest)
    assert world.spec.digest == model.digest == sha256(workspace.store.get(model.digest))
    assert world.spec.dataset == dataset.digest
    assert stage.load(workspace, model.digest).spec == world.spec


def test_asking_again_trains_nothing(workspace, dataset, monkeypatch):
    first = stage.train(workspace, dataset.digest, "state", debug_config("state"))

    def refuse(*_args, **_options):
        raise AssertionError("trained again")

    monkeypatch.setattr(loop, "train", refuse)
    monkeypatch.setattr(loop, "resume", refuse)
    assert stage.train(workspace, dataset.digest, "state", debug_config("state")) == first
    assert len(list(workspace.ledger.events(stage.FINISHED["world_model"]))) == 1


def test_an_interrupted_run_resumes_by_its_id_alone(workspace, dataset, monkeypatch):
    config, real = debug_config("state"), loop.train

    def stop(step, _total, _note=""):
        if step == 12:
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, Interrupted)):
        stage.train(workspace, dataset.digest, "state", config, progress=stop)
    run = next(iter(workspace.ledger.events(stage.STARTED))).body["run"]
    assert not list(workspace.ledger.events(stage.FINISHED["world_model"]))
    resumed = stage.resume(workspace, run)
    other = dataclasses.replace(config, loop=dataclasses.replace(config.loop, checkpoint_every=11))
    assert stage.load(workspace, resumed.digest).spec.dataset == dataset.digest
    assert stage.train(workspace, dataset.digest, "state", config) == resumed
    assert stage.train(workspace, dataset.digest, "state", other) != resumed
    assert loop.train is real


def test_an_unknown_run_is_not_made_up(workspace):
    with pytest.raises(NotFound):
        stage.resume(workspace, "abcdef123456")


def flip(path):
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def test_a_flipped_byte_is_found_in_the_store_and_in_the_cache(workspace, dataset):
    model = stage.train(workspace, dataset.digest, "state", debug_config("state"))
    flip(stage.checkout(workspace, model.digest) / "model.safetensors")
    with pytest.raises(WeightsRefused):
        stage.load(workspace, model.digest)
    shutil.rmtree(workspace.cache / "world_models")
    flip(workspace.store.path(next(iter(workspace.ledger.events(stage.FINISHED["world_model"]))).outputs[1].digest))
    with pytest.raises(Tampered):
        stage.load(workspace, model.digest)
