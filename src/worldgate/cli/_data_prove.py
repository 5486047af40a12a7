"""``worldgate data prove``: whether a contract's checks find faults that are injected into a user's own logs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from worldgate.cli._output import JsonFlag, Table, answer, progress
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worldgate.core.streams import Log
    from worldgate.data.contracts import Contract
    from worldgate.data.proving import Proof
    from worldgate.record.workspace import Workspace


def prove(
    contract: str,
    /,
    *logs: str,
    fault: list[str] | None = None,
    sweep: bool = False,
    most: int = 3,
    seed: int = 0,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Inject faults into logs and count how many of them the contract's checks find.

    For example:

        worldgate data prove kitchen.toml recordings/run_007.mcap
        worldgate data prove cell --fault freeze --sweep

    The logs should be clean: what a check says of them as they are counts as a false alarm, and it cannot be proved
    there. Nothing is written. A fault is caught when its check speaks of the hurt stream, where it was hurt. `worldgate
    list injectors` shows the faults; each has a magnitude from which on it must be found.

    Args:
        contract: A TOML file, a contract that ships with Worldgate, or the id or name of a recorded one.
        logs: Files or folders that `worldgate list logs` can open, or ids or names of logs of the workspace; without
            any, logs of the workspace.
        fault: Only these injectors, or kinds as `freeze.coded`. May be given several times.
        sweep: Every magnitude of a fault, instead of the least that must be found.
        most: How many logs are used at most.
        seed: Decides where faults strike.
    """
    from worldgate.data.proving import prove as inject

    held, opened = _opened(contract, logs, workspace, most)
    rules = {name: rule.params for name, rule in held.checks.items()}
    with progress("prove") as tell:
        proof = inject(opened, rules, faults=fault or (), sweep=sweep, seed=seed, progress=tell)
    columns = ("fault", "check", "magnitude", "caught", "share", "95 % interval", "")
    found = Table(columns=columns, rows=_rows(proof))
    quiet = Table(columns=("check", "false alarms", "an hour", "at most"), rows=_alarms(proof))
    said = f"{len(opened)} logs, {proof.seconds:.0f} s, as they are: {sum(proof.alarms.values())} findings"
    answer("data.prove", {"contract": held.name, "proof": proof}, found, quiet, said, as_json=json)


def _opened(text: str, names: Sequence[str], workspace: Path | None, most: int) -> tuple[Contract, list[Log]]:
    """The contract and the logs, without a workspace where none is needed."""
    from worldgate.data import contracts
    from worldgate.data.logs import open_folder

    free = text.endswith(".toml") or text in contracts.shipped()
    if free and names and all(Path(name).exists() for name in names):
        return contracts.read(text), [log for name in names for log in open_folder(Path(name)).logs][:most]
    with open_workspace(workspace) as ws:
        held = contracts.read(text) if free else contracts.load(ws, ws.resolve(text, "contract").digest)
        return held, _recorded(ws, names)[:most]


def _recorded(ws: Workspace, names: Sequence[str]) -> list[Log]:
    from worldgate.core.errors import NotFound
    from worldgate.data.ingest import ingested, open_log

    digests = [ws.resolve(name, "log").digest for name in names] or list(ingested(ws))
    if not digests:
        raise NotFound("no logs to inject faults into", hint="worldgate data prove CONTRACT LOG, or worldgate ingest")
    return [open_log(ws, digest) for digest in digests]


def _rows(proof: Proof) -> list[tuple[str, ...]]:
    from worldgate.data.proving import wilson

    out: list[tuple[str, ...]] = []
    for line in proof.lines:
        low, high = wilson(line.caught, line.trials)
        told = (f"{line.caught / line.trials:.2f}", f"{low:.2f} to {high:.2f}") if line.trials else ("-", "-")
        note = "" if line.magnitude >= line.least else "below what must be found"
        if line.blind:
            note = f"{note}; {line.blind} logs where the check speaks up anyway".lstrip("; ")
        if line.hidden:
            note = f"{note}; {line.hidden} logs that show nothing of it".lstrip("; ")
        size = f"{line.magnitude:g} {line.unit}"
        out.append((line.kind, line.check, size, f"{line.caught}/{line.trials}", *told, note))
    return out


def _alarms(proof: Proof) -> list[tuple[str, ...]]:
    from worldgate.data.proving import hourly

    out: list[tuple[str, ...]] = []
    for name, count in proof.alarms.items():
        rate, bound = hourly(count, proof.seconds)
        out.append((name, str(count), f"{rate:.1f}", f"{bound:.0f}"))
    return out
