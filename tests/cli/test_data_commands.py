"""sim record, ingest, check and snapshot, as a user strings them together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from worldgate.cli import main
from worldgate.record.workspace import Workspace


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    """What a command answers as JSON."""
    assert main([*arguments, "--json"]) == code, capsys.readouterr().err
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    assert main(["sim", "record", str(folder / "good"), "--runs", "2", "--duration", "2", "--json"]) == 0
    bad = ["sim", "record", str(folder / "bad.mcap"), "--attribute", "failing-camera", "--seed", "9", "--duration", "4"]
    assert main([*bad, "--json"]) == 0
    return folder


def test_recordings_become_a_dataset_and_the_bad_one_is_left_out(
    recordings: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(workspace.root)
    taken = said(capsys, "ingest", str(recordings / "good"), str(recordings / "bad.mcap"), "-w", root)
    assert [log["origin"] for log in taken["logs"]] == ["simulated"] * 3
    checked = said(capsys, "check", "cell", "-w", root, code=4)
    refused = [log for log in checked["logs"] if not log["accepted"]]
    assert [log["name"] for log in refused] == ["bad.mcap"]
    spans = [
        finding["spans_ns"]
        for outcome in refused[0]["outcomes"]
        if outcome["severity"] == "refuse"
        for finding in outcome["findings"]
    ]
    assert spans
    assert all(spans), "a refusal shows when"
    made = said(capsys, "snapshot", "cell", "--name", "cell-1", "-w", root)
    assert len(made["manifest"]["episodes"]) == 2
    assert list(made["manifest"]["refused"]) == [refused[0]["log"]]
    again = said(capsys, "snapshot", "cell.v3", "--name", "cell-1", "-w", root)
    assert again["dataset"] == made["dataset"], "the same logs under the same contract give the same dataset"
    assert said(capsys, "record", "verify", "-w", root)["ok"]


def test_the_tables_for_people_name_unit_and_next_command(
    recordings: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(workspace.root)
    assert main(["ingest", str(recordings / "good"), "-w", root]) == 0
    out = capsys.readouterr().out
    assert "span [s]" in out
    assert "next: worldgate check" in out
    assert main(["check", "cell", "-w", root]) == 0
    assert "2 accepted, 0 refused" in capsys.readouterr().out
    assert main(["snapshot", "cell", "--name", "one", "-w", root]) == 0
    out = capsys.readouterr().out
    assert "rows [10 Hz]" in out


def test_what_is_no_log_is_refused_with_4_and_leaves_nothing(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    junk = tmp_path / "junk.mcap"
    junk.write_bytes(b"this is not an MCAP file" * 100)
    before = workspace.ledger.head()
    assert main(["ingest", str(junk), "-w", str(workspace.root)]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert str(junk) in err
    assert workspace.ledger.head() == before


def test_what_was_taken_is_answered_beside_what_was_refused(
    recordings: Path, workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, junk = tmp_path / "logs", tmp_path / "junk.mcap"
    folder.mkdir()
    for name, log in zip(("one.mcap", "two.mcap"), sorted((recordings / "good").iterdir()), strict=True):
        (folder / name).write_bytes(log.read_bytes())
    (folder / "two.mcap").write_bytes((folder / "two.mcap").read_bytes()[:20])
    junk.write_bytes(b"this is not an MCAP file" * 100)
    capsys.readouterr()
    assert main(["ingest", str(folder), str(junk), "-w", str(workspace.root), "--json"]) == 4
    out, err = capsys.readouterr()
    assert [log["name"] for log in json.loads(out)["logs"]] == ["one.mcap"]
    assert "two.mcap: " in err
    assert "junk.mcap" in err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["ingest", "nowhere.mcap"], "no such file or folder"),
        (["ingest", ".", "--site", "../up"], "not a usable name"),
        (["check", "kitchn.toml"], "no such configuration file"),
        (["check", "no-such-contract"], "no such contract"),
        (["check", "cell", "no-such-log"], "no such log"),
        (["snapshot", "cell"], "name"),
        (["sim", "record", "x.mcap", "--expert", "nosy"], "no such expert"),
        (["sim", "record", "x.mcap", "--site", "nroth"], "no such site"),
    ],
)
def test_a_mistaken_request_is_2_and_three_lines(
    arguments: list[str],
    part: str,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WORLDGATE_WORKSPACE", str(workspace.root))
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert part in err
    assert len(err.splitlines()) <= 3
    assert not (tmp_path / "x.mcap").exists()


def test_a_recording_overwrites_nothing(recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "record", str(recordings / "bad.mcap"), "--duration", "1"]) == 2
    assert "exists" in capsys.readouterr().err
