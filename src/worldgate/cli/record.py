"""``worldgate record``: verify the record and keep its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cyclopts import App

from worldgate.cli._output import JsonFlag, Table, answer
from worldgate.cli._record_bundle import bundle, read_head, verify_folder
from worldgate.cli._workspace import WorkspaceOption, open_workspace

app = App(name="record", help="Verify the record and keep its keys.")
keys_app = App(name="keys")
app.command(keys_app)
app.command(bundle)


@app.command
def verify(
    folder: Path | None = None,
    /,
    *,
    head: str | None = None,
    witness: Path | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> int:
    """Check every link, signature, key, object and decision, each on its own.

    For example:

        worldgate record verify
        worldgate record verify --witness grace-412.json
        worldgate record verify evidence --head 412:9f2c...

    Exit code 1 if anything does not hold; each broken record is named. Of a bundle, what is withheld is counted.

    Args:
        folder: An evidence bundle; else the workspace is verified.
        head: SEQUENCE:HASH that somebody else kept; without one a cut tail cannot show.
        witness: File that `worldgate record witness` wrote: a head that somebody outside the ledger signed.
    """
    from worldgate.core.errors import UsageError
    from worldgate.evidence.recompute import RECOMPUTE
    from worldgate.record import witness as witnesses
    from worldgate.record.verify import verify as check_record

    if head is not None and witness is not None:
        raise UsageError("one head at a time", hint="--head or --witness")
    kept, by = read_head(head), ""
    if folder is not None:
        if witness is not None:
            raise UsageError("of a bundle, give the head itself", got=witness, hint="--head SEQUENCE:HASH")
        return verify_folder(folder, kept, as_json=json)
    with open_workspace(workspace) as ws:
        if witness is not None:
            sight = witnesses.read(witness, ws.ledger)
            kept, by = sight.head, f"witnessed up to record {sight.seq} by {sight.name}, key {sight.keyid[:12]}"
        report = check_record(ws, recompute=RECOMPUTE, witness=kept)
    rows = [(problem.seq or "ledger", problem.digest[:12], problem.what) for problem in report.problems]
    said = (
        f"{report.records} records and {report.objects} objects checked, {report.recomputed} claims recomputed, "
        f"{len(report.problems)} problems; head {report.head.seq}:{report.head.hash}"
    )
    unseen = "unwitnessed: no head kept elsewhere was given, so a cut tail or a re-issue would not show"
    last = by if report.witnessed else unseen if kept is None else ""
    parts = [Table(columns=("record", "id", "what does not hold"), rows=rows)] if rows else []
    body = {
        "ok": report.ok,
        "records": report.records,
        "objects": report.objects,
        "recomputed": report.recomputed,
        "head": report.head,
        "witnessed": report.witnessed,
        "witness": by,
        "problems": report.problems,
    }
    answer("record.verify", body, *parts, said, *([last] if last else []), as_json=json)
    return 0 if report.ok else 1


@app.command
def witness(folder: Path, out: Path, /, *, key: str, workspace: WorkspaceOption = None, json: JsonFlag = False) -> None:
    """Sign the head of another ledger with a key of one's own, so that a cut tail or a re-issue of it would show.

    For example:

        worldgate record witness ../fleet fleet-412.json --key grace
        worldgate record witness /mnt/fleet heads/today.json --key grace --workspace my-own

    The key lies in the witness's own workspace, never in the one that is witnessed.

    Args:
        folder: The workspace that is witnessed.
        out: The file to write; give it to whoever shall verify, and keep a copy.
        key: Name of a key of the witness's own workspace.
    """
    from worldgate.core.times import now_ns
    from worldgate.record import witness as witnesses
    from worldgate.record.workspace import Workspace

    with open_workspace(workspace) as own, Workspace.open(folder) as seen:
        envelope = witnesses.witness(own, seen.ledger, key=key, now_ns=now_ns())
        witnesses.write(out, envelope)
        sight = witnesses.read(out, seen.ledger)
    body = {"file": out, "ledger": sight.ledger, "head": sight.head, "keyid": sight.keyid, "name": sight.name}
    said = f"{key} saw record {sight.seq} of {folder}: {out}; key {sight.keyid}"
    answer("record.witness", body, said, as_json=json)


@keys_app.default
def keys(*, workspace: WorkspaceOption = None, json: JsonFlag = False) -> None:
    """List the keys that the record knows.

    For example:

        worldgate record keys
        worldgate record keys --workspace fleet --json
    """
    with open_workspace(workspace) as ws:
        known = ws.ledger.keyring().keys()
    body = [
        {"name": key.name, "role": key.role, "owner": key.owner, "keyid": key.keyid, "good": good}
        for key, good in known
    ]
    rows = [(key.name, key.role, key.owner, key.keyid[:12], "good" if good else "revoked") for key, good in known]
    columns = ("key", "role", "owner", "id", "state")
    answer("record.keys", {"keys": body}, Table(columns=columns, rows=rows), as_json=json)


@keys_app.command
def add(
    name: str,
    /,
    *,
    owner: str = "",
    role: Literal["person", "robot", "service"] = "person",
    by: str | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Make a key and add it to the record.

    For example:

        worldgate record keys add grace
        worldgate record keys add ur5-17 --role robot --owner ada

    Args:
        name: Of the key, and of the file that holds its private half.
        owner: The person it belongs to, or who answers for the robot or service; else the name itself.
        role: Whose key it is.
        by: Name of the person's key that adds it; else the workspace's own person.
    """
    from worldgate.record.keys import Role

    with open_workspace(workspace) as ws:
        keyid = ws.add_key(name, owner=owner or name, role=Role(role), by=by)
        file = ws.root / "keys" / f"{name}.pem"
    answer("record.keys.add", {"keyid": keyid, "file": file}, f"key {keyid[:12]} of {name} in {file}", as_json=json)


@keys_app.command
def revoke(
    name: str, /, *, reason: str, by: str | None = None, workspace: WorkspaceOption = None, json: JsonFlag = False
) -> None:
    """Revoke a key: nothing that it signs from now on counts.

    For example:

        worldgate record keys revoke grace --reason "laptop lost"
        worldgate record keys revoke ur5-17 --reason "decommissioned" --by ada

    Args:
        name: Name or id of the key.
        reason: Why, for the record.
        by: Name of the person's key that revokes it; else the workspace's own person.
    """
    with open_workspace(workspace) as ws:
        known = ws.ledger.keyring().keys()
        held = {key.name: key.keyid for key, _ in known}
        event = ws.revoke_key(held.get(name, name), reason=reason, by=by)
    answer("record.keys.revoke", {"event": event.digest}, f"{name} is revoked in record {event.seq}", as_json=json)
