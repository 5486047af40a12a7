"""Objects in a local folder: ``objects/ab/cdef…``, named by the SHA-256 of their bytes, written whole or not at all.

Objects are read-only files; views of trees link to them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from worldgate.core.atomic import atomic_path, sync_dir
from worldgate.core.digest import digest_file, sha256
from worldgate.core.errors import DataRefused, NotFound, Tampered, UsageError
from worldgate.record.events import is_digest
from worldgate.record.stores._objects import TREE_HEAD, TREE_TAIL, Objects

CARD = {
    "line": "objects in a local folder, named by the SHA-256 of their bytes",
    "inputs": "a folder",
    "source": "git's object store, without packs",
}

_BLOCK = 1 << 20


class FolderStore(Objects):
    """Content-addressed files under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = str(root)

    def path(self, digest: str) -> Path:
        """Where an object lies, or would lie; unchecked bytes, see :meth:`get`.

        Raises:
            UsageError: not a digest.
        """
        if not is_digest(digest):
            raise UsageError("not a digest", got=ascii(digest)[:80])
        return self.root / digest[:2] / digest[2:]

    def local(self, digest: str) -> Path:
        """The object's own file, checked."""
        self.check(digest)
        return self.path(digest)

    def has(self, digest: str) -> bool:
        return self.path(digest).is_file()

    def size(self, digest: str) -> int:
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError as error:
            raise self._absent(digest) from error

    def put_bytes(self, data: bytes) -> str:
        digest = sha256(data)
        if not self.has(digest):
            with atomic_path(self._folder(digest), overwrite=True, mode=0o644) as partial:
                partial.write_bytes(data)
                partial.chmod(0o444)
        return digest

    def put_file(self, path: Path) -> str:
        if not path.is_file():
            raise NotFound("no such file", where=path)
        digest = digest_file(path)
        if not self.has(digest):
            h = hashlib.sha256()
            with atomic_path(self._folder(digest), overwrite=True) as partial:
                with path.open("rb") as source, partial.open("wb") as target:
                    while block := source.read(_BLOCK):
                        h.update(block)
                        target.write(block)
                if h.hexdigest() != digest:
                    raise DataRefused("a file that changed while it was read", where=path, hint="stop its writer first")
                partial.chmod(0o444)
        return digest

    def get(self, digest: str) -> bytes:
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError as error:
            raise self._absent(digest) from error
        if sha256(data) != digest:
            raise Tampered("an object whose bytes are not its digest", got=sha256(data), where=self.path(digest))
        return data

    def check(self, digest: str) -> None:
        path = self.path(digest)
        if not path.is_file():
            raise self._absent(digest)
        found = digest_file(path)
        if found != digest:
            raise Tampered("an object whose bytes are not its digest", got=found, where=path)

    def delete(self, digest: str) -> None:
        path = self.path(digest)
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync_dir(path.parent)

    def digests(self) -> Iterator[str]:
        for folder in sorted(p for p in self.root.iterdir() if len(p.name) == 2):
            for file in sorted(folder.iterdir()):
                if len(file.name) == 62:
                    yield folder.name + file.name

    def ends(self, digest: str) -> tuple[bytes, bytes]:
        with self.path(digest).open("rb") as file:
            head = file.read(len(TREE_HEAD))
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(TREE_TAIL)))
            return head, file.read()

    def _absent(self, digest: str) -> NotFound:
        return NotFound("no such object in the store", got=digest, where=self.root)

    def _folder(self, digest: str) -> Path:
        path = self.path(digest)
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            sync_dir(self.root)
        return path
