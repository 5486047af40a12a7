"""Zarr stores as foreign input: format 2 or 3, a folder or a zip file, read a slice at a time.

Metadata is read and judged before zarr sees it, because opening an array makes its codecs: objects and the codec
``pickle`` are refused, one that is not installed is named. Consolidated metadata is not used, so that what was judged
is what is opened. A zip is never unpacked; names that would leave a folder and entries that would inflate beyond what
deflate can are refused all the same. Source: https://zarr-specs.readthedocs.io.
"""

from __future__ import annotations

import json
import math
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import zarr
from zarr.storage import LocalStore, ZipStore

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Array, IntArray
from worldgate.data.logs._array_frames import gather

_METADATA: Final = (".zarray", "zarr.json")
_MAX_METADATA: Final = 1 << 22
_MAX_CHUNK: Final = 1 << 28
"""Bytes; zarr makes a whole chunk to read one row of it."""
_MOST: Final = 1100
"""Deflate makes at most 1032 bytes of one."""
_SMALL: Final = 1 << 26
_NUMBERS: Final = re.compile(r"[<>|]?[biuf]\d+|bool|u?int\d+|float\d+")
_INSTALL: Final = "install the package that registers it (imagecodecs for JPEG-XL, as UMI uses it)"


@dataclass(frozen=True, slots=True)
class ZarrStore:
    """A store and its arrays' metadata, judged but not opened."""

    path: Path
    inner: str = ""
    """Folder of the root group inside a zip, with a trailing slash."""

    @property
    def _zip(self) -> Mapping[str, zipfile.ZipInfo] | None:
        """Entries of a zip file by name; None for a folder."""
        if self.path.is_dir():
            return None
        stat = self.path.stat()
        return _entries(self.path, stat.st_mtime_ns, stat.st_size)

    @property
    def entries(self) -> tuple[str, ...]:
        """Names in a zip file; none in a folder.

        Raises:
            LogUnreadable: no zip file, or entries that are refused.
        """
        return tuple(self._zip or ())

    def _bytes(self, name: str) -> bytes | None:
        """A small file of the store; None where there is none."""
        entries = self._zip
        try:
            if entries is None:
                file = self.path / name
                if not file.is_file():
                    return None
                size = file.stat().st_size
            elif self.inner + name not in entries:
                return None
            else:
                size = entries[self.inner + name].file_size
            if size > _MAX_METADATA:
                raise LogUnreadable("metadata beyond 4 MiB", got=size, where=f"{self.path}:{name}")
            if entries is None:
                return file.read_bytes()
            with zipfile.ZipFile(self.path) as zipped:
                return zipped.read(self.inner + name)
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError) as error:
            raise LogUnreadable("a store that cannot be read", got=str(error)[:120], where=self.path) from error

    def names(self, group: str) -> list[str]:
        """Arrays directly in a group, in order."""
        return sorted(name for name in self._children(group) if self.metadata(f"{group}/{name}") is not None)

    def _children(self, group: str) -> Iterator[str]:
        entries = self._zip
        if entries is None:
            folder = self.path / group
            yield from (child.name for child in folder.iterdir() if child.is_dir()) if folder.is_dir() else ()
            return
        prefix = f"{self.inner}{group}/"
        yield from {n[len(prefix) :].split("/")[0] for n in entries if n.startswith(prefix) and n.endswith(_METADATA)}

    def metadata(self, key: str) -> Mapping[str, Any] | None:
        """The metadata document of an array, judged; None where there is no array.

        Raises:
            LogUnreadable: not JSON, objects, a codec that unpickles, or one that is not installed.
        """
        for file in _METADATA:
            data = self._bytes(f"{key}/{file}")
            if data is None:
                continue
            try:
                tree = json.loads(data)
                if not isinstance(tree, dict) or (file == "zarr.json" and tree.get("node_type") != "array"):
                    return None
            except (ValueError, RecursionError) as error:
                raise LogUnreadable("zarr metadata that is not JSON", where=f"{self.path}:{key}") from error
            _judge(tree, f"{self.path}:{key}")
            return tree
        return None

    def array(self, key: str) -> ZarrArray:
        """A judged array.

        Raises:
            LogUnreadable: as :meth:`metadata`, or one that zarr cannot open.
        """
        assert self.metadata(key) is not None, key
        held = _opened(self, key)
        if held.chunks and math.prod(held.chunks) * held.dtype.itemsize > _MAX_CHUNK:
            raise LogUnreadable("chunks beyond 256 MiB", got=held.chunks, where=f"{self.path}:{key}")
        return ZarrArray(store=self, name=key, shape=tuple(held.shape), dtype=np.dtype(held.dtype))

    def attributes(self) -> dict[str, Any]:
        """Attributes of the root group."""
        for file, key in ((".zattrs", None), ("zarr.json", "attributes")):
            data = self._bytes(file)
            try:
                tree = json.loads(data) if data is not None else None
            except (ValueError, RecursionError):
                continue
            if isinstance(tree, dict):
                found = tree if key is None else tree.get(key)
                return dict(found) if isinstance(found, dict) else {}
        return {}


@lru_cache(maxsize=8)
def _entries(path: Path, mtime_ns: int, size: int) -> Mapping[str, zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as file:
            entries = {info.filename: info for info in file.infolist()}
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise LogUnreadable("a zip file that cannot be read", got=str(error)[:120], where=path) from error
    for info in entries.values():
        _refuse_entry(info, path)
    return entries


def _refuse_entry(info: zipfile.ZipInfo, path: Path) -> None:
    name = info.filename
    parts = PurePosixPath(name).parts
    # ``orig_filename``: zipfile cuts a name at its first zero byte.
    if name.startswith(("/", "\\")) or ".." in parts or "\\" in name or ":" in name[:2] or "\0" in info.orig_filename:
        raise LogUnreadable("a zip entry that would leave its folder", got=ascii(name)[:80], where=path)
    if info.file_size > _MOST * info.compress_size + _SMALL // 64:
        got = f"{ascii(name)[:60]}: {info.file_size} bytes from {info.compress_size}"
        raise LogUnreadable("a zip entry that no compression explains", got=got, where=path)
    if info.flag_bits & 1:
        raise LogUnreadable("an encrypted zip entry", got=ascii(name)[:80], where=path)


def _judge(tree: Mapping[str, Any], where: str) -> None:
    kind = tree.get("dtype", tree.get("data_type"))
    codecs = set(_codecs([tree.get("compressor"), tree.get("filters"), tree.get("codecs")]))
    if "pickle" in codecs or "numcodecs.pickle" in codecs:
        raise LogUnreadable("an array that only unpickling could read", got="codec pickle", where=where)
    if not isinstance(kind, str) or not _NUMBERS.fullmatch(kind):
        raise LogUnreadable("an array that does not hold numbers", got=f"type {str(kind)[:40]}", where=where)


def _codecs(node: Any) -> Iterator[str]:
    """Names of codecs at any depth: a sharding codec holds others."""
    if isinstance(node, list):
        for item in node:
            yield from _codecs(item)
    elif isinstance(node, dict):
        yield from (str(node[key]) for key in ("id", "name") if key in node)
        yield from _codecs([value for value in node.values() if isinstance(value, list | dict)])


def _opened(store: ZarrStore, key: str) -> zarr.Array[Any]:
    stat = store.path.stat()
    try:
        # By process: a zip's file position must not be shared after a fork.
        return _array(store.path, store.inner + key, stat.st_mtime_ns, stat.st_size, os.getpid())
    except Exception as error:  # codecs and their packages raise what they like
        codecs = ", ".join(sorted(set(_codecs(list((store.metadata(key) or {}).values())))))
        raise LogUnreadable(
            "an array whose codecs are not all installed",
            got=f"{codecs}: {str(error)[:80]}",
            where=f"{store.path}:{key}",
            hint=_INSTALL,
        ) from error


@lru_cache(maxsize=256)
def _array(path: Path, key: str, mtime_ns: int, size: int, process: int) -> zarr.Array[Any]:
    store = LocalStore(path, read_only=True) if path.is_dir() else _zip_store(path, mtime_ns, size, process)
    return zarr.open_array(store=store, path=key, mode="r")


@lru_cache(maxsize=8)
def _zip_store(path: Path, mtime_ns: int, size: int, process: int) -> ZipStore:
    return ZipStore(path, mode="r", read_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZarrArray:
    """An array, or a run of its rows."""

    store: ZarrStore
    name: str
    """Path of the array in the store."""
    shape: tuple[int, ...]
    """Of the run."""
    dtype: np.dtype[Any]
    first: int = 0
    """Row of the array where the run begins."""

    def run(self, first: int, stop: int) -> ZarrArray:
        """Rows ``first`` to ``stop``, as far as there are any."""
        length = max(0, min(stop, self.shape[0]) - first)
        return ZarrArray(
            store=self.store,
            name=self.name,
            shape=(length, *self.shape[1:]),
            dtype=self.dtype,
            first=self.first + first,
        )

    def refuse_absent(self) -> None:
        """Raises ``LogUnreadable`` where a large array is declared and hardly stored."""
        stat = self.store.path.stat()
        _refuse_absent(self.store, self.name, stat.st_mtime_ns, stat.st_size)

    def read(self, rows: IntArray) -> Array:
        """(K, ...) these rows, in this order.

        Raises:
            LogUnreadable: damaged chunks, or a large array of which hardly anything is stored.
        """
        if not len(rows):
            return np.empty((0, *self.shape[1:]), dtype=self.dtype)
        self.refuse_absent()
        held = _opened(self.store, self.name)
        try:
            return gather(rows + self.first, lambda start, stop: np.asarray(held[start:stop]))
        except Exception as error:  # codecs raise what they like
            raise LogUnreadable(
                "a chunk that cannot be read", got=str(error)[:120], where=f"{self.store.path}:{self.name}"
            ) from error


@lru_cache(maxsize=1024)
def _refuse_absent(store: ZarrStore, key: str, mtime_ns: int, size: int) -> None:
    """Refuse a large array that is declared and hardly stored; absent chunks of others are their fill value."""
    held = _opened(store, key)
    declared = math.prod(held.shape) * held.dtype.itemsize
    if declared <= _SMALL:
        return
    stored = int(held.nbytes_stored())
    if declared > _MOST * stored:
        raise LogUnreadable(
            "an array whose declared rows are not stored",
            got=f"{declared} bytes declared, {stored} stored",
            where=f"{store.path}:{key}",
        )
