"""The pages of ``examples/``, in a quick form: fewer and shorter runs, a model of three steps that all pages share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.docs.test_pages import LINK, ROOT, Block, Command, blocks, steps_of

from worldgate.cli import main

pytest.importorskip("torch")
pytest.importorskip("mujoco")

FOLDER = ROOT / "examples"
FIRST = FOLDER / "README.md"
PAGES = sorted(page for page in FOLDER.glob("*.md") if page != FIRST)
QUICK = (
    ("range(16)", "range(1)"),
    ('("none", "dim", "glare", "clutter", "spill", "person")', '("none", "dim", "person")'),
    ("duration_s=4.0", "duration_s=2.6"),
    ("--set phase.steps=600", "--size debug --set phase.steps=3 --set tokenizer.phase.steps=3"),
    ("--samples 6 --seconds 0.6", "--split train --samples 2 --seconds 0.2 --set resamples=50 --kind text image"),
)
"""What is made smaller, and must stand on the first page exactly once."""
PICTURE = re.compile(r"!\[([^\]]+)\]\((pictures/[^)]+)\)")


def run(block: Block, names: dict[str, Any]) -> None:
    assert block.tag == "run", f"{block.page.name}:{block.line} is not run"
    if block.kind == "python":
        exec(compile(block.body, f"{block.page.name}:{block.line}", "exec"), names)
        return
    for step in steps_of(block.body):
        assert isinstance(step, Command), f"{block.page.name}:{block.line} asks something of the shell"
        assert main(list(step.arguments)) == step.status, f"{block.page.name}:{block.line}\n{step}"


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the first page leaves behind: its folder, where we stand, and its names."""
    page = tmp_path_factory.mktemp("examples") / "README.md"
    text = FIRST.read_text(encoding="utf-8")
    for long, short in QUICK:
        assert text.count(long) == 1, long
        text = text.replace(long, short)
    page.write_text(text, encoding="utf-8")
    held: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(page.parent)
        patch.delenv("WORLDGATE_WORKSPACE", raising=False)
        for block in blocks(page):
            run(block, held)
        yield held


def test_the_first_page_leads_to_all_others() -> None:
    assert {p.name for p in PAGES} == set(LINK.findall(FIRST.read_text(encoding="utf-8"))) & {p.name for p in PAGES}
    assert len(PAGES) >= 7


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_runs_and_shows_its_picture(page: Path, names: dict[str, Any]) -> None:
    held = dict(names)
    for block in blocks(page):
        run(block, held)
    shown = PICTURE.findall(page.read_text(encoding="utf-8"))
    assert shown
    for said, target in shown:
        file = page.parent / target
        assert file.stat().st_size < 100_000
        assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert "imagined" in said
    assert list(Path.cwd().glob("*/strip.png")), "the command makes such a strip"


def test_no_picture_is_left_over() -> None:
    used = {target for page in PAGES for _, target in PICTURE.findall(page.read_text(encoding="utf-8"))}
    assert {f"pictures/{file.name}" for file in (FOLDER / "pictures").iterdir()} == used
