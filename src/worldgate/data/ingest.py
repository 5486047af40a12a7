"""Ingest: a recording's bytes into the store, then one signed event for every log in it.

The bytes are kept first and the event is written last, so a process killed at any point leaves at most objects that
nothing speaks of. A log is named by the content of its streams, whatever container they came in, so ingesting it again
changes nothing. What can be recovered of a damaged log is ingested with its loss recorded; what cannot is refused.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

from worldgate.core import seams
from worldgate.core.atomic import locked
from worldgate.core.config import decode
from worldgate.core.digest import short
from worldgate.core.errors import DataRefused, LogUnreadable, NotFound, WorldgateError
from worldgate.core.names import Name
from worldgate.core.streams import Log, LogFolder, Origin
from worldgate.core.times import SECOND, format_ns
from worldgate.data import opening, summaries
from worldgate.data.diagnosis import dead_cameras
from worldgate.data.logs import log_parts, open_folder, single_parts
from worldgate.data.opening import Facts, StoredLog, Where
from worldgate.data.staging import is_url, staged
from worldgate.data.summaries import IngestedLog, StreamSummary
from worldgate.engines import Call, Engine, Result, Stage, place_of, run, session
from worldgate.record.events import Event, Ref
from worldgate.record.keys import ERASED
from worldgate.record.workspace import Workspace

__all__ = [
    "EPOCHS_NS",
    "EVENT",
    "Facts",
    "IngestedLog",
    "Progress",
    "Shelf",
    "StoredLog",
    "StreamSummary",
    "ingest",
    "ingested",
    "open_log",
    "own_objects",
]

EVENT = "log.ingested"

Progress = Callable[[int, int, str], None]
"""Called with logs done, logs in all, and the name of the one just done."""

EPOCHS_NS = 946_684_800 * SECOND
"""Stamps before the year 2000 count from some other zero, and say nothing about when a log was recorded."""

_LESS_REAL = (Origin.REAL, Origin.SIMULATED, Origin.IMAGINED)

_logger = logging.getLogger(__name__)


class Shelf:
    """Opens a workspace's logs; a source's bytes are verified and opened once, however many logs it holds."""

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws
        self._seen = 0
        self.place = place_of(ws)
        """Where stages of this shelf read bytes."""
        self.records: dict[str, IngestedLog] = {}
        self.by_key: dict[str, IngestedLog] = {}
        """By the key of the stage that read them."""
        self.refresh()

    def refresh(self) -> None:
        """Take in what was ingested since."""
        for event in self._ws.ledger.events(EVENT, self._seen):
            self.add(_record(event))
            self._seen = event.seq

    def add(self, record: IngestedLog) -> None:
        """Take in one log; what was known of it before stands."""
        self.records.setdefault(record.digest, record)
        if record.key:
            self.by_key.setdefault(record.key, record)

    def record(self, digest: str) -> IngestedLog:
        """What the record knows of a log.

        Raises:
            NotFound: no such log was ingested.
        """
        if digest not in self.records:
            raise NotFound("no such log in this workspace", got=short(digest), hint="worldgate ingest PATH")
        return self.records[digest]

    def where(self, digest: str) -> Where:
        """How a stage opens a log; see :func:`record`."""
        record = self.record(digest)
        return Where(
            format=record.format,
            position=record.position,
            name=record.name,
            origin=record.origin,
            facts=record.facts,
        )

    def open(self, digest: str) -> StoredLog:
        """A log, from verified bytes.

        Raises:
            NotFound: no such log, or its bytes are gone.
            Tampered: the stored bytes are others.
        """
        source = self.record(digest).source
        self._refuse_erased(source)
        return opening.open_log(self.place, source, self.where(digest))

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
    return Shelf(ws).records


def _record(event: Event) -> IngestedLog:
    return decode(IngestedLog, {"digest": event.outputs[0].digest, **event.body}, where=short(event.digest))


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
    facts: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    engine: Engine | None = None,
    shelf: Shelf | None = None,
) -> list[Ref]:
    """Take a file or folder of logs into a workspace; logs that are there already are only named.

    Args:
        ws: where to.
        path: anything that a format of :mod:`worldgate.data.logs` can open, or the URL of such in a bucket.
        site: where it was recorded; the log's own fact of that name where empty.
        robot: on which robot.
        arm: on which arm.
        origin: marks logs that do not say what they are; may never make a marked log more real.
        facts: what else the caller knows: ``licence``, ``retention``, ``session``, ``operator``.
        progress: called after every log.
        engine: where logs are read; None: as the workspace says.
        shelf: of this workspace, from an earlier call: a caller with many spares reading the ledger for each.

    Returns:
        One reference a log, in the container's order.

    Raises:
        NotFound: nothing at this path.
        LogUnreadable: not a log, or damaged beyond the recoverable part; every log that can be read is ingested first.
        DataRefused: a log that is here already with another origin or other facts, or that was erased.
        NameRefused: an unusable site, robot or arm.
        RecordError: a bucket or store that does not answer.
    """
    shelf = shelf or Shelf(ws)
    again = partial(
        ingest,
        ws,
        site=site,
        robot=robot,
        arm=arm,
        origin=origin,
        facts=facts,
        progress=progress,
        engine=engine,
        shelf=shelf,
    )
    if is_url(path):
        with staged(str(path), under=ws.cache) as local:
            return again(local)
    source = Path(path)
    if not source.exists():
        raise NotFound("no such file or folder", where=source)
    parts = log_parts(source)
    if len(parts) > 1:
        return by_parts(parts, again, source)
    place = {key: str(Name(value)) for key, value in (("site", site), ("robot", robot), ("arm", arm)) if value}
    given = {**(facts or {}), **place}
    try:
        folder = _refuse_unreadable(source)  # before a byte of it is kept
    except LogUnreadable:
        parts = single_parts(source)
        if len(parts) < 2:
            raise
        return by_parts(parts, again, source)
    if not folder.logs:
        reasons = "; ".join(f.message for f in folder.findings) or "no log in it"
        raise LogUnreadable("nothing in here can be read", got=reasons, where=source)
    intake = Intake(ws, source)
    shelf.refresh()
    kept = zip(folder.logs, intake.keep(folder), strict=True)
    calls = [intake.call(folder.format, log.name, tree, position) for log, (tree, position) in kept]
    failed: list[DataRefused] = []
    refs: dict[str, Ref] = {}
    with session(ws, engine) as chosen:
        for done, (log, result) in enumerate(zip(folder.logs, _summaries(calls, shelf, chosen), strict=True)):
            try:
                ref = intake.settle(shelf, _marked(_read(result, log), log, given, origin))
                refs.setdefault(ref.digest, ref)
            except DataRefused as error:
                failed.append(error)
            if progress is not None:
                progress(done + 1, len(calls), log.name)
    if len(failed) == 1 and not isinstance(failed[0], LogUnreadable):
        raise failed[0]
    if failed:
        what = f"{len(failed)} of {len(calls)} logs cannot be read"
        got = "; ".join(f"{e.where}: {e.what}" + (f" ({e.got})" if e.got else "") for e in failed)
        raise LogUnreadable(what, got=got, where=source, hint="the others are ingested")
    return list(refs.values())


def by_parts(parts: Sequence[Path], take: Callable[[Path], list[Ref]], source: Path) -> list[Ref]:
    """Ingest the parts of a folder one after another; one that is refused does not keep the others out.

    Raises:
        LogUnreadable: a part that was refused, wholly or in part.
    """
    refs: dict[str, Ref] = {}
    failed: list[str] = []
    for part in parts:
        try:
            refs |= {ref.digest: ref for ref in take(part)}
        except (DataRefused, NotFound) as error:
            failed.append(_told(error, part, source))
    if failed:
        what = f"{len(failed)} of {len(parts)} parts of this folder cannot be taken whole"
        raise LogUnreadable(what, got="; ".join(failed), where=source, hint="all else in it is ingested")
    return list(refs.values())


def _told(error: WorldgateError, part: Path, source: Path) -> str:
    """What was refused of a part, and where in it."""
    where = Path(str(error.where)) if error.where is not None else part
    inner = where if where.is_relative_to(part) else part
    return f"{inner.relative_to(source)}: {error.what}" + (f" ({error.got})" if error.got else "")


def _summaries(calls: Sequence[Call], shelf: Shelf, engine: Engine) -> Iterator[IngestedLog | Result]:
    """What is in each log: as recorded where input, code and configuration are the same, else read."""
    placed = {record.key: record for record in shelf.records.values() if record.key}
    keys = [call.key() for call in calls]
    todo = run(
        [call for call, key in zip(calls, keys, strict=True) if key not in placed], place=shelf.place, engine=engine
    )
    for key in keys:
        yield placed[key] if key in placed else next(todo)


def _read(result: IngestedLog | Result, log: Log) -> IngestedLog:
    if isinstance(result, IngestedLog):
        return result
    return decode(IngestedLog, {**result.value, "key": result.key}, where=log.name)


class Intake:
    """One source on its way into a workspace."""

    def __init__(self, ws: Workspace, source: Path) -> None:
        self._ws = ws
        self._source = source
        self._stones = {ref.digest: event for event in ws.ledger.events(ERASED) for ref in event.inputs}

    def keep(self, folder: LogFolder) -> list[tuple[str, int]]:
        """Keep the bytes; the tree and the place in it of every log.

        Where each log stands in files of its own it has a tree of its own, so that a folder that grows is not read
        again and one log can be erased without the others; logs that share files share a tree. Files that belong to no
        log go with each.
        """
        store = self._ws.store
        files = store.put_files(self._source)
        base = self._source if self._source.is_dir() else self._source.parent
        units = getattr(seams.load("logs", folder.format), "units", None) if self._source.is_dir() else None
        found = units(self._source) if units else []
        owned = [tuple(file.relative_to(base).as_posix() for file in unit) for unit in found]
        if len(owned) != len(folder.logs):
            tree = store.put_manifest(files)
            return [(tree, position) for position in range(len(folder.logs))]
        others = set(files).difference(*owned)
        shared = {name: digest for name, digest in files.items() if name in others}
        trees = {own: store.put_manifest({**shared, **{name: files[name] for name in own}}) for own in set(owned)}
        before: Counter[tuple[str, ...]] = Counter()
        kept = []
        for own in owned:
            kept.append((trees[own], before[own]))
            before[own] += 1
        return kept

    def call(self, format: str, name: str, source: str, position: int) -> Call:
        """The stage that reads one log."""
        return Call(
            stage=Stage(function=summaries.STAGE, uses=opening.modules_of(format)),
            name=_plain(name),
            inputs=(source,),
            config={"format": format, "position": position},
        )

    def settle(self, shelf: Shelf, record: IngestedLog) -> Ref:
        """Record a log once, however many processes bring it; what is there already must agree.

        Raises:
            DataRefused: it says something else of itself, or was erased.
        """
        for digest in (record.source, record.digest):
            if digest in self._stones:
                raise self._erased(digest, record.name, record.source)
        if record.digest in shelf.records:
            return _agreed(shelf.records[record.digest], record)
        with _one_at_a_time(self._ws):
            shelf.refresh()
            if record.digest in shelf.records:
                return _agreed(shelf.records[record.digest], record)
            body = {f.name: getattr(record, f.name) for f in fields(record) if f.name != "digest"}
            start, end = record.span_ns
            in_utc = start >= EPOCHS_NS
            self._ws.record(
                EVENT,
                body=body,
                inputs=[Ref("source", record.source, _plain(self._source.name))],
                outputs=[record.ref],
                valid_from_ns=start if in_utc else None,
                valid_to_ns=end if in_utc else None,
            )
            shelf.add(record)
        return record.ref

    def _erased(self, digest: str, name: str, source: str) -> DataRefused:
        """What was erased does not come back, whatever container it comes in; nothing of it is kept."""
        for held in own_objects(self._ws, {source})[0]:
            self._ws.store.delete(held)
        stone = self._stones[digest]
        return DataRefused(
            f"{name} was erased on {format_ns(stone.recorded_at_ns)} and is not taken again",
            got=str(stone.body["reason"]),
            where=self._source,
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


def _refuse_unreadable(source: Path) -> LogFolder:
    """Open it, and let a refusal name dead cameras beside the reader's reasons."""
    try:
        return open_folder(source)
    except LogUnreadable as error:
        more = dead_cameras(source)
        if not more:
            raise
        got = "; ".join([str(error.got), *more])
        raise LogUnreadable(error.what, got=got, where=error.where, hint=error.hint) from error


def _marked(record: IngestedLog, log: Log, given: Mapping[str, str], origin: Origin | None) -> IngestedLog:
    """The log with the place and origin that the caller gave."""
    if origin is not None and _LESS_REAL.index(origin) < _LESS_REAL.index(log.origin):
        raise DataRefused(
            f"a log marked {log.origin} cannot become {origin}", got=origin, where=log.name, hint="leave out the origin"
        )
    facts = {**log.facts, **given}
    site, robot, arm = (str(Name(str(facts[key]))) if facts.get(key) else "" for key in ("site", "robot", "arm"))
    # A part of a folder does not know what the folder calls its logs.
    return replace(record, name=log.name, origin=origin or log.origin, facts=facts, site=site, robot=robot, arm=arm)


@contextmanager
def _one_at_a_time(ws: Workspace) -> Iterator[None]:
    """Of several processes that ingest, one looks and records while the others wait."""
    with locked(ws.root / "ingest.lock"):
        yield


def _agreed(before: IngestedLog, now: IngestedLog) -> Ref:
    if (before.origin, dict(before.facts)) != (now.origin, dict(now.facts)):
        raise DataRefused(
            "this log is here already and says something else of itself",
            got=_difference(before, now),
            where=f"{now.name} ({short(now.digest)})",
            hint=f"worldgate show {short(now.digest)}",
        )
    if before.name != now.name:
        _logger.warning("%s is a copy of %s, which is here already", now.name, before.name)
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
