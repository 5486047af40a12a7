"""Label files of other tools in and out of a workspace."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from worldgate.core.digest import digest_file
from worldgate.core.errors import ConfigError, DataRefused, NotFound
from worldgate.core.streams import IMAGE_LIKE, Kind
from worldgate.data import labels
from worldgate.data.ingest import IngestedLog, Shelf
from worldgate.data.labelling.desk import Desk, Exported, Timing
from worldgate.data.labelling.schema import LabelSchema
from worldgate.data.labelling.sets import LabelSet
from worldgate.data.labelling.store import LabelShelf, RecordedLabels, record_many
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What an import did."""

    format: str
    sets: tuple[tuple[LabelSet, Ref], ...]
    left_out: Mapping[str, int]
    """What is no label of ours, in words -> how often."""


def timing(shelf: Shelf, record: IngestedLog, camera: str = "") -> Timing:
    """A log's times as label tools count them.

    Args:
        shelf: the workspace's logs.
        record: the log.
        camera: the stream whose pictures are counted; empty: none, and the log is not opened.

    Raises:
        NotFound: no such camera.
    """
    start, end = record.span_ns
    if not camera:
        measured = [s for s in record.streams if s.kind not in {Kind.EVENT, Kind.TEXT}] or list(record.streams)
        clock = measured[0].clock
        return Timing(digest=record.digest, name=record.name, start_ns=start, end_ns=end, clock=clock)
    info = next((s for s in record.streams if s.name == camera and s.kind in IMAGE_LIKE), None)
    if info is None:
        have = ", ".join(s.name for s in record.streams if s.kind in IMAGE_LIKE) or "none"
        raise NotFound("no such camera", got=camera, where=record.name, hint=f"one of {have}")
    frames = np.unique(shelf.open(record.digest).read(camera).times_ns)
    return Timing(
        digest=record.digest,
        name=record.name,
        start_ns=start,
        end_ns=end,
        clock=info.clock,
        camera=camera,
        frames_ns=frames,
    )


def read_json_schema(path: Path) -> dict[str, Any]:
    """A JSON Schema that the user gives.

    Raises:
        ConfigError: not JSON, or not an object.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError("not a JSON Schema", got=str(error)[:120], where=path) from error
    if not isinstance(tree, dict):
        raise ConfigError("not a JSON Schema", got=type(tree).__name__, where=path)
    return tree


def take_in(
    ws: Workspace,
    path: Path,
    schema: Ref,
    *,
    format: str = "",
    log: Ref | None = None,
    camera: str = "",
    people: Mapping[str, str] | None = None,
    json_schema: Mapping[str, Any] | None = None,
    actor: str | None = None,
) -> Taken:
    """Read a label file and record every set in it: all or none.

    Args:
        ws: the workspace.
        path: the file.
        schema: the label schema that it is read against.
        format: name of the format; empty: found out.
        log: the one log that the file speaks of; None: it names them.
        camera: the stream whose pictures the file counts.
        people: the tool's id of a person -> our name.
        json_schema: one that the file must fulfil, where the format has such.
        actor: name of the key that signs.

    Raises:
        DataRefused: damaged, of another schema or log, a label or value that the schema does not have.
        NotFound: no such format or camera.
    """
    if not path.is_file():
        raise NotFound("no such label file", where=path)
    shelf = Shelf(ws)
    held = LabelShelf(ws, shelf.records)
    records = [shelf.record(log.digest)] if log is not None else list(shelf.records.values())
    if not records:
        raise DataRefused("no log is here that labels could speak of", where=ws.root, hint="worldgate ingest PATH")
    desk = Desk(
        schema=held.schema(schema.digest),
        logs=[timing(shelf, record, camera) for record in records],
        people=people or {},
        only_log=log is not None,
        json_schema=json_schema,
    )
    name = format or labels.detect(path)
    found = labels.load_format(name).read_labels(path, desk)
    digest = digest_file(path)
    items = [replace(item, source={**item.source, "file_digest": digest}, schema=schema.digest) for item in found.sets]
    _refuse_twice(items, path)
    refs = record_many(ws, items, actor=actor, shelf=held)
    return Taken(format=name, sets=tuple(zip(items, refs, strict=True)), left_out=found.left_out)


def _refuse_twice(items: Sequence[LabelSet], path: Path) -> None:
    """One annotator says one thing of a log: of two sets in a file nobody knows which counts."""
    seen = set()
    for item in items:
        slot = (item.log, item.annotator, item.method)
        if slot in seen:
            raise DataRefused("one annotator labelled a log twice in this file", got=item.annotator, where=path)
        seen.add(slot)


def give_out(
    ws: Workspace,
    path: Path,
    items: Sequence[RecordedLabels],
    *,
    format: str,
    camera: str = "",
    by_picture: bool = False,
    people: Mapping[str, str] | None = None,
    json_schema: Mapping[str, Any] | None = None,
) -> Exported:
    """Write recorded sets in a tool's format.

    Args:
        ws: the workspace.
        path: the file to make.
        items: sets under one schema.
        format: name of the format.
        camera: the stream whose pictures are counted.
        by_picture: write spans as pictures of it, which moves boundaries to the nearest.
        people: the tool's id of a person -> our name.
        json_schema: one that the file must fulfil, where the format has such.

    Raises:
        DataRefused: nothing to write, sets of several schemas, or pictures without a camera.
        AlreadyExists: ``path`` exists.
    """
    if not items:
        raise DataRefused("no label set to write", where=ws.root, hint="worldgate data label show")
    if len({item.schema.digest for item in items}) > 1:
        named = ", ".join(sorted({item.schema.name for item in items}))
        raise DataRefused("sets of several schemas", got=named, hint="--schema NAME takes one")
    shelf = Shelf(ws)
    records = [shelf.record(digest) for digest in dict.fromkeys(item.log.digest for item in items)]
    schema: LabelSchema = LabelShelf(ws, shelf.records).schema(items[0].schema.digest)
    desk = Desk(
        schema=schema,
        logs=[timing(shelf, record, camera) for record in records],
        people=people or {},
        by_picture=by_picture,
        json_schema=json_schema,
    )
    return labels.load_format(format).write_labels(path, [item.set for item in items], desk)
