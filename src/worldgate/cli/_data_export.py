"""``worldgate data export``: a dataset or a log as files for others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from worldgate.cli._output import JsonFlag, answer, note, progress
from worldgate.cli._workspace import WorkspaceOption, open_workspace


def export(
    what: str,
    out: Path,
    /,
    *,
    to: str,
    contract: str | None = None,
    option: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Write a dataset, or one log, in a format that others read.

    For example:

        worldgate data export kitchen-2 exported/kitchen --to lerobot
        worldgate data export 4c7a9a17 exported/run_007 --to mcap

    Splits, origins, facts, units and native times go with the data, the card stands beside it as README.md, and the
    export is recorded. Exit code 4 if a camera that a contract masks is not masked, or a stream that one forbids would
    leave.

    Args:
        what: Id or name of a dataset, or of a log.
        out: A new folder.
        to: An entry of `worldgate list exports`.
        contract: Of a log: name or id of the recorded contract whose alignment makes rows of it.
        option: NAME=VALUE, of the format: `--option pictures=image`; may be given several times.
    """
    from worldgate.core.digest import short
    from worldgate.core.errors import NotFound, UsageError
    from worldgate.data import exporting

    options = _options(option)
    with open_workspace(workspace) as ws, progress("export") as tell:
        try:
            ref = ws.resolve(what, "dataset")
        except NotFound:
            ref = ws.resolve(what, "log")
        if ref.kind == "dataset":
            if contract is not None:
                raise UsageError("a dataset has its contract", got=contract, where="--contract")
            made = exporting.export_dataset(ws, ref, to, out, options=options, progress=tell)
        else:
            rules = None if contract is None else ws.resolve(contract, "contract")
            made = exporting.export_log(ws, ref, to, out, contract=rules, options=options)
    for name, why in made.left_out.items():
        note(f"{name} is left out: {why}")
    episodes = f"{made.items} episode{'s' if made.items != 1 else ''}"
    said = f"{ref.kind} {short(ref.digest)} {ref.name} as {to} in {out}: {episodes}, {made.files} files, "
    said += f"{made.bytes / 1e6:.1f} MB; export {short(made.ref.digest)}"
    answer("data.export", {"exported": made, "from": ref}, said, as_json=json)


def _options(given: tuple[str, ...]) -> dict[str, Any]:
    from worldgate.core.errors import UsageError

    out: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError("an option is NAME=VALUE", got=text, where="--option")
        out[key] = int(value) if value.isdigit() else value
    return out
