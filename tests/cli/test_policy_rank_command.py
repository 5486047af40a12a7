"""``worldgate policy rank``: releases of the cell in a model that has hardly learned, beside the simulator."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldgate.cli import main
from worldgate.control import rank_recorded, replays
from worldgate.control.demonstrations import DemonstrationConfig, demonstrate
from worldgate.control.policies import scripted
from worldgate.core.normalisers import Normaliser
from worldgate.evidence.rank_report import RankReport
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.sim import sensing
from worldgate.sim.environment import CellEnvironment
from worldgate.sim.experts import EXPERTS, Expert, ExpertConfig

pytest.importorskip("torch")
RUN = ("--model", "tiny", "--starts", "2", "--seconds", "8")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the model ``tiny`` and releases, from good to still."""
    from worldgate.worlds import checkpoint
    from worldgate.worlds.models import state
    from worldgate.worlds.tracks import Inputs
    from worldgate.worlds.train import loop

    folder = tmp_path_factory.mktemp("ranked")
    schema = (sensing.STATE, sensing.AROUND, sensing.ACTION)
    expert = Expert(EXPERTS["noisy"], "north")
    watched = DemonstrationConfig(steps=25)
    shown = [demonstrate(CellEnvironment("north"), expert, schema, seed=seed, config=watched) for seed in range(4)]
    base = state.debug()
    config = replace(
        base, inputs=Inputs(states=(sensing.STATE.name, sensing.AROUND.name)), phase=replace(base.phase, steps=4)
    )
    made = loop.train("state", shown[:3], shown[3:], config, folder / "run")
    with Workspace.init(folder / "ws", person="ada") as ws:
        for file in (checkpoint.CONFIG, checkpoint.WEIGHTS, checkpoint.NORMALISER):
            ws.store.put_file(made / file)
        ws.record("world_model.trained", body={}, outputs=[Ref("world_model", checkpoint.identity(made), "tiny")])
    rng = np.random.default_rng(0)
    normaliser = Normaliser.fit({s.name: rng.normal(size=(50, *s.shape)) for s in scripted.OBSERVATION})
    with Workspace.open(folder / "ws") as ws:
        for name, speed in (("good", 0.3), ("slow", 0.06), ("slower", 0.03), ("still", 0.001)):
            config = ExpertConfig(speed_m_s=speed, push_m_s=speed)
            scripted.configure(config, "north", normaliser).publish(ws, name=name)
        fitted = scripted.configure(ExpertConfig(), "north", normaliser)
        replace(fitted, controller=replace(fitted.controller, rate_hz=20.0)).publish(ws, name="fast")
        feet = (replace(fitted.observation[0], unit="ft"), *fitted.observation[1:])
        replace(fitted, observation=feet).publish(ws, name="feet")
    return folder / "ws"


@pytest.fixture(autouse=True)
def _here(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WORLDGATE_WORKSPACE", str(root))
    capsys.readouterr()


def test_a_ranking_is_evidence_with_both_sides_and_what_made_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "rank", "good", "slow", "still", *RUN, "--json"]) == 0
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    report = RankReport.from_json(body["report"])
    assert [p.name for p in report.policies] == ["good", "slow", "still"]
    assert report.policies[0].true == (1.0, 1.0), "the scripted controller does it in 8 s"
    assert report.policies[2].true == (0.0, 0.0)
    assert (report.origin, report.admission, report.valid_steps, report.steps) == ("simulated", "", 0, 80)
    with Workspace.open(root) as ws:
        event = next(e for e in ws.ledger.events("evidence.made") if e.body["schema"] == "worldgate/ranking/1")
        assert ws.get_json(body["evidence"]["digest"]) == body["report"]
        wanted = {ws.resolve("tiny", "world_model").digest}
        wanted |= {ws.resolve(name, "release").digest for name in ("good", "slow", "still")}
        assert {ref.digest for ref in event.inputs} == wanted
        assert not list(ws.ledger.events("trial.run")), "no gate may take a ranking for trials"
    assert main(["record", "verify"]) == 0


def test_the_table_says_which_side_is_imagined_and_that_the_model_is_not_admitted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["policy", "rank", "good", "slow", "still", *RUN]) == 0
    said = capsys.readouterr().out
    for words in ("success, simulated", "success, imagined", "holds no admission", "of which 0 s", "Pearson", "regret"):
        assert words in said


def test_two_releases_are_no_order_and_a_bar_that_is_not_reached_exits_with_3(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["policy", "rank", "good", "still", *RUN, "--bar", "0.6"]) == 3
    said = capsys.readouterr().out
    assert "INCONCLUSIVE" in said
    assert "2 policies have no order" in said


def test_an_admitted_model_ranks_without_the_mark_as_far_as_it_is_valid(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Workspace.open(root) as ws:
        model = ws.resolve("tiny", "world_model").digest
        streams = [s.name for s in rank_recorded.stage.load(ws, model).spec.states]
    payload = {"admitted": [{"signal": f"{name}[m]", "steps": 7} for name in streams]}
    monkeypatch.setattr(replays, "admitted", lambda *_: {model: payload})
    monkeypatch.setattr(rank_recorded, "_decision", lambda *_: "d" * 64)
    assert main(["policy", "rank", "good", "slow", "still", *RUN]) == 0
    said = capsys.readouterr().out
    assert "of which 0.7 s lie within" in said
    assert "holds no admission" not in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("good", "good"), "each once"),
        (("good", "fast"), "another rate"),
        (("good", "feet"), "another unit"),
        (("good", "--starts", "0"), "needs starts"),
        (("good", "--task", "nothing"), "nothing"),
        (("good", "--site", "nowhere"), "nowhere"),
        ((), "each once"),
    ],
)
def test_what_cannot_be_ranked_says_why(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*arguments, *RUN[:2]]
    assert main(["policy", "rank", *given]) in {1, 2, 4}
    assert words in capsys.readouterr().err
