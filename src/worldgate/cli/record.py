"""``worldgate record``: verify the record and see its keys."""

from __future__ import annotations

from cyclopts import App

from worldgate.cli._output import JsonFlag, Table, answer
from worldgate.cli._workspace import WorkspaceOption, open_workspace

app = App(name="record", help="Verify the record and see its keys.")


@app.command
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
