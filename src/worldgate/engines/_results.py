"""Finished results by key, in the workspace's cache; written whole or not at all, and disposable.

``results/ab/cdef….json`` holds a value, its digest, and the names of the cache files that came with it. A result
that is damaged, or whose files are gone, is as good as none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worldgate.core.atomic import write_atomic
from worldgate.core.digest import canonical, digest_json, read_json, sha256


class Results:
    """The results that a cache folder holds."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def path(self, key: str) -> Path:
        """Where a result lies, or would lie."""
        return self.cache / "results" / key[:2] / f"{key[2:]}.json"

    def has(self, key: str) -> bool:
        """Whether a result is here, whole, with its files."""
        return self._read(key) is not None

    def get(self, key: str) -> Any:
        """The value of a result.

        Raises:
            KeyError: none, or a damaged one.
        """
        held = self._read(key)
        if held is None:
            raise KeyError(key)
        return held["value"]

    def keep(self, key: str, value: Any, files: Mapping[str, bytes]) -> None:
        """Keep a result; durable when it returns. Its files are written first."""
        for name, data in files.items():
            write_atomic(self.cache / name, data, overwrite=True)
        held = {"digest": digest_json(value), "files": {n: sha256(d) for n, d in files.items()}, "value": value}
        write_atomic(self.path(key), canonical(held), overwrite=True)

    def _read(self, key: str) -> dict[str, Any] | None:
        try:
            held = read_json(self.path(key).read_bytes())
            whole = digest_json(held["value"]) == held["digest"]
            whole = whole and all((self.cache / name).is_file() for name in held["files"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return held if whole else None
