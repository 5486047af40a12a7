"""What every store does alike: trees of files as objects, and views of them with their original names.

A tree (a folder, or one file with its name) is an object too: a manifest of relative paths and digests,
``{"files": {"meta/info.json": "…"}, "type": "worldgate.tree.v1"}``. Checking it out makes a folder of relative symbolic
links with the original names, so that no byte is stored twice.
"""

from __future__ import annotations

import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from worldgate.core.atomic import atomic_dir, is_done
from worldgate.core.digest import canonical
from worldgate.core.errors import AlreadyExists, DataRefused, NotFound, Tampered, UsageError
from worldgate.record.events import is_digest

TREE_TYPE = "worldgate.tree.v1"
TREE_HEAD = b'{"files":{"'
TREE_TAIL = f'"}},"type":"{TREE_TYPE}"}}'.encode()


class Objects(ABC):
    """A store, less where its bytes lie."""

    url: str
    """Where: a folder, or a URL."""

    @abstractmethod
    def has(self, digest: str) -> bool:
        """Whether an object is here."""

    @abstractmethod
    def put_bytes(self, data: bytes) -> str:
        """Keep bytes; durable when it returns their digest."""

    @abstractmethod
    def put_file(self, path: Path) -> str:
        """Keep a file's bytes without loading them whole; durable when it returns their digest.

        Raises:
            NotFound: no such file.
            DataRefused: a file that changed while it was read.
        """

    @abstractmethod
    def get(self, digest: str) -> bytes:
        """The bytes of a digest, checked.

        Raises:
            NotFound: not in this store.
            Tampered: the stored bytes are others.
        """

    @abstractmethod
    def check(self, digest: str) -> None:
        """Read what is stored, in blocks, and compare its digest.

        Raises:
            NotFound: not in this store.
            Tampered: the stored bytes are others.
        """

    @abstractmethod
    def digests(self) -> Iterator[str]:
        """Every object here, in order."""

    @abstractmethod
    def delete(self, digest: str) -> None:
        """Forget an object's bytes for good; nothing happens where there are none. Only an erasure calls it."""

    @abstractmethod
    def size(self, digest: str) -> int:
        """Bytes of an object.

        Raises:
            NotFound: not in this store.
        """

    @abstractmethod
    def path(self, digest: str) -> Path:
        """Where a local copy of an object lies, or would lie; unchecked bytes, see :meth:`local`.

        Raises:
            UsageError: not a digest.
        """

    @abstractmethod
    def local(self, digest: str) -> Path:
        """A local file with the object's bytes, which were just checked.

        Raises:
            NotFound: not in this store.
            Tampered: the stored bytes are others.
        """

    @abstractmethod
    def ends(self, digest: str) -> tuple[bytes, bytes]:
        """The first and the last bytes of an object, as many as a tree's manifest begins and ends with."""

    def put_tree(self, path: Path) -> str:
        """Keep a folder, or one file with its name; returns the digest of its manifest.

        Raises:
            NotFound: nothing there.
            DataRefused: an empty folder, a link that leaves it, a device or socket, an unusable name.
        """
        return self.put_manifest(self.put_files(path))

    def put_files(self, path: Path) -> dict[str, str]:
        """Keep every file of a folder, or one file; relative path -> digest. See :meth:`put_tree`."""
        if not path.exists():
            raise NotFound("no such file or folder", where=path)
        base = path if path.is_dir() else path.parent
        found = list(_files(path))
        names = [_relative(file, base) for file in found]
        if not found:
            raise DataRefused("an empty folder", where=path)
        return dict(zip(names, self._put_all(found), strict=True))

    def put_manifest(self, files: Mapping[str, str]) -> str:
        """Keep the manifest of a tree whose files are here; returns its digest."""
        return self.put_bytes(canonical({"files": dict(files), "type": TREE_TYPE}))

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
            raise Tampered("not the manifest of a tree", got=digest, where=self.url)
        for name in files:
            check_relative(name)
        return dict(files)

    def parts(self, digest: str) -> dict[str, str]:
        """The files of an object that is a tree; empty for any other object. Reads large objects' ends only."""
        return self.tree(digest) if self.ends(digest) == (TREE_HEAD, TREE_TAIL) else {}

    def checkout(self, digest: str, *, under: Path) -> Path:
        """A read-only folder with the tree's original names, made once under ``under``; disposable.

        Raises:
            NotFound: an object of the tree is missing.
            Tampered: a manifest that lies.
        """
        target = under / "trees" / digest
        if is_done(target) and self._whole(target):
            return target / "files"
        files = self.tree(digest)
        if target.exists():
            shutil.rmtree(target)
        try:
            with atomic_dir(target) as partial:
                for name, file in files.items():
                    source = self._link_target(file, name)
                    link = partial / "files" / name
                    link.parent.mkdir(parents=True, exist_ok=True)
                    final = target / "files" / name
                    link.symlink_to(os.path.relpath(source, final.parent))
        except (AlreadyExists, OSError):
            if not is_done(target):  # else another process made the same view meanwhile
                raise
        return target / "files"

    def _put_all(self, files: Sequence[Path]) -> list[str]:
        return [self.put_file(file) for file in files]

    def _whole(self, target: Path) -> bool:
        """Whether a view that was made before can still be used."""
        return True

    def _link_target(self, digest: str, name: str) -> Path:
        """Where a link of a view leads."""
        if not self.has(digest):
            raise NotFound("an object of this tree is missing", got=digest, where=name)
        return self.path(digest)


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
