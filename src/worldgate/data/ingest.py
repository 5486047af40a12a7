"""Ingest: a recording's bytes into the store, then one signed event for every log in it.

The bytes are kept first and the event is written last, so a process killed at any point leaves at most objects that
nothing speaks of. A log is named by the content of its streams, whatever container they came in, so ingesting it again
changes nothing. What can be recovered of a damaged log is ingested with its loss recorded; what cannot is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from worldgate.core.config import decode
from worldgate.core.digest import digest_json, short
from worldgate.core.errors import DataRefused, LogUnreadable, NotFound, Tampered
from worldgate.core.names import Name
from worldgate.core.streams import (
    IMAGE_LIKE,
    NUMERIC,
    Finding,
    Kind,
    Log,
    LogFolder,
    Origin,
    Stream,
    StreamInfo,
    log_digest,
)
from worldgate.core.times import SECOND, format_ns
from worldgate.data.diagnosis import dead_cameras
from worldgate.data.logs import open_folder
from worldgate.record.events import Ref
from worldgate.record.keys import ERASED
from worldgate.record.workspace import Workspace

EVENT = "log.ingested"

Facts = Mapping[str, str | float | bool]
Progress = Callable[[int, int, str], None]
"""Called with logs done, logs in all, and the name of the one just done."""

EPOCHS_NS = 946_684_800 * SECOND
"""Stamps before the year 2000 count from some other zero, and say nothing about when a log was recorded."""

_LESS_REAL = (Origin.REAL, Origin.SIMULATED, Origin.IMAGINED)

_logger = logging.getLogger(__name__)


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
    """Says something of the world: a camera, or numbers that change. The same evidence twice is a copy."""


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

    @property
    def ref(self) -> Ref:
        """The log as other events name it."""
        return Ref("log", self.digest, self.name)

    @property
    def span_ns(self) -> tuple[int, int]:
        """First stamp, and one past the last."""
        held = [s for s in self.streams if s.count]
        return min((s.start_ns for s in held), default=0), max((s.end_ns + 1 for s in held), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLog:
    """A log read from the store, with the facts, the origin and the container's findings that were recorded."""

    log: Log
    origin: Origin
    facts: Facts = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def name(self) -> str:
        """What people call it."""
        return self.log.name

    def streams(self) -> tuple[StreamInfo, ...]:
        return self.log.streams()

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        return self.log.read(stream, window_ns)


class Shelf:
    """Opens a workspace's logs; a source's bytes are verified and opened once, however many logs it holds."""

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws
        self._folders: dict[str, LogFolder] = {}
        self.records = ingested(ws)

    def record(self, digest: str) -> IngestedLog:
        """What the record knows of a log.

        Raises:
            NotFound: no such log was ingested.
        """
        if digest not in self.records:
            raise NotFound("no such log in this workspace", got=short(digest), hint="worldgate ingest PATH")
        return self.records[digest]

    def open(self, digest: str) -> StoredLog:
        """A log, from verified bytes.

        Raises:
            NotFound: no such log, or its bytes are gone.
            Tampered: the stored bytes are others.
        """
        record = self.record(digest)
        folder = self.folder(record.source)
        named = [log for log in folder.logs if log.name == record.name]
        if record.position < len(folder.logs) and folder.logs[record.position] in named:
            named = [folder.logs[record.position]]
        if not named:
            raise Tampered("the source no longer holds this log", got=record.name, where=short(record.source))
        return StoredLog(
            log=named[0], origin=record.origin, facts=record.facts, findings=(*named[0].findings, *folder.findings)
        )

    def folder(self, source: str) -> LogFolder:
        """Everything that came in one tree of files."""
        if source not in self._folders:
            self._refuse_erased(source)
            for digest in sorted(set(self._ws.store.tree(source).values())):
                self._ws.store.check(digest)
            self._folders[source] = open_folder(self._ws.store.checkout(source, under=self._ws.cache))
        return self._folders[source]

    def _refuse_erased(self, source: str) -> None:
        if not self._ws.store.has(source):
            for event in self._ws.ledger.events(ERASED):
                if source in {ref.digest for ref in event.inputs}:
                    raise NotFound(
                        f"this log was erased on {format_ns(event.recorded_at_ns)}",
                        got=str(event.body["reason"]),
                        where=", ".join(r.name for r in self.records.values() if r.source == source),
                        hint="a dataset without it: worldgate data subset",
                    )


def ingested(ws: Workspace) -> dict[str, IngestedLog]:
    """Every log of a workspace by digest, in the order they came."""
    found: dict[str, IngestedLog] = {}
    for event in ws.ledger.events(EVENT):
        digest = event.outputs[0].digest
        found.setdefault(digest, decode(IngestedLog, {"digest": digest, **event.body}, where=short(event.digest)))
    return found


def open_log(ws: Workspace, digest: str) -> Log:
    """Open one log from the store; see :class:`Shelf` for many.

    Raises:
        NotFound: no such log, or its bytes are gone.
        Tampered: the stored bytes are others.
    """
    return Shelf(ws).open(digest)


def ingest(
    ws: Workspace,
    path: Path | str,
    *,
    site: str = "",
    robot: str = "",
    arm: str = "",
    origin: Origin | None = None,
    progress: Progress | None = None,
) -> list[Ref]:
    """Take a file or folder of logs into a workspace; logs that are there already are only named.

    Args:
        ws: where to.
        path: anything that a format of :mod:`worldgate.data.logs` can open.
        site: where it was recorded; the log's own fact of that name where empty.
        robot: on which robot.
        arm: on which arm.
        origin: marks logs that do not say what they are; may never make a marked log more real.
        progress: called after every log.

    Returns:
        One reference a log, in the container's order.

    Raises:
        NotFound: nothing at this path.
        LogUnreadable: not a log, or damaged beyond the recoverable part; every log that can be read is ingested first.
        DataRefused: a log that is here already with another origin or other facts.
        NameRefused: an unusable site, robot or arm.
    """
    source = Path(path)
    if not source.exists():
        raise NotFound("no such file or folder", where=source)
    given = {key: str(Name(value)) for key, value in (("site", site), ("robot", robot), ("arm", arm)) if value}
    _refuse_unreadable(source)  # before a byte of it is kept
    tree = ws.store.put_tree(source)
    shelf = Shelf(ws)
    _refuse_erased(ws, tree, source)
    folder = shelf.folder(tree)
    if not folder.logs:
        reasons = "; ".join(f.message for f in folder.findings) or "no log in it"
        raise LogUnreadable("nothing in here can be read", got=reasons, where=source)
    placed = {(record.source, record.position): record for record in shelf.records.values()}
    refs, failed = [], []
    for position, log in enumerate(folder.logs):
        try:
            record = placed.get((tree, position)) or _summary(log, folder, tree, position)
            refs.append(_settle(ws, shelf.records, _marked(record, log, given, origin), source))
        except LogUnreadable as error:
            failed.append(f"{log.name}: {error.what}" + (f" ({error.got})" if error.got else ""))
        if progress is not None:
            progress(position + 1, len(folder.logs), log.name)
    if failed:
        what = f"{len(failed)} of {len(folder.logs)} logs cannot be read"
        raise LogUnreadable(what, got="; ".join(failed), where=source, hint="the others are ingested")
    return list({ref.digest: ref for ref in refs}.values())


def _refuse_erased(ws: Workspace, tree: str, source: Path) -> None:
    """What was erased does not come back, whatever container it comes in; nothing of it is kept.

    Raises:
        DataRefused: a log, or the whole, was erased before.
    """
    stones = {ref.digest: event for event in ws.ledger.events(ERASED) for ref in event.inputs}
    if not stones:
        return
    digests = {tree: "it"}
    if tree not in stones:
        digests |= {log_digest(log): log.name for log in open_folder(source).logs}
    found = next((digest for digest in digests if digest in stones), None)
    if found is not None:
        for digest in own_objects(ws, {tree})[0]:
            ws.store.delete(digest)
        stone = stones[found]
        raise DataRefused(
            f"{digests[found]} was erased on {format_ns(stone.recorded_at_ns)} and is not taken again",
            got=str(stone.body["reason"]),
            where=source,
            hint=f"worldgate show {short(stone.digest)}",
        )


def own_objects(ws: Workspace, sources: set[str]) -> tuple[set[str], set[str]]:
    """Objects of these sources: those that no other ingested source holds, and those that one does."""

    def objects(source: str) -> set[str]:
        return {source, *ws.store.parts(source).values()} if ws.store.has(source) else {source}

    named = {digest for source in sources for digest in objects(source)}
    others = {record.source for record in ingested(ws).values()} - sources
    elsewhere = {digest for source in others for digest in objects(source)}
    return named - elsewhere, named & elsewhere


def _refuse_unreadable(source: Path) -> None:
    """Open it, and let a refusal name dead cameras beside the reader's reasons."""
    try:
        open_folder(source)
    except LogUnreadable as error:
        more = dead_cameras(source)
        if not more:
            raise
        got = "; ".join([str(error.got), *more])
        raise LogUnreadable(error.what, got=got, where=error.where, hint=error.hint) from error


def _summary(log: Log, folder: LogFolder, tree: str, position: int) -> IngestedLog:
    """Read a log whole, and say what is in it."""
    streams = tuple(_stream(log.read(info.name)) for info in log.streams())
    if not any(s.count for s in streams):
        reasons = "; ".join(f.message for f in (*log.findings, *folder.findings)) or "no message in any stream"
        raise LogUnreadable("holds nothing", got=reasons, where=log.name)
    return IngestedLog(
        digest=digest_json({s.name: s.digest for s in streams}),
        name=log.name,
        source=tree,
        position=position,
        format=folder.format,
        origin=log.origin,
        facts=log.facts,
        streams=streams,
        findings=(*log.findings, *folder.findings),
    )


def _stream(stream: Stream) -> StreamSummary:
    info, times, count = stream.info, stream.times_ns, len(stream)
    start, end = (int(times.min()), int(times.max())) if count else (0, 0)
    changes = info.kind in NUMERIC and count > 1 and bool((stream.array != stream.array[:1]).any())
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
        evidence=count > 0 and (changes or info.kind in IMAGE_LIKE),
    )


def _marked(record: IngestedLog, log: Log, given: Mapping[str, str], origin: Origin | None) -> IngestedLog:
    """The log with the place and origin that the caller gave."""
    if origin is not None and _LESS_REAL.index(origin) < _LESS_REAL.index(log.origin):
        raise DataRefused(
            f"a log marked {log.origin} cannot become {origin}", got=origin, where=log.name, hint="leave out the origin"
        )
    facts = {**log.facts, **given}
    site, robot, arm = (str(Name(str(facts[key]))) if facts.get(key) else "" for key in ("site", "robot", "arm"))
    return replace(record, origin=origin or log.origin, facts=facts, site=site, robot=robot, arm=arm)


def _settle(ws: Workspace, known: dict[str, IngestedLog], record: IngestedLog, source: Path) -> Ref:
    """Record a log once; what is there already must agree."""
    before = known.get(record.digest)
    if before is None:
        body = {f: getattr(record, f) for f in record.__dataclass_fields__ if f != "digest"}
        start, end = record.span_ns
        in_utc = start >= EPOCHS_NS
        ws.record(
            EVENT,
            body=body,
            inputs=[Ref("source", record.source, _plain(source.name))],
            outputs=[record.ref],
            valid_from_ns=start if in_utc else None,
            valid_to_ns=end if in_utc else None,
        )
        known[record.digest] = record
        return record.ref
    if (before.origin, dict(before.facts)) != (record.origin, dict(record.facts)):
        raise DataRefused(
            "this log is here already and says something else of itself",
            got=_difference(before, record),
            where=f"{record.name} ({short(record.digest)})",
            hint=f"worldgate show {short(record.digest)}",
        )
    if before.name != record.name:
        _logger.warning("%s is a copy of %s, which is here already", record.name, before.name)
    return before.ref


def _difference(before: IngestedLog, now: IngestedLog) -> str:
    pairs: Sequence[tuple[str, object, object]] = [
        ("origin", before.origin, now.origin),
        *((key, before.facts.get(key), now.facts.get(key)) for key in sorted({*before.facts, *now.facts})),
    ]
    return ", ".join(f"{key} {new!s} where it was {old!s}" for key, old, new in pairs if old != new)


def _plain(name: str) -> str:
    """A file's name as a label, without what could confuse a reader."""
    return name if name.isprintable() and name.isascii() else ascii(name)[1:-1]
