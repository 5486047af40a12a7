"""A workspace with logs that are only on the record, and a small schema: labels need no bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from worldgate.core.digest import sha256
from worldgate.core.streams import Kind, Origin
from worldgate.data.ingest import EVENT, IngestedLog, StreamSummary
from worldgate.data.labelling import catalogue
from worldgate.data.labelling.schema import LabelSchema, from_tree
from worldgate.data.labelling.sets import Label, LabelSet
from worldgate.record.events import Ref

T0 = 1_800_000_000_000_000_000
SECOND = 1_000_000_000


def small(version: str = "1.0", **labels: Any) -> LabelSchema:
    """Every type and extent once."""
    tree: dict[str, Any] = {
        "touch": {"type": "flag", "annotators": 2, "least_alpha": 0.6, "least_f1": 0.5, "tolerance_ns": 50_000_000},
        "phase": {"type": "category", "values": ["reach", "push", "rest"], "annotators": 1, "coverage": 0.9},
        "done": {"type": "flag", "extent": "log", "annotators": 2, "least_alpha": 0.5},
        "grade": {"type": "category", "extent": "log", "values": ["poor", "good"], "ordered": True, "annotators": 0},
        "force": {"type": "number", "unit": "N", "range": [0, 50], "annotators": 0},
        "bump": {"type": "flag", "extent": "instant", "annotators": 0},
        "caption": {"type": "text", "overlap": True, "annotators": 0},
        **labels,
    }
    kept = {name: rule for name, rule in tree.items() if rule is not None}
    return from_tree({"name": "small", "version": version, "labels": kept, "grid_ns": 10_000_000}, where="small")


def span(label: str, start: float, end: float, value: Any = True, note: str = "") -> Label:
    """Seconds from the log's start."""
    return Label(
        label=label, value=value, start_ns=T0 + round(start * SECOND), end_ns=T0 + round(end * SECOND), note=note
    )


class Bench:
    """What these tests work on."""

    def __init__(self, ws: Any) -> None:
        self.ws = ws
        self.schema = small()
        self.ref = catalogue.add(ws, self.schema)

    small = staticmethod(small)
    span = staticmethod(span)

    def log(self, name: str, *, content: str = "", seconds: float = 10.0) -> Ref:
        """A log on the record."""
        stream = StreamSummary(
            name="observation.force",
            kind=Kind.VECTOR,
            count=1001,
            shape=(3,),
            unit="N",
            clock="header",
            rate_hz=100.0,
            start_ns=T0,
            end_ns=T0 + round(seconds * SECOND) - 1,
            digest=sha256(content.encode() or name.encode()),
            evidence=True,
        )
        log = IngestedLog(
            digest=sha256(f"{name}{content}".encode()),
            name=name,
            source=sha256(b"source"),
            position=0,
            format="mcap",
            origin=Origin.REAL,
            facts={},
            streams=(stream,),
        )
        body = {f: getattr(log, f) for f in log.__dataclass_fields__ if f != "digest"}
        self.ws.record(EVENT, body=body, outputs=[log.ref])
        return log.ref

    def set(self, log: Ref, annotator: str, *labels: Label, **more: Any) -> LabelSet:
        """A set on the log's own clock."""
        fields = {"schema": self.ref.digest, "clock": "header", **more}
        return LabelSet(log=log.digest, annotator=annotator, labels=labels, **fields)


@pytest.fixture
def bench(workspace: Any) -> Bench:
    return Bench(workspace)


@pytest.fixture(scope="session")
def make_span() -> Callable[..., Label]:
    return span
