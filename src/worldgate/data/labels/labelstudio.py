"""Label Studio: tasks with annotations and predictions, as its JSON export writes and its import reads them.

Source: https://labelstud.io/guide/task_format and the regions of the editor, read in its repository. What stands where:

* ``timeserieslabels`` (``start``, ``end``, ``instant``): seconds from the log's start, or ISO 8601 text with a zone.
* ``timelinelabels`` (``ranges``): pictures of the camera, counted from 1, both ends included.
* ``choices``, ``number``, ``rating``, ``textarea``: of the whole task, or of the region whose ``id`` they share.
* ``annotations`` are people's (``completed_by``), cancelled ones are left out; ``predictions`` are a model's.

Round trips. Seconds are written with nine decimals, which a JSON number holds exactly for logs up to 11 days: what is
written and read again is the same to the nanosecond. Pictures are not: a boundary moves to the nearest picture, and the
export says how many did and how far. Label Studio keeps ``data`` and ``meta`` of a task but not what we add to an
annotation, so after a round through its server the clock is the log's first one and every label counts as looked for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from worldgate.core.atomic import write_atomic
from worldgate.core.digest import digest_json
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.times import SECOND, parse_ns
from worldgate.data.labelling.desk import Desk, Exported, Imported, Losses, Timing
from worldgate.data.labelling.schema import Extent, LabelRule, ValueType
from worldgate.data.labelling.sets import Label, LabelSet, Method, read_json_file
from worldgate.data.labelling.spans import Span

CARD = {
    "line": "Label Studio tasks: segments of timelines and time series, choices, numbers, texts",
    "inputs": "JSON, a list of tasks or one task",
    "source": "https://labelstud.io/guide/task_format",
}

_LABELS = ("timeserieslabels", "timelinelabels", "labels", "choices")
_OURS = "worldgate"
_HEAD = 1 << 16


def detect(path: Path) -> bool:
    """Whether a file begins like a list of tasks."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_HEAD).lstrip()
    return head[:1] in (b"[", b"{") and any(key in head for key in (b'"annotations"', b'"predictions"'))


def read_labels(path: Path, desk: Desk) -> Imported:
    """One label set for each annotation and prediction.

    Raises:
        DataRefused: damaged, of another schema, of a log that is not here, or a label that the schema does not have.
    """
    tree = read_json_file(path)
    tasks = tree if isinstance(tree, list) else [tree]
    left_out: Counter[str] = Counter()
    sets: list[LabelSet] = []
    for number, task in enumerate(tasks):
        where = f"{path}:task {number}"
        sets += _Task(_mapping(task, where), desk, where, left_out).sets(path.name)
    return Imported(sets=tuple(sets), left_out=dict(left_out))


def _mapping(value: Any, where: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DataRefused("not a Label Studio object", got=ascii(value)[:60], where=where)
    return value


def _items(value: Any, where: object) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise DataRefused("not a Label Studio list", got=ascii(value)[:60], where=where)
    return value


class _Task:
    """One task on its way in."""

    def __init__(self, task: Mapping[str, Any], desk: Desk, where: str, left_out: Counter[str]) -> None:
        self.task, self.desk, self.where, self.left_out = task, desk, where, left_out
        told = _mapping(task.get("meta") or {}, where).get(_OURS)
        self.ours = _mapping(told or {}, where)
        named = self.ours.get("schema", desk.schema.title)
        if named != desk.schema.title:
            hint = f"import it with --schema {named}, then migrate"
            raise DataRefused("a label file of another schema", got=ascii(named)[:80], where=where, hint=hint)

    def sets(self, file: str) -> Iterator[LabelSet]:
        data = _mapping(self.task.get("data") or {}, self.where)
        if not _items(self.task.get("annotations"), self.where) and not _items(
            self.task.get("predictions"), self.where
        ):
            self.left_out["tasks without labels"] += 1
            return
        log = self.desk.log(self.ours.get("log"), *data.values(), where=self.where)
        for place, raw in enumerate(_items(self.task.get("annotations"), self.where)):
            work = _mapping(raw, f"{self.where}:annotation {place}")
            if work.get("was_cancelled"):
                self.left_out["cancelled annotations"] += 1
                continue
            by = work.get("completed_by")
            ids = (by.get("email"), by.get("id")) if isinstance(by, dict) else (by,)
            yield from self._set(work, self.desk.person(*ids, prefix="labelstudio"), Method.HUMAN, log, file)
        for place, raw in enumerate(_items(self.task.get("predictions"), self.where)):
            work = _mapping(raw, f"{self.where}:prediction {place}")
            name = self.desk.person(work.get("model_version") or "model", prefix="labelstudio")
            yield from self._set(work, name, Method.AUTOMATIC, log, file)

    def _set(self, work: Mapping[str, Any], who: str, method: Method, log: Timing, file: str) -> Iterator[LabelSet]:
        ours = _mapping(work.get(_OURS) or {}, self.where)
        if ours.get("method") == Method.ADJUDICATED:
            self.left_out["adjudications, which are decided in the workspace they belong to"] += 1
            return
        labels = [label for result in self._regions(work) for label in self._labels(*result, log)]
        considered = [str(name) for name in _items(ours.get("considered"), self.where)]
        yield LabelSet(
            log=log.digest,
            schema=self.desk.schema.digest(),
            annotator=who,
            method=method,
            clock=str(ours.get("clock", log.clock)),
            alignment=str(ours.get("alignment", "")),
            considered=tuple(considered) or tuple(self.desk.schema.labels),
            labels=tuple(labels),
            source={"format": "labelstudio", "file": file},
        )

    def _regions(self, work: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """Results with their values; a result that shares a region's id takes the region's times."""
        results = [_mapping(raw, self.where) for raw in _items(work.get("result"), self.where)]
        times: dict[object, Mapping[str, Any]] = {}
        for result in results:
            value = _mapping(result.get("value") or {}, self.where)
            if "ranges" in value or "start" in value:
                times.setdefault(str(result.get("id")), {k: value[k] for k in ("start", "end", "ranges") if k in value})
        for result in results:
            value = _mapping(result.get("value") or {}, self.where)
            yield result, {**times.get(str(result.get("id")), {}), **value}

    def _labels(self, result: Mapping[str, Any], value: Mapping[str, Any], log: Timing) -> Iterator[Label]:
        kind, control = str(result.get("type", "")), result.get("from_name")
        note = _note(result)
        if kind in _LABELS:
            said = value.get(kind, value.get("labels", value.get("choices")))
            for word in _items(said, self.where):
                name, meant = self.desk.entry(control, word, where=self.where)
                yield from self._placed(name, meant, value, log, note)
        elif kind in ("number", "rating", "textarea"):
            name = str(control)
            self.desk.schema.rule(name, where=self.where)
            key = "text" if kind == "textarea" else kind
            said = value.get(key)
            for entered in said if isinstance(said, list) else [said]:
                yield from self._placed(name, entered, value, log, note)
        else:
            self.left_out[f"regions of type {ascii(kind)[:40]}"] += 1

    def _placed(self, name: str, meant: Any, value: Mapping[str, Any], log: Timing, note: str) -> Iterator[Label]:
        rule = self.desk.schema.rule(name, where=self.where)
        if rule.extent is Extent.LOG:
            yield Label(label=name, value=meant, note=note)
            return
        spans = list(self._spans(value, log))
        if not spans:
            raise DataRefused(f"{name} needs a start and an end", got="none", where=self.where)
        for start, end in spans:
            until = start + 1 if rule.extent is Extent.INSTANT else end
            yield Label(label=name, value=meant, start_ns=start, end_ns=until, note=note)

    def _spans(self, value: Mapping[str, Any], log: Timing) -> Iterator[Span]:
        for raw in _items(value.get("ranges"), self.where):
            pictures = _mapping(raw, self.where)
            first, last = (_whole(pictures.get(key), self.where) for key in ("start", "end"))
            yield log.of_frames(first - 1, last - 1, where=self.where)
        if "start" in value and "end" in value:
            yield _moment(value["start"], log, self.where), _moment(value["end"], log, self.where)


def _whole(value: Any, where: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1 or abs(value) > 2**53:
        raise DataRefused("pictures are counted in whole numbers", got=ascii(value)[:40], where=where)
    return int(value)


def _moment(value: Any, log: Timing, where: object) -> int:
    """Seconds from the log's start, or ISO 8601."""
    if isinstance(value, str) and not value.replace(".", "", 1).isdecimal():
        try:
            return parse_ns(value)
        except UsageError as error:
            raise DataRefused("not a time", got=error.got, where=where, hint=error.hint) from error
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise DataRefused("not a time", got=ascii(value)[:40], where=where, hint="seconds from the log's start")
    try:
        offset = (Decimal(str(value)) * SECOND).to_integral_value(ROUND_HALF_EVEN)
    except InvalidOperation as error:
        raise DataRefused("not a time", got=ascii(value)[:40], where=where) from error
    if not abs(offset) < 1 << 62:
        raise DataRefused("not a time", got=ascii(value)[:40], where=where, hint="seconds from the log's start")
    return log.start_ns + int(offset)


def _note(result: Mapping[str, Any]) -> str:
    """The words that somebody added to a region."""
    meta = result.get("meta")
    text = meta.get("text", "") if isinstance(meta, dict) else ""
    return "\n".join(str(line) for line in text) if isinstance(text, list) else str(text)


def write_labels(path: Path, sets: Sequence[LabelSet], desk: Desk) -> Exported:
    """One task a log: people's sets as annotations, labellers' as predictions.

    Raises:
        AlreadyExists: ``path`` exists.
        DataRefused: pictures are asked for, and a log has no camera to count.
    """
    losses = Losses(desk)
    tasks = []
    for number, digest in enumerate(dict.fromkeys(item.log for item in sets), start=1):
        log = desk.of_digest(digest)
        work = [_work(item, log, desk, losses) for item in sets if item.log == digest]
        tasks.append(
            {
                "id": number,
                "data": {"log": log.name},
                "meta": {_OURS: {"log": digest, "schema": desk.schema.title}},
                "annotations": [tree for tree in work if "completed_by" in tree],
                "predictions": [tree for tree in work if "model_version" in tree],
            }
        )
    write_atomic(path, (json.dumps(tasks, ensure_ascii=False, indent=1) + "\n").encode())
    return losses.exported(sets)


def _work(item: LabelSet, log: Timing, desk: Desk, losses: Losses) -> dict[str, Any]:
    results = [r for n, label in enumerate(item.labels) for r in _results(label, n, item, log, desk, losses)]
    ours = {"considered": list(item.considered), "clock": item.clock, "method": str(item.method)}
    if item.alignment:
        ours["alignment"] = item.alignment
    if item.method is Method.AUTOMATIC:
        return {"model_version": item.annotator, "result": results, _OURS: ours}
    ident = desk.ident(item.annotator)
    by: int | str = int(ident) if ident.isdecimal() else ident
    truth = item.method is Method.ADJUDICATED
    return {"completed_by": by, "was_cancelled": False, "ground_truth": truth, "result": results, _OURS: ours}


def _results(
    label: Label, number: int, item: LabelSet, log: Timing, desk: Desk, losses: Losses
) -> Iterable[dict[str, Any]]:
    rule = desk.schema.rule(label.label)
    times = {} if rule.extent is Extent.LOG else _times(label, rule, log, desk, losses)
    if times is None:
        return []
    kind, value = _value(label, rule, by_picture=desk.by_picture)
    result: dict[str, Any] = {
        "id": digest_json([item.annotator, item.log, number])[:10],
        "from_name": label.label,
        "to_name": "video" if desk.by_picture else "telemetry",
        "type": kind,
        "value": {**times, **value},
    }
    if label.note:
        result["meta"] = {"text": [label.note]}
    return [result]


def _times(label: Label, rule: LabelRule, log: Timing, desk: Desk, losses: Losses) -> dict[str, Any] | None:
    """Where a result stands; None where it is shorter than a picture."""
    start, end = label.span
    if desk.by_picture:
        shown = losses.pictures(label, rule, log)
        return None if shown is None else {"ranges": [{"start": shown.first + 1, "end": shown.last + 1}]}
    instant = rule.extent is Extent.INSTANT
    until = start if instant else end
    for at in {start, until}:
        if _moment(_seconds(at, log), log, "export") != at:
            losses.moved(1)
    return {"start": _seconds(start, log), "end": _seconds(until, log), "instant": instant}


def _seconds(at_ns: int, log: Timing) -> float:
    return float(Decimal(at_ns - log.start_ns) / SECOND)


def _value(label: Label, rule: LabelRule, *, by_picture: bool) -> tuple[str, dict[str, Any]]:
    """Type of a result, and what it says."""
    if rule.type is ValueType.NUMBER:
        return "number", {"number": label.value}
    if rule.type is ValueType.TEXT:
        return "textarea", {"text": [label.value]}
    word = label.value if isinstance(label.value, str) else label.label if label.value else f"not {label.label}"
    if rule.extent is Extent.LOG:
        return "choices", {"choices": [word]}
    kind = "timelinelabels" if by_picture else "timeserieslabels"
    return kind, {kind: [word]}
