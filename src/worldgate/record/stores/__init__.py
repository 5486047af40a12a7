"""Where bytes live, a file for each kind of place; every store names bytes by SHA-256 and never gives back others."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


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
