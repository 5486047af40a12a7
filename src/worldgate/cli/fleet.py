"""``worldgate fleet``: releases, what runs where, and what ran where."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cyclopts import App

from worldgate.cli._output import JsonFlag, Table, answer
from worldgate.cli._workspace import WorkspaceOption, open_workspace

app = App(name="fleet", help="Say which release runs, and ran, on which arm.")
release_app = App(name="release", help="Compare executable identities.")
app.command(release_app)


@app.command(name="as-of")
def as_of(
    slot: str,
    time: str,
    /,
    *,
    known_as_of: str | None = None,
    error: float = 0.0,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Say which release was on an arm at a time.

    For example:

        worldgate fleet as-of kitchen/ur5-17/left 2026-11-22T10:00:00Z
        worldgate fleet as-of kitchen/ur5-17/left 2026-11-22T10:00:00Z --known-as-of 2026-11-22T12:00:00Z

    The answer is CERTAIN with its error, AMBIGUOUS with what is possible, or UNKNOWN; never a guess.

    Args:
        slot: The arm, as site/robot/arm.
        time: When, in ISO 8601 with a zone, or nanoseconds.
        known_as_of: Answer only from what had been recorded by then.
        error: How far the time asked for may be off, in seconds.
    """
    from worldgate.core.names import Slot
    from worldgate.core.times import SECOND, parse_ns
    from worldgate.fleet.as_of import as_of as ask

    place, moment = Slot.parse(slot), parse_ns(time)
    known = parse_ns(known_as_of) if known_as_of is not None else None
    with open_workspace(workspace) as ws:
        found = ask(ws, place, moment, known, error_ns=round(error * SECOND))
    rows = [(plane, plane_answer) for plane, plane_answer in found.planes.items()]
    table = Table(columns=("plane", "answer"), rows=rows)
    answer("fleet.as_of", {"answer": found}, str(found.headline), table, *found.findings, as_json=json)


@app.command(name="import")
def import_(
    file: Path, /, *, key: str | None = None, workspace: WorkspaceOption = None, json: JsonFlag = False
) -> None:
    """Take past deployments from a CSV file, all rows or none.

    For example:

        worldgate fleet import deployments.csv
        worldgate fleet import deployments.csv --key ada

    Columns are slot, release, from, to, error_s, source and optionally plane. Time without a row stays UNKNOWN; exit
    code 4 if a row cannot be taken as it stands.

    Args:
        file: The CSV file.
        key: Name of the key that vouches for the rows; else the program's own.
    """
    from worldgate.core.times import format_ns
    from worldgate.fleet.backfill import backfill

    with open_workspace(workspace) as ws:
        events = backfill(ws, file, by=key)
    rows = [
        (e.body["slot"], str(e.body["release"])[:20], format_ns(e.valid_from_ns or 0), format_ns(e.valid_to_ns or 0))
        for e in events
    ]
    body = {"deployments": [{"event": e.digest, "seq": e.seq, **e.body} for e in events]}
    table = Table(columns=("slot", "release", "from", "to"), rows=rows)
    answer("fleet.import", body, table, f"{len(events)} deployments on the record", as_json=json)


@app.command
def deploy(
    release: str,
    slot: str,
    /,
    *,
    at: str | None = None,
    error: float = 0.0,
    stage: Literal["canary", "site", "fleet"] = "site",
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Assign a release to an arm, if a promotion decision and its approvals allow it.

    For example:

        worldgate fleet deploy careful-r3 kitchen/ur5-17/left
        worldgate fleet deploy careful-r3 kitchen/ur5-17/left --at 2026-11-23T06:00:00Z --error 0.5

    A refusal is recorded too.

    Args:
        release: Id or name of a release.
        slot: The arm, as site/robot/arm.
        at: From when, in ISO 8601 with a zone; else now.
        error: Bound on the error of that time, in seconds.
        stage: How far it shall go: what was promoted or approved for a smaller stage does not allow it.
    """
    from functools import partial

    from worldgate.core.names import Slot
    from worldgate.core.times import SECOND, format_ns, now_ns, parse_ns
    from worldgate.fleet.deployments import assign, by_gate

    place, moment = Slot.parse(slot), now_ns() if at is None else parse_ns(at)
    with open_workspace(workspace) as ws:
        ref = ws.resolve(release, "release")
        event = assign(ws, ref, place, moment, authorise=partial(by_gate, stage=stage), err_ns=round(error * SECOND))
    body = {"event": event.digest, "slot": str(place), "release": ref, "from_ns": moment}
    answer(
        "fleet.deploy",
        body,
        f"{ref.name or ref.digest[:12]} is assigned to {place} from {format_ns(moment)}",
        as_json=json,
    )


@app.command
def exposure(
    release: str,
    slot: str,
    start: str,
    end: str,
    /,
    *,
    hours: float,
    episodes: int,
    key: str | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Record how much a release ran on an arm: limited waivers count it.

    For example:

        worldgate fleet exposure r3 kitchen/ur5-17/left 2026-11-23T06:00Z 2026-11-23T14:00Z --hours 6.5 --episodes 210
        worldgate fleet exposure r3 kitchen/ur5-17/left 2026-11-24T06:00Z 2026-11-24T14:00Z --hours 0 --episodes 0

    Args:
        release: Id or name of a release.
        slot: The arm, as site/robot/arm.
        start: From when, in ISO 8601 with a zone.
        end: Until when.
        hours: How much of that time the arm ran; 0 where it stood still.
        episodes: How many episodes were begun.
        key: Name of the key that signs; else the program's own.
    """
    from worldgate.core.times import parse_ns
    from worldgate.evidence.exposure import HOUR_NS, record_exposure

    window = (parse_ns(start), parse_ns(end))
    with open_workspace(workspace) as ws:
        ref = ws.resolve(release, "release")
        event = record_exposure(ws, ref, slot, window, running_ns=round(hours * HOUR_NS), episodes=episodes, actor=key)
    said = f"{hours:g} h and {episodes} episodes of {ref.name or ref.digest[:12]} on {slot}"
    answer("fleet.exposure", {"event": event.digest, **event.body}, said, as_json=json)


@app.command
def configure(
    slot: str, parts: Path, /, *, key: str | None = None, workspace: WorkspaceOption = None, json: JsonFlag = False
) -> None:
    """Record what an arm is made of from now on: a decision holds for this machine and no other.

    For example:

        worldgate fleet configure kitchen/ur5-17/left left-arm.toml
        worldgate fleet configure kitchen/ur5-17/left left-arm.toml --key grace

    Args:
        slot: The arm, as site/robot/arm.
        parts: A TOML file: tool, cameras with their calibration, controller firmware, URDF digest, whatever you name.
        key: Name of the key that signs; else the program's own.
    """
    from worldgate.core.config import read_toml
    from worldgate.core.times import now_ns
    from worldgate.evidence import hardware

    told = read_toml(parts)
    with open_workspace(workspace) as ws:
        ref = hardware.configure(ws, slot, told, now_ns=now_ns(), actor=key)
    answer("fleet.configure", {"slot": slot, "hardware": ref}, f"{slot} is now {ref.digest[:12]}", as_json=json)


@release_app.command
def diff(a: str, b: str, /, *, workspace: WorkspaceOption = None, json: JsonFlag = False) -> None:
    """Show every line in which two releases differ.

    For example:

        worldgate fleet release diff careful-r2 careful-r3
        worldgate fleet release diff 4c7a9a17 5d01b2aa --json

    Args:
        a: Id or name of a release.
        b: Id or name of the other.
    """
    from worldgate.fleet import releases

    with open_workspace(workspace) as ws:
        left, right = ws.resolve(a, "release"), ws.resolve(b, "release")
        changes = releases.diff(releases.load(ws, left.digest), releases.load(ws, right.digest))
    said = [str(change) for change in changes] or ["the same executable identity"]
    answer("fleet.release.diff", {"a": left, "b": right, "changes": changes}, *said, as_json=json)
