"""Names people choose (sites, robots, arms, scenarios, keys): validated once, here, in one type.

A name becomes part of file paths, URLs and signed statements, so it is plain ASCII, cannot climb out of a folder and is
not a device name on any platform. A slot is three names: ``site/robot/arm``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from worldgate.core.errors import NameRefused

_PATTERN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_])?", re.ASCII)
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", *(f"com{i}" for i in range(1, 10)), *(f"lpt{i}" for i in range(1, 10))}
)


class Name(str):
    """A validated name: 1 to 64 characters of ``A-Z a-z 0-9 . _ -``, starting and ending with a letter or digit.

    Raises:
        NameRefused: anything else, ``..`` and Windows device names included.
    """

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        if isinstance(value, cls):
            return value
        refused = (
            not isinstance(value, str)
            or _PATTERN.fullmatch(value) is None
            or ".." in value
            or value.split(".")[0].lower() in _DEVICES
        )
        if refused:
            raise NameRefused(
                "this is not a usable name",
                got=ascii(value)[:80],
                hint="1 to 64 of A-Z a-z 0-9 . _ -, starting with a letter or digit, without '..'",
            )
        return super().__new__(cls, value)


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """Where a release runs: one arm of one robot at one site."""

    site: Name
    robot: Name
    arm: Name

    @classmethod
    def parse(cls, text: str) -> Slot:
        """Read ``site/robot/arm``.

        Raises:
            NameRefused: not exactly three valid names.
        """
        parts = text.split("/")
        if len(parts) != 3:
            raise NameRefused("a slot is site/robot/arm", got=ascii(text)[:80], hint="for example kitchen/ur5-17/left")
        return cls(Name(parts[0]), Name(parts[1]), Name(parts[2]))

    def __str__(self) -> str:
        return f"{self.site}/{self.robot}/{self.arm}"
