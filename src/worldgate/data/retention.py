"""Retention: how long a log is kept and must be kept, legal holds, and erasure that leaves a tombstone.

A contract names retention classes; a log's fact ``retention`` says which is its own, else ``standard``. A class may say
how long logs must stay (an authority may ask) and how long they may stay (a person may ask). Where several contracts
speak of a log, the longest duty to keep and the shortest leave to keep count. A hold, placed for a case, stands above
both until a person lifts it; an incident holds its logs.

A log lies in a source: the file or folder it was ingested from. Erasure takes whole sources, because a video or a table
may hold several logs; it deletes what no other source shares, with every slice that was cut from it, and the caches.
Datasets and models keep naming what they were made of; :class:`ErasureReport` lists them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from worldgate.core.digest import short
from worldgate.core.errors import DataRefused, NotFound, UsageError
from worldgate.core.times import SECOND, format_ns, now_ns
from worldgate.data import contracts
from worldgate.data.contracts import RetentionClass
from worldgate.data.ingest import own_objects
from worldgate.data.privacy.intake import SEALED
from worldgate.record import erasure
from worldgate.record.events import Event, Ref
from worldgate.record.lineage import forward
from worldgate.record.workspace import Workspace

HELD, LIFTED = "log.held", "log.hold_lifted"
STANDARD = "standard"
"""Class of a log that names none."""
FACT = "retention"

_COPIES = frozenset({"slice", "preview", "sealed", "labels"})
"""Kinds of artefact that hold a log's own pictures and numbers, or what people wrote of it."""
_DAY = 86_400 * SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Somebody's order to keep logs, whatever else is said."""

    id: str
    """Digest of its event."""
    case: str
    logs: tuple[str, ...]
    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How long one log, or the sealed raw of one, is kept."""

    log: str
    name: str
    source: str
    retention: str
    """Name of its class."""
    ingested_ns: int
    must_until_ns: int | None
    """Erasure is refused before; None: no duty."""
    may_until_ns: int | None
    """Erasure is due from here; None: no limit."""
    holds: tuple[str, ...]
    """Cases that hold it."""
    erased_ns: int | None

    def due(self, at_ns: int) -> bool:
        """Whether it must go now."""
        runs_out = self.may_until_ns is not None and self.may_until_ns <= at_ns
        return runs_out and self.erased_ns is None and not self.holds


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureReport:
    """What went, and what was made of it before."""

    event: str
    logs: tuple[Ref, ...]
    objects: int
    bytes: int
    shared: int
    """Objects that stay, because another source holds the same bytes."""
    touched: tuple[Ref, ...]
    """Datasets, models and releases that were made with these logs, and stay."""


def hold(ws: Workspace, logs: Sequence[Ref], *, case: str, by: str | None = None) -> Hold:
    """Keep logs for a case.

    Args:
        ws: the workspace.
        logs: which.
        case: the reason, as the record shows it.
        by: name of the key that signs; None: the program's own. Anybody may hold, only a person may lift.

    Raises:
        UsageError: no log, or no case.
    """
    if not logs or not case.strip():
        raise UsageError("a hold names logs and a case", got=f"{len(logs)} logs, case {case!r}")
    event = ws.record(HELD, body={"case": case.strip()}, inputs=logs, actor=by)
    return _hold(event)


def lift(ws: Workspace, hold: str, *, reason: str, by: str | None = None) -> None:
    """End a hold.

    Raises:
        NotFound: no such hold in force; the hint lists those there are.
        UsageError: no reason.
    """
    found = [h for h in holds(ws) if h.id.startswith(hold) or h.case == hold]
    if len(found) != 1:
        known = ", ".join(f"{short(h.id)} {h.case}" for h in holds(ws)) or "there is none"
        raise NotFound("no single hold in force by this id or case", got=hold, hint=known)
    if not reason.strip():
        raise UsageError("lifting a hold needs a reason", where=found[0].case)
    ws.record(LIFTED, body={"hold": found[0].id, "reason": reason.strip()}, actor=by or ws.person)


def holds(ws: Workspace) -> list[Hold]:
    """Every hold in force, oldest first."""
    lifted = {str(event.body["hold"]) for event in ws.ledger.events(LIFTED)}
    return [_hold(event) for event in ws.ledger.events(HELD) if event.digest not in lifted]


def _hold(event: Event) -> Hold:
    logs = tuple(ref.digest for ref in event.inputs)
    return Hold(id=event.digest, case=str(event.body["case"]), logs=logs, at_ns=event.recorded_at_ns)


def keeping(ws: Workspace) -> list[Keeping]:
    """How long every log is kept, in the order they came, then every sealed raw, held with the logs made of it."""
    rules = _rules(ws)
    tombs = erasure.of_workspace(ws)
    cases: dict[str, list[str]] = {}
    for one in holds(ws):
        for log in one.logs:
            cases.setdefault(log, []).append(one.case)

    def told(ref: Ref, source: str, retention: str, came_ns: int, held: Sequence[str]) -> Keeping:
        found = rules.get(retention, ())
        must = max((came_ns + r.at_least_days * _DAY for r in found if r.at_least_days), default=None)
        may = min((came_ns + r.at_most_days * _DAY for r in found if r.at_most_days), default=None)
        return Keeping(
            log=ref.digest,
            name=ref.name,
            source=source,
            retention=retention,
            ingested_ns=came_ns,
            must_until_ns=must,
            may_until_ns=may,
            holds=tuple(held),
            erased_ns=tombs[source].at_ns if source in tombs else None,
        )

    out = []
    for event in ws.ledger.events("log.ingested"):
        (ref,) = event.outputs
        retention = str(event.body["facts"].get(FACT, STANDARD))
        out.append(told(ref, event.body["source"], retention, event.recorded_at_ns, cases.get(ref.digest, ())))
    for event in ws.ledger.events(SEALED):
        (ref,) = event.outputs
        held = sorted({case for log in event.inputs for case in cases.get(log.digest, ())})
        out.append(told(ref, ref.digest, str(event.body["retention"]), event.recorded_at_ns, held))
    return out


def _rules(ws: Workspace) -> dict[str, list[RetentionClass]]:
    """Retention class -> what the newest version of every recorded contract says of it."""
    newest: dict[str, contracts.Contract] = {}
    for ref in ws.artifacts("contract"):
        contract = contracts.load(ws, ref.digest)
        if contract.name not in newest or newest[contract.name].version <= contract.version:
            newest[contract.name] = contract
    rules: dict[str, list[RetentionClass]] = {}
    for contract in newest.values():
        for name, rule in contract.retention.items():
            rules.setdefault(name, []).append(rule)
    return rules


def erase(
    ws: Workspace, logs: Sequence[Ref], *, reason: str, by: str | None = None, whole_sources: bool = False
) -> ErasureReport:
    """Erase logs: their bytes go, a signed tombstone stays.

    Args:
        ws: the workspace.
        logs: which.
        reason: why, for the record.
        by: name of the person's key that signs; None: the workspace's own person.
        whole_sources: erase too the other logs that lie in the same files.

    Raises:
        DataRefused: a hold, a duty to keep that has not run out, or other logs in the same source.
        NotFound: no such log.
        UsageError: no reason.
        NotAuthorised: not a person's key.
    """
    known = {item.log: item for item in keeping(ws)}
    missing = [ref for ref in logs if ref.digest not in known]
    if missing:
        raise NotFound("no such log in this workspace", got=short(missing[0].digest), hint="worldgate show")
    sources = {known[ref.digest].source for ref in logs}
    going = [item for item in known.values() if item.source in sources]
    others = [item for item in going if item.log not in {ref.digest for ref in logs}]
    if others and not whole_sources:
        raise DataRefused(
            f"the same files hold {len(others)} other log{'s' * (len(others) > 1)}",
            got=", ".join(item.name for item in others[:6]) + (" ..." if len(others) > 6 else ""),
            hint="erase these too: --whole-sources",
        )
    _refuse_kept(going)
    told, shared = _objects(ws, sources, [item.log for item in going])
    refs = [Ref("log", item.log, item.name) for item in going]
    about = [*refs, *(Ref("source", source) for source in sorted(sources))]
    event = erasure.erase(ws, sorted(told), about=about, reason=reason, by=by)
    _forget_caches(ws)
    return ErasureReport(
        event=event.digest,
        logs=tuple(refs),
        objects=len(told),
        bytes=int(event.body["bytes"]),
        shared=len(shared),
        touched=tuple(_touched(ws, refs)),
    )


def _refuse_kept(going: Sequence[Keeping]) -> None:
    for item in going:
        if item.holds:
            raise DataRefused(
                f"{item.name} is held",
                got=", ".join(item.holds),
                where=short(item.log),
                hint="a person lifts it: worldgate data hold lift",
            )
        if item.must_until_ns is not None and now_ns() < item.must_until_ns:
            raise DataRefused(
                f"{item.name} must be kept until {format_ns(item.must_until_ns)}",
                got=f"retention class {item.retention}",
                where=short(item.log),
                hint="the contract that names the class says why",
            )


def _objects(ws: Workspace, sources: set[str], logs: Sequence[str]) -> tuple[set[str], set[str]]:
    """Objects of these sources and of what was cut from their logs: those that go, and those that others share."""
    copies = {node.ref.digest for log in logs for node in forward(ws, log).walk() if node.ref.kind in _COPIES}
    return own_objects(ws, sources | copies)


def _forget_caches(ws: Workspace) -> None:
    """Everything derived is disposable, and may hold what must go: aligned numbers, pictures, views of trees."""
    if ws.cache.is_dir():
        shutil.rmtree(ws.cache)
    ws.cache.mkdir(parents=True, exist_ok=True)


def _touched(ws: Workspace, logs: Sequence[Ref]) -> Iterator[Ref]:
    seen: set[str] = set()
    for log in logs:
        for node in forward(ws, log.digest).walk():
            if node.ref.kind in {"dataset", "world_model", "release"} and node.ref.digest not in seen:
                seen.add(node.ref.digest)
                yield node.ref
