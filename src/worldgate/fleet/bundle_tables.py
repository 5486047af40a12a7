"""The tables of an evidence bundle, for people: what the signed records say, sorted by what it is about.

Nothing rests on them: a verifier reads the records and documents themselves.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from worldgate.core.digest import to_json
from worldgate.core.errors import WorldgateError
from worldgate.core.streams import Origin
from worldgate.core.times import format_ns
from worldgate.evidence import plans, scenarios, trials
from worldgate.evidence.claim_queries import ORIGINS
from worldgate.evidence.coverage import cover
from worldgate.evidence.observed import Exposure, observed
from worldgate.evidence.persons import APPROVED, WAIVED
from worldgate.evidence.statistics import poisson_upper
from worldgate.fleet.deployments import Deployments
from worldgate.fleet.incidents import CLOSED, OPENED
from worldgate.fleet.planes import FOREVER_NS, NEVER_NS, Plane
from worldgate.record.events import Event
from worldgate.record.ledger import Head
from worldgate.record.workspace import Workspace

ALPHA = "0.05"
Rows = tuple[tuple[str, ...], Sequence[Sequence[object]]]
"""Columns and rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a decision's story at the moment of the bundle."""

    payload: Mapping[str, Any]
    decision: str
    seq: int
    subject: str
    subject_name: str
    model: str
    """A world model that the decision rests on; empty: none."""
    slots: tuple[str, ...]
    now_ns: int
    head: Head
    witness: Head | None
    documents: Mapping[str, Any]
    """File name -> document: decision, policy, release, plan."""
    trials: Sequence[Mapping[str, Any]]
    approvals: Sequence[Event]
    waivers: Sequence[Event]
    incidents: Sequence[Event]
    closed: Mapping[str, Event]
    """Incident -> the event that closed it."""
    exposure: Mapping[tuple[str, str], Exposure]
    """(slot, origin) -> what was seen there, of what is not nothing."""
    timeline: Sequence[Sequence[object]]
    replayed: int
    """Open-loop runs of the subject, which no gate counts."""
    limits: Sequence[str]
    """Empty coverage bins of the plan's suite, in words."""


def facts(
    ws: Workspace, events: Sequence[Event], decided: Event, *, now_ns: int, head: Head, witness: Head | None
) -> Facts:
    """Collect what the tables and the README speak of."""
    digest = decided.outputs[0].digest
    payload = ws.get_json(digest)
    subject, slots = str(payload["subject"]["digest"]), tuple(payload["scope"]["slots"])
    here = [e for e in events if e.kind == OPENED and e.body["slot"] in slots]
    about = {digest, subject}
    return Facts(
        payload=payload,
        decision=digest,
        seq=decided.seq,
        subject=subject,
        subject_name=_name(events, subject),
        model=_model(ws, payload),
        slots=slots,
        now_ns=now_ns,
        head=head,
        witness=witness,
        documents=_documents(ws, payload, digest),
        trials=_trials(ws, events, subject, payload["ledger_head"]["seq"]),
        approvals=[e for e in events if e.kind == APPROVED and e.body["decision"] == digest],
        waivers=[e for e in events if e.kind == WAIVED and _names(e) & about],
        incidents=here,
        closed={str(e.body["incident"]): e for e in events if e.kind == CLOSED},
        exposure=_exposure(ws, subject, slots, now_ns),
        timeline=_timeline(ws, slots, head.seq),
        replayed=sum(e.kind == "trial.open_loop" and e.body["release"] == subject for e in events),
        limits=_limits(ws, subject, payload),
    )


def _name(events: Iterable[Event], digest: str) -> str:
    found = [ref.name or e.name for e in events for ref in e.outputs if ref.digest == digest]
    return next((name for name in found if name), "")


def _names(event: Event) -> set[str]:
    refs = {ref.digest for ref in (*event.inputs, *event.outputs)}
    return refs | {value for value in event.body.values() if isinstance(value, str)}


def _model(ws: Workspace, payload: Mapping[str, Any]) -> str:
    if payload["gate"] == "admission":
        return str(payload["subject"]["digest"])
    found = [str(ws.get_json(digest)["subject"]["digest"]) for digest in payload["admissions"]]
    return found[-1] if found else ""


def _documents(ws: Workspace, payload: Mapping[str, Any], digest: str) -> dict[str, Any]:
    named = {"decision": digest, "policy": payload["policy"]["digest"]}
    if payload["subject"]["kind"] == "release":
        named["release"] = payload["subject"]["digest"]
    planned = [item["digest"] for item in payload["evidence"] if item["schema"] == plans.SCHEMA]
    named |= {"plan" if len(planned) == 1 else f"plan-{i}": plan for i, plan in enumerate(planned, 1)}
    out = {}
    for name, item in named.items():
        try:
            out[f"{name}.json"] = ws.get_json(item)
        except WorldgateError:
            continue  # verifying says that it is missing
    return out


def _trials(ws: Workspace, events: Iterable[Event], release: str, head: int) -> list[dict[str, Any]]:
    found = []
    for event in events:
        if event.kind == "trial.run" and event.body.get("release") == release:
            run = ws.get_json(str(event.body["trial"]))
            found.append({"seq": event.seq, "digest": event.body["trial"], "seen": event.seq <= head, **run})
    return found


def _limits(ws: Workspace, release: str, payload: Mapping[str, Any]) -> tuple[str, ...]:
    """What the suites of the decision's plans were meant to cover and its trials do not."""
    found: list[str] = []
    for item in payload["evidence"]:
        if item["schema"] != plans.SCHEMA:
            continue
        suite = scenarios.load_suite(ws, str(ws.get_json(item["digest"])["suite"]))
        if not suite.coverage:
            found.append(f"the suite {suite.name} does not say which situations it is meant to cover")
            continue
        listed = {digest: scenarios.load(ws, digest) for digest in suite.scenarios}
        told = trials.read_list(trials.collect(ws, release, upto_seq=payload["ledger_head"]["seq"]))
        counted = ORIGINS[str(payload["population"])]
        found += cover(suite.coverage, listed, [t.trial for t in told]).limits(population=counted)
    return tuple(found)


def _exposure(ws: Workspace, release: str, slots: Iterable[str], now_ns: int) -> dict[tuple[str, str], Exposure]:
    out = {}
    for slot in slots:
        for origin in (Origin.REAL, Origin.SIMULATED):
            seen = observed(ws, release, slot=slot, origins=frozenset({origin}), until_ns=now_ns)
            if seen.recordings:
                out[slot, str(origin)] = seen
    return out


def _timeline(ws: Workspace, slots: Iterable[str], upto_seq: int) -> list[tuple[object, ...]]:
    known = Deployments.of(ws, until_seq=upto_seq)
    rows: list[tuple[object, ...]] = []
    for slot in slots:
        for plane in Plane:
            for segment in known.timeline(slot, plane).segments:
                if segment.releases:
                    sure = segment.covered and len(segment.releases) == 1
                    certainty = "CERTAIN" if sure else "AMBIGUOUS"
                    span = (_time(segment.from_ns), _time(segment.to_ns))
                    rows.append((slot, plane.value, *span, certainty, " ".join(sorted(segment.releases))))
    return rows


def _time(value: int) -> str:
    return "" if value in (NEVER_NS, FOREVER_NS) else format_ns(value)


def bound(seen: Exposure) -> str:
    """Upper 95 % bound of incidents an hour; empty without exposure."""
    return poisson_upper(len(seen.incidents), seen.hours, ALPHA) if seen.hours > 0 else ""


def hours(seen: Iterable[Exposure]) -> Fraction:
    """All of them together."""
    return sum((one.hours for one in seen), Fraction(0))


def tables(told: Facts) -> dict[str, bytes]:
    """File name -> bytes."""
    out = {name: _json(document) for name, document in told.documents.items()}
    for name, (columns, rows) in {
        "trials.csv": _trial_rows(told),
        "approvals.csv": _approval_rows(told.approvals),
        "waivers.csv": _waiver_rows(told.waivers),
        "timeline.csv": (("slot", "plane", "from", "to", "certainty", "releases"), told.timeline),
        "exposure.csv": _exposure_rows(told),
        "incidents.csv": _incident_rows(told),
    }.items():
        out[name] = csv_of(columns, rows)
    return out


def _trial_rows(told: Facts) -> Rows:
    keys = ("seq", "digest", "scenario", "slot", "executor", "seed", "success", "violations", "excluded")
    columns = (*keys, "started", "plan", "row", "seen_by_decision")
    rows = [
        (*(run[k] for k in keys), format_ns(run["started_ns"]), run.get("plan", ""), run.get("row", ""), run["seen"])
        for run in told.trials
    ]
    return columns, rows


def _approval_rows(events: Sequence[Event]) -> Rows:
    times = {e.seq: (format_ns(e.recorded_at_ns), format_ns(e.body["expires_ns"])) for e in events}
    rows = [(e.seq, e.body["person"], " ".join(e.body["slots"]), *times[e.seq]) for e in events]
    return ("seq", "person", "slots", "recorded", "expires"), rows


def _waiver_rows(events: Iterable[Event]) -> Rows:
    rows = [
        (e.seq, format_ns(e.recorded_at_ns), format_ns(e.valid_to_ns) if e.valid_to_ns else "", _line(e.body))
        for e in events
    ]
    return ("seq", "recorded", "ends", "says"), rows


def _exposure_rows(told: Facts) -> Rows:
    columns = ("slot", "origin", "observed_h", "recordings", "incidents", "incidents_per_h_at_most_95")
    rows = [
        (slot, origin, f"{float(seen.hours):.6g}", len(seen.recordings), len(seen.incidents), bound(seen))
        for (slot, origin), seen in told.exposure.items()
    ]
    return columns, rows


def _incident_rows(told: Facts) -> Rows:
    rows = []
    for event in told.incidents:
        body, end = event.body, told.closed.get(str(event.body["incident"]))
        closed = ("open", "", "") if end is None else ("closed", end.body["scenario"], end.body["reason"])
        where = (event.seq, body["incident"], body["slot"], format_ns(body["at_ns"]), body["severity"], body["note"])
        rows.append((*where, *closed))
    return ("seq", "incident", "slot", "at", "severity", "note", "state", "scenario", "reason"), rows


def csv_of(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A table as CSV; a cell that a spreadsheet would run as a formula is quoted as text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue().encode()


def _cell(value: object) -> str:
    text = str(value)
    formula = text[:1] in ("=", "+", "@", "\t", "\r") or (text[:1] == "-" and not text[1:2].isdigit())
    return f"'{text}" if formula else text


def _line(tree: Any) -> str:
    return json.dumps(to_json(tree), ensure_ascii=False, sort_keys=True)


def _json(tree: Any) -> bytes:
    return (json.dumps(to_json(tree), ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()
