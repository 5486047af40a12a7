"""Opening what the store holds: verified bytes, under their original names, through the format that once read them.

A driver and its workers open alike, so that a stage sees the same log wherever it runs. What was opened is remembered
for one run only: the next verifies its bytes anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from worldgate.core import seams
from worldgate.core.config import decode
from worldgate.core.digest import short
from worldgate.core.errors import Tampered
from worldgate.core.streams import Finding, Log, LogFolder, Origin, Stream, StreamInfo
from worldgate.data.logs import open_as
from worldgate.engines import Place
from worldgate.record.stores import Objects, open_store

Facts = Mapping[str, str | float | bool]

_OPEN_AT_ONCE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLog:
    """A log read from the store, with the facts, the origin and the container's findings that were recorded."""

    log: Log
    name: str
    """What people call it, as it was recorded."""
    origin: Origin
    facts: Facts = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def streams(self) -> tuple[StreamInfo, ...]:
        return self.log.streams()

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        return self.log.read(stream, window_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which log of a source, and what the record says of it: what a stage needs to open it."""

    format: str
    position: int
    name: str
    origin: Origin
    facts: Facts = field(default_factory=dict)


def open_source(place: Place, source: str, format: str) -> LogFolder:
    """Everything that came in one tree of files, after its bytes were verified; opened once a run.

    Raises:
        NotFound: bytes are gone.
        Tampered: the stored bytes are others.
    """
    return _opened(place, source, format)


@lru_cache(maxsize=_OPEN_AT_ONCE)
def _opened(place: Place, source: str, format: str) -> LogFolder:
    store = _store(place.store, place.cache)
    for digest in sorted(set(store.tree(source).values())):
        store.local(digest)
    path = store.checkout(source, under=Path(place.cache))
    return open_as(format, path)


@lru_cache(maxsize=4)
def _store(url: str, cache: str) -> Objects:
    return open_store(url, cache=Path(cache))


def open_log(place: Place, source: str, where: Where) -> StoredLog:
    """One log of a source.

    Raises:
        Tampered: the stored bytes are others, or the source no longer holds this log.
    """
    folder = open_source(place, source, where.format)
    named = [log for log in folder.logs if where.name == log.name or where.name.endswith(f"/{log.name}")]
    if where.position < len(folder.logs) and folder.logs[where.position] in named:
        named = [folder.logs[where.position]]
    if not named:
        raise Tampered("the source no longer holds this log", got=where.name, where=short(source))
    findings = (*named[0].findings, *folder.findings)
    return StoredLog(log=named[0], name=where.name, origin=where.origin, facts=where.facts, findings=findings)


def where_from(tree: Any) -> Where:
    """A :class:`Where` that travelled as JSON."""
    return decode(Where, tree, where="a call")


def modules_of(format: str) -> tuple[str, ...]:
    """The modules that read a format: what a stage that opens it lists among those it uses."""
    return (seams.cards("logs")[format].module,)
