"""One label at a time: the whole of what an annotator said stays one set, which the next label replaces."""

from __future__ import annotations

from dataclasses import replace

from worldgate.core.errors import DataRefused
from worldgate.core.times import SECOND
from worldgate.data.labelling import catalogue
from worldgate.data.labelling.schema import Extent, LabelRule, ValueType
from worldgate.data.labelling.sets import Label, LabelSet, Method
from worldgate.data.labelling.spans import Span
from worldgate.data.labelling.store import LabelShelf, record
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace


def add_label(
    ws: Workspace,
    log: Ref,
    schema: Ref,
    label: str,
    value: str,
    *,
    annotator: str,
    start_s: float | None = None,
    end_s: float | None = None,
    note: str = "",
    actor: str | None = None,
) -> Ref:
    """Add one label to what an annotator said of a log; only labels that were added count as looked for.

    Args:
        ws: the workspace.
        log: a recorded log.
        schema: a recorded schema.
        label: entry of its vocabulary.
        value: as text; read by the entry's type.
        annotator: who says it.
        start_s: seconds from the log's start; None: the whole log.
        end_s: seconds from the log's start, exclusive; None: an instant.
        note: more words.
        actor: name of the key that signs.

    Raises:
        DataRefused: a label, value or time that does not fit.
    """
    shelf = LabelShelf(ws)
    rule = shelf.schema(schema.digest).rule(label, where=schema.name)
    span = _span(start_s, end_s, shelf.log(log.digest).span_ns[0])
    start, end = span or (None, None)
    new = Label(label=label, value=_value(rule, value, label), start_ns=start, end_ns=end, note=note)
    before = _set_of(shelf, log, schema, annotator)
    held = before or LabelSet(
        log=log.digest, schema=schema.digest, annotator=annotator, clock=shelf.log(log.digest).streams[0].clock
    )
    kept = (
        held.labels
        if rule.extent is not Extent.LOG or rule.overlap
        else tuple(x for x in held.labels if x.label != label)
    )
    considered = tuple(dict.fromkeys((*held.considered, label)))
    return record(ws, replace(held, labels=(*kept, new), considered=considered), actor=actor, shelf=shelf)


def _set_of(shelf: LabelShelf, log: Ref, schema: Ref, annotator: str) -> LabelSet | None:
    for item in shelf.of(log.digest, schema=catalogue.name_of(schema)):
        if item.annotator == annotator and item.method is Method.HUMAN and not shelf.stale(item, schema=schema):
            return replace(item.set, schema=schema.digest)
    return None


def _span(start_s: float | None, end_s: float | None, zero_ns: int) -> Span | None:
    if start_s is None:
        if end_s is not None:
            raise DataRefused("an end without a start", got=f"{end_s:g} s")
        return None
    start = zero_ns + round(start_s * SECOND)
    return start, start + 1 if end_s is None else zero_ns + round(end_s * SECOND)


def _value(rule: LabelRule, text: str, label: str) -> bool | float | str:
    if rule.type is ValueType.FLAG:
        if text not in ("true", "false"):
            raise DataRefused(f"{label} is true or false", got=ascii(text)[:60])
        return text == "true"
    if rule.type is ValueType.NUMBER:
        try:
            return float(text)
        except ValueError as error:
            raise DataRefused(f"{label} is a number", got=ascii(text)[:60]) from error
    return text
