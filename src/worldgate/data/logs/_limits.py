"""What a hostile file may cost: ceilings that are checked before anything is allocated or looped over.

The defaults are far above what recorders write. ``WORLDGATE_LIMITS="chunk_bytes=2147483648,pixels=200000000"`` raises
or lowers them for one command; in Python, ``McapLog(path, limits=Limits(...))``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from worldgate.core.errors import ConfigError

VARIABLE: Final = "WORLDGATE_LIMITS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Ceilings for one log."""

    chunk_bytes: int = 1 << 29
    """Most bytes that a chunk may decompress to."""
    record_bytes: int = 1 << 30
    """Most bytes of a record that is loaded; a longer attachment is read past, a piece at a time."""
    total_bytes: int = 1 << 32
    """Bytes that the chunks of a log may decompress to whatever the file's size ..."""
    total_ratio: int = 200
    """... and how many more for each byte of the file."""
    kept_bytes: int = 1 << 28
    """Bytes of unpacked chunks that a process keeps of the logs it has open; what does not fit is unpacked again."""
    messages: int = 50_000_000
    """Messages that are indexed; the index takes 52 bytes each."""
    message_bytes: int = 1 << 26
    """Longest message that is decoded field by field. Images and columns of numbers are not concerned."""
    schema_bytes: int = 1 << 20
    """Longest message definition."""
    fields: int = 2048
    """Most fields of one type in a definition."""
    pixels: int = 1 << 26
    """Largest image that is decoded."""

    @staticmethod
    def from_environment(environment: Mapping[str, str] | None = None) -> Limits:
        """The defaults, with what ``WORLDGATE_LIMITS`` says.

        Raises:
            ConfigError: an unknown name, or a value that is no positive integer.
        """
        text = (os.environ if environment is None else environment).get(VARIABLE, "")
        known = [field.name for field in fields(Limits)]
        told: dict[str, int] = {}
        for entry in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = entry.partition("=")
            if name not in known:
                raise ConfigError("unknown key", got=name, where=f"${VARIABLE}", hint=f"one of {', '.join(known)}")
            if not (value.isascii() and value.isdigit() and 0 < len(value) < 19 and int(value) > 0):
                raise ConfigError("a limit is a positive integer", got=value[:40], where=f"${VARIABLE}:{name}")
            told[name] = int(value)
        return Limits(**told)
