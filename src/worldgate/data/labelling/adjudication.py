"""Adjudication: one person or rule decides between annotators, label by label, and says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from worldgate.core.errors import DataRefused
from worldgate.data.labelling import catalogue
from worldgate.data.labelling.sets import Label, LabelSet, Method
from worldgate.data.labelling.store import LabelShelf, RecordedLabels, adjudicate
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace


def between(shelf: LabelShelf, log: str, schema: Ref) -> list[RecordedLabels]:
    """The sets of people that an adjudication of a log would decide between."""
    held = shelf.of(log, schema=catalogue.name_of(schema))
    return [item for item in held if item.method is Method.HUMAN and not shelf.stale(item, schema=schema)]


def taken(items: Sequence[RecordedLabels], take: Mapping[str, str], *, by: str, schema: Ref) -> LabelSet:
    """A set that takes each label from one of several annotators.

    Args:
        items: sets of one log, on one clock.
        take: label -> annotator; ``*`` stands for every label that is not named.
        by: who decides.
        schema: the schema that the result names.

    Raises:
        DataRefused: fewer than two sets, several clocks, or an annotator who did not look for that label.
    """
    if len(items) < 2:
        raise DataRefused("fewer than two people labelled this", got=len(items), hint="worldgate data label show LOG")
    if len({(item.clock, item.alignment) for item in items}) > 1:
        clocks = ", ".join(sorted({item.clock for item in items}))
        raise DataRefused("these sets are on different clocks", got=clocks, where=items[0].log.name)
    looked_for = list(dict.fromkeys(name for item in items for name in item.considered))
    strange = set(take) - {*looked_for, "*"}
    if strange:
        raise DataRefused("nobody looked for this", got=", ".join(sorted(strange)), hint=f"one of {looked_for}")
    people = {item.annotator: item for item in items}
    considered: list[str] = []
    labels: list[Label] = []
    for name in looked_for:
        who = take.get(name, take.get("*"))
        if who is None:
            continue
        if who not in people or name not in people[who].considered:
            raise DataRefused(f"{who} did not look for {name}", where=items[0].log.name, hint=f"one of {list(people)}")
        considered.append(name)
        labels += people[who].set.of(name)
    return LabelSet(
        log=items[0].log.digest,
        schema=schema.digest,
        annotator=by,
        method=Method.ADJUDICATED,
        clock=items[0].clock,
        alignment=items[0].alignment,
        considered=tuple(considered),
        labels=tuple(labels),
        source={f"{name} taken from": who for name, who in take.items()},
    )


def decide(
    ws: Workspace, log: Ref, schema: Ref, take: Mapping[str, str], *, by: str, reason: str, actor: str | None = None
) -> Ref:
    """Decide between every person who labelled a log; see :func:`taken`.

    Raises:
        DataRefused: nothing to decide between, or an annotator who did not look for that label.
    """
    items = between(LabelShelf(ws), log.digest, schema)
    final = taken(items, take, by=by, schema=schema)
    return adjudicate(ws, final, [item.ref for item in items], reason=reason, actor=actor)
