"""Variations: named parameters of a scenario from which concrete scenarios are drawn, each with a digest of its own.

A draw is a function of the parent's digest, the parameter's name and the seed, by SHA-256 and no library's generator:
the 52 leading bits over 2^52 are a number u in [0, 1), a range gives ``low + u (high - low)`` and choices give item
``floor(u n)``. So anybody can repeat it, and adding a parameter never shifts another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worldgate.core.digest import canonical, sha256
from worldgate.core.errors import ConfigError, UsageError
from worldgate.core.names import Name
from worldgate.core.units import check_unit

Value = bool | int | float | str
_PARTS = ("initial", "attributes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """One parameter that is varied."""

    name: str
    path: str
    """What it sets: keys and places with dots between them, ``initial.object_pose.0`` or ``attributes.dim``."""
    unit: str = ""
    """Of a range; empty: a plain number."""
    range: tuple[float, float] | None = None
    """Least and largest value, drawn evenly."""
    choices: tuple[bool | int | float | str, ...] = ()
    """Values drawn with equal chance; instead of a range."""
    stratum: bool = False
    """Whether the chosen value names a stratum of the drawn scenario; of choices only."""

    def __post_init__(self) -> None:
        Name(self.name)
        if (self.range is None) == (not self.choices):
            raise ConfigError("a variation has a range or choices", got=self.name, where=f"variation.{self.name}")
        if self.range is not None:
            low, high = self.range
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ConfigError("a range goes from a number to a larger one", got=f"[{low}, {high}]", where=self.name)
        if self.range is not None and self.stratum:
            raise ConfigError("a range names no stratum", got=self.name, hint="give choices")
        if self.path.split(".")[0] not in _PARTS or len(self.path.split(".")) < 2:
            raise ConfigError("a variation sets a part of initial or attributes", got=self.path, where=self.name)
        try:
            check_unit(self.unit, channels=1)
        except UsageError as error:
            raise ConfigError(error.what, got=error.got, where=self.name, hint=error.hint) from error

    def draw(self, parent: str, seed: int) -> Value:
        """The value for a seed.

        Args:
            parent: digest of the scenario that is varied.
            seed: any whole number from 0.
        """
        u = int(sha256(f"{parent}\n{self.name}\n{seed}".encode())[:13], 16) / 2**52
        if self.range is not None:
            low, high = self.range
            return low + u * (high - low)
        return self.choices[int(u * len(self.choices))]


def said(value: Value) -> str:
    """A value in words, the same before and after it was kept as JSON: 0.0 and 0 are ``0``, true is ``true``."""
    return value if isinstance(value, str) else canonical(value).decode()


def at(tree: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path of plain JSON.

    Raises:
        KeyError: nothing is there.
    """
    node: Any = tree
    for part in path.split("."):
        node = node[_place(node, part)]
    return node


def _place(node: Any, part: str) -> Any:
    if isinstance(node, Mapping) and part in node:
        return part
    if isinstance(node, Sequence) and not isinstance(node, str) and part.isdecimal() and int(part) < len(node):
        return int(part)
    raise KeyError(part)


def put(tree: Any, path: str, value: Value) -> Any:
    """A copy of plain JSON with one existing value replaced; a number stays a number and a text a text.

    Raises:
        KeyError: nothing is there, or something of another kind.
    """
    part, _, rest = path.partition(".")
    place = _place(tree, part)
    if rest:
        changed = put(tree[place], rest, value)
    else:
        if _kind(tree[place]) != _kind(value):
            raise KeyError(part)
        changed = value
    if isinstance(tree, Mapping):
        return {**tree, place: changed}
    return [changed if i == place else item for i, item in enumerate(tree)]


def _kind(value: Any) -> type:
    if isinstance(value, bool):
        return bool
    return float if isinstance(value, int | float) else type(value)
