"""The sketch stage: a log's sketch as a file of the cache, made once for the same bytes and code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from worldgate.core.digest import sha256
from worldgate.core.progress import Progress, silent
from worldgate.data.duplicates.sketches import Sketch, from_bytes, sketch, to_bytes
from worldgate.data.ingest import Shelf
from worldgate.data.opening import modules_of, open_log, where_from
from worldgate.engines import Call, Engine, Made, Place, Stage, run, session
from worldgate.record.workspace import Workspace

STAGE = "worldgate.data.duplicates.stage:draw"


def draw(place: Place, inputs: tuple[str, ...], config: Any) -> Made:
    """Sketch a log; the value is the path of the sketch in the cache.

    Args:
        place: where the source's bytes are.
        inputs: the source, and the log's digest.
        config: ``{"log": Where}``.
    """
    data = to_bytes(sketch(open_log(place, inputs[0], where_from(config["log"]))))
    digest = sha256(data)
    path = f"sketches/{digest[:2]}/{digest[2:]}.safetensors"
    return Made(value=path, files={path: data})


def sketch_files(
    ws: Workspace, shelf: Shelf, logs: Sequence[str], *, engine: Engine | None = None, progress: Progress = silent
) -> dict[str, str]:
    """Log -> where its sketch lies in the cache; drawn where it is not there.

    Raises:
        NotFound: a log that is not here, or no more.
    """
    calls = [
        Call(
            stage=Stage(function=STAGE, uses=modules_of(shelf.record(log).format)),
            name=shelf.record(log).name,
            inputs=(shelf.record(log).source, log),
            config={"log": shelf.where(log)},
            group=shelf.record(log).source,
        )
        for log in logs
    ]
    found = {}
    with session(ws, engine) as chosen:
        for log, result in zip(logs, run(calls, place=shelf.place, engine=chosen), strict=True):
            found[log] = str(result.value)
            progress(len(found), len(logs), shelf.record(log).name)
    return found


def read_sketch(cache: Path, file: str) -> Sketch:
    """A sketch of the cache.

    Raises:
        Tampered: another file.
    """
    return from_bytes((cache / file).read_bytes())
