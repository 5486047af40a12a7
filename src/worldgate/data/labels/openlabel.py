"""ASAM OpenLABEL 1.0: one JSON file for what one annotator said of one log.

Source: ASAM OpenLABEL 1.0.0. What stands where: spans are ``actions``, instants ``events``, statements of the whole log
``contexts``; an element's ``name`` is our label, its ``type`` a category's value; numbers, texts and a flag's "no" are
its data. Frame intervals are closed there and spans half-open here.

Frames. OpenLABEL has no spans of time, only intervals of numbered frames, each with a ``timestamp`` of free form.
Unless pictures are asked for, a file of ours numbers the boundaries of its own labels: frame k lasts from its timestamp
to that of frame k + 1, and the timestamp is text, in whole nanoseconds. So spans come back exact. By picture,
boundaries move to the nearest one, and the export says how far. Of others' files, timestamps are read where they are
nanoseconds as text or ISO 8601 with a zone; without any, frames are the camera's pictures, counted from 0. Objects,
relations and tags are counted as left out. A file is held against our own shape of these parts, and against the JSON
Schema that a user gives.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator
from jsonschema.exceptions import SchemaError, best_match
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from worldgate.core.atomic import write_atomic
from worldgate.core.errors import ConfigError, DataRefused, UsageError
from worldgate.core.times import parse_ns
from worldgate.data.labelling.desk import Desk, Exported, Imported, Losses, Timing
from worldgate.data.labelling.schema import Extent, LabelRule, ValueType
from worldgate.data.labelling.sets import Label, LabelSet, Method, read_json_file
from worldgate.data.labelling.spans import Span
from worldgate.data.labels._openlabel_shape import SHAPE

CARD = {
    "line": "ASAM OpenLABEL 1.0: actions, events and contexts over frame intervals",
    "inputs": "JSON, one annotator and one log a file",
    "needs": "labels",
    "source": "ASAM OpenLABEL 1.0.0",
}

_VERSION = "1.0.0"
_OURS = "worldgate"
_HEAD = 1 << 12
_PARTS = {"actions": "action_data", "events": "event_data", "contexts": "context_data"}
_PART_OF = {Extent.SPAN: "actions", Extent.INSTANT: "events", Extent.LOG: "contexts"}


def detect(path: Path) -> bool:
    """Whether a file begins like OpenLABEL."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_HEAD).lstrip()
    return head[:1] == b"{" and b'"openlabel"' in head


def read_labels(path: Path, desk: Desk) -> Imported:
    """The one label set of a file.

    Raises:
        DataRefused: damaged, not OpenLABEL 1.0, of another schema or log, or a label that the schema does not have.
    """
    tree = read_json_file(path)
    _hold(tree, desk.json_schema, path)
    root: Mapping[str, Any] = tree["openlabel"]
    told = root["metadata"]
    ours = told.get(_OURS, {})
    if not isinstance(ours, dict) or ours.get("schema", desk.schema.title) != desk.schema.title:
        named = ours.get("schema") if isinstance(ours, dict) else ours
        hint = f"import it with --schema {named}, then migrate"
        raise DataRefused("a label file of another schema", got=ascii(named)[:80], where=path, hint=hint)
    if ours.get("method") == Method.ADJUDICATED:
        return Imported(sets=(), left_out={"adjudications, which are decided in the workspace they belong to": 1})
    log = desk.log(ours.get("log"), told.get("tagged_file"), told.get("name"), where=path)
    frames = _Frames(root.get("frames", {}), log, path)
    labels = [label for part in _PARTS for label in _elements(root.get(part, {}), part, frames, desk, path)]
    left = Counter({part: len(root[part]) for part in ("objects", "relations", "tags") if root.get(part)})
    considered = ours.get("considered", [])
    item = LabelSet(
        log=log.digest,
        schema=desk.schema.digest(),
        annotator=desk.person(told.get("annotator"), prefix="openlabel"),
        method=Method.AUTOMATIC if ours.get("method") == Method.AUTOMATIC else Method.HUMAN,
        clock=str(ours.get("clock", log.clock)),
        alignment=str(ours.get("alignment", "")),
        considered=tuple(map(str, considered)) if isinstance(considered, list) else (),
        labels=tuple(labels),
        source={"format": "openlabel", "file": path.name},
    )
    return Imported(sets=(item,), left_out=dict(left))


def _hold(tree: Any, schema: Mapping[str, Any] | None, path: Path) -> None:
    """Hold a file against our shape and the user's schema.

    Raises:
        DataRefused: it does not fit; names the place.
        ConfigError: the user's schema is none, or refers to another file.
    """
    _refuse(Draft7Validator(SHAPE), tree, path, "not OpenLABEL 1.0 as it is read here")
    if schema is None:
        return
    kind = validator_for(schema, default=Draft7Validator)
    try:
        kind.check_schema(schema)
        _refuse(kind(schema, registry=Registry()), tree, path, "not valid by the given JSON Schema")
    except SchemaError as error:
        raise ConfigError("not a JSON Schema", got=error.message[:120], where="--json-schema") from error
    except Unresolvable as error:
        raise ConfigError(
            "a JSON Schema that needs another file", got=str(error)[:120], where="--json-schema"
        ) from error


def _refuse(validator: Any, tree: Any, path: Path, what: str) -> None:
    try:
        worst = best_match(validator.iter_errors(tree))
    except RecursionError as error:
        raise DataRefused(what, got="too deep", where=path) from error
    if worst is not None:
        place = "/".join(str(part) for part in worst.absolute_path) or "its root"
        raise DataRefused(what, got=ascii(worst.message)[:120], where=f"{path}:{place}")


class _Frames:
    """When each numbered frame begins and ends."""

    def __init__(self, frames: Mapping[str, Any], log: Timing, where: Path) -> None:
        self._log, self._where = log, where
        stamps: dict[int, int] = {}
        for number, frame in frames.items():
            stamp = frame.get("frame_properties", {}).get("timestamp")
            if stamp is not None:
                stamps[int(number)] = _stamp(stamp, f"{where}:frame {number}")
        self._place_of = {number: place for place, number in enumerate(sorted(stamps))}
        self._starts = [stamps[number] for number in self._place_of]
        if any(b <= a for a, b in pairwise(self._starts)):
            raise DataRefused("timestamps of frames that do not rise", where=where)

    def span(self, first: int, last: int) -> Span:
        """From the start of one frame to the end of another."""
        if last < first:
            raise DataRefused("a frame interval ends after it starts", got=f"{first} to {last}", where=self._where)
        if not self._starts:
            return self._log.of_frames(first, last, where=self._where)
        return self._starts[self._place(first)], self._end(last)

    def _place(self, number: int) -> int:
        if number not in self._place_of:
            raise DataRefused("an interval of a frame without a timestamp", got=number, where=self._where)
        return self._place_of[number]

    def _end(self, number: int) -> int:
        after = self._place(number) + 1
        if after < len(self._starts):
            return self._starts[after]
        if len(self._starts) < 2:
            return max(self._log.end_ns, self._starts[-1] + 1)
        steps = sorted(b - a for a, b in pairwise(self._starts))
        return self._starts[-1] + steps[len(steps) // 2]


def _stamp(value: Any, where: str) -> int:
    hint = "nanoseconds as text, or ISO 8601 with a zone"
    if not isinstance(value, str) or len(value) > 40:
        raise DataRefused("a timestamp of unknown meaning", got=ascii(value)[:40], where=where, hint=hint)
    try:
        return parse_ns(value)
    except UsageError as error:
        raise DataRefused("a timestamp of unknown meaning", got=ascii(value), where=where, hint=hint) from error


def _elements(elements: Mapping[str, Any], part: str, frames: _Frames, desk: Desk, path: Path) -> Iterator[Label]:
    for uid, element in elements.items():
        where = f"{path}:{part}/{uid}"
        data = element.get(_PARTS[part], {})
        name, value = _meaning(element, data, desk, where)
        note = _datum(data, "text", "note")
        rule = desk.schema.rule(name, where=where)
        common = {"label": name, "value": value, "note": note if isinstance(note, str) else ""}
        if rule.extent is Extent.LOG:
            yield Label(**common)
            continue
        intervals = element.get("frame_intervals", [])
        if not intervals:
            raise DataRefused(f"{name} needs a frame interval", where=where)
        for interval in intervals:
            start, end = frames.span(int(interval["frame_start"]), int(interval["frame_end"]))
            yield Label(**common, start_ns=start, end_ns=start + 1 if rule.extent is Extent.INSTANT else end)


def _meaning(element: Mapping[str, Any], data: Mapping[str, Any], desk: Desk, where: str) -> tuple[str, Any]:
    name, kind = element["name"], element["type"]
    rule = desk.schema.labels.get(name)
    if rule is not None and rule.type in (ValueType.NUMBER, ValueType.TEXT):
        return name, _datum(data, "num" if rule.type is ValueType.NUMBER else "text", "value")
    if rule is not None and rule.type is ValueType.FLAG:
        said = _datum(data, "boolean", "value")
        return name, True if said is None else said
    return desk.entry(name, kind, where=where)


def _datum(data: Mapping[str, Any], kind: str, name: str) -> Any:
    """The value of a named datum; None where there is none."""
    return next((item["val"] for item in data.get(kind, []) if item.get("name") == name), None)


def write_labels(path: Path, sets: Sequence[LabelSet], desk: Desk) -> Exported:
    """Write one file; of several sets, a folder with one file each.

    Raises:
        AlreadyExists: ``path`` exists.
        DataRefused: pictures are asked for and there is no camera, or the user's schema refuses what we write.
    """
    losses = Losses(desk)
    for item in sets:
        log = desk.of_digest(item.log)
        tree = {"openlabel": _root(item, log, desk, losses)}
        name = f"{Path(log.name).stem}.{item.annotator}.{item.method}.json"
        target = path if len(sets) == 1 else path / name
        _hold(tree, desk.json_schema, target)
        write_atomic(target, (json.dumps(tree, ensure_ascii=False, indent=1) + "\n").encode())
    return losses.exported(sets)


def _root(item: LabelSet, log: Timing, desk: Desk, losses: Losses) -> dict[str, Any]:
    ours: dict[str, Any] = {"log": item.log, "schema": desk.schema.title, "clock": item.clock}
    ours |= {"method": str(item.method), "considered": list(item.considered)}
    if item.alignment:
        ours["alignment"] = item.alignment
    metadata = {
        "schema_version": _VERSION,
        "name": log.name,
        "annotator": item.annotator,
        "comment": desk.schema.about,
        "tagged_file": log.name,
        _OURS: ours,
    }
    edges = [int(x) for x in log.edges(where=log.name)] if desk.by_picture else _boundaries(item)
    root: dict[str, Any] = {
        "metadata": metadata,
        "ontologies": {"0": f"urn:worldgate:label-schema:{desk.schema.title}"},
    }
    if edges:
        root["frames"] = {str(k): {"frame_properties": {"timestamp": str(at)}} for k, at in enumerate(edges)}
        root["frame_intervals"] = [{"frame_start": 0, "frame_end": len(edges) - 1}]
    for number, label in enumerate(item.labels):
        rule = desk.schema.rule(label.label)
        part = _PART_OF[rule.extent]
        element = _element(label, rule, _PARTS[part])
        if rule.extent is not Extent.LOG:
            found = _interval(label, rule, log, edges, losses, by_picture=desk.by_picture)
            if found is None:
                continue
            element["frame_intervals"] = [{"frame_start": found[0], "frame_end": found[1]}]
        root.setdefault(part, {})[str(number)] = element
    return root


def _boundaries(item: LabelSet) -> list[int]:
    return sorted({edge for label in item.labels if label.start_ns is not None for edge in label.span})


def _interval(
    label: Label, rule: LabelRule, log: Timing, edges: list[int], losses: Losses, *, by_picture: bool
) -> tuple[int, int] | None:
    """First and last frame; None where a label is shorter than a picture."""
    start, end = label.span
    if not by_picture:
        return bisect_left(edges, start), bisect_left(edges, end) - 1
    shown = losses.pictures(label, rule, log)
    return None if shown is None else (shown.first, shown.last)


def _element(label: Label, rule: LabelRule, data: str) -> dict[str, Any]:
    kind = label.value if rule.type is ValueType.CATEGORY else label.label
    held: dict[str, list[dict[str, Any]]] = {}
    if rule.type is ValueType.NUMBER:
        held["num"] = [{"name": "value", "val": label.value}]
    elif rule.type is ValueType.TEXT:
        held["text"] = [{"name": "value", "val": label.value}]
    elif rule.type is ValueType.FLAG:
        held["boolean"] = [{"name": "value", "val": label.value}]
    if label.note:
        held.setdefault("text", []).append({"name": "note", "val": label.note})
    element: dict[str, Any] = {"name": label.label, "type": kind, "ontology_uid": "0"}
    return {**element, data: held} if held else element
