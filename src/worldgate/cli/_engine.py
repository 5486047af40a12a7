"""The options of commands that run stages: where, and how many at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

if TYPE_CHECKING:
    from worldgate.engines import Engine
    from worldgate.record.workspace import Workspace

EngineOption: TypeAlias = Annotated[
    str | None,
    Parameter(
        name="--engine",
        help="Where work runs, of `worldgate list engines`; else $WORLDGATE_ENGINE, else worldgate.toml, else here.",
    ),
]
WorkersOption: TypeAlias = Annotated[
    int | None, Parameter(name="--workers", help="How many workers; else $WORLDGATE_WORKERS, else as many as cores.")
]


@contextmanager
def chosen_engine(ws: Workspace, name: str | None, workers: int | None) -> Iterator[Engine]:
    """The engine that a user chose, let go at the end."""
    from worldgate.engines import choose, start

    engine = start(choose(ws, name=name, workers=workers))
    try:
        yield engine
    finally:
        engine.close()
