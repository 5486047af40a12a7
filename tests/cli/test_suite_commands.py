"""suite and trial import from the command line, as a user of the embedded cell would type them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from worldgate.cli import main
from worldgate.core.times import SECOND, format_ns
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.sim.recorder import START_NS

TOML = """
name = "push-north"
role = "gate-holdout"
attempts = 2

[[scenario]]
name = "push"
site = "north"
frame = "table"
units = { "initial.object_pose" = "m,m,rad" }
envelope = { clearance_m = 0.02 }
initial = { site = "north", object_pose = [0.1, 0.05, 0.0] }
draws = 3

[[scenario.variation]]
name = "object-x"
path = "initial.object_pose.0"
unit = "m"
range = [0.05, 0.12]

[[coverage]]
site = "north"
name = "object-x"
path = "initial.object_pose.0"
unit = "m"
edges = [0.0, 0.05, 0.12]
"""
SLOT = "north/north-1/left"


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    """What a command answers as JSON."""
    assert main([*arguments, "--json"]) == code, capsys.readouterr().err
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


@pytest.fixture
def fleet(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Workspace:
    """A workspace with the suite and a release."""
    monkeypatch.setenv("WORLDGATE_WORKSPACE", str(workspace.root))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "push.toml").write_text(TOML)
    said(capsys, "suite", "add", "push.toml")
    release = Ref("release", workspace.put_json({"weights": {}}), "r1")
    workspace.record("release.registered", body={"release": release.digest}, outputs=(release,))
    return workspace


def test_a_suite_is_added_listed_shown_and_sampled(fleet: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    (listed,) = said(capsys, "suite", "list")["suites"]
    assert (listed["suite"]["name"], listed["scenarios"], listed["attempts"]) == ("push-north", 3, 2)
    shown = said(capsys, "suite", "show", "push-north")
    assert [one["name"] for one in shown["scenarios"]] == ["push-0", "push-1", "push-2"]
    more = said(capsys, "suite", "sample", "push-north", "--name", "push-2nd", "--count", "2", "--seed", "7")
    assert [ref["name"] for ref in more["scenarios"]] == ["push-7", "push-8"]
    for command in (["suite", "list"], ["suite", "show", "push-north"]):
        assert main(command) == 0
        assert "push" in capsys.readouterr().out
    assert said(capsys, "record", "verify")["ok"]


def test_empty_bins_are_named_before_and_after_trials(
    fleet: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["suite", "coverage", "push-north"]) == 0
    assert "limit: nothing is shown for object-x 0 to 0.05 m at north: no scenario" in capsys.readouterr().out
    before = said(capsys, "suite", "coverage", "push-north", "--release", "r1")
    assert [limit.split(": ")[1] for limit in before["limits"]] == ["no scenario", "no trial that counts"]
    (tmp_path / "monday.csv").write_text(
        f"scenario,slot,success,violations,started,least_clearance_m\npush-1,{SLOT},yes,0,2026-01-05T10:00:00Z,0.3\n"
    )
    asked = ["trial", "import", "monday.csv", "--release", "r1", "--suite", "push-north"]
    told = said(capsys, *asked, "--origin", "real")
    assert (told["succeeded"], told["excluded"], told["planned"], len(told["trials"])) == (1, 0, False, 1)
    after = said(capsys, "suite", "coverage", "push-north", "--release", "r1")
    assert len(after["limits"]) == 1 and after["coverage"]["bins"][1]["real"] == 1
    imagined = said(capsys, "suite", "coverage", "push-north", "--release", "r1", "--population", "imagined")
    assert len(imagined["limits"]) == 2, "real and imagined never mix"
    head = fleet.ledger.head()
    assert main([*asked, "--origin", "real"]) == 4, "the same file again"
    assert "there already" in capsys.readouterr().err
    assert fleet.ledger.head() == head


@pytest.mark.parametrize(
    ("line", "code", "part"),
    [
        ("plate,{slot},yes,0,2026-01-05T10:00:00Z,0.3", 4, "no such scenario"),
        ("push-1,{slot},yes,0,2026-01-05T10:00:00Z,300", 4, "plausible"),
        ("push-1,{slot},yes,0,2026-01-05T10:00:00Z,0.01", 4, "contradict"),
        ("push-1,south/s/left,yes,0,2026-01-05T10:00:00Z,0.3", 4, "another site"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_its_line(
    fleet: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, code: int, part: str
) -> None:
    text = "scenario,slot,success,violations,started,least_clearance_m\n" + line.format(slot=SLOT) + "\n"
    (tmp_path / "t.csv").write_text(text)
    command = ["trial", "import", "t.csv", "--release", "r1", "--suite", "push-north", "--origin", "real"]
    assert main(command) == code
    err = capsys.readouterr().err
    assert part in err and "t.csv:2" in err


def test_a_file_that_ran_elsewhere_or_that_nothing_reads_is_refused(
    fleet: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = {"scenario": "push-1", "slot": SLOT, "success": True, "violations": 0, "started": "2026-01-05T10:00:00Z"}
    tree = {"schema": "worldgate/trial-file/1", "origin": "simulated", "trials": [trial]}
    (tmp_path / "t.json").write_text(json.dumps(tree))
    command = ["trial", "import", "t.json", "--release", "r1", "--suite", "push-north", "--origin"]
    assert main([*command, "real"]) == 4
    assert "ran elsewhere" in capsys.readouterr().err
    assert said(capsys, *command, "simulated")["origin"] == "simulated"
    assert main([*command, "simulated", "--format", "inspect_robots"]) == 4
    assert main([*command, "simulated", "--format", "xml"]) == 2
    (tmp_path / "t.txt").write_text("")
    assert main(["trial", "import", "t.txt", "--release", "r1", "--suite", "push-north", "--origin", "real"]) == 2


def test_a_suite_without_bins_says_so(fleet: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bare.toml").write_text('name = "bare"\nrole = "tripwire"\nscenarios = ["push-0"]\n')
    said(capsys, "suite", "add", "bare.toml")
    assert main(["suite", "coverage", "bare"]) == 0
    assert "no bins are declared" in capsys.readouterr().out


def test_a_scenario_is_read_off_a_recorded_run(
    fleet: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "sim", "record", "run.mcap", "--duration", "1")
    said(capsys, "ingest", "run.mcap")
    command = ["suite", "from-episode", "run.mcap", "--contract", "cell", "--clearance-m", "0.02"]
    made = said(capsys, *command, "--name", "start", "--camera", "observation.images.front", "--stratum", "light=dim")
    held = made["held"]
    assert (held["source"], held["site"], held["strata"]) == ("synthetic", "north", {"light": "dim"})
    assert len(held["initial"]["object_pose"]) == 3, "the run's own scenario"
    assert fleet.store.get(held["photo"]).startswith(b"\x89PNG")
    row = said(capsys, *command, "--name", "row", "--stream", "observation.environment_state")["held"]
    (part,) = row["initial"].values()
    assert part["names"][0] == "object.x" and part["frame"] == "table"
    assert row["units"] == {"initial.observation/environment_state.values": "m,m,rad,m,m,m,m"}
    assert main([*command, "--name", "x", "--stream", "action"]) == 2
    (tmp_path / "two.toml").write_text('name = "two"\nrole = "gate-holdout"\nscenarios = ["start", "row"]\n')
    said(capsys, "suite", "add", "two.toml")


def test_an_incident_is_closed_with_the_scenario_of_its_frozen_window(
    fleet: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "sim", "record", "run.mcap", "--duration", "2")
    (log,) = said(capsys, "ingest", "run.mcap")["logs"]
    arm, moment = f"{log['site']}/{log['robot']}/{log['arm']}", format_ns(START_NS + SECOND)
    opened = ["incident", "open", arm, moment, "--note", "brushed a sleeve", "--key", "tester", "--before", "0.5"]
    incident = said(capsys, *opened, "--after", "0.5")["incident"]["name"]
    command = ["suite", "from-episode", "run.mcap", "--contract", "cell", "--clearance-m", "0.02", "--name"]
    plain = said(capsys, *command, "plain", "--stream", "observation.environment_state")["held"]
    made = said(capsys, *command, "sleeve", "--stream", "observation.environment_state", "--incident", incident)["held"]
    assert (made["source"], plain["source"]) == ("incident", "synthetic")
    assert made["initial"] != plain["initial"], "the window begins half a second before it happened"
    assert main(["incident", "close", incident, "--scenario", "plain", "--key", "tester"]) == 4
    assert "not made from this incident" in capsys.readouterr().err
    said(capsys, "incident", "close", incident, "--scenario", "sleeve", "--key", "tester")
    assert said(capsys, "record", "verify")["ok"]


def test_a_camera_that_a_contract_hides_gives_no_photograph(
    fleet: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said(capsys, "sim", "record", "run.mcap", "--duration", "1")
    said(capsys, "ingest", "run.mcap")
    monkeypatch.setattr(
        "worldgate.data.privacy.showing.hidden_cameras", lambda ws, record: ["observation.images.front"]
    )
    command = ["suite", "from-episode", "run.mcap", "--contract", "cell", "--name", "start"]
    assert main([*command, "--camera", "observation.images.front"]) == 4
    assert "hides" in capsys.readouterr().err
