"""``worldgate trial run`` and ``order``: the page for whoever scores, and the list for whoever loads."""

from __future__ import annotations

from pathlib import Path

from worldgate.cli._output import JsonFlag, Table, answer, note
from worldgate.cli._workspace import WorkspaceOption, open_workspace


def run(
    plan: str,
    /,
    *,
    key: str = "",
    host: str = "127.0.0.1",
    port: int = 8420,
    certificate: Path | None = None,
    certificate_key: Path | None = None,
    new_token: bool = False,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Serve the page on which a person at the cell runs and scores a plan's trials.

    For example:

        worldgate trial run 4c7a9a17
        worldgate trial run careful-r3 --key grace --host 192.168.1.20 --certificate cell.pem --certificate-key cell.key

    Open the printed address on a phone or tablet. It goes on without a connection and sends what it kept when there
    is one. Stop with Ctrl-C; the ledger holds all that was recorded, and the same command goes on. A camera, and a
    page that opens without a connection, need a certificate that the device trusts.

    Args:
        plan: Id or name of a registered plan.
        key: Name of the operator's key, which signs every trial; else the workspace's person.
        host: Address to listen at; by default this machine alone.
        port: Port; 0 takes any.
        certificate: PEM file of a certificate for the address.
        certificate_key: PEM file of its private key.
        new_token: Make another token: devices that hold the old one are out.
    """
    from worldgate.console.desk import Desk
    from worldgate.console.serving import Place, listen, serve, token_in
    from worldgate.console.trials import app
    from worldgate.core.digest import short

    place = Place(host=host, port=port, certificate=certificate, key=certificate_key)
    with open_workspace(workspace) as ws:
        digest = ws.resolve(plan, "plan").digest
        desk = Desk(ws, digest, actor=key or ws.person)
        token = token_in(ws.root / "keys" / f"trial-{short(digest)}.token", fresh=new_token)
        held = listen(place)
        url = place.url(held.getsockname()[1], token)
        done, rows = len(desk.book.done), len(desk.plan.rows)
        body = {"url": url, "plan": digest, "recorded": done, "rows": rows, "secure": place.secure}
        answer("trial.run", body, url, f"{done} of {rows} runs recorded; stop with Ctrl-C", as_json=json)
        if not place.secure:
            note("without a certificate: no camera, and the page does not open again while there is no connection")
        try:
            serve(app(desk, token=token), place, held)
        except KeyboardInterrupt:
            desk.book.refresh()
            note(f"{len(desk.book.done)} of {rows} runs recorded; go on: worldgate trial run {short(digest)}")


def order(plan: str, /, *, workspace: WorkspaceOption = None, json: JsonFlag = False) -> None:
    """List which release each run of a plan needs, for whoever puts releases on arms, not for whoever scores.

    For example:

        worldgate trial order 4c7a9a17
        worldgate trial order careful-r3 --json

    Args:
        plan: Id or name of a registered plan.
    """
    from worldgate.core.digest import short
    from worldgate.evidence import plans

    with open_workspace(workspace) as ws:
        held = plans.load(ws, ws.resolve(plan, "plan").digest)
    releases = {"new": held.release, "old": held.baseline}
    found = [
        {"row": number, "pair": row.pair, "slot": row.slot, "release": releases[row.side]}
        for number, row in enumerate(held.rows, 1)
    ]
    rows = [(item["row"], item["pair"], item["slot"], short(str(item["release"]))) for item in found]
    table = Table(columns=("run", "pair", "arm", "release"), rows=rows)
    answer("trial.order", {"plan": held.digest, "order": found}, table, as_json=json)
