"""Closed sets of values in dataclasses that are built in Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest

import worldgate
from worldgate.core.choices import settle
from worldgate.core.errors import ConfigError, UsageError
from worldgate.core.streams import Kind, Origin, StreamInfo


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class Fruit(StrEnum):
    APPLE = "apple"
    ORANGE = "red"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    colour: Colour = Colour.RED


@dataclass(frozen=True, kw_only=True, slots=True)
class Whole:
    colour: Colour | None = None
    mode: Literal["slow", "fast"] = "slow"
    colours: tuple[Colour, ...] = ()
    some: frozenset[Colour] = frozenset()
    names: tuple[str, ...] = ()
    pair: tuple[float, float] | None = None
    part: Part = field(default_factory=Part)
    parts: Mapping[str, Part] = field(default_factory=dict)
    anything: Any = None

    def __post_init__(self) -> None:
        settle(self)


def test_a_raw_string_becomes_its_enum_wherever_the_field_holds_it() -> None:
    made = Whole(colour="green", colours=["red"], some={"green"})  # type: ignore[arg-type]  # what users type
    assert made.colour is Colour.GREEN
    assert made.colours == (Colour.RED,) and made.colours[0] is Colour.RED
    assert isinstance(made.some, frozenset) and next(iter(made.some)) is Colour.GREEN
    assert replace(made, mode="fast").colour is Colour.GREEN


def test_what_is_right_stays_the_same_object() -> None:
    colours, parts = (Colour.RED,), {"a": Part()}
    made = Whole(colours=colours, parts=parts, anything="red", pair=(1.0, 2.0))
    assert made.colours is colours and made.parts is parts and made.anything == "red"


@pytest.mark.parametrize(
    ("given", "where", "allowed"),
    [
        ({"colour": "grene"}, "Whole.colour", "did you mean green?"),
        ({"colour": 3}, "Whole.colour", "one of red, green"),
        ({"colour": Fruit.ORANGE}, "Whole.colour", "one of red, green"),
        ({"mode": "middling"}, "Whole.mode", "slow, fast"),
        ({"colours": ("red", "blue")}, "Whole.colours[1]", "red, green"),
        ({"colours": "red"}, "Whole.colours", "('red',)"),
        ({"names": "front"}, "Whole.names", "('front',)"),
        ({"part": "red"}, "Whole.part", "Part(...)"),
        ({"parts": {"a": {"colour": "red"}}}, "Whole.parts['a']", "Part(...)"),
        ({"parts": [Part()]}, "Whole.parts", ""),
    ],
)
def test_what_a_field_cannot_take_is_refused_by_name(given: dict[str, Any], where: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Whole(**given)
    assert isinstance(refused.value, UsageError) and refused.value.exit_code == 2
    assert refused.value.where == where and refused.value.got is not None
    assert allowed in (refused.value.hint or "")


def test_a_stream_that_a_reader_calls_image_is_an_image() -> None:
    assert StreamInfo(name="front", kind="image", count=1).kind is Kind.IMAGE  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="one of the values"):
        StreamInfo(name="front", kind="picture", count=1)  # type: ignore[arg-type]
    assert Origin("real") is Origin.REAL


CONFIGURED = re.compile(r"(Config|Rule|Spec|Options|Mapping|Alignment|Contract|Policy|Duplicates|Privacy)$")


def test_every_configuration_with_a_closed_field_settles_it() -> None:
    """Read from the source, so that a new one is found without being listed here."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in Path(worldgate.__path__[0]).rglob("*.py")}
    classes = [(path, node) for path, tree in trees.items() for node in tree.body if isinstance(node, ast.ClassDef)]
    enums = {node.name for _, node in classes if any(ast.unparse(base) == "StrEnum" for base in node.bases)}
    closed = re.compile(rf"\bLiteral\[|\b({'|'.join(sorted(enums))})\b")
    looked_at, loose = 0, []
    for path, node in classes:
        fields = [ast.unparse(line.annotation) for line in node.body if isinstance(line, ast.AnnAssign)]
        data = any("dataclass" in ast.unparse(mark) for mark in node.decorator_list)
        if data and CONFIGURED.search(node.name) and any(closed.search(text) for text in fields):
            looked_at += 1
            post = [f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__post_init__"]
            if not post or "settle(self)" not in ast.unparse(post[0]):
                loose.append(f"{path.name}:{node.name}")
    assert looked_at > 10 and not loose, loose
