"""Reference pages: every command, seam entry, error and unit has its own, with something on it."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from cyclopts import App

from worldgate.cli._main import build
from worldgate.core import errors
from worldgate.core.seams import SEAMS, cards
from worldgate.core.units import UNITS

DOCS = Path(__file__).resolve().parents[2] / "docs"


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "_ext" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    load_generator().write(folder)
    return folder


def sections(page: Path) -> dict[str, str]:
    """Heading to the text below it."""
    parts = re.split(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def names(app: App, path: str) -> Iterator[str]:
    yield path
    for child in app:
        if not child.startswith("-"):
            yield from names(app[child], f"{path} {child}")


def test_every_command_has_a_section_with_its_examples(pages: Path) -> None:
    found = sections(pages / "commands.md")
    app = build()
    for name in [n for c in app if not c.startswith("-") for n in names(app[c], f"worldgate {c}")]:
        assert name in found, name
        assert len(found[name].strip()) > 25, name
        if app.parse_commands(name.split()[1:])[1][-1].default_command is not None:
            assert found[name].count(f"    {name.removesuffix(' show')}") >= 1, name


@pytest.mark.parametrize("seam", list(SEAMS))
def test_every_seam_entry_has_a_section_with_its_own_words(pages: Path, seam: str) -> None:
    found = sections(pages / f"seam-{seam}.md")
    for card in cards(seam).values():
        assert card.line[1:] in found[card.name]
        assert len(found[card.name]) > len(card.line) + 40, f"{card.name} opens with too little"


def test_every_error_and_unit_is_on_its_page(pages: Path) -> None:
    found = sections(pages / "errors.md")
    ours = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.WorldgateError)]
    assert all(f"Exit code {c.exit_code}." in found[c.__name__] for c in ours)
    units = (pages / "units.md").read_text(encoding="utf-8")
    assert all(f"| `{symbol}` |" in units for symbol in UNITS)


def test_every_generated_page_is_in_the_table_of_contents(pages: Path) -> None:
    index = (DOCS / "reference" / "index.md").read_text(encoding="utf-8")
    for page in pages.iterdir():
        assert f"generated/{page.stem}" in index or page.stem.startswith("seam-"), page
    assert "generated/seam-*" in index


def test_every_core_module_stands_on_the_library_page() -> None:
    text = (DOCS / "reference" / "core.md").read_text(encoding="utf-8")
    folder = DOCS.parent / "src" / "worldgate" / "core"
    for module in folder.glob("[a-z]*.py"):
        assert f"automodule:: worldgate.core.{module.stem}\n" in text + "\n", module.stem


def test_docstrings_become_markdown() -> None:
    generator = load_generator()
    text = "Reads ``x`` with :func:`~a.b`.\n\nForm::\n\n    one\n    two\n\nEnd."
    assert generator.markdown(text) == "Reads `x` with `a.b`.\n\nForm:\n\n```text\n    one\n    two\n\n```\nEnd.\n"
