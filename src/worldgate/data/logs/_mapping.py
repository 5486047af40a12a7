"""``worldgate-log.toml``: what a person knows of logs whose container does not say it.

Containers of arrays without times (robomimic, ACT, zarr replay buffers) take rate, origin, facts, names and units from
such a file in their folder; it lies in the folder so that it is ingested and digested with the data. Decoded by
:mod:`worldgate.core.config`: an unknown key is an error that names the nearest known one. The ``table`` format has keys
of its own, because there the file says everything.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from worldgate.core.config import decode, read_toml
from worldgate.core.errors import ConfigError
from worldgate.core.streams import Kind, Origin

FILE: Final = "worldgate-log.toml"
Facts = Mapping[str, str | float | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayStreamMapping:
    """One stream, made of arrays of the container or describing the one of that name."""

    source: str | tuple[str, ...] = ()
    """Arrays as the container names them, their columns joined in this order; empty: the stream of this name."""
    kind: Kind | None = None
    """What it holds; where absent, told by shape and name."""
    unit: str = ""
    names: tuple[str, ...] = ()
    """Channel names."""
    frame: str = ""

    @property
    def sources(self) -> tuple[str, ...]:
        """Always several."""
        return (self.source,) if isinstance(self.source, str) else self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayMapping:
    """What a folder says of array logs in and below it."""

    format: str = ""
    """The format meant; empty: any that recognises the files."""
    rate_hz: float = 0.0
    """Rows a second; 0: as the container states, else as the format assumes."""
    origin: Origin | None = None
    """Where the data comes from, where the container does not say."""
    facts: Facts = field(default_factory=dict)
    """Added to every log."""
    streams: Mapping[str, ArrayStreamMapping] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.rate_hz <= 1e6:
            raise ConfigError("a rate in Hz", got=self.rate_hz, where="rate_hz")


def find(file: Path, root: Path) -> Path | None:
    """The mapping file nearest to a log, not above the folder that was opened; None where there is none.

    A file opened alone has none: what lies beside it would not be ingested with it.
    """
    folder = file.parent
    while folder.is_relative_to(root):
        if (folder / FILE).is_file():
            return folder / FILE
        folder = folder.parent
    return None


def array_mapping(file: Path, root: Path) -> ArrayMapping:
    """The mapping that holds for a log of arrays.

    Raises:
        ConfigError: not TOML, an unknown key, a value of the wrong type.
    """
    path = find(file, root)
    return ArrayMapping() if path is None else decode(ArrayMapping, read_toml(path), where=str(path))


def meant(path: Path, *, default: str) -> str:
    """The format that a mapping file means; empty where there is no readable one. For ``detect``, so never raises."""
    try:
        tree: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return default if path.is_file() else ""
    return str(tree.get("format", default))
