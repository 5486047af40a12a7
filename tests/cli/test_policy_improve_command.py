"""``worldgate policy improve``: both returns are printed, a gain is registered, and a model that lies exits with 1."""

from __future__ import annotations

import json

import pytest
from tests.control.test_improving import CONFIG, Lying, weak
from tests.control.tiny import Line, LineModel

from worldgate.cli import main
from worldgate.control.imagination import improve as improving
from worldgate.control.imagination import stage
from worldgate.control.policies._release import Fitted
from worldgate.core.names import Name
from worldgate.fleet import releases
from worldgate.fleet.releases import Controller
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

SETS = [
    f"--set={name}={getattr(CONFIG, name)}"
    for name in ("runs", "rounds", "situations", "futures", "horizon", "check", "rate", "near")
]


@pytest.fixture
def place(workspace, monkeypatch):
    monkeypatch.setattr(stage, "open_task", lambda name, options: Line())
    monkeypatch.setattr(stage.stage, "load", lambda ws, digest: LineModel())
    with workspace as ws:
        start = weak()
        fitted = Fitted(
            policy="mlp",
            tensors=start.tensors(start.network()),
            normaliser=start.normaliser,
            observation=start.observation,
            action=start.action,
            controller=Controller(convention="joint_velocity", rate_hz=10.0),
        )
        fitted.publish(ws, name="start")
        model = Ref("world_model", ws.put_json({"family": "line"}), Name("line"))
        ws.record("world_model.trained", body={}, outputs=(model,), name="line")
    return workspace.root


def run(place, capsys):
    code = main(
        ["policy", "improve", "start", "--model", "line", "--task", "two_room", "--name", "better", "--json",
         "--workspace", str(place), *SETS]
    )  # fmt: skip
    return code, json.loads(capsys.readouterr().out)


def test_a_true_gain_becomes_a_release_whose_parent_is_the_old_one(place, capsys):
    code, told = run(place, capsys)
    assert code == 0
    assert told["verdict"] == "seen"
    assert told["true_return"]["gain"]["lower"] > 0
    with Workspace.open(place) as ws:
        new = releases.load(ws, ws.resolve("better", "release").digest)
        assert new.parent == ws.resolve("start", "release").digest
        [event] = ws.ledger.events("policy.improved")
        assert event.body["verdict"] == "seen"


def test_a_model_that_was_exploited_registers_nothing_and_exits_with_1(place, capsys, monkeypatch):
    monkeypatch.setattr(improving, "FittedOutcomes", lambda *_: Lying())
    code, told = run(place, capsys)
    assert code == 1
    assert told["verdict"] == "exploited"
    assert told["release"] is None
    assert told["imagined_return"]["gain"]["lower"] > 0
    assert told["true_return"]["gain"]["mean"] < 0
