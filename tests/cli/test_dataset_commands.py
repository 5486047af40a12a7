"""data diff, merge, subset, card, retention, hold and erase, as a user strings them together."""

from __future__ import annotations

import json
import re
import shutil
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
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a dataset and one that extends it; tests change copies of it."""
    folder = tmp_path_factory.mktemp("made")
    recordings, root = folder / "recordings", folder / "workspace"
    Workspace.init(root, person="tester").close()
    assert main(["sim", "record", str(recordings), "--runs", "4", "--duration", "2", "--json"]) == 0
    files = sorted(map(str, recordings.glob("*.mcap")))
    for arguments in (
        ("ingest", *files[:2]),
        ("snapshot", "cell", "--name", "one"),
        ("ingest", *files[2:]),
        ("snapshot", "cell", "--name", "two", "--extends", "one"),
    ):
        assert main([*arguments, "-w", str(root), "--json"]) == 0, arguments
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> str:
    return str(shutil.copytree(made, tmp_path / "workspace", symlinks=True))


def test_a_dataset_that_extends_differs_only_by_what_came(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "data", "diff", "one", "two", "-w", root)["diff"]
    assert (len(found["added"]), found["removed"], found["moved"]) == (2, [], [])
    assert main(["data", "diff", "one", "two", "-w", root]) == 0
    assert "2 added, 0 removed, 0 changes" in capsys.readouterr().out
    assert main(["data", "diff", "two", "two", "-w", root]) == 0
    assert "the same episodes" in capsys.readouterr().out


def test_a_part_and_its_rest_merge_to_the_whole(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    episodes = said(capsys, "show", "two", "-w", root)["body"]
    assert sum(episodes["episodes"].values()) == 4
    said(capsys, "data", "subset", "two", "--split", "train", "--name", "teach", "-w", root)
    said(capsys, "data", "subset", "two", "--split", "val", "--name", "judge", "-w", root)
    whole = said(capsys, "data", "merge", "teach", "judge", "--name", "whole", "-w", root)
    assert len(whole["manifest"]["episodes"]) == 4
    assert main(["data", "diff", "two", "whole", "-w", root]) == 0
    assert "the same episodes" in capsys.readouterr().out


def test_a_card_is_markdown_on_stdout_and_a_page_that_loads_nothing(
    root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "card", "two", "-w", root]) == 0
    text = capsys.readouterr().out
    assert text.startswith("---\nlicense: ")
    assert '"simulated"' in text
    headings = ["Identity", "Terms", "Splits", "Streams", "Alignment", "Checks", "Episodes"]
    assert re.findall(r"^## (.+)$", text, flags=re.M) == headings
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)
    page = tmp_path / "card.html"
    assert main(["data", "card", "two", "--html", str(page), "-w", root]) == 0
    html = page.read_text()
    assert "Origin of every episode: simulated." in html
    assert not re.search(r"(src|href)=\"(?!data:|#)", html)


def test_a_held_log_is_not_erased_and_an_erased_one_is_named_everywhere(
    root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = said(capsys, "data", "retention", "-w", root)["logs"]
    one = logs[0]["log"]
    said(capsys, "data", "hold", one, "--case", "claim 17", "-w", root)
    assert main(["data", "erase", one, "--reason", "asked", "-w", root]) == 4
    assert "claim 17" in capsys.readouterr().err
    said(capsys, "data", "hold", "lift", "claim 17", "--reason", "settled", "-w", root)
    report = said(capsys, "data", "erase", one, "--reason", "asked", "-w", root)["report"]
    assert {ref["name"] for ref in report["touched"] if ref["kind"] == "dataset"} >= {"two"}
    states = {log["log"]: log["erased_ns"] for log in said(capsys, "data", "retention", "-w", root)["logs"]}
    assert states[one] is not None
    assert sum(state is not None for state in states.values()) == 1
    assert main(["data", "card", "two", "-w", root]) == 0
    assert "Erased since: 1 of these logs" in capsys.readouterr().out
    left = said(capsys, "data", "subset", "two", "--without", one, "--name", "rest", "-w", root)
    assert len(left["manifest"]["episodes"]) == 3
    assert said(capsys, "record", "verify", "-w", root)["ok"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("erase", "--reason", "x"), "either logs or --due"),
        (("subset", "two", "--name", "n", "--fact", "success"), "NAME=VALUE"),
        (("hold", "lift", "nothing", "--reason", "x"), "there is none"),
        (("merge", "two", "--name", "n"), "two datasets or more"),
    ],
)
def test_a_mistake_is_told_in_words(
    root: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert main(["data", *arguments, "-w", root]) == 2
    assert words in capsys.readouterr().err
