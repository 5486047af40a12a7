"""Incidents: a window of time on an arm, frozen with what was known, and closed only by a lasting consequence.

Opening cuts the window out of every log that touches it (a slice keeps native times; compressed pictures pass
unchanged), and keeps what the record said at that moment: the as-of answer, the ledger's head and the decisions in
force. Closing needs a scenario made from the incident, which every later gate of the site includes, or a person's
signed reason why none can be made.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from worldgate.core.config import decode
from worldgate.core.digest import digest_json, restore, short, to_json
from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused, NotAuthorised, NotFound, UsageError
from worldgate.core.names import Slot
from worldgate.core.streams import Log
from worldgate.data.alignment import AlignmentSpec, align
from worldgate.data.ingest import IngestedLog, Shelf
from worldgate.data.logs import mcap
from worldgate.data.retention import hold
from worldgate.fleet.as_of import Answer, as_of
from worldgate.fleet.deployments import CLOCK_FACT, Deployments, declared_err_ns
from worldgate.record.events import Event, Ref
from worldgate.record.keys import Role
from worldgate.record.workspace import Workspace

SCHEMA = "worldgate/incident/1"
OPENED = "incident.opened"
CLOSED = "incident.closed"
_DECIDED = "gate.decided"
_SCENARIO = "scenario.made"


class Severity(StrEnum):
    """How bad it was."""

    NEAR_MISS = "near-miss"
    DAMAGE = "damage"
    INJURY = "injury"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The window's part of one log."""

    log: str
    """Digest of the log it was cut from."""
    name: str
    origin: str
    file: str
    """Digest of the MCAP in the store."""
    streams: Mapping[str, str]
    """Stream -> content digest of what was kept."""
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """What was frozen. Its digest is the incident's id."""

    slot: str
    at_ns: int
    start_ns: int
    end_ns: int
    note: str
    severity: Severity
    slices: tuple[Slice, ...]
    """Empty where nothing was recorded in the window, which is itself a finding."""
    known: Mapping[str, Any]
    """The as-of answer at ``at_ns`` from the ledger up to ``ledger_seq``: asking again up to there gives it again."""
    ledger_seq: int
    ledger_hash: str
    decisions: tuple[str, ...]
    """Decisions about this slot that were in force at ``at_ns``."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        tree = to_json(self)
        assert isinstance(tree, dict)
        return {"schema": SCHEMA, **tree}

    @property
    def digest(self) -> str:
        """Identity."""
        return digest_json(self.to_json())

    @property
    def release(self) -> str:
        """Digest of the release that was on the arm.

        Raises:
            DataRefused: that was not certain.
        """
        headline = self.known["headline"]
        if headline["certainty"] != "CERTAIN":
            raise DataRefused("which release was on the arm is not certain", got=headline["certainty"], where=self.slot)
        return str(headline["releases"][0])


def open_incident(
    ws: Workspace,
    slot: Slot,
    at_ns: int,
    *,
    before_ns: int,
    after_ns: int,
    note: str,
    severity: Severity,
    by: str,
    recorded_at_ns: int | None = None,
) -> Ref:
    """Freeze a window and what was known, and record ``incident.opened``.

    Args:
        ws: the workspace.
        slot: the arm.
        at_ns: the moment, UTC.
        before_ns: how much before it is kept.
        after_ns: how much after it.
        note: what happened, in words.
        severity: how bad it was.
        by: name of the key of whoever opens it.
        recorded_at_ns: when it was opened; now, unless a past is replayed.

    Raises:
        UsageError: an empty window, or a note that says nothing.
        Tampered: a log in the store that is no longer what was ingested.
    """
    if before_ns < 0 or after_ns < 0 or before_ns + after_ns == 0:
        raise UsageError("an empty window", got=f"{before_ns} ns before, {after_ns} ns after", where="incident")
    if not note.strip():
        raise UsageError("a note that says nothing", where="incident:note")
    head = ws.ledger.head()
    window = (at_ns - before_ns, at_ns + after_ns)
    incident = Incident(
        slot=str(slot),
        at_ns=at_ns,
        start_ns=window[0],
        end_ns=window[1],
        note=note.strip(),
        severity=Severity(severity),
        slices=tuple(_slices(ws, slot, window)),
        known=_answer(as_of(Deployments.of(ws, until_seq=head.seq), slot, at_ns)),
        ledger_seq=head.seq,
        ledger_hash=head.hash,
        decisions=_in_force(ws, slot, at_ns),
    )
    ref = Ref("incident", ws.put_json(incident.to_json()), f"{severity}-{short(incident.digest)}")
    releases = incident.known["headline"]["releases"]
    ws.record(
        OPENED,
        body={
            "incident": ref.digest,
            "slot": incident.slot,
            "at_ns": at_ns,
            "severity": incident.severity,
            "note": incident.note,
            "certainty": incident.known["headline"]["certainty"],
            "slices": [piece.file for piece in incident.slices],
        },
        inputs=(
            *(Ref("log", piece.log, piece.name) for piece in incident.slices),
            *(Ref("release", digest) for digest in releases if ":" not in digest),
            *(Ref("decision", digest) for digest in incident.decisions),
        ),
        outputs=(ref, *(Ref("slice", piece.file, piece.name) for piece in incident.slices)),
        valid_from_ns=incident.start_ns,
        valid_to_ns=incident.end_ns,
        actor=by,
        recorded_at_ns=recorded_at_ns,
    )
    if incident.slices:
        logs = [Ref("log", piece.log, piece.name) for piece in incident.slices]
        hold(ws, logs, case=f"incident {ref.name}", by=by)
    return ref


def _answer(answer: Answer) -> dict[str, Any]:
    tree = restore(to_json(answer))
    assert isinstance(tree, dict)
    return tree


def _slices(ws: Workspace, slot: Slot, window: tuple[int, int]) -> list[Slice]:
    """Cut the window out of every log of this arm that touches it, the error of the log's clock included."""
    shelf = Shelf(ws)
    here = [r for r in shelf.records.values() if (r.site, r.robot, r.arm) == (slot.site, slot.robot, slot.arm)]
    found = []
    for record in here:
        err = declared_err_ns(record.facts.get(CLOCK_FACT))
        start, end = record.span_ns
        if start - err < window[1] and window[0] < end + err:
            piece = _cut(ws, shelf.open(record.digest), record, (window[0] - err, window[1] + err))
            found += [piece] if piece is not None else []
    return found


def _cut(ws: Workspace, log: Log, record: IngestedLog, window: tuple[int, int]) -> Slice | None:
    streams = [log.read(info.name, window) for info in log.streams()]
    kept = [stream for stream in streams if len(stream)]
    if not kept:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slice.mcap"
        mcap.write_log(path, kept, origin=log.origin, facts={**log.facts, "sliced_from": record.digest})
        file = ws.store.put_file(path)
    times = [(int(stream.times_ns.min()), int(stream.times_ns.max())) for stream in kept]
    return Slice(
        log=record.digest,
        name=record.name,
        origin=log.origin,
        file=file,
        streams={stream.info.name: stream.content_digest() for stream in kept},
        start_ns=min(start for start, _ in times),
        end_ns=max(end for _, end in times) + 1,
    )


def _in_force(ws: Workspace, slot: Slot, at_ns: int) -> tuple[str, ...]:
    """Promotion decisions about this slot that were in force, newest last."""
    found = []
    for event in ws.ledger.events(_DECIDED):
        begins, ends = event.valid_from_ns, event.valid_to_ns
        if begins is not None and ends is not None and begins <= at_ns < ends and str(slot) in event.body["slots"]:
            found.append(str(event.body["decision"]))
    return tuple(found)


def load(ws: Workspace, digest: str) -> Incident:
    """A frozen incident.

    Raises:
        NotFound: no such object.
        DataRefused: not an incident.
    """
    tree = ws.get_json(digest)
    if not isinstance(tree, dict) or tree.get("schema") != SCHEMA:
        raise DataRefused("not an incident this version reads", where=short(digest))
    return decode(Incident, {k: v for k, v in tree.items() if k != "schema"}, where=short(digest))


def episode(ws: Workspace, incident: Incident, spec: AlignmentSpec, *, log: str = "") -> Episode:
    """The frozen window, aligned.

    Args:
        ws: the workspace.
        incident: what was frozen.
        spec: how to align it.
        log: digest of the log whose slice is wanted, where there are several.

    Raises:
        NotFound: nothing was recorded in the window, or no such log.
        UsageError: several slices and no choice.
        Tampered: the slice is not what was frozen.
    """
    pieces = [piece for piece in incident.slices if not log or piece.log == log]
    if not pieces:
        raise NotFound("nothing was recorded in this window", got=short(log) if log else None, where=incident.slot)
    if len(pieces) > 1:
        names = ", ".join(short(piece.log) for piece in pieces)
        raise UsageError("several logs touch this window", got=len(pieces), hint=f"choose one of {names}")
    held = ws.store.local(pieces[0].file)
    path = ws.cache / "slices" / f"{short(pieces[0].log)}-{short(pieces[0].file)}.mcap"
    if not path.is_symlink():  # the reader goes by the name, and frames are read long after this returns
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(held)
    (found,) = mcap.open_logs(path).logs
    return align(found, spec)


def close_incident(
    ws: Workspace,
    incident: Ref,
    *,
    by: str,
    scenario: Ref | None = None,
    reason: str = "",
    recorded_at_ns: int | None = None,
) -> Event:
    """Close an incident with the scenario made from it, or with a person's reason why there is none.

    Args:
        ws: the workspace.
        incident: an open incident.
        by: name of a person's key; the event is signed with it.
        scenario: a recorded scenario that names this incident as its source.
        reason: why no scenario can be made; only where there is none.
        recorded_at_ns: when it was closed; now, unless a past is replayed.

    Raises:
        UsageError: neither or both of scenario and reason, or an incident that is closed already.
        NotFound: no such incident or scenario.
        DataRefused: a scenario made from something else, or for another site.
        NotAuthorised: the key is not a person's.
    """
    frozen = load(ws, incident.digest)
    if not any(event.body["incident"] == incident.digest for event in ws.ledger.events(OPENED)):
        raise NotFound("no such incident", got=short(incident.digest), hint="worldgate incident open")
    if any(event.body["incident"] == incident.digest for event in ws.ledger.events(CLOSED)):
        raise UsageError("this incident is closed already", got=short(incident.digest))
    if (scenario is None) == (not reason.strip()):
        raise UsageError(
            "an incident is closed by a scenario, or by a reason why there is none",
            got="both" if scenario else "neither",
            hint="make the scenario, so that every later gate of the site runs it",
        )
    key = ws.ledger.keyring().find(ws.signer(by).public_key.keyid)
    if key is None or key.role is not Role.PERSON:
        raise NotAuthorised("only a person closes an incident", got=by, hint="worldgate record keys")
    if scenario is not None:
        _check_scenario(ws, incident, frozen, scenario)
    body = {
        "incident": incident.digest,
        "slot": frozen.slot,
        "scenario": scenario.digest if scenario is not None else "",
        "reason": reason.strip(),
        "person": key.owner,
    }
    inputs = (incident,) if scenario is None else (incident, scenario)
    return ws.record(CLOSED, body=body, inputs=inputs, actor=by, recorded_at_ns=recorded_at_ns)


def _check_scenario(ws: Workspace, incident: Ref, frozen: Incident, scenario: Ref) -> None:
    made = [event for event in ws.ledger.events(_SCENARIO) if event.body["scenario"] == scenario.digest]
    if not made:
        raise NotFound("no such scenario on the ledger", got=short(scenario.digest), hint="register it first")
    body = made[-1].body
    if body["source"] != "incident" or body["incident"] != incident.digest:
        raise DataRefused("this scenario was not made from this incident", got=body["source"], where=body["name"])
    site = Slot.parse(frozen.slot).site
    if body["site"] != site:
        raise DataRefused("this scenario is of another site", got=body["site"], where=body["name"], hint=str(site))
