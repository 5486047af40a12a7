"""Objects in a local folder: ``objects/ab/cdef…``, named by the SHA-256 of their bytes, written whole or not at all.

Objects are read-only files. A tree (a folder, or one file with its name) is an object too: a manifest of relative paths
and digests, ``{"files": {"meta/info.json": "…"}, "type": "worldgate.tree.v1"}``; checking it out makes a folder of
relative symbolic links with the original names, so that no byte is stored twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from worldgate.core.atomic import atomic_dir, atomic_path, is_done, sync_dir
from worldgate.core.digest import canonical, digest_file, sha256
from worldgate.core.errors import AlreadyExists, DataRefused, NotFound, Tampered, UsageError
from worldgate.record.events import is_digest

CARD = {
    "line": "objects in a local folder, named by the SHA-256 of their bytes",
    "inputs": "a folder",
    "source": "git's object store, without packs",
}

TREE_TYPE = "worldgate.tree.v1"
_TREE_HEAD = b'{"files":{"'
_TREE_TAIL = f'"}},"type":"{TREE_TYPE}"}}'.encode()
_BLOCK = 1 << 20


class FolderStore:
    """Content-addressed files under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Where an object lies, or would lie; unchecked bytes, see :meth:`get`.

        Raises:
            UsageError: not a digest.
        """
        if not is_digest(digest):
            raise UsageError("not a digest", got=ascii(digest)[:80])
        return self.root / digest[:2] / digest[2:]

    def has(self, digest: str) -> bool:
        """Whether an object is here."""
        return self.path(digest).is_file()

    def put_bytes(self, data: bytes) -> str:
        """Keep bytes; durable when it returns their digest."""
        digest = sha256(data)
        if not self.has(digest):
            with atomic_path(self._folder(digest), overwrite=True, mode=0o644) as partial:
                partial.write_bytes(data)
                partial.chmod(0o444)
        return digest

    def put_file(self, path: Path) -> str:
        """Keep a file's bytes, copied in blocks; durable when it returns their digest.

        Raises:
            NotFound: no such file.
        """
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
        """The bytes of a digest, checked.

        Raises:
            NotFound: not in this store.
            Tampered: the stored bytes are others.
        """
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError as error:
            raise NotFound("no such object in the store", got=digest, where=self.root) from error
        if sha256(data) != digest:
            raise Tampered("an object whose bytes are not its digest", got=sha256(data), where=self.path(digest))
        return data

    def check(self, digest: str) -> None:
        """Read an object in blocks and compare its digest.

        Raises:
            NotFound: not in this store.
            Tampered: the stored bytes are others.
        """
        path = self.path(digest)
        if not path.is_file():
            raise NotFound("no such object in the store", got=digest, where=self.root)
        found = digest_file(path)
        if found != digest:
            raise Tampered("an object whose bytes are not its digest", got=found, where=path)

    def digests(self) -> Iterator[str]:
        """Every object here, in order."""
        for folder in sorted(p for p in self.root.iterdir() if len(p.name) == 2):
            for file in sorted(folder.iterdir()):
                if len(file.name) == 62:
                    yield folder.name + file.name

    def put_tree(self, path: Path) -> str:
        """Keep a folder, or one file with its name; returns the digest of its manifest.

        Raises:
            NotFound: nothing there.
            DataRefused: an empty folder, a link that leaves it, a device or socket, an unusable name.
        """
        if not path.exists():
            raise NotFound("no such file or folder", where=path)
        base = path if path.is_dir() else path.parent
        files = {_relative(file, base): self.put_file(file) for file in _files(path)}
        if not files:
            raise DataRefused("an empty folder", where=path)
        return self.put_bytes(canonical({"files": files, "type": TREE_TYPE}))

    def tree(self, digest: str) -> dict[str, str]:
        """The manifest of a tree: relative path -> digest.

        Raises:
            Tampered: not a manifest, or a path in it that would leave the folder.
        """
        data = self.get(digest)
        try:
            files = json.loads(data)["files"]
            named = canonical({"files": files, "type": TREE_TYPE}) == data and all(map(is_digest, files.values()))
        except (ValueError, TypeError, KeyError, AttributeError, UsageError):
            named = False
        if not named:
            raise Tampered("not the manifest of a tree", got=digest, where=self.root)
        for name in files:
            check_relative(name)
        return dict(files)

    def parts(self, digest: str) -> dict[str, str]:
        """The files of an object that is a tree; empty for any other object. Reads large objects' ends only."""
        with self.path(digest).open("rb") as file:
            if file.read(len(_TREE_HEAD)) != _TREE_HEAD:
                return {}
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(_TREE_TAIL)))
            return self.tree(digest) if file.read() == _TREE_TAIL else {}

    def checkout(self, digest: str, *, under: Path) -> Path:
        """A read-only folder with the tree's original names, made once under ``under``; disposable.

        Raises:
            NotFound: an object of the tree is missing.
            Tampered: a manifest that lies.
        """
        target = under / "trees" / digest
        if is_done(target):
            return target / "files"
        files = self.tree(digest)
        if target.exists():
            shutil.rmtree(target)
        try:
            with atomic_dir(target) as partial:
                for name, file in files.items():
                    if not self.has(file):
                        raise NotFound("an object of this tree is missing", got=file, where=name)
                    link = partial / "files" / name
                    link.parent.mkdir(parents=True, exist_ok=True)
                    final = target / "files" / name
                    link.symlink_to(os.path.relpath(self.path(file), final.parent))
        except (AlreadyExists, OSError):
            if not is_done(target):  # else another process made the same view meanwhile
                raise
        return target / "files"

    def _folder(self, digest: str) -> Path:
        path = self.path(digest)
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            sync_dir(self.root)
        return path


def check_relative(name: str) -> None:
    """Refuse a path that could leave its folder or confuse a reader.

    Raises:
        Tampered: absolute, ``..``, ``.``, empty part, backslash, control character.
    """
    parts = name.split("/")
    bad = not name or any(part in ("", ".", "..") for part in parts) or "\\" in name or not name.isprintable()
    if bad or PurePosixPath(name).is_absolute():
        raise Tampered("a path that leaves its folder", got=ascii(name)[:80], where="a tree manifest")


def _relative(file: Path, base: Path) -> str:
    name = file.relative_to(base).as_posix()
    try:
        name.encode()
        check_relative(name)
    except (Tampered, UnicodeEncodeError) as error:
        raise DataRefused("an unusable file name", got=ascii(name)[:80], where=base) from error
    return name


def _files(path: Path) -> Iterator[Path]:
    """Every regular file of a tree, sorted; links are followed only inside it."""
    if path.is_file():
        yield path
        return
    root = path.resolve()
    for file in sorted(path.rglob("*")):
        if file.is_symlink() and not file.resolve().is_relative_to(root):
            raise DataRefused("a link that leaves its folder", where=file, hint="copy it with: cp -rL")
        if file.is_symlink() and file.is_dir():
            raise DataRefused("a link to a folder", where=file, hint="copy it with: cp -rL")
        if file.is_file():
            yield file
        elif not file.is_dir():
            raise DataRefused("neither a file nor a folder", where=file)
