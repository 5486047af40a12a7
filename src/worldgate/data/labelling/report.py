"""How well annotators agree over many logs: one line a label, alpha and segment F1 with its interval.

Whoever looked for a label in a log counts there, people and labellers alike, so that a labeller can be held against
people by the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from worldgate.core.streams import FloatArray
from worldgate.data.labelling.agreement import alpha, instants, level_of, log_values, on_grid
from worldgate.data.labelling.schema import Extent, LabelRule, LabelSchema, ValueType
from worldgate.data.labelling.segments import Hits, Measured, bootstrap, segment_hits
from worldgate.data.labelling.sets import Label, Method
from worldgate.data.labelling.spans import Span
from worldgate.data.labelling.store import LabelShelf, RecordedLabels
from worldgate.record.events import Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How well a label's annotators agree."""

    label: str
    annotators: tuple[str, ...]
    logs: int
    """Logs that at least two of them labelled."""
    alpha: float
    """Over all those logs; NaN where nothing varies, or for text and instants."""
    f1: Measured | None
    """Segments of every pair of annotators, over all those logs; None for labels of whole logs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Agreement under one schema."""

    schema: Ref
    labels: tuple[Agreement, ...]
    macro_f1: float
    """Mean over labels with segments; NaN without any."""


def agreement(shelf: LabelShelf, logs: Sequence[str], schema: Ref, annotators: Sequence[str] = ()) -> Report:
    """Measure how well the sets that count agree; adjudications are no annotators.

    Args:
        shelf: the workspace's labels.
        logs: digests.
        schema: the schema that sets must be compatible with.
        annotators: only these; empty: all.
    """
    held: dict[str, list[RecordedLabels]] = {}
    for log in logs:
        sets = [item for item in shelf.of(log) if item.method is not Method.ADJUDICATED]
        wanted = [item for item in sets if not annotators or item.annotator in annotators]
        held[log] = [item for item in wanted if not shelf.stale(item, schema=schema)]
    rules = shelf.schema(schema.digest)
    found = [(name, _of_label(name, rules, held, shelf)) for name in rules.labels]
    measured = tuple(item for _, item in found if item is not None)
    hits = {item.label: item.f1 for item in measured if item.f1 is not None}
    macro = float(np.mean([item.value for item in hits.values()])) if hits else math.nan
    return Report(schema=schema, labels=measured, macro_f1=macro)


def _of_label(
    name: str, schema: LabelSchema, held: dict[str, list[RecordedLabels]], shelf: LabelShelf
) -> Agreement | None:
    looked = {log: [item for item in items if name in item.considered] for log, items in held.items()}
    shared = {log: items for log, items in looked.items() if len({item.annotator for item in items}) > 1}
    if not shared:
        return None
    rule = schema.labels[name]
    people = sorted({item.annotator for items in shared.values() for item in items})
    if rule.extent is Extent.LOG:
        every = [(item.annotator, log, item.set.of(name)[:1]) for log, items in shared.items() for item in items]
        values = {(who, log): label.value for who, log, labels in every for label in labels}
        compared = values and rule.type is not ValueType.TEXT
        figure = alpha(log_values(values, rule), level_of(rule)) if compared else math.nan
        return Agreement(label=name, annotators=tuple(people), logs=len(shared), alpha=figure, f1=None)
    said = {log: {item.annotator: item.set.of(name) for item in items} for log, items in shared.items()}
    whole = {log: shelf.log(log).span_ns for log in shared}
    figure = math.nan
    if rule.type is not ValueType.TEXT and rule.extent is Extent.SPAN:
        figure = alpha(_table(said, people, rule, whole, schema.grid_ns), level_of(rule))
    parts = [_pairs(by_annotator, rule) for by_annotator in said.values()]
    return Agreement(label=name, annotators=tuple(people), logs=len(shared), alpha=figure, f1=bootstrap(parts, "f1"))


def _table(
    said: dict[str, dict[str, tuple[Label, ...]]],
    people: Sequence[str],
    rule: LabelRule,
    whole: dict[str, Span],
    grid_ns: int,
) -> FloatArray:
    """(M, N) values at every instant of every log; NaN where an annotator did not look at the log."""
    combined: dict[tuple[int, ...], int] = {}
    parts = []
    for log, by_annotator in said.items():
        times = instants(whole[log], grid_ns)
        part = np.full((len(people), len(times)), np.nan)
        rows = [people.index(name) for name in by_annotator]
        part[rows] = on_grid(list(by_annotator.values()), rule, times, combined)
        parts.append(part)
    return np.concatenate(parts, axis=1)


def _pairs(by_annotator: dict[str, tuple[Label, ...]], rule: LabelRule) -> Hits:
    total = Hits()
    for a, b in combinations(sorted(by_annotator), 2):
        total += segment_hits(by_annotator[a], by_annotator[b], rule.tolerance_ns)
    return total
