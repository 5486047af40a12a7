"""Snapshots: what was changed is refused, what changed around them is said."""

from __future__ import annotations

import json
import os
import shutil
import signal

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.worlds.synthetic import debug_config, episodes

from worldgate.core.errors import Interrupted, NotFound, UsageError, WeightsRefused
from worldgate.worlds.train import loop, parallel, snapshots
from worldgate.worlds.train.loop import resume, train

LEARNABLE = episodes(6)


@pytest.fixture(scope="module", autouse=True)
def _code():
    """Whoever edits the sources while this runs changes nothing here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "code_digest", lambda: "a" * 64)
        yield


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A run stopped at its 17th step."""
    run = tmp_path_factory.mktemp("runs") / "run"

    def interrupt(progress):
        if progress.step == 17:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train("state", LEARNABLE, [], debug_config("state"), run, interrupt)
    return run


@pytest.fixture
def stopped(template, tmp_path):
    return shutil.copytree(template, tmp_path / "run")


def newest(run):
    return run / "snapshots" / (run / "latest").read_text().splitlines()[0]


@pytest.mark.parametrize("file", ["weights.safetensors", "optimiser.safetensors"])
def test_a_snapshot_with_one_tensor_changed_is_refused(stopped, file):
    path = newest(stopped) / file
    tensors = load_file(path)
    name = next(n for n, t in sorted(tensors.items()) if t.dtype == np.float32 and t.size)
    tensors[name].flat[0] += 1e-6
    save_file(tensors, path)
    with pytest.raises(WeightsRefused, match="not what was written") as caught:
        resume(stopped, LEARNABLE, [])
    assert file in str(caught.value.where)


def test_a_snapshot_whose_place_was_changed_is_refused(stopped):
    path = newest(stopped) / "loop.json"
    tree = json.loads(path.read_text())
    path.write_text(json.dumps(tree | {"step": 29}))
    with pytest.raises(WeightsRefused, match="not what was written"):
        resume(stopped, LEARNABLE, [])


@pytest.mark.parametrize("file", ["weights.safetensors", "loop.json"])
def test_a_snapshot_that_lacks_a_file_is_refused(stopped, file):
    (newest(stopped) / file).unlink()
    with pytest.raises(WeightsRefused):
        resume(stopped, LEARNABLE, [])


def test_a_pointer_to_a_snapshot_that_is_gone_is_not_followed(stopped):
    shutil.rmtree(newest(stopped))
    with pytest.raises(NotFound, match="not whole"):
        resume(stopped, LEARNABLE, [])


def test_other_code_than_the_snapshots_is_said_and_kept_in_the_model(stopped, monkeypatch, caplog):
    monkeypatch.setattr(loop, "code_digest", lambda: "f" * 64)
    folder = resume(stopped, LEARNABLE, [])
    assert "the code has changed since this run's snapshot" in caplog.text
    about = json.loads((folder / "config.json").read_text())["about"]
    assert (about["code"], about["code_before"]) == ("f" * 64, "a" * 64)


def test_the_same_code_is_not_worth_a_word(stopped, caplog):
    resume(stopped, LEARNABLE, [])
    assert "code" not in caplog.text


def test_processes_that_cannot_share_the_batches_are_refused(stopped, monkeypatch):
    monkeypatch.setattr(parallel, "current", lambda: Three())
    with pytest.raises(UsageError, match="cannot share this run's batches") as caught:
        resume(stopped, LEARNABLE, [])
    assert "torchrun --nproc-per-node 1" in str(caught.value.hint)


class Three(parallel.Ranks):
    """The first of three processes, where nobody else is."""

    def __init__(self):
        super().__init__(rank=0, count=3)

    def wait(self):
        """There is nobody to wait for."""


def test_generators_of_a_steps_batches_are_far_apart_and_the_first_is_the_plain_one():
    draws = [snapshots.generator(7, number).integers(2**62, size=4).tolist() for number in range(4)]
    assert len({tuple(d) for d in draws}) == 4
    assert draws[0] == np.random.Generator(np.random.PCG64(7)).integers(2**62, size=4).tolist()
