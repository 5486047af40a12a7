"""HDF5 files as foreign input: opened for reading, walked without following a link, read a slice at a time.

Refused, because each reaches outside the file or needs pickle: external and soft links, external raw storage, virtual
datasets, object types. A dataset whose declared rows are not stored would read as its fill value, up to any declared
size; that is refused when it is read. A heap that libhdf5 would read for ever is refused before. Source:
https://docs.h5py.org, HDF5 file format 3.0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Array, IntArray
from worldgate.data.logs._array_frames import gather
from worldgate.data.logs._h5_heap import refuse_endless

MAGIC: Final = b"\x89HDF\r\n\x1a\n"
_BROKEN: Final = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises on damaged files."""
_SUFFIXES: Final = frozenset({".hdf5", ".h5", ".he5", ".hdf"})
_MOST: Final = 1100
"""Deflate, the strongest filter in use, makes at most 1032 bytes of one."""
_SMALL: Final = 1 << 26


def files(path: Path) -> list[Path]:
    """HDF5 files at or below a path, by name and first bytes."""
    if path.is_file():
        return [path] if _is_h5(path) else []
    return [p for p in sorted(path.rglob("*")) if p.suffix in _SUFFIXES and p.is_file() and _is_h5(p)]


def holds(path: Path, test: Callable[[h5py.File], bool]) -> bool:
    """Whether any HDF5 file at a path passes a test; one that cannot be read passes none."""
    for file in files(path):
        try:
            with opened(file) as inside:
                if test(inside):
                    return True
        except LogUnreadable:
            continue
    return False


def _is_h5(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """A file, open for reading; what h5py raises inside becomes a refusal.

    Raises:
        LogUnreadable: truncated, damaged, not HDF5, or such that libhdf5 would not come back.
    """
    try:
        refuse_endless(path)
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except _BROKEN as error:
        what = "an HDF5 file that is cut off" if "truncated" in str(error) else "an HDF5 file that cannot be read"
        raise LogUnreadable(what, got=str(error).splitlines()[0][:160], where=path) from error


def member(group: h5py.Group, name: str | bytes) -> h5py.Group | h5py.Dataset | None:
    """A member of a group, or None where there is none.

    Raises:
        LogUnreadable: a link that is not this file's own object, or a name that is no text.
    """
    if isinstance(name, bytes):
        raise LogUnreadable("a name that is not UTF-8", got=name[:40], where=group.file.filename)
    # Not ``name in group`` or ``group.get``: they follow the link to see whether it leads anywhere.
    links = group.id.links
    if not links.exists(name.encode()):
        return None
    if links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        target = ":".join(part.decode("utf-8", "replace") for part in np.atleast_1d(links.get_val(name.encode())))
        raise LogUnreadable(
            "a link, which could lead out of the file", got=f"{name} -> {target}"[:120], where=group.file.filename
        )
    found = group.get(name)
    return found if isinstance(found, h5py.Group | h5py.Dataset) else None


def group(parent: h5py.Group, name: str) -> h5py.Group | None:
    """A group below a group, or None."""
    found = member(parent, name)
    return found if isinstance(found, h5py.Group) else None


def datasets(parent: h5py.Group | None) -> dict[str, h5py.Dataset]:
    """The datasets of a group that have rows, by name; single texts are none, see :func:`notes`.

    Raises:
        LogUnreadable: a link among them, or one whose type or storage is refused.
    """
    return {name: found for name, found in _held(parent) if found.shape and not _is_note(found)}


def notes(parent: h5py.Group | None) -> dict[str, Any]:
    """Datasets of a group that hold one value or one text: facts of the log, such as its instruction."""
    return {name: found[()] if not found.shape else found[0] for name, found in _held(parent) if _is_note(found)}


def _held(parent: h5py.Group | None) -> Iterator[tuple[str, h5py.Dataset]]:
    for name in parent if parent is not None else ():
        found = member(parent, name)
        if isinstance(found, h5py.Dataset) and found.shape is not None:
            _refuse(found)
            yield str(name), found


def _is_note(dataset: h5py.Dataset) -> bool:
    return dataset.shape == () or (dataset.shape == (1,) and is_text(dataset))


def attributes(item: h5py.Group | h5py.Dataset) -> Mapping[str, Any]:
    """Attributes that can be read; one of an unknown type is none."""
    out = {}
    for name in item.attrs:
        try:
            out[str(name)] = item.attrs[name]
        except _BROKEN:
            continue
    return out


def is_bytes(dataset: h5py.Dataset) -> bool:
    """Whether each row is a byte string of its own length: fixed-length bytes, or variable-length uint8."""
    return dataset.dtype.kind == "S" or bool(h5py.check_vlen_dtype(dataset.dtype) == np.uint8)


def is_text(dataset: h5py.Dataset) -> bool:
    """Whether each row is a text."""
    return h5py.check_string_dtype(dataset.dtype) is not None


def _refuse(dataset: h5py.Dataset) -> None:
    where = f"{dataset.file.filename}:{dataset.name}"
    if dataset.external or dataset.is_virtual:
        raise LogUnreadable("a dataset whose values lie in another file", where=where)
    if dataset.dtype.kind not in "biuf" and not is_text(dataset) and not is_bytes(dataset):
        raise LogUnreadable("a dataset of objects is not read", got=dataset.dtype, where=where)
    plan = dataset.id.get_create_plist()
    for index in range(plan.get_nfilters()):
        code, _, _, name = plan.get_filter(index)
        if not h5py.h5z.filter_avail(code):
            label = name.decode("utf-8", "replace") or f"number {code}"
            raise LogUnreadable("a dataset compressed by a filter that is not installed", got=label, where=where)


@dataclass(frozen=True, slots=True, kw_only=True)
class H5Array:
    """A dataset, or a run of its rows; the file is open only while it is read."""

    path: Path
    key: str
    """Absolute name in the file."""
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, path: Path, dataset: h5py.Dataset, name: str) -> H5Array:
        """Of a dataset of an open file."""
        return cls(path=path, key=str(dataset.name), name=name, shape=dataset.shape, dtype=dataset.dtype)

    def refuse_absent(self) -> None:
        """Raises ``LogUnreadable`` where declared rows are not stored."""
        stat = self.path.stat()
        _refuse_absent(self.path, self.key, stat.st_mtime_ns, stat.st_size)

    def read(self, rows: IntArray) -> Array:
        """(K, ...) these rows, in this order.

        Raises:
            LogUnreadable: declared rows that are not stored, or damaged ones.
        """
        if not len(rows):
            return np.empty((0, *self.shape[1:]), dtype=self.dtype)
        self.refuse_absent()
        with opened(self.path) as file:
            dataset = file[self.key]
            return gather(rows, lambda start, stop: np.asarray(dataset[start:stop]))


@lru_cache(maxsize=4096)
def _refuse_absent(path: Path, key: str, mtime_ns: int, size: int) -> None:
    """Refuse a dataset whose declared values are not all in the file."""
    with opened(path) as file:
        dataset = file[key]
        declared = math.prod(dataset.shape) * dataset.dtype.itemsize
        stored = int(dataset.id.get_storage_size())
        if stored >= declared:
            return
        absent = stored == 0
        if dataset.chunks:
            chunks = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
            absent = dataset.id.get_num_chunks() < chunks
        if absent or (declared > _SMALL and declared > _MOST * stored):
            raise LogUnreadable(
                "a dataset whose declared rows are not stored",
                got=f"{declared} bytes declared, {stored} stored",
                where=f"{path}:{key}",
            )
