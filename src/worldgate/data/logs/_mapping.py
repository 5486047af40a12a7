"""``worldgate-log.toml``: what a person knows of logs whose container does not say it.

It stands in the folder that is opened, so that it is ingested and digested with the data, and gives origin, facts,
units, channel names, other stream names, streams joined from several, and a rate to containers without times. Decoded
by :mod:`worldgate.core.config`: an unknown key is an error that names the nearest known one. The ``table`` format has
keys of its own, because there the file says everything.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from worldgate.core.choices import settle
from worldgate.core.config import decode, read_toml
from worldgate.core.errors import ConfigError
from worldgate.core.streams import Kind, Origin

FILE: Final = "worldgate-log.toml"
Facts = Mapping[str, str | float | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamMapping:
    """One stream: made of others, or the one of that name described."""

    source: str | tuple[str, ...] = ()
    """Streams, by their name or as the container names them, columns joined in this order; empty: that of this name."""
    kind: Kind | None = None
    """What it holds; where absent, as the reader tells it."""
    unit: str = ""
    names: tuple[str, ...] = ()
    """Channel names."""
    frame: str = ""

    def __post_init__(self) -> None:
        settle(self)

    @property
    def sources(self) -> tuple[str, ...]:
        """Always several."""
        return (self.source,) if isinstance(self.source, str) else self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderMapping:
    """What a folder says of the logs in it."""

    format: str = ""
    """The format meant; empty: any that recognises the files."""
    rate_hz: float = 0.0
    """Rows a second, for containers without times; 0: as they state, else as the format assumes."""
    origin: Origin | None = None
    """Where the data comes from, where the container does not say."""
    facts: Facts = field(default_factory=dict)
    """Added to every log."""
    streams: Mapping[str, StreamMapping] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settle(self)
        if not 0 <= self.rate_hz <= 1e6:
            raise ConfigError("a rate in Hz", got=self.rate_hz, where="rate_hz")

    def kind_of(self, *names: str) -> Kind | None:
        """The kind stated for a stream that goes by any of these names."""
        stated = (e.kind for name, e in self.streams.items() if e.kind and {name, *e.sources} & set(names))
        return next(stated, None)


def read_mapping(path: Path) -> FolderMapping:
    """The mapping file of a folder that is opened; a file opened alone has none, nor has a table.

    Raises:
        ConfigError: not TOML, an unknown key, a value of the wrong type.
    """
    file = path / FILE
    if not path.is_dir() or not file.is_file() or meant(file, default="") == "table":
        return FolderMapping()
    return decode(FolderMapping, read_toml(file), where=str(file))


def meant(path: Path, *, default: str) -> str:
    """The format that a mapping file means; empty where there is no readable one. For ``detect``, so never raises."""
    try:
        tree: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return default if path.is_file() else ""
    return str(tree.get("format", default))
