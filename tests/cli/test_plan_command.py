"""``worldgate plan``: a small latent model of two rooms, planned in from held-out episodes, as a user would."""

from __future__ import annotations

import json

import av
import pytest

from worldgate.cli import main
from worldgate.record.workspace import Workspace

pytest.importorskip("torch")

SMALL = (
    "inputs.states=[]",
    'inputs.cameras=["observation.images.top"]',
    'inputs.read=["observation.state"]',
    "inputs.size=32",
    "phase.steps=30",
    "heads.steps=10",
    "heads.batch=16",
    "phase.batch=16",
    "net.width=8",
    "net.hidden=32",
    "net.latent=8",
    "learn.span=12",
    "learn.steps=2",
    "learn.every=3",
)
SHORT = ("--set", "pairs.offset=12", "--set", "pairs.budget=15", "--pairs", "3")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    logs, contract, ws = folder / "logs", folder / "rooms.toml", str(folder / "ws")
    record = ["sim", "task", "two_room", str(logs), "--runs", "12", "--actor", "noisy", "--size", "32"]
    assert main([*record, "--contract", str(contract)]) == 0
    assert main(["init", ws]) == 0
    assert main(["ingest", str(logs), "-w", ws]) == 0
    assert main(["snapshot", str(contract), "--name", "rooms", "-w", ws]) == 0
    sets = [part for key in SMALL for part in ("--set", key)]
    assert main(["train", "jepa", "rooms", "--name", "tiny", "-w", ws, *sets]) == 0
    return folder


def run(root, *words, task="two_room"):
    return main(["plan", "tiny", "--task", task, "-w", str(root / "ws"), *SHORT, *words])


def test_rates_stand_beside_their_controls_and_are_kept_as_evidence(root, capsys):
    assert run(root, "--planner", "direct", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["arms"]) == {"own", "shuffled", "random"}
    with Workspace.open(root / "ws") as ws:
        kept = ws.get_json(told["evidence"]["digest"])
        model = ws.resolve("tiny", "world_model").digest
    assert kept["subject"] == model and kept["arms"] == told["arms"]
    assert any("begun from inverse" in line for line in told["said"])


def test_a_search_in_time_with_a_video(root, capsys, tmp_path):
    video = tmp_path / "plan.mp4"
    options = ("--set", "options.plans=24", "--set", "planning.cost.hold=3", "--set", "planning.horizon=9")
    assert run(root, "--budget-ms", "50", "--video", str(video), *options) == 0
    out = capsys.readouterr().out
    assert "two_room, simulated; planned with icem in imagination" in out
    assert "time budget 50 ms" in out and "simulated" in out
    with av.open(str(video)) as container:
        assert container.streams.video[0].height >= 256
        assert container.metadata["comment"].startswith("origin=simulated; task=two_room")


def test_the_simulator_itself_can_be_looked_ahead_in(root, capsys):
    options = ("--set", "options.plans=16", "--set", "options.rounds=1", "--set", "planning.horizon=6")
    assert run(root, "--simulator", "--planner", "cem", *options) == 0
    assert "in the simulator" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--planner", "cemm"), "did you mean cem?"),
        (("--split", "train"), "trained on"),
        (
            ("--set", 'limits.keep_out=[{stream="observation.force",channels=[0],radius=1.0,centre=[0.0]}]'),
            "cannot predict what a constraint asks",
        ),
        (("--planner", "gradient", "--simulator"), "slope"),
        (("--set", "planning.horizonn=3"), "horizon"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_its_reason(root, capsys, words, said):
    assert run(root, *words) in {1, 2, 4}
    assert said in capsys.readouterr().err


def test_a_model_of_other_actions_is_refused(root, capsys):
    assert run(root, task="push") == 4
    assert "a model of other actions than the task's" in capsys.readouterr().err
