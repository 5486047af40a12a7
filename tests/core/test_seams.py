"""Seams: entries are found by file name, read without import, and say what they miss."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from worldgate.core import seams
from worldgate.core.errors import MissingExtra, NotFound


@pytest.fixture
def seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A seam called ``animals``, in a package of its own."""
    folder = tmp_path / "zoo_of_tests"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "cat.py").write_text('CARD = {"line": "a cat", "inputs": "fish", "source": "nature"}\nSOUND = "meow"\n')
    (folder / "dodo.py").write_text('CARD = {"line": "a dodo", "needs": "sim"}\nimport no_such_package_anywhere\n')
    (folder / "broken.py").write_text('CARD = {"line": "a defect"}\nimport no_such_package_anywhere\n')
    (folder / "_shared.py").write_text("raise AssertionError('a private module was read')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(seams.SEAMS, "animals", "zoo_of_tests")
    seams.cards.cache_clear()
    yield folder
    seams.cards.cache_clear()
    for name in [name for name in sys.modules if name.startswith("zoo_of_tests")]:
        del sys.modules[name]


def test_cards_are_read_without_importing_the_entries(seam: Path) -> None:
    found = seams.cards("animals")
    assert list(found) == ["broken", "cat", "dodo"]
    assert found["cat"] == seams.Card(
        name="cat", line="a cat", inputs="fish", source="nature", module="zoo_of_tests.cat"
    )
    assert found["dodo"].needs == "sim"
    assert "zoo_of_tests.cat" not in sys.modules


def test_an_entry_is_imported_on_first_use(seam: Path) -> None:
    assert seams.load("animals", "cat").SOUND == "meow"


def test_an_unknown_entry_names_the_nearest(seam: Path) -> None:
    with pytest.raises(NotFound) as caught:
        seams.load("animals", "cta")
    assert caught.value.hint == "did you mean cat?"


def test_an_unknown_seam_lists_those_there_are() -> None:
    with pytest.raises(NotFound) as caught:
        seams.cards("nonsense")
    assert caught.value.hint is not None
    assert "logs" in caught.value.hint


def test_a_missing_extra_is_an_error_with_its_install_line(seam: Path) -> None:
    with pytest.raises(MissingExtra) as caught:
        seams.load("animals", "dodo")
    assert caught.value.got == "no_such_package_anywhere"
    assert caught.value.hint == 'pip install "worldgate[sim]"'


def test_an_import_that_no_extra_explains_is_not_hidden(seam: Path) -> None:
    with pytest.raises(ModuleNotFoundError):
        seams.load("animals", "broken")


@pytest.mark.parametrize("body", ["X = 1\n", "CARD = dict(line='called')\n", "CARD = ['line']\n"])
def test_a_file_without_a_literal_card_is_a_defect_that_shows(seam: Path, body: str) -> None:
    (seam / "odd.py").write_text(body)
    seams.cards.cache_clear()
    with pytest.raises((AssertionError, ValueError)):
        seams.cards("animals")


@pytest.mark.parametrize("name", list(seams.SEAMS))
def test_every_card_of_ours_is_whole_and_names_a_real_extra(name: str) -> None:
    from worldgate.core.machine import requirements

    for card in seams.cards(name).values():
        assert card.line, card
        assert not card.line.endswith("."), card
        assert len(card.line) <= 120, card
        assert card.needs in requirements(), card


def test_listing_every_seam_imports_no_torch() -> None:
    code = (
        "import sys; from worldgate.core.seams import SEAMS, cards\n"
        "[cards(s) for s in SEAMS]\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
