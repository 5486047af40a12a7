"""``worldgate data prove``: faults injected into a user's logs, from a file and from a workspace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from worldgate.cli import main
from worldgate.record.workspace import Workspace


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mujoco")
    from worldgate.sim.record import RecordConfig, record
    from worldgate.sim.sensing import SensorConfig

    sensors = SensorConfig(cameras=(), geometry=(), lidar=False)
    path = tmp_path_factory.mktemp("recording") / "clean.mcap"
    return record(path, seed=1, duration_s=5, config=RecordConfig(sensors=sensors))


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == code, capsys.readouterr().err
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


def test_faults_from_the_least_that_matters_on_are_caught_and_clean_logs_are_silent(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (
        "data",
        "prove",
        "cell",
        str(recording),
        "--fault",
        "silence",
        "--fault",
        "not_a_number.nan",
        "--sweep",
    )
    body = said(capsys, *arguments)
    assert (body["schema"], body["version"]) == ("worldgate.data.prove", 1)
    lines = body["proof"]["lines"]
    assert {line["kind"] for line in lines} == {"silence.middle", "silence.head", "silence.tail", "not_a_number.nan"}
    assert all(line["caught"] == line["trials"] == 1 for line in lines if line["magnitude"] >= line["least"])
    assert any(line["caught"] == 0 for line in lines if line["magnitude"] < line["least"])
    assert body["proof"]["alarms"] == {"gaps": 0, "finite": 0}


def test_a_contract_that_looks_away_is_found_out(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from worldgate.data import contracts

    blind = tmp_path / "blind.toml"
    text = (contracts.SHIPPED / "cell.toml").read_text()
    blind.write_text(text.replace("periods = 5.0, least_s = 0.25", "periods = 900.0, least_s = 60.0"))
    (line,) = said(capsys, "data", "prove", str(blind), str(recording), "--fault", "silence.middle")["proof"]["lines"]
    assert (line["caught"], line["trials"]) == (0, 1)


def test_logs_of_a_workspace_are_used_where_none_is_named(
    recording: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ingest", str(recording), "--workspace", str(workspace.root)]) == 0
    capsys.readouterr()
    body = said(capsys, "data", "prove", "cell", "--fault", "spike.pulse", "--workspace", str(workspace.root))
    assert body["proof"]["lines"][0]["caught"] == 1


def test_unknown_faults_and_empty_workspaces_are_refused(
    recording: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "prove", "cell", str(recording), "--fault", "freez"]) == 2
    assert "did you mean freeze" in capsys.readouterr().err
    assert main(["data", "prove", "cell", str(recording), "--fault", "freeze.solid"]) == 2
    assert "no such variant" in capsys.readouterr().err
    assert main(["data", "prove", "cell", "--workspace", str(workspace.root)]) == 2
    assert "no logs" in capsys.readouterr().err
