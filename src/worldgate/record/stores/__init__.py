"""Where bytes live, a file for each kind of place; every store names bytes by SHA-256 and never gives back others.

What a workspace needs besides the four methods of :class:`Store` (trees, views with the original names) is the same for
all of them and stands in ``_objects.py``; a store extends :class:`Objects`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from worldgate.core import seams
from worldgate.record.stores._objects import Objects, check_relative

__all__ = ["Objects", "Store", "check_relative", "open_store"]


class Store(Protocol):
    """Content-addressed bytes."""

    def put_bytes(self, data: bytes) -> str:
        """Keep bytes; durable when it returns their digest."""
        ...

    def put_file(self, path: Path) -> str:
        """Keep a file's bytes without loading them whole."""
        ...

    def get(self, digest: str) -> bytes:
        """The bytes of a digest, checked.

        Raises:
            NotFound: not in this store.
            Tampered: the stored bytes are others.
        """
        ...

    def has(self, digest: str) -> bool: ...


def open_store(url: str, *, cache: Path) -> Objects:
    """The store at a folder or URL.

    Args:
        url: a folder, or ``scheme://…``.
        cache: where a store that is not on this machine keeps local copies.

    Raises:
        ConfigError: a URL with credentials in it.
        MissingExtra: a package that this kind of URL needs.
    """
    made: Objects
    if "://" in url:
        made = seams.load("stores", "fsspec").FsspecStore(url, cache)
    else:
        made = seams.load("stores", "folder").FolderStore(Path(url))
    return made
