"""``worldgate replay episodes``: what it prints, keeps and answers when a release is farther from the recordings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from worldgate.cli import main
from worldgate.control import regressions
from worldgate.control.regressions import Made
from worldgate.core.streams import Origin
from worldgate.core.worlds import Signal
from worldgate.evidence.regression_table import Regression, RegressionConfig, Replayed, Trace, put
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace


@pytest.fixture
def root(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with two releases and a dataset, and a replay that finds ``new`` of what it is told."""
    monkeypatch.setenv("WORLDGATE_WORKSPACE", str(workspace.root))
    for kind, name in (("release", "r1"), ("release", "r2"), ("dataset", "cell-1")):
        ref = Ref(kind, workspace.put_json({"name": name}), name)
        workspace.record(f"{kind}.registered", body={kind: ref.digest}, outputs=[ref])
    return workspace


def told(ws: Workspace, new: Ref, old: Ref | None, error: float, learned: int = 0) -> Made:
    rows = tuple(
        Replayed(
            episode=format(i, "064x"), log=format(100 + i, "064x"), name=f"episode_{i}", site="bench", rows=20,
            skipped=1, new=Trace(mean=error, moments=(error, error)),
            old=Trace(mean=0.5, moments=(0.5, 0.4)) if old else None,
        )
        for i in range(8)
    )  # fmt: skip
    made = Regression(
        subject=new.digest, baseline=old.digest if old else "", origin=Origin.REAL, rate_hz=10.0,
        action=Signal(name="action"), spread=(1.0,), config=RegressionConfig(), episodes=rows,
    )  # fmt: skip
    return Made(evidence=put(ws, made), regression=made, learned=frozenset(row.episode for row in rows[:learned]))


def replaying(monkeypatch: pytest.MonkeyPatch, error: float, learned: int = 0) -> None:
    def fake(ws: Workspace, dataset: Ref, new: Ref, old: Ref | None = None, **_: Any) -> Made:
        return told(ws, new, old, error, learned)

    monkeypatch.setattr(regressions, "regress_recorded", fake)


@pytest.mark.parametrize(("error", "limit", "code"), [(0.5, "1.25", 0), (1.0, "1.25", 3), (1.0, "2.5", 0)])
def test_the_exit_code_is_3_where_the_lower_bound_exceeds_the_limit(
    root: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: float,
    limit: str,
    code: int,
) -> None:
    replaying(monkeypatch, error)
    arguments = ["replay", "episodes", "cell-1", "r2", "--against", "r1", "--limit", limit, "--json"]
    assert main(arguments) == code
    body = json.loads(capsys.readouterr().out)
    assert body["schema"] == "worldgate.replay.episodes"
    assert body["worse"] is (code == 3)
    assert body["ratio"]["n"] == 8
    assert float(body["ratio"]["estimate"]) == pytest.approx(error / 0.5)
    assert [event.body["subject"] for event in root.ledger.events("evidence.made")] == [body["subject"]]


def test_the_table_and_the_page_say_that_open_loop_shows_no_success(
    root: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    replaying(monkeypatch, 1.0, learned=2)
    page = tmp_path / "page.html"
    assert main(["replay", "episodes", "cell-1", "r2", "--against", "r1", "--out", str(page)]) == 3
    said = capsys.readouterr().out
    assert "Open loop cannot show closed-loop success" in said
    assert "2 episodes were learned from and do not count in the bounds" in said
    assert "Open loop cannot show closed-loop success" in page.read_text()
    assert "r2 / r1" in page.read_text()


def test_without_an_old_release_there_is_no_ratio_and_no_refusal(
    root: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replaying(monkeypatch, 5.0)
    assert main(["replay", "episodes", "cell-1", "r2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ratio"] is None


@pytest.mark.parametrize("limit", ["much", "0", "-1", "1/0"])
def test_a_limit_that_is_none_is_a_usage_error(root: Workspace, limit: str) -> None:
    assert main(["replay", "episodes", "cell-1", "r2", f"--limit={limit}"]) == 2
