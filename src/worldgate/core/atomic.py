"""Files that are either whole or absent: written under a temporary name, synced, then renamed.

A folder gets its ``done`` mark last; readers ignore folders without it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worldgate.core.errors import AlreadyExists

DONE = "done"


def sync_dir(path: Path) -> None:
    """Make a rename inside ``path`` survive power loss."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def atomic_path(path: Path, *, overwrite: bool = False, mode: int = 0o644) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success sync it and rename it there, on failure remove it.

    Raises:
        AlreadyExists: ``path`` exists and ``overwrite`` is false.
    """
    if path.exists() and not overwrite:
        raise AlreadyExists("this file exists", where=path, hint="choose another name; nothing is overwritten")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        yield partial
        fd = os.open(partial, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(partial, path)
        sync_dir(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes, *, overwrite: bool = False, mode: int = 0o644) -> None:
    """Write bytes so that ``path`` is either whole or as before."""
    with atomic_path(path, overwrite=overwrite, mode=mode) as partial:
        partial.write_bytes(data)


@contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; on success mark it ``done``, sync and rename it to ``path``; on failure remove it.

    Raises:
        AlreadyExists: ``path`` exists.
    """
    if path.exists():
        raise AlreadyExists("this folder exists", where=path, hint="choose another name; nothing is overwritten")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.partial"
    partial.mkdir()
    try:
        yield partial
        for file in sorted(p for p in partial.rglob("*") if p.is_file()):
            fd = os.open(file, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        write_atomic(partial / DONE, b"")
        os.replace(partial, path)
        sync_dir(path.parent)
    finally:
        if partial.exists():
            shutil.rmtree(partial)


def is_done(path: Path) -> bool:
    """Whether a folder was finished."""
    return (path / DONE).is_file()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock among the processes of this machine, waiting for it; one that dies lets go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
