"""``worldgate show``: what anything is, what made it and what it touched; and where a configuration came from."""

from __future__ import annotations

import json as json_text
from typing import TYPE_CHECKING, Any

from cyclopts import App

from worldgate.cli._output import JsonFlag, Table, answer
from worldgate.cli._recipe import SetOption
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from worldgate.record.lineage import Node
    from worldgate.record.workspace import Workspace

app = App(name="show")
BODY_LINES = 40


@app.default
def show(id: str | None = None, /, *, workspace: WorkspaceOption = None, json: JsonFlag = False) -> None:
    """Show what anything is, what made it and what it touched.

    For example:

        worldgate show
        worldgate show 4c7a9a17

    Args:
        id: A digest, a unique prefix of one, or a unique name; without one, what the workspace holds.
    """
    from worldgate.record.lineage import backward, forward

    with open_workspace(workspace) as ws:
        if id is None:
            _show_workspace(ws, as_json=json)
            return
        ref = ws.resolve(id)
        made, touched = backward(ws, ref.digest), forward(ws, ref.digest)
        _show_artefact(made, touched, as_json=json)


@app.command
def config(recipe: str, /, *, set_: SetOption = (), json: JsonFlag = False) -> None:
    """Show a recipe's configuration and where each value came from.

    For example:

        worldgate show config demo
        worldgate show config nightly.toml --set models.video_s=120

    Later sources win: the recipe, the file, WORLDGATE_A__B variables, --set.

    Args:
        recipe: A recipe of `worldgate list recipes`, or a TOML file that names one.
    """
    import dataclasses

    from worldgate.core.config import flatten
    from worldgate.recipes._resolve import find

    found = find(recipe, sets=set_)
    values = flatten(dataclasses.asdict(found.config.value))
    sources = {key: found.config.sources.get(key, "recipe") for key in values}
    rows = [(key, json_text.dumps(value, default=str), sources[key]) for key, value in values.items()]
    table = Table(columns=("key", "value", "from"), rows=rows, title=f"recipe {found.name}")
    answer("config", {"recipe": found.name, "config": found.config.value, "sources": sources}, table, as_json=json)


def _show_workspace(ws: Workspace, *, as_json: bool) -> None:
    from worldgate.core.digest import short

    kinds = ws.kinds()
    newest = {kind: ws.artifacts(kind)[-1] for kind in kinds}
    rows = [(kind, count, newest[kind].name, short(newest[kind].digest)) for kind, count in kinds.items()]
    body = {"root": ws.root, "name": ws.name, "id": ws.id, "kinds": kinds, "newest": newest}
    table = Table(columns=("kind", "made", "newest", "id"), rows=rows, title=f"{ws.name} in {ws.root}")
    answer("workspace", body, table if kinds else f"{ws.name} in {ws.root} holds nothing yet", as_json=as_json)


def _show_artefact(made: Node, touched: Node, *, as_json: bool) -> None:
    from worldgate.core.times import format_ns
    from worldgate.record.lineage import render

    event, ref = made.event, made.ref
    parts = [f"{ref.kind} {ref.digest}" + (f" {ref.name}" if ref.name else "")]
    body: dict[str, Any] = {"ref": ref, "made_from": _tree(made), "touched": _tree(touched)}
    if event is not None:
        when = format_ns(event.recorded_at_ns)
        parts.append(f"made by {event.kind} in record {event.seq}, {when}, signed by key {event.actor[:12]}")
        body |= {"event": event.digest, "event_kind": event.kind, "recorded_at_ns": event.recorded_at_ns}
        body |= {"actor": event.actor, "body": event.body}
        parts.append(_clipped(json_text.dumps(event.body, indent=2, ensure_ascii=False)))
    parts += ["", "made from", render(made), "", "touched", render(touched)]
    answer("artefact", body, *parts, as_json=as_json)


def _tree(node: Node) -> dict[str, Any]:
    return {"ref": node.ref, "event": node.event.kind if node.event else "", "children": [*map(_tree, node.children)]}


def _clipped(text: str) -> str:
    lines = text.splitlines()
    if len(lines) <= BODY_LINES:
        return text
    return "\n".join([*lines[:BODY_LINES], f"… {len(lines) - BODY_LINES} more lines; --json prints them all"])
