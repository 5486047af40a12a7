"""``worldgate data align``: clocks, skew and the lines to paste, from a file and from a workspace."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from worldgate.cli import main
from worldgate.record.workspace import Workspace


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sim = pytest.importorskip("worldgate.sim.record")
    path = tmp_path_factory.mktemp("recording") / "drifting.mcap"
    made: Path = sim.record(path, seed=1, duration_s=5, attributes=sim.find_attributes("clock-drift"))
    return made


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == code, capsys.readouterr().err
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


def test_the_models_that_are_printed_mend_the_skew_when_pasted_into_a_contract(
    recording: Path, tmp_path: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    from worldgate.data import contracts

    body = said(capsys, "data", "align", str(recording), "--contract", "cell", "--no-motion")
    assert (body["schema"], body["version"]) == ("worldgate.data.align", 1)
    camera = next(c for c in body["clocks"] if c["stream"] == "observation.images.front")
    assert camera["line"]["drift_ppm"] == pytest.approx(-19608, abs=camera["line"]["drift_error_ppm"] + 60)
    pasted = tmp_path / "pasted.toml"
    pasted.write_text((contracts.SHIPPED / "cell.toml").read_text() + "\n" + body["toml"] + "\n")
    spec = contracts.read(pasted).spec()
    assert spec.of(body["log"]).streams["observation.images.front"].clock_model is not None
    assert spec.of("0" * 64).streams["observation.images.front"].clock_model is None
    root = str(workspace.root)
    said(capsys, "ingest", str(recording), "-w", root)
    made = said(capsys, "snapshot", str(pasted), "--name", "mended", "-w", root)
    assert len(made["manifest"]["episodes"]) == 1
    again = said(capsys, "data", "align", "drifting.mcap", "--contract", "cell", "--no-motion", "-w", root)
    assert again["toml"] == body["toml"]


def test_people_read_errors_units_and_lags(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "align", str(recording)]) == 0
    shown = capsys.readouterr().out
    for words in (
        "behind [ms]",
        "drift [ppm]",
        "follows",
        "p95 [ms]",
        "skew with the models below",
        "[alignment.logs.",
    ):
        assert words in shown
    lines = shown[shown.index("[alignment.logs.") :]
    assert "observation.images.front" in next(iter(tomllib.loads(lines)["alignment"]["logs"].values()))


def test_what_is_neither_a_file_nor_a_log_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "align", str(tmp_path / "nothing.mcap"), "-w", str(tmp_path)]) == 2
    capsys.readouterr()


def test_a_folder_of_several_logs_asks_which(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(real_data / "droid_ctrlworld" / "droid_subset")
    assert main(["data", "align", folder]) == 2
    assert "--only NAME" in capsys.readouterr().err
    body = said(capsys, "data", "align", folder, "--only", "train/0", "--no-motion")
    assert body["toml"] == ""
    assert body["before"]["streams"]["observation.images.0"]["skew"]["max_ns"] == "0"
