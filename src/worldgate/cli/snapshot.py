"""``worldgate snapshot``: what a contract accepts, frozen as a dataset."""

from __future__ import annotations

from worldgate.cli._contract import find_contract, find_logs
from worldgate.cli._encoder import encoder_of_contract
from worldgate.cli._engine import EngineOption, WorkersOption, chosen_engine
from worldgate.cli._output import JsonFlag, Table, answer, progress
from worldgate.cli._workspace import WorkspaceOption, open_workspace


def snapshot(
    contract: str,
    /,
    *logs: str,
    name: str,
    extends: str | None = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Freeze checked episodes as a dataset.

    For example:

        worldgate snapshot kitchen.toml --name kitchen-1
        worldgate snapshot kitchen.v1 --name kitchen-2 --extends kitchen-1

    Logs that the contract refuses are left out and named; exit code 4 if none is left, or if the same evidence would
    stand on both sides of a split.

    Args:
        contract: A TOML file, a contract that ships with Worldgate, or the id or name of a recorded one.
        logs: Ids or names of logs; without any, all logs of the workspace.
        name: What people call the dataset.
        extends: Id or name of an earlier dataset, whose logs all keep the split they had there.
    """
    from worldgate.core.digest import short
    from worldgate.data import datasets

    with open_workspace(workspace) as ws, chosen_engine(ws, engine, workers) as where, progress("align") as tell:
        parent = ws.resolve(extends, "dataset") if extends else None
        held = find_contract(ws, contract)
        ref = datasets.snapshot(
            ws,
            held,
            find_logs(ws, logs),
            name=name,
            extends=parent,
            encoder=encoder_of_contract(ws, held),
            progress=tell,
            engine=where,
        )
        manifest = datasets.manifest(ws, ref.digest)
    splits = sorted({entry.split for entry in manifest.episodes})
    rows = [(split, len(part), sum(e.rows for e in part)) for split in splits for part in [manifest.split(split)]]
    refused = [f"refused {short(log)}: {'; '.join(why)}" for log, why in manifest.refused.items()]
    answer(
        "snapshot",
        {"dataset": ref, "manifest": manifest},
        Table(columns=("split", "episodes", f"rows [{manifest.rate_hz:g} Hz]"), rows=rows),
        *refused,
        f"dataset {short(ref.digest)} {ref.name}: {len(manifest.episodes)} episodes, {len(refused)} logs refused",
        f"next: worldgate show {short(ref.digest)}",
        as_json=json,
    )
