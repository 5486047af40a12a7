"""The shell itself: start-up, exit codes, three-line errors, what goes to which stream."""

from __future__ import annotations

import errno
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from worldgate import __version__
from worldgate.cli import _main as cli
from worldgate.cli._commands import COMMANDS, PANELS, Command
from worldgate.cli._root import root_page
from worldgate.core import errors
from worldgate.core.errors import WorldgateError


def worldgate(*arguments: str, cwd: Path | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the program as a user does."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WORLDGATE_")}
    command = [sys.executable, "-m", "worldgate", *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, cwd=cwd, env=environment, check=False, timeout=60
    )


def tree(root: type[WorldgateError]) -> Iterator[type[WorldgateError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


RAISED: list[BaseException] = []


def raising() -> None:
    """Raise what the test put into RAISED."""
    raise RAISED.pop()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command ``fail`` that raises whatever stands in RAISED."""
    command = Command("fail", PANELS[0], f"{__name__}:raising", "Fail.")
    monkeypatch.setattr(cli, "COMMANDS", (*COMMANDS, command))
    monkeypatch.setitem(sys.modules, __name__, sys.modules[raising.__module__])


EXIT_CODES = {
    "WorldgateError": 1, "UsageError": 2, "ConfigError": 2, "NameRefused": 2, "NotFound": 2, "AmbiguousId": 2,
    "AlreadyExists": 2, "MissingExtra": 2, "CapabilityMissing": 2, "DataRefused": 4, "LogUnreadable": 4,
    "ContractBroken": 4, "SplitLeak": 4, "WeightsRefused": 4, "RecordError": 1, "Tampered": 1, "SchemaTooNew": 1,
    "NotAuthorised": 1, "Interrupted": 130,
}  # fmt: skip


def test_every_error_class_has_a_promised_exit_code() -> None:
    ours = {cls.__name__ for cls in tree(WorldgateError) if cls.__module__ == errors.__name__}
    assert ours == set(EXIT_CODES)
    assert errors.__doc__ is not None
    assert all(f" {name} " in errors.__doc__ for name in ours - {"WorldgateError"}), "the drawn tree lacks one"


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize(("name", "code"), EXIT_CODES.items())
def test_each_error_is_three_lines_on_stderr_and_its_exit_code(
    name: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    RAISED.append(getattr(errors, name)("something is wrong", got=3, where="file.toml:key", hint="worldgate doctor"))
    assert cli.main(["fail"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: something is wrong\n  got 3 in file.toml:key\n  try: worldgate doctor\n"


@pytest.mark.usefixtures("failing")
def test_debug_adds_the_trace_and_changes_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    RAISED.append(errors.DataRefused("bad rows"))
    assert cli.main(["--debug", "fail"]) == 4
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("error: bad rows\n")


@pytest.mark.usefixtures("failing")
def test_a_full_disk_names_the_file_without_a_trace(capsys: pytest.CaptureFixture[str]) -> None:
    RAISED.append(OSError(errno.ENOSPC, "No space left on device", "/data/log.mcap"))
    assert cli.main(["fail"]) == 1
    assert capsys.readouterr().err == "error: no space left on device\n  in /data/log.mcap\n"


@pytest.mark.usefixtures("failing")
def test_a_defect_is_called_one(capsys: pytest.CaptureFixture[str]) -> None:
    RAISED.append(KeyError("oops"))
    assert cli.main(["fail"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: a defect in Worldgate")
    assert "KeyError: 'oops'" in err
    assert "--debug" in err


@pytest.mark.usefixtures("failing")
def test_ctrl_c_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    RAISED.append(KeyboardInterrupt())
    assert cli.main(["fail"]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["inti"], 'Did you mean "init"'),
        (["init", "--persn", "ada"], "Did you mean --person"),
        (["list", "logs", "extra"], "extra"),
        (["list", "nonsense"], "no such seam"),
        (["record", "verify", "--head", "x"], "not a head"),
        (["record", "keys", "--workspace", "/nowhere/at/all"], "no workspace here"),
    ],
)
def test_a_request_that_cannot_be_understood_is_2_with_a_way_on(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert part in err
    assert "  try: " in err
    assert len(err.splitlines()) <= 3


def test_debug_after_a_double_dash_belongs_to_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "--", "--debug"]) == 2
    err = capsys.readouterr().err
    assert "got --debug" in err
    assert "Traceback" not in err


def test_help_starts_fast_and_imports_nothing_heavy() -> None:
    heavy = {
        "cyclopts",
        "rich",
        "torch",
        "numpy",
        "scipy",
        "pydantic",
        "pyarrow",
        "sqlalchemy",
        "cv2",
        "av",
        "mujoco",
        "matplotlib",
    }
    best = 60.0
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "worldgate", "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        best = min(best, time.perf_counter() - start)
    imported = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "worldgate" in imported, "importtime prints what is looked for"
    assert not imported & heavy
    assert best < 0.5, f"{best:.2f} s; an idle machine needs 0.05"


def test_help_shows_only_commands_that_exist_in_the_order_of_work() -> None:
    text = worldgate("--help").stdout
    places = [text.index(f"\u2502 {command.name} ") for command in COMMANDS]
    assert places == sorted(places)
    assert [c.panel for c in COMMANDS] == sorted((c.panel for c in COMMANDS), key=PANELS.index)
    for command in COMMANDS:
        module, name = command.target.split(":")
        assert callable(getattr(importlib.import_module(module), name)), command


def test_the_root_page_fits_narrow_and_wide_terminals() -> None:
    for width in (40, 80, 100):
        lines = root_page(width).splitlines()
        assert max(map(len, lines)) <= width
        boxed = [line for line in lines if line[:1] in "╭│╰" and line]
        assert {len(line) for line in boxed} == {width}


def test_no_command_at_all_shows_the_root_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    bare = capsys.readouterr().out
    assert cli.main(["-h"]) == 0
    assert capsys.readouterr().out == bare


def pages(app: App, name: str) -> Iterator[tuple[str, str]]:
    """Name and docstring of each function that a command leads to."""
    if app.default_command is not None:
        yield name, app.default_command.__doc__ or ""
    for child in app:
        if not child.startswith("-"):
            yield from pages(app[child], f"{name} {child}")


ALL_PAGES = dict(page for command in COMMANDS for page in pages(cli.build()[command.name], command.name))


@pytest.mark.parametrize("name", ALL_PAGES)
def test_every_command_shows_two_real_examples(name: str) -> None:
    lines = [line.strip() for line in ALL_PAGES[name].splitlines()]
    verb = name.removesuffix(" " + name.split()[-1]) if name.split()[0] == "show" else name
    examples = [line for line in lines if line.startswith(f"worldgate {verb}")]
    assert len(examples) >= 2, f"{name} shows {examples}"


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.name in ALL_PAGES], ids=lambda c: c.name)
def test_the_root_page_says_what_the_command_says(command: Command) -> None:
    assert ALL_PAGES[command.name].splitlines()[0] == command.line


def test_the_version_is_the_packages() -> None:
    assert worldgate("--version").stdout.strip() == __version__


def test_a_reader_that_goes_away_is_no_error() -> None:
    script = f"{sys.executable} -m worldgate doctor --json | head -c 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", [["doctor"], ["list"], ["list", "logs"]], ids=" ".join)
def test_json_is_one_object_with_schema_and_version(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*arguments, "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["schema"].startswith("worldgate.")
    assert body["version"] == 1
