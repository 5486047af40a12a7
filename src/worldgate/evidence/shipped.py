"""TOML files that ship with Worldgate, found by name, beside anybody's own, found by path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from worldgate.core.config import read_toml
from worldgate.core.errors import NotFound


@dataclass(frozen=True, slots=True)
class Shelf:
    """One kind of them."""

    folder: str
    """In ``worldgate.evidence``."""
    what: str
    """As it is called where none is found."""

    def names(self) -> list[str]:
        """What ships."""
        return sorted(p.name.removesuffix(".toml") for p in self._files().iterdir() if p.name.endswith(".toml"))

    def read(self, source: str | Path) -> tuple[Mapping[str, Any], str]:
        """A file, or one that ships by its name: its tree, and where it is from for messages.

        Raises:
            ConfigError: not TOML.
            NotFound: neither a file nor a shipped name.
        """
        path = Path(source)
        if path.suffix == ".toml" or path.is_file():
            return read_toml(path), str(path)
        if str(source) not in self.names():
            raise NotFound(
                f"no such {self.what}", got=source, hint=f"a .toml file, or one of {', '.join(self.names())}"
            )
        with resources.as_file(self._files() / f"{source}.toml") as file:
            return read_toml(file), f"{source}.toml"

    def _files(self) -> Traversable:
        return resources.files("worldgate.evidence") / self.folder
