"""Objects under any fsspec URL, above all a bucket: ``s3://bucket/prefix/ab/cdef…``, named by their SHA-256.

Source: https://filesystem-spec.readthedocs.io; S3's put and completed multipart upload are atomic, so an object is
whole or absent; where a file system is not so, the upload goes to another name and is moved. Notable choices: an object
counts as kept only when it was read back and has its digest, whatever the server said; every file that is put or read
stays in the workspace's cache, so that readers of logs see ordinary files. Credentials come from the environment or the
provider's own configuration, never from a file of ours.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from worldgate.core.atomic import atomic_path
from worldgate.core.digest import digest_file, sha256
from worldgate.core.errors import (
    ConfigError,
    DataRefused,
    MissingExtra,
    NotFound,
    RecordError,
    Tampered,
    UsageError,
    WorldgateError,
)
from worldgate.record.events import is_digest
from worldgate.record.stores._objects import TREE_HEAD, TREE_TAIL, Objects

CARD = {
    "line": "objects in a bucket, or under any other fsspec URL",
    "inputs": "a URL: s3://bucket/prefix (pip install worldgate[s3]), memory://name, ...",
    "source": "https://filesystem-spec.readthedocs.io",
}

_BLOCK = 1 << 20
_AT_ONCE = 8
_ATOMIC = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "memory"})
"""File systems on which an object appears whole or not at all."""


class FsspecStore(Objects):
    """Content-addressed objects behind a URL, with a cache of local copies."""

    def __init__(self, url: str, cache: Path) -> None:
        self.url = url
        self._cache = cache
        self._fs, self._root = file_system(url)
        protocols = self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,)
        self._atomic = not _ATOMIC.isdisjoint(protocols)

    def path(self, digest: str) -> Path:
        if not is_digest(digest):
            raise UsageError("not a digest", got=ascii(digest)[:80])
        return self._cache / "objects" / digest[:2] / digest[2:]

    def local(self, digest: str) -> Path:
        path = self.path(digest)
        if path.is_file() and digest_file(path) == digest:
            return path
        h = hashlib.sha256()
        with atomic_path(path, overwrite=True) as partial:
            with partial.open("wb") as target:
                for block in self._blocks(digest):
                    h.update(block)
                    target.write(block)
            if h.hexdigest() != digest:
                raise self._other(digest, h.hexdigest())
            partial.chmod(0o444)
        return path

    def has(self, digest: str) -> bool:
        key = self._key(digest)
        with self._reach(digest):
            return bool(self._fs.exists(key))

    def size(self, digest: str) -> int:
        with self._reach(digest):
            return int(self._fs.size(self._key(digest)))

    def delete(self, digest: str) -> None:
        self.path(digest).unlink(missing_ok=True)
        with self._reach(digest):
            if self._fs.exists(self._key(digest)):
                self._fs.rm_file(self._key(digest))

    def put_bytes(self, data: bytes) -> str:
        digest = sha256(data)
        path = self.path(digest)
        if not path.is_file():
            with atomic_path(path, overwrite=True) as partial:
                partial.write_bytes(data)
                partial.chmod(0o444)
        self._upload(digest, path)
        return digest

    def put_file(self, path: Path) -> str:
        if not path.is_file():
            raise NotFound("no such file", where=path)
        digest = digest_file(path)
        copy = self.path(digest)
        if not copy.is_file() or digest_file(copy) != digest:
            # What is uploaded is a copy that nobody writes to.
            with atomic_path(copy, overwrite=True) as partial:
                shutil.copyfile(path, partial)
                if digest_file(partial) != digest:
                    raise DataRefused("a file that changed while it was read", where=path, hint="stop its writer first")
                partial.chmod(0o444)
        self._upload(digest, copy)
        return digest

    def get(self, digest: str) -> bytes:
        path = self.path(digest)
        data = path.read_bytes() if path.is_file() else None
        if data is None or sha256(data) != digest:
            with self._reach(digest):
                data = bytes(self._fs.cat_file(self._key(digest)))
            if sha256(data) != digest:
                raise self._other(digest, sha256(data))
        return data

    def check(self, digest: str) -> None:
        h = hashlib.sha256()
        for block in self._blocks(digest):
            h.update(block)
        if h.hexdigest() != digest:
            raise self._other(digest, h.hexdigest())

    def digests(self) -> Iterator[str]:
        with self._reach(""):
            names = self._fs.find(self._root)
        for name in sorted(names):
            folder, _, file = name.removeprefix(self._root).lstrip("/").partition("/")
            if is_digest(folder + file):
                yield folder + file

    def ends(self, digest: str) -> tuple[bytes, bytes]:
        key = self._key(digest)
        with self._reach(digest):
            head = bytes(self._fs.cat_file(key, start=0, end=len(TREE_HEAD)))
            # Where the head differs, the object is no tree, and its size is not asked for.
            tail = bytes(self._fs.cat_file(key, start=-len(TREE_TAIL))) if head == TREE_HEAD else b""
        return head, tail

    def _put_all(self, files: Sequence[Path]) -> list[str]:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(self.put_file, files))

    def _link_target(self, digest: str, name: str) -> Path:
        try:
            return self.local(digest)
        except NotFound as error:
            raise NotFound("an object of this tree is missing", got=digest, where=name) from error

    def _whole(self, target: Path) -> bool:
        return all(file.exists() for file in (target / "files").rglob("*"))

    def _upload(self, digest: str, path: Path) -> None:
        """Keep a local copy's bytes, unless they are there already; they count when they were read back."""
        key = self._key(digest)
        try:
            with self._reach(digest):
                if not self._fs.exists(key) or int(self._fs.size(key)) != path.stat().st_size:
                    self._put(path, key)
        except NotFound as error:
            raise RecordError("no such bucket, or none that takes objects", where=self.url, hint="make it") from error
        self.check(digest)

    def _put(self, path: Path, key: str) -> None:
        if self._atomic:
            self._fs.put_file(str(path), key)
            return
        partial = f"{self._root}/partial-{uuid.uuid4().hex}"
        self._fs.makedirs(key.rpartition("/")[0], exist_ok=True)
        self._fs.put_file(str(path), partial)
        self._fs.mv(partial, key)

    def _blocks(self, digest: str) -> Iterator[bytes]:
        with self._reach(digest), self._fs.open(self._key(digest), "rb", cache_type="readahead") as file:
            while block := file.read(_BLOCK):
                yield block

    def _key(self, digest: str) -> str:
        if not is_digest(digest):
            raise UsageError("not a digest", got=ascii(digest)[:80])
        return f"{self._root}/{digest[:2]}/{digest[2:]}"

    def _other(self, digest: str, found: str) -> Tampered:
        where = f"{self.url}/{digest[:2]}/{digest[2:]}"
        return Tampered("an object whose bytes are not its digest", got=found, where=where)

    @contextmanager
    def _reach(self, digest: str) -> Iterator[None]:
        with reaching(self.url, what=digest):
            yield


def file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it; listings are asked for anew each time, others write there too.

    Raises:
        ConfigError: no such kind of URL, or one with credentials in it.
        MissingExtra: a package that this kind needs.
    """
    _refuse_secrets(url)
    try:
        fs, root = url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        hint = 'pip install "worldgate[s3]"' if url.startswith("s3") else None
        raise MissingExtra("this URL needs a package that is not installed", got=error, where=url, hint=hint) from error
    except ValueError as error:
        raise ConfigError(
            "not a URL of a store", got=error, where=url, hint="for example s3://bucket/prefix"
        ) from error
    return fs, str(root).rstrip("/")


def _refuse_secrets(url: str) -> None:
    """Refuse a URL that carries credentials.

    Raises:
        ConfigError: a user or password in it.
    """
    scheme, _, rest = url.partition("://")
    if "@" in rest.partition("/")[0]:
        raise ConfigError(
            "credentials have no place in a URL that is written down",
            where=f"{scheme}://...@{rest.partition('@')[2]}",
            hint="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/config",
        )


@contextmanager
def reaching(url: str, *, what: str) -> Iterator[None]:
    """Say whatever goes wrong between here and a URL in our words.

    Raises:
        NotFound: nothing of this name.
        RecordError: anything else.
    """
    try:
        yield
    except WorldgateError:
        raise
    except FileNotFoundError as error:
        raise NotFound("no such object in the store", got=what or None, where=url) from error
    except Exception as error:  # every provider raises its own classes, without a common one
        got = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        hint = "is the server up, and are credentials set? AWS_ENDPOINT_URL, AWS_PROFILE"
        raise RecordError("the store does not answer", got=got, where=url, hint=hint) from error
