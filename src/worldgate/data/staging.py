"""Staging: what lies in a bucket, on this machine for as long as it takes to read it into the store.

Source: https://filesystem-spec.readthedocs.io. Notable choices: an object that changes while it is fetched is refused,
by the size and mark (ETag, version, time) that the bucket gives it before and after; keys become file names only after
they were checked to stay inside their folder.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldgate.core import seams
from worldgate.core.errors import DataRefused, NotFound, Tampered
from worldgate.record.stores import check_relative


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file or object, as a listing tells of it."""

    size: int
    mark: str
    """Differs when the content does: an ETag, or a time of change."""


def is_url(path: Path | str) -> bool:
    """Whether this names something that is not on this machine."""
    return isinstance(path, str) and "://" in path


def listing(url: str) -> dict[str, Entry]:
    """Every object under a URL, by its path below it; one object by its own name.

    Raises:
        NotFound: nothing there.
        DataRefused: a name that could leave its folder.
        RecordError: the bucket does not answer.
    """
    store = seams.load("stores", "fsspec")
    with store.reaching(url, what=""):
        fs, root = store.file_system(url)
        found: Mapping[str, Any] = fs.find(root, detail=True)
    if not found:
        raise NotFound("no such object or prefix", where=url)
    return {_relative(key, root, url): _entry(about) for key, about in sorted(found.items())}


@contextmanager
def staged(url: str, *, under: Path) -> Iterator[Path]:
    """Fetch what lies at a URL; a local file or folder of its name, gone afterwards.

    Args:
        url: of one object, or of a prefix.
        under: the workspace's cache.

    Raises:
        NotFound: nothing there.
        DataRefused: an object that changed meanwhile, or a name that could leave its folder.
        RecordError: the bucket does not answer.
    """
    folder = under / "staging" / uuid.uuid4().hex
    name = url.rstrip("/").rpartition("/")[2]
    _refuse(name, url)
    try:
        before = listing(url)
        alone = list(before) == [name] and not url.endswith("/") and _is_object(url)
        target = folder if alone else folder / name
        for key in before:
            _fetch(url if alone else f"{url.rstrip('/')}/{key}", target / key)
        if listing(url) != before:
            raise DataRefused("this changed while it was fetched", where=url, hint="wait until its writer is done")
        yield folder / name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fetch(url: str, path: Path) -> None:
    store = seams.load("stores", "fsspec")
    path.parent.mkdir(parents=True, exist_ok=True)
    with store.reaching(url, what=""):
        fs, key = store.file_system(url)
        fs.get_file(key, str(path))


def _is_object(url: str) -> bool:
    store = seams.load("stores", "fsspec")
    with store.reaching(url, what=""):
        fs, root = store.file_system(url)
        return bool(fs.isfile(root))


def _relative(key: str, root: str, url: str) -> str:
    name = key.removeprefix(root).lstrip("/") or key.rpartition("/")[2]
    _refuse(name, url)
    return name


def _refuse(name: str, url: str) -> None:
    try:
        check_relative(name)
    except Tampered as error:
        raise DataRefused("an unusable name in the bucket", got=ascii(name)[:80], where=url) from error


def _entry(about: Mapping[str, Any]) -> Entry:
    marks = [about.get(key) for key in ("ETag", "etag", "version_id", "LastModified", "mtime", "created")]
    return Entry(size=int(about.get("size") or 0), mark=" ".join(str(mark) for mark in marks if mark is not None))
