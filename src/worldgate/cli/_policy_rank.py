"""``worldgate policy rank``: the order of releases in a world model, beside the order that counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldgate.cli._output import JsonFlag, Table, answer, progress
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from worldgate.core.report import Table as Rows

GATE_SAID_NO = 3


def rank(
    *releases: str,
    model: str,
    task: str = "cell",
    site: str = "north",
    starts: int = 20,
    seconds: float = 12.0,
    seed: int = 0,
    bar: float | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> int:
    """Rank releases inside a world model and in its true environment, from the same starts.

    For example:

        worldgate policy rank first second third --model arm-dynamics
        worldgate policy rank first second third --model arm-dynamics --task cell --site south --starts 40 --seconds 10
        worldgate policy rank first second third --model arm-dynamics --seed 1000 --bar 0.6

    Prints success on both sides for each release, then Pearson, Spearman, rank violation (MMRV), bias, worst error and
    the regret of choosing the model's favourite, with 95 % intervals. Every outcome goes on the ledger as evidence;
    nothing here is a trial. A model without an admission ranks all the same, and the table says so.

    Args:
        releases: Ids or names of releases; three or more make an order.
        model: Id or name of a world model.
        task: What they do: cell, or a task of `worldgate list tasks` that can be judged from an observation.
        site: Of the cell; also where an admission of the model is looked for.
        starts: How many starts, the same for every release and on both sides.
        seconds: Longest run in the cell.
        seed: Of the first start.
        bar: Exit with 3 unless the lower bound of Pearson's r reaches this.
    """
    from worldgate.control.rank_recorded import Asked, rank_recorded
    from worldgate.core.evidence import Status
    from worldgate.core.times import now_ns
    from worldgate.evidence.rank_report import figure_table, policy_table

    asked = Asked(task=task, site=site, starts=starts, seconds=seconds, seed=seed)
    with open_workspace(workspace) as ws, progress("rank") as tell:
        chosen = [ws.resolve(name, "release") for name in releases]
        made = rank_recorded(ws, ws.resolve(model, "world_model"), chosen, asked, now_ns=now_ns(), progress=tell)
    found = made.report.ranked()
    said = [
        *made.report.marks(),
        f"the model's favourite: {', '.join(found.favourite)}; truly best: {', '.join(found.best)}",
        *([f"order: INCONCLUSIVE, {found.why}"] if found.why else []),
    ]
    code, status = 0, None
    if bar is not None:
        status = found.status(str(bar))
        said.append(f"lower bound of Pearson's r at least {bar:g}: {status}")
        code = 0 if status is Status.PASS else GATE_SAID_NO
    said.append(f"evidence {made.evidence.digest[:12]}")
    body = {"evidence": made.evidence, "report": made.report.to_json(), "ranked": found, "status": status}
    tables = (_shown(policy_table(made.report)), _shown(figure_table(found)))
    answer("policy.rank", body, *tables, *said, as_json=json)
    return code


def _shown(rows: Rows) -> Table:
    return Table(columns=rows.headings, rows=rows.rows, title=rows.caption)
