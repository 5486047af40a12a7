"""Policies behind an openpi server: what is sent, what is taken for an answer, and which server is the release's."""

from __future__ import annotations

import numpy as np
import pytest
from tests.control import policy_server

from worldgate.control import policies
from worldgate.control.policies import openpi
from worldgate.core.errors import DataRefused, UsageError, WeightsRefused, WorldgateError
from worldgate.core.worlds import Signal
from worldgate.fleet import releases
from worldgate.fleet.releases import Controller

STATE = Signal(name="observation.state", unit="rad", shape=(3,))
CAMERA = Signal(name="observation.images.front", shape=(8, 6, 3))
ACTION = Signal(name="action", unit="rad", shape=(policy_server.WIDTH,))
KEYS = {"observation/state": STATE, "observation/image": CAMERA}


@pytest.fixture
def served(monkeypatch):
    with policy_server.running() as (server, address):
        monkeypatch.setenv(openpi.SERVER, address)
        yield server


def registered(workspace, prompt="pick up the fork", **options):
    controller = Controller(convention="joint_position", rate_hz=15, chunk=policy_server.CHUNK, execute=2)
    fitted = openpi.describe(KEYS, ACTION, prompt=prompt, controller=controller, checkpoint="pi0_droid", **options)
    release = releases.load(workspace, fitted.publish(workspace, name="pi0").digest)
    return release, policies.load(release, workspace.store)


def row(value=0.0):
    return {STATE.name: np.full(3, value), CAMERA.name: np.full((8, 6, 3), 7, np.uint8)}


def test_chunks_are_executed_in_parts_and_what_is_sent_is_what_the_server_knows(workspace, served):
    release, policy = registered(workspace)
    policy.reset(seed=0)
    actions = [policy.act(row(value)) for value in (1.0, 2.0, 5.0)]
    assert [action.tolist() for action in actions] == [[1, 1], [2, 2], [5, 5]]
    assert len(served.asked) == 2
    assert set(served.asked[0]) == {"prompt", *KEYS}
    assert served.asked[0]["prompt"] == "pick up the fork"
    np.testing.assert_array_equal(served.asked[1]["observation/image"], row()[CAMERA.name])
    assert policy.plan(row(3.0)).shape == (policy_server.CHUNK, policy_server.WIDTH)
    assert policy.digest == release.digest


def test_a_key_is_sent_where_there_is_one(workspace, served, monkeypatch):
    monkeypatch.setenv(openpi.KEY, "secret")
    registered(workspace)
    assert served.headers == ["Api-Key secret"]


@pytest.mark.parametrize("fault", ["nan", "shape", "none", "text", "garbage", "error", "object", "longer"])
def test_a_bad_answer_is_refused_and_the_next_one_counts_again(workspace, served, fault):
    _, policy = registered(workspace)
    policy.reset(seed=0)
    served.fault = fault
    with pytest.raises(DataRefused):
        policy.act(row())
    served.fault = ""
    assert policy.act(row(4.0)).tolist() == [4, 4]


def test_a_late_answer_is_not_taken_for_the_next_ones(workspace, served):
    _, policy = registered(workspace, timeout_s=0.25)
    policy.reset(seed=0)
    served.fault = "slow"
    with pytest.raises(WorldgateError, match="too slow"):
        policy.act(row(1.0))
    served.fault = ""
    assert policy.act(row(9.0)).tolist() == [9, 9]


def test_another_server_than_the_releases_is_refused(workspace, served):
    _, policy = registered(workspace)
    served.metadata = {"model": "pi05"}
    with pytest.raises(DataRefused, match="not the one"):
        policy.reset(seed=0)


def test_nobody_there_and_no_address_are_said(workspace, served, monkeypatch):
    release, _ = registered(workspace)
    monkeypatch.setenv(openpi.SERVER, "ws://127.0.0.1:9")
    with pytest.raises(WorldgateError, match="no policy server answers"):
        policies.load(release, workspace.store).reset(seed=0)
    monkeypatch.setenv(openpi.SERVER, "http://127.0.0.1:9")
    with pytest.raises(UsageError, match="ws://"):
        policies.load(release, workspace.store).reset(seed=0)


@pytest.mark.parametrize("damage", ["camera", "width", "type", "nan"])
def test_what_the_release_does_not_read_is_not_sent(workspace, served, damage):
    _, policy = registered(workspace)
    policy.reset(seed=0)
    seen = row()
    if damage == "camera":
        del seen[CAMERA.name]
    else:
        seen |= {
            "width": {STATE.name: np.zeros(4)},
            "type": {CAMERA.name: np.zeros((8, 6, 3))},
            "nan": {STATE.name: np.array([0, np.nan, 0])},
        }[damage]
    with pytest.raises(DataRefused):
        policy.act(seen)
    assert served.asked == []


def test_an_instruction_is_the_releases_or_the_runs(workspace, served):
    _, policy = registered(workspace)
    with pytest.raises(UsageError, match="of its own"):
        policy.tell("open the drawer")
    _, told = registered(workspace, prompt="")
    told.reset(seed=0)
    with pytest.raises(UsageError, match="what to do"):
        told.act(row())
    told.tell("open the drawer")
    told.act(row())
    assert served.asked[-1]["prompt"] == "open the drawer"


def test_a_chunk_that_the_description_does_not_name_is_refused(workspace, served):
    import dataclasses

    release, _ = registered(workspace)
    longer = dataclasses.replace(release, controller=dataclasses.replace(release.controller, chunk=9))
    with pytest.raises(WeightsRefused):
        policies.load(longer, workspace.store)
