"""Bins over the parameters that a site's claim is meant to cover, and which bin a scenario falls into."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from worldgate.core.errors import ConfigError, UsageError
from worldgate.core.names import Name
from worldgate.core.units import check_unit
from worldgate.evidence.variations import at, said

_PARTS = ("initial", "attributes", "strata")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """One parameter of one site, cut into bins."""

    site: str
    name: str
    path: str
    """Where a scenario holds it: ``initial.object_pose.0``, ``attributes.dim``, ``strata.lighting``."""
    unit: str = ""
    """Of the edges; a scenario that tells another unit for the path falls into no bin."""
    edges: tuple[float, ...] = ()
    """Increasing; a bin is [edge, next edge), the last one closed."""
    choices: tuple[bool | int | float | str, ...] = ()
    """The values themselves; instead of edges."""

    def __post_init__(self) -> None:
        Name(self.site)
        Name(self.name)
        if bool(self.edges) == bool(self.choices):
            raise ConfigError("bins have edges or choices", got=self.name, where=f"coverage.{self.name}")
        rising = all(a < b for a, b in pairwise(self.edges)) and all(map(math.isfinite, self.edges))
        if self.edges and (len(self.edges) < 2 or not rising):
            raise ConfigError("edges increase, two or more", got=list(self.edges), where=f"coverage.{self.name}")
        if self.path.split(".")[0] not in _PARTS or "." not in self.path:
            raise ConfigError("bins lie over initial, attributes or strata", got=self.path, where=self.name)
        try:
            check_unit(self.unit, channels=1)
        except UsageError as error:
            raise ConfigError(error.what, got=error.got, where=self.name, hint=error.hint) from error

    def labels(self) -> tuple[str, ...]:
        """Every bin, in words."""
        if self.choices:
            return tuple(map(said, self.choices))
        unit = f" {self.unit}" if self.unit else ""
        return tuple(f"{a:g} to {b:g}{unit}" for a, b in pairwise(self.edges))

    def place(self, tree: Mapping[str, Any], *, unit: str) -> int | None:
        """Which bin a scenario falls into; None where it tells no value, another unit, or one outside all bins.

        Args:
            tree: its ``initial``, ``attributes`` and ``strata``.
            unit: what the scenario says the value is in; empty: it does not say.
        """
        try:
            value = at(tree, self.path)
        except KeyError:
            return None
        if self.choices:
            return next((i for i, choice in enumerate(self.choices) if _same(choice, value)), None)
        if isinstance(value, bool) or not isinstance(value, int | float) or unit != self.unit:
            return None
        inside = [i for i, (a, b) in enumerate(pairwise(self.edges)) if a <= value < b]
        if inside or value != self.edges[-1]:
            return inside[0] if inside else None
        return len(self.edges) - 2


def _same(choice: object, value: object) -> bool:
    """Equal and of one kind: true is not 1."""
    return choice == value and isinstance(choice, bool) is isinstance(value, bool)
