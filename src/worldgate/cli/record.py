"""``worldgate record``: verify the record and see its keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cyclopts import App

from worldgate.cli._output import JsonFlag, Table, answer
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from worldgate.record.ledger import Head

app = App(name="record", help="Verify the record and see its keys.")


@app.command
def verify(*, head: str | None = None, workspace: WorkspaceOption = None, json: JsonFlag = False) -> int:
    """Check every link, signature, key, object and decision, each on its own.

    For example:

        worldgate record verify
        worldgate record verify --head 412:9f2c...

    Exit code 1 if anything does not hold; each broken record is named.

    Args:
        head: SEQUENCE:HASH that somebody else kept; without one a cut tail cannot show.
    """
    from worldgate.evidence.recompute import RECOMPUTE
    from worldgate.record.verify import verify as check_record

    witness = _head(head)
    with open_workspace(workspace) as ws:
        report = check_record(ws, recompute=RECOMPUTE, witness=witness)
    rows = [(problem.seq or "ledger", problem.digest[:12], problem.what) for problem in report.problems]
    said = (
        f"{report.records} records and {report.objects} objects checked, {report.recomputed} claims recomputed, "
        f"{len(report.problems)} problems; head {report.head.seq}:{report.head.hash}"
    )
    unseen = "" if report.witnessed else "no head kept elsewhere was given: a cut tail or a re-issue would not show"
    parts = [Table(columns=("record", "id", "what does not hold"), rows=rows)] if rows else []
    body = {
        "ok": report.ok,
        "records": report.records,
        "objects": report.objects,
        "recomputed": report.recomputed,
        "head": report.head,
        "witnessed": report.witnessed,
        "problems": report.problems,
    }
    answer("record.verify", body, *parts, said, *([unseen] if unseen else []), as_json=json)
    return 0 if report.ok else 1


def _head(text: str | None) -> Head | None:
    from worldgate.core.errors import UsageError
    from worldgate.record.ledger import Head

    if text is None:
        return None
    seq, _, digest = text.partition(":")
    if not seq.isdecimal() or not digest:
        raise UsageError(
            "not a head", got=ascii(text)[:80], hint="SEQUENCE:HASH, as `worldgate record verify` prints it"
        )
    return Head(int(seq), digest)


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
