"""The summary stage: what a log holds, stream by stream, and the digest that names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from worldgate.core.digest import digest_json
from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import IMAGE_LIKE, NUMERIC, Finding, Kind, Origin, Stream
from worldgate.core.times import SECOND
from worldgate.data.opening import Facts, open_source
from worldgate.engines import Made, Place
from worldgate.record.events import Ref

STAGE = "worldgate.data.summaries:summarise"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSummary:
    """A stream as it was when its log was ingested."""

    name: str
    kind: Kind
    count: int
    shape: tuple[int, ...]
    unit: str
    clock: str
    rate_hz: float
    """Mean rate over the stream's span; 0 below two messages."""
    start_ns: int
    end_ns: int
    digest: str
    """Content digest."""
    evidence: bool
    """Says something of the world: a camera, or numbers that change. The same evidence twice is a copy. A channel that
    only goes between two values, as a success or a sparse reward, is alike in many runs and no proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestedLog:
    """What the record knows of a log."""

    digest: str
    name: str
    source: str
    """Digest of the tree of files it came in."""
    position: int
    """Place among the logs of that tree."""
    format: str
    origin: Origin
    facts: Facts
    streams: tuple[StreamSummary, ...]
    findings: tuple[Finding, ...] = ()
    """What the reader noticed, of this log and of its container."""
    site: str = ""
    robot: str = ""
    arm: str = ""
    key: str = ""
    """Key of the stage that read it: input, code and configuration."""

    @property
    def ref(self) -> Ref:
        """The log as other events name it."""
        return Ref("log", self.digest, self.name)

    @property
    def span_ns(self) -> tuple[int, int]:
        """First stamp, and one past the last."""
        held = [s for s in self.streams if s.count]
        return min((s.start_ns for s in held), default=0), max((s.end_ns + 1 for s in held), default=0)


def summarise(place: Place, inputs: tuple[str, ...], config: Any) -> Made:
    """Read a log of a source whole, and say what is in it.

    Args:
        place: where the source's bytes are.
        inputs: the source.
        config: ``{"format", "position"}``.

    Raises:
        LogUnreadable: nothing in it.
    """
    folder = open_source(place, inputs[0], config["format"])
    log = folder.logs[config["position"]]
    streams = tuple(_stream(log.read(info.name)) for info in log.streams())
    if not any(s.count for s in streams):
        reasons = "; ".join(f.message for f in (*log.findings, *folder.findings)) or "no message in any stream"
        raise LogUnreadable("holds nothing", got=reasons, where=log.name)
    return Made(
        value=IngestedLog(
            digest=digest_json({s.name: s.digest for s in streams}),
            name=log.name,
            source=inputs[0],
            position=config["position"],
            format=folder.format,
            origin=log.origin,
            facts=log.facts,
            streams=streams,
            findings=(*log.findings, *folder.findings),
        )
    )


def _stream(stream: Stream) -> StreamSummary:
    info, times, count = stream.info, stream.times_ns, len(stream)
    start, end = (int(times.min()), int(times.max())) if count else (0, 0)
    changes = info.kind in NUMERIC and count > 1 and bool((stream.array != stream.array[:1]).any())
    flag = changes and stream.array[0].size == 1 and len(np.unique(stream.array)) == 2
    return StreamSummary(
        name=info.name,
        kind=info.kind,
        count=count,
        shape=info.shape,
        unit=info.unit,
        clock=info.clock,
        rate_hz=(count - 1) * SECOND / (end - start) if end > start else 0.0,
        start_ns=start,
        end_ns=end,
        digest=stream.content_digest(),
        evidence=count > 0 and ((changes and not flag) or info.kind in IMAGE_LIKE),
    )
