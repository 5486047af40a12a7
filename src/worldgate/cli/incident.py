"""``worldgate incident``: freeze what happened on an arm, and close it with a consequence that lasts."""

from __future__ import annotations

from typing import Literal

from cyclopts import App

from worldgate.cli._output import JsonFlag, Table, answer
from worldgate.cli._workspace import WorkspaceOption, open_workspace

app = App(name="incident", help="Freeze what happened on an arm, and close it with a scenario.")


@app.command(name="open")
def open_(
    slot: str,
    time: str,
    /,
    *,
    note: str,
    key: str,
    severity: Literal["near-miss", "damage", "injury"] = "near-miss",
    before: float = 5.0,
    after: float = 5.0,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Freeze a window of an arm's logs, and what was known, before anything changes.

    For example:

        worldgate incident open kitchen/ur5-17/left 2026-11-22T10:00:00Z --note "brushed a sleeve" --key ada
        worldgate incident open kitchen/ur5-17/left 2026-11-22T10:00:00Z --note "cup broken" --severity damage --key ada

    Args:
        slot: The arm, as site/robot/arm.
        time: When, in ISO 8601 with a zone.
        note: What happened, in words.
        key: Name of the key of whoever opens it.
        severity: How bad it was.
        before: How much before that moment is kept, in seconds.
        after: How much after it, in seconds.
    """
    from worldgate.core.digest import short
    from worldgate.core.names import Slot
    from worldgate.core.times import SECOND, parse_ns
    from worldgate.fleet import incidents

    place, moment = Slot.parse(slot), parse_ns(time)
    with open_workspace(workspace) as ws:
        ref = incidents.open_incident(
            ws,
            place,
            moment,
            before_ns=round(before * SECOND),
            after_ns=round(after * SECOND),
            note=note,
            severity=incidents.Severity(severity),
            by=key,
        )
        frozen = incidents.load(ws, ref.digest)
    head = frozen.known["headline"]
    known = f"on the arm: {head['certainty']} {', '.join(short(r) for r in head['releases'])}".rstrip()
    said = [f"incident {short(ref.digest)}: {len(frozen.slices)} logs cut", known]
    said.append(f"next: worldgate incident close {short(ref.digest)} --scenario ID --key {key}")
    answer("incident.open", {"incident": ref, "frozen": frozen}, *said, as_json=json)


@app.command
def close(
    incident: str,
    /,
    *,
    key: str,
    scenario: str | None = None,
    reason: str = "",
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Close an incident with the scenario made from it, or a person's reason why there is none.

    For example:

        worldgate incident close near-miss-4c7a9a17 --scenario sleeve-by-the-tray --key ada
        worldgate incident close 4c7a9a17 --reason "the arm was unpowered" --key ada

    Every later gate of the site includes the scenario.

    Args:
        incident: Id or name of an incident.
        key: Name of a person's key.
        scenario: Id or name of a scenario that was made from it.
        reason: Why no scenario can be made.
    """
    from worldgate.fleet.incidents import close_incident

    with open_workspace(workspace) as ws:
        ref = ws.resolve(incident, "incident")
        made = ws.resolve(scenario, "scenario") if scenario is not None else None
        event = close_incident(ws, ref, by=key, scenario=made, reason=reason)
    how = f"with scenario {made.name or made.digest[:12]}" if made is not None else f"without a scenario: {reason}"
    answer("incident.close", {"incident": ref, "event": event.digest, **event.body}, f"closed {how}", as_json=json)


@app.command(name="list")
def list_(*, workspace: WorkspaceOption = None, json: JsonFlag = False) -> None:
    """List incidents, open ones first.

    For example:

        worldgate incident list
        worldgate incident list --json
    """
    from worldgate.core.digest import short
    from worldgate.core.times import format_ns
    from worldgate.fleet.incidents import CLOSED, OPENED

    with open_workspace(workspace) as ws:
        closed = {event.body["incident"] for event in ws.ledger.events(CLOSED)}
        found = [{**event.body, "open": event.body["incident"] not in closed} for event in ws.ledger.events(OPENED)]
    found.sort(key=lambda body: (not body["open"], body["at_ns"]))
    rows = [
        (
            short(b["incident"]),
            "open" if b["open"] else "closed",
            b["severity"],
            b["slot"],
            format_ns(b["at_ns"]),
            b["note"],
        )
        for b in found
    ]
    table = Table(columns=("incident", "state", "severity", "slot", "time", "note"), rows=rows)
    answer("incident.list", {"incidents": found}, table, as_json=json)
