"""run and show config: which recipe, with which configuration, from where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worldgate.cli import main
from worldgate.recipes import demo
from worldgate.recipes._result import Result


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WORLDGATE_REQUIRE", "WORLDGATE_TRIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_show_config_says_where_each_value_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text('recipe = "demo"\nseed = 3\n[models]\nstate_s = 1.0\n')
    monkeypatch.setenv("WORLDGATE_TRIALS", "7")
    assert main(["show", "config", "mine.toml", "--set", "per_arm=2", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert (body["config"]["seed"], body["config"]["trials"], body["config"]["per_arm"]) == (3, 7, 2)
    wanted = {
        "seed": "mine.toml",
        "models.state_s": "mine.toml",
        "trials": "$WORLDGATE_TRIALS",
        "per_arm": "--set",
        "models.video_s": "recipe",
    }
    assert {key: body["sources"][key] for key in wanted} == wanted


@pytest.mark.parametrize("command", [["run"], ["show", "config"]], ids=" ".join)
@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("seed = 3\n", "this file names no recipe"),
        ('recipe = "dmo"\n', "did you mean demo?"),
        ('recipe = "demo"\nsede = 3\n', "did you mean seed?"),
        ('recipe = "demo"\nseed = "three"\n', "mine.toml:seed"),
        ('recipe = "demo"\nseed = \n', "not valid TOML"),
    ],
)
def test_a_file_that_is_wrong_is_2_and_nothing_is_made(
    command: list[str], content: str, part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text(content)
    assert main([*command, "mine.toml"]) == 2
    assert part in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.toml"]


def test_a_run_makes_a_workspace_of_its_own_and_tells_what_came_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[tuple[Path, int]] = []

    def fake(folder: Path, config: demo.DemoConfig | None = None, story: object = None) -> Result:
        assert config is not None
        ran.append((folder, config.seed))
        return Result(
            report=folder / "report.html",
            workspace=folder,
            seconds=1.0,
            as_told=config.seed == 0,
            facts={"verdict": "REJECT"},
            commands=("worldgate show",),
        )

    monkeypatch.setattr(demo, "run", fake)
    (tmp_path / "worldgate-demo").mkdir()
    assert main(["run", "demo", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert (body["schema"], body["verdict"]) == ("worldgate.run", "REJECT")
    assert main(["run", "demo", "--set", "seed=1"]) == 1, "a recipe that did not end as it expected has failed"
    assert "next: worldgate show" in capsys.readouterr().out
    assert ran == [(Path("worldgate-demo-2"), 0), (Path("worldgate-demo-2"), 1)]
