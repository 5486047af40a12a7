"""``worldgate gate claim``: what a safety case is worth now, asked of the ledger."""

from __future__ import annotations

from pathlib import Path

from worldgate.cli._output import JsonFlag, Table, answer
from worldgate.cli._workspace import WorkspaceOption, open_workspace

_NOT_SHOWN = 3
_COLUMNS = ("id", "element", "standing", "level", "age [d]", "population", "says", "because")


def claim(
    tree: str,
    /,
    *,
    release: str = "",
    slot: str = "",
    model: str = "",
    witness: str = "",
    at: str | None = None,
    svg: Path | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> int:
    """Ask every claim of a safety case whether the record still shows it.

    For example:

        worldgate gate claim cell --release careful-r3 --slot cell-a/arm-1/left --model arm-dynamics
        worldgate gate claim kitchen.toml --release careful-r3 --svg kitchen.svg

    Each is fresh, stale, undeveloped or failed, and a goal is as good as its worst support. Levels stand as stated by
    the author / reached by the evidence. Exit code 3 unless everything is fresh.

    Args:
        tree: A TOML file, or a tree that ships with Worldgate.
        release: What $release means: id or name.
        slot: What $slot means, as site/robot/arm; $site is its first part.
        model: What $model means: id or name of a world model.
        witness: What $witness means: SEQUENCE:HASH that somebody else kept.
        at: Ask as of this time, in ISO 8601 with a zone; else now. The ledger is read as it is today.
        svg: Draw the tree into this file.
    """
    from worldgate.core.atomic import write_atomic
    from worldgate.core.names import Slot
    from worldgate.core.times import now_ns, parse_ns
    from worldgate.evidence import claim_status, claims
    from worldgate.evidence.claim_svg import draw

    case = claims.load(tree)
    moment = now_ns() if at is None else parse_ns(at)
    names = {"release": release, "slot": slot, "model": model, "witness": witness}
    names["site"] = str(Slot.parse(slot).site) if slot else ""
    with open_workspace(workspace) as ws:
        found = claim_status.assess(case, ws, now_ns=moment, names=names)
    if svg is not None:
        write_atomic(svg, draw(found).encode())
    said = claim_status.headline(found)
    table = Table(columns=_COLUMNS, rows=claim_status.lines(found), title=case.title)
    drawn = [f"drawn in {svg}"] if svg is not None else []
    answer("gate.claim", {"report": claim_status.export(found)}, table, said, *drawn, as_json=json)
    return 0 if found.holds else _NOT_SHOWN
