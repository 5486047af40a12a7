"""Names: what may become part of a path, a URL or a signed statement."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worldgate.core.errors import NameRefused
from worldgate.core.names import Name, Slot

PLAIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@given(st.text(max_size=80))
@example("..")
@example("a\0b")
@example("a/b")
@example("a\\b")
@example("ａ")
@example("é")
@example("con")
@example("a\n")
@example("-a")
@example("a.")
@example("١")
def test_an_accepted_name_is_one_plain_path_segment_on_every_platform(text: str) -> None:
    try:
        name = Name(text)
    except NameRefused as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert refusal.isascii(), "a refused name must not be able to draw on the terminal"
        return
    assert name == text
    assert 1 <= len(name) <= 64
    assert name.isascii()
    assert name[0] in PLAIN
    assert PurePosixPath("root", name).parent == PurePosixPath("root")
    assert PureWindowsPath("C:/root", name).parent == PureWindowsPath("C:/root")
    assert not PureWindowsPath(name).drive
    assert ".." not in name


@given(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,60}[A-Za-z0-9]\Z"))
def test_an_ordinary_name_is_accepted_unless_it_is_a_device(text: str) -> None:
    if text.lower() in {"con", "prn", "aux", "nul"} or text.lower()[:3] in {"com", "lpt"}:
        return
    assert Name(text) == text


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "a..b", "../etc", "a/b", "a\\b", "a b", "a\x00", "nul", "COM1.txt", "a" * 65, "naïve", "a\u202eb"],
)
def test_a_dangerous_name_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(NameRefused) as caught:
        Name(text)
    assert caught.value.hint is not None


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(NameRefused):
        Name(7)  # type: ignore[arg-type]


def test_a_slot_reads_back_as_written() -> None:
    slot = Slot.parse("kitchen/ur5-17/left")
    assert (slot.site, slot.robot, slot.arm) == ("kitchen", "ur5-17", "left")
    assert str(slot) == "kitchen/ur5-17/left"


@pytest.mark.parametrize("text", ["", "a", "a/b", "a/b/c/d", "a//c", "a/../c", "a/b/"])
def test_a_slot_is_exactly_three_names(text: str) -> None:
    with pytest.raises(NameRefused):
        Slot.parse(text)
