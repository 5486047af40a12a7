"""``gate claim``, ``record bundle`` and ``record verify FOLDER``: exit codes, tables and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.evidence import conftest as fakes
from tests.evidence import stories as st

from worldgate.cli import main
from worldgate.core.times import format_ns
from worldgate.record.workspace import Workspace

AT = format_ns(st.NOW + 2 * st.DAY)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("commands") / "ws"
    with Workspace.init(root, person=st.RELEASER) as ws:
        decision = st.promote(ws, fakes).decision.ref.digest
    return root, decision


def run(*words: str | Path) -> int:
    return main([str(word) for word in words])


def test_a_fresh_case_exits_0_and_an_old_one_3(
    place: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ["gate", "claim", "cell", "--release", "r1", "--slot", st.SLOT, "--model", "dynamics", "-w", place[0]]
    assert run(*told, "--at", AT, "--svg", tmp_path / "case.svg") == 0
    assert "G1 is fresh" in capsys.readouterr().out
    assert (tmp_path / "case.svg").read_text().startswith("<svg")
    assert run(*told, "--at", format_ns(st.NOW + 300 * st.DAY), "--json") == 3
    body = json.loads(capsys.readouterr().out)
    assert body["schema"] == "worldgate.gate.claim"
    assert body["report"]["holds"] is False


def test_a_tree_that_asks_for_more_names_the_option(
    place: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("gate", "claim", "cell", "--slot", st.SLOT, "-w", place[0]) == 2
    assert "say --release" in capsys.readouterr().err


def test_a_bundle_is_written_verified_and_found_broken(
    place: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, decision = place
    out = tmp_path / "evidence"
    told = ["record", "bundle", decision[:12], "--out", out, "--redact", "persons", "--at", AT, "-w", root]
    assert run(*told, "--claims", "cell") == 0
    said = capsys.readouterr().out
    assert "Unwitnessed" in said
    assert "0 problems" in said
    assert run("record", "verify", out, "--json") == 0
    body = json.loads(capsys.readouterr().out)
    assert (body["schema"], body["ok"], body["decision_withheld"]) == ("worldgate.record.verify", True, False)
    assert body["records_withheld"] > 0
    (out / "README.md").write_text("All is well.")
    assert run("record", "verify", out) == 1
    assert "README.md is not the one that was signed" in capsys.readouterr().out
    assert run("record", "verify", tmp_path) == 2
    assert "no bundle here" in capsys.readouterr().err


def test_a_bundle_that_hides_its_decision_says_so(
    place: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, decision = place
    out = tmp_path / "evidence"
    assert (
        run("record", "bundle", decision, "-o", out, "--redact", "serials", "--hide", "reach", "--at", AT, "-w", root)
        == 0
    )
    assert "could not be computed again" in capsys.readouterr().out
    assert run("record", "bundle", decision, "-o", out, "-w", root) == 2, "nothing is overwritten"
    wrong = ["record", "bundle", decision, "-o", tmp_path / "b", "--head", f"3:{'0' * 64}", "-w", root]
    assert run(*wrong) == 1
    assert run("record", "bundle", decision, "-o", tmp_path / "c", "--head", "yesterday", "-w", root) == 2
