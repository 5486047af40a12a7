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


def commands_of(block: Block) -> list[list[str]] | None:
    """The arguments of every line, where a block is of `worldgate` lines alone and asks nothing of the shell."""
    lines = [line for line in block.body.replace("\\\n", " ").splitlines() if line.strip()]
    lines = [line for line in lines if not line.lstrip().startswith("#")]
    if block.kind == "python" or any(not re.fullmatch(r"worldgate [^|<>&$;`*?~]*", line) for line in lines):
        return None
    return [shlex.split(line, comments=True)[1:] for line in lines]


def test_lines_that_need_a_shell_are_left_to_one() -> None:
    made = {body: commands_of(Block(ROOT, 1, "bash", "run", body)) for body in (
        "worldgate init . --person ada\n\nworldgate list \\\n  models  # all\n",
        "worldgate list models > models.txt\n",
        "mkdir logs\n",
        "worldgate ingest logs/*\n",
    )}  # fmt: skip
    assert list(made.values()) == [[["init", ".", "--person", "ada"], ["list", "models"]], None, None, None]


@pytest.mark.parametrize("page", sorted({b.page for b in ALL if b.tag == "run"}), ids=name_of)
def test_the_examples_of_a_page_run_in_order(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("WORLDGATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    environment = dict(os.environ)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    for block in (b for b in blocks(page) if b.tag == "run"):
        ours = commands_of(block)
        if ours is not None:  # in this process: starting one takes longer than most commands
            for arguments in ours:
                code, said = main(arguments), capsys.readouterr()
                assert code == 0, f"{name_of(page)}:{block.line}\n{arguments}\n{said.out}{said.err}"
            continue
        command = [sys.executable, "-c", block.body] if block.kind == "python" else ["bash", "-euc", block.body]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, f"{name_of(page)}:{block.line}\n{block.body}\n{done.stdout}{done.stderr}"


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
