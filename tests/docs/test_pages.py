"""The pages that people read: their commands run, and nothing that can be named lacks a page.

A fenced block of bash or Python in README.md and docs/ is tagged by a comment on the line before it::

    <!-- test: run -->             each line of bash, or the whole Python block, in the page's own folder, exits 0
    <!-- test: demo -->            `make demo`; slow, and not run in the page's folder
    <!-- test: demo output -->     what the demo then says, compared in shape: numbers, ids and times may differ
    <!-- test: skip (reason) -->   not run, and why

A block without a tag fails, so no example escapes by accident. Blocks of one page run in order in one folder.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from worldgate.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").rglob("*.md") if "generated" not in p.parts)]
FENCE = re.compile(
    r"(?:<!-- test: (?P<tag>[^\n]*?) -->\n)?^ *```(?P<kind>bash|sh|python|console|text)\n(?P<body>.*?)^ *```$",
    re.M | re.S,
)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block and what its tag asks for."""

    page: Path
    line: int
    kind: str
    tag: str
    body: str


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("kind")) + 1
        yield Block(page, line, match["kind"], match["tag"] or "", match["body"])


ALL = [block for page in PAGES for block in blocks(page) if block.kind != "text"]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_the_pages_hold_examples() -> None:
    assert sum(block.tag == "run" for block in ALL) >= 5


@pytest.mark.parametrize("block", ALL, ids=lambda b: f"{name_of(b.page)}:{b.line}")
def test_every_example_says_whether_it_is_run(block: Block) -> None:
    if block.kind == "python" and block.body.lstrip().startswith("CARD = "):
        return  # a card is data, shown not run
    assert re.fullmatch(r"run|demo|skip \(.{8,}\)", block.tag), f"tag {block.tag!r}"


QUOTED = re.compile(r"""'[^']*'|"[^"$`\\]*\"""")
PLAIN = re.compile(r"worldgate [^|<>&$;`*?~()#]*(#.*)?")
STATUS = re.compile(r" \|\| test \$\? = (\d+)$")
BINDING = re.compile(r"(^|[;&|(])\s*(cd|export|set|trap|source|alias)\b|[&|]\s*$", re.M)
"""What a shell takes from one line to the next, values aside, which no plain line can name."""


@dataclass(frozen=True, slots=True)
class Command:
    """A line of `worldgate` that asks nothing of the shell, and the exit status that the page says it has."""

    arguments: tuple[str, ...]
    status: int = 0


def command_of(line: str) -> Command | None:
    """The command of a logical line; None where it needs a shell."""
    told = STATUS.search(line)
    line = line[: told.start()] if told else line
    if not PLAIN.fullmatch(QUOTED.sub("_", line)):
        return None
    return Command(tuple(shlex.split(line, comments=True)[1:]), int(told[1]) if told else 0)


def steps_of(body: str) -> list[Command | str]:
    """A block of bash as commands, and as one script what lies between the first and last line that need a shell."""
    lines = body.replace("\\\n", " ").splitlines()
    made = [command_of(line) for line in lines]
    needs = [k for k, line in enumerate(lines) if made[k] is None and not re.match(r"\s*(#|$)", line)]
    if not needs:
        return [command for command in made if command]
    first, last = needs[0], needs[-1]
    if BINDING.search("\n".join(lines[first : last + 1])):
        last = len(lines) - 1
    before, after = ([command for command in some if command] for some in (made[:first], made[last + 1 :]))
    return [*before, "\n".join(lines[first : last + 1]), *after]


def test_lines_that_need_a_shell_are_left_to_one() -> None:
    init, models = Command(("init", ".", "--person", "ada")), Command(("list", "models"))
    made = {
        "worldgate init . --person ada\n\nworldgate list \\\n  models  # all\n": [init, models],
        "# first\nworldgate list models || test $? = 3\n": [Command(("list", "models"), 3)],
        "worldgate list 'a*' \"b > 2\"\n": [Command(("list", "a*", "b > 2"))],
        'worldgate list "$(ls)"\n': ['worldgate list "$(ls)"'],
        "worldgate list models > models.txt\n": ["worldgate list models > models.txt"],
        "worldgate ingest logs/*\n": ["worldgate ingest logs/*"],
        "worldgate list models\nmkdir logs\nworldgate list models\n": [models, "mkdir logs", models],
        "a=1\nworldgate list models\necho $a\nworldgate list models\n": ["a=1\nworldgate list models\necho $a", models],
        "mkdir a\ncd a\nworldgate list models\n": ["mkdir a\ncd a\nworldgate list models"],
        "true &&\nworldgate list models\n": ["true &&\nworldgate list models"],
        "cat > x <<END\n\nEND\nworldgate list models\n": ["cat > x <<END\n\nEND", models],
    }
    assert {body: steps_of(body) for body in made} == made


def run_apart(block: Block, script: str, folder: Path) -> None:
    """Run a script in a process of its own, with our `worldgate` and `python` first on its path."""
    environment = dict(os.environ)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    command = [sys.executable, "-c", script] if block.kind == "python" else ["bash", "-euc", script]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, f"{name_of(block.page)}:{block.line}\n{script}\n{done.stdout}{done.stderr}"


def run_here(block: Block, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run a block in this process, which has imported what most need: a new one takes longer for that than to work."""
    if block.kind == "python":
        exec(
            compile(block.body, f"{name_of(block.page)}:{block.line}", "exec", dont_inherit=True), {"__name__": "page"}
        )
        return
    for step in steps_of(block.body):
        if isinstance(step, str):
            run_apart(block, step, folder)
            continue
        code, said = main(list(step.arguments)), capsys.readouterr()
        assert code == step.status, f"{name_of(block.page)}:{block.line}\n{step}\n{said.out}{said.err}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the blocks of a page run."""
    for name in [name for name in os.environ if name.startswith("WORLDGATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


RUN = sorted({b.page for b in ALL if b.tag == "run"})


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_the_examples_of_a_page_run_in_order(page: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for block in (b for b in blocks(page) if b.tag == "run"):
        run_here(block, folder, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_the_examples_of_a_page_run_in_order_as_a_reader_runs_them(page: Path, folder: Path) -> None:
    for block in (b for b in blocks(page) if b.tag == "run"):
        run_apart(block, block.body, folder)


LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", [p for p in PAGES if p.parent == ROOT], ids=name_of)
def test_every_link_of_the_front_page_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def shape(line: str) -> str:
    """A line of the demo with everything that may differ from run to run taken out."""
    line = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", line.rstrip())
    line = re.sub(r"\b[0-9a-f]{12}\b", "ID", line)
    line = re.sub(r"worldgate-demo(-\d+)?|/\S*/demo", "FOLDER", line)
    return re.sub(r"[+-]?\d+(\.\d+)?", "N", line)


def test_the_shape_of_a_line_forgets_numbers_and_keeps_words() -> None:
    assert shape("  → PROMOTE after 60 trials at 2026-11-12T14:03:06.3Z") == "  → PROMOTE after N trials at TIME"
    assert shape("next: worldgate show cea1cfce0ba5 -w worldgate-demo-2") == "next: worldgate show ID -w FOLDER"
    assert shape("two admitted") != shape("one admitted")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_says_what_the_front_page_shows(tmp_path: Path) -> None:
    told = [block for block in blocks(ROOT / "README.md") if block.tag == "demo output"]
    assert len(told) == 1
    command = [sys.executable, "-m", "worldgate", "demo"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    progress = re.compile(r"^  \S.* \d+/\d+\b")
    said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip() and not progress.match(line)]
    shown = [line for line in told[0].body.splitlines() if line.strip()]
    assert shown.pop().startswith("installation "), "the last line is make's own"
    assert [shape(line) for line in said] == [shape(line) for line in shown]
