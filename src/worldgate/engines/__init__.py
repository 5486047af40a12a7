"""Where work runs, a file for each kind of place: this process, local processes, a Ray cluster.

A stage is a function of the package, named by its import path. It is called with a :class:`Place` (where bytes are read
from by their digests), the digests of its inputs and its configuration, and with nothing else, so the key of a call
covers everything that its result depends on::

    key = digest of (function, code of its modules, inputs, configuration)

:func:`run` looks a key up among the kept results and runs only what is not there. A result is on disk before anyone
is told of it, so a process that is killed repeats nothing that was reported. Only the process that calls :func:`run`
writes the ledger.

An engine module holds a literal ``CARD`` and ``start(config: EngineConfig) -> Engine``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from worldgate.core import seams
from worldgate.core.config import decode
from worldgate.core.errors import ConfigError
from worldgate.engines._code import code_digest
from worldgate.engines._results import Results
from worldgate.engines._run import Result, run
from worldgate.engines._stage import Bundle, Call, Made, Place, Reply, Stage

if TYPE_CHECKING:
    from worldgate.record.workspace import Workspace  # a worker imports this package and has no use for a ledger

__all__ = [
    "Call",
    "Engine",
    "EngineConfig",
    "Made",
    "Place",
    "Result",
    "Results",
    "Stage",
    "choose",
    "code_digest",
    "place_of",
    "run",
    "session",
    "start",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Where stages run; the table ``[engine]`` of ``worldgate.toml``."""

    name: str = "here"
    """A file of this seam."""
    workers: int = 0
    """How many bundles run at once; 0: as many as there are cores."""
    address: str = ""
    """Of a running Ray cluster; empty: one is started on this machine."""

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ConfigError("a number of workers below zero", got=self.workers, where="engine.workers")


class Engine(Protocol):
    """Runs bundles of calls, wherever that is."""

    def run(self, bundles: Sequence[Bundle]) -> Iterator[tuple[int, tuple[Reply, ...]]]:
        """Each bundle's place in ``bundles`` and its replies, as they finish.

        A worker that dies costs the bundle it was at, which is given to another; one that kills every worker gets
        replies that say so. Closing the iterator stops what runs.
        """
        ...

    def close(self) -> None:
        """Let the workers go."""
        ...


def choose(ws: Workspace, *, name: str | None = None, workers: int | None = None) -> EngineConfig:
    """The engine of a workspace: ``worldgate.toml`` < ``$WORLDGATE_ENGINE``, ``$WORLDGATE_WORKERS`` < the arguments.

    Raises:
        ConfigError: an unknown key or a value of the wrong type, with where it stands.
    """
    config = decode(EngineConfig, ws.settings.get("engine", {}), where=f"{ws.file}:engine")
    if held := os.environ.get("WORLDGATE_ENGINE"):
        config = replace(config, name=held)
    if count := os.environ.get("WORLDGATE_WORKERS"):
        if not count.isdigit():
            raise ConfigError("not a number of workers", got=count, where="$WORLDGATE_WORKERS")
        config = replace(config, workers=int(count))
    return replace(config, name=name or config.name, workers=config.workers if workers is None else workers)


def start(config: EngineConfig) -> Engine:
    """Start an engine; its workers start with the first bundle.

    Raises:
        NotFound: no such engine; the hint is the nearest name.
        MissingExtra: its optional dependency is not installed.
    """
    engine: Engine = seams.load("engines", config.name).start(config)
    return engine


@contextmanager
def session(ws: Workspace, engine: Engine | None = None) -> Iterator[Engine]:
    """The engine that was handed over; or, where none was, the workspace's own, for as long as the block lasts."""
    if engine is not None:
        yield engine
        return
    own = start(choose(ws))
    try:
        yield own
    finally:
        own.close()


def place_of(ws: Workspace) -> Place:
    """Where a workspace's stages read bytes; two places of one workspace share nothing that was opened."""
    return Place(store=ws.store.url, cache=str(ws.cache), run=os.urandom(8).hex())
