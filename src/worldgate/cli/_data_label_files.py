"""``worldgate data label import|export|migrate``: label files of other tools, and labels across schema versions."""

from __future__ import annotations

from pathlib import Path

from worldgate.cli._label import find_digests, pairs
from worldgate.cli._output import JsonFlag, Table, answer
from worldgate.cli._workspace import WorkspaceOption, open_workspace


def import_(
    file: Path,
    /,
    *,
    schema: str,
    format: str = "",
    log: str | None = None,
    camera: str = "",
    person: tuple[str, ...] = (),
    json_schema: Path | None = None,
    key: str | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Read a label file of another tool, and record every set in it.

    For example:

        worldgate data label import export.json --schema manipulation --person 10=ada --person 11=bob
        worldgate data label import run.json --schema labels.toml --log 4c7a9a17 --camera observation.images.front

    All or nothing is recorded. What is no label, such as boxes or cancelled work, is counted and named.

    Args:
        file: The label file.
        schema: The label schema it is read against: a TOML file, a shipped or a recorded one.
        format: A format of `worldgate list labels`; else found out.
        log: The one log that the file speaks of; else the file names them.
        camera: The stream whose pictures the file counts.
        person: ID=NAME: the tool's id or mail address of a person, and our name.
        json_schema: A JSON Schema that the file must fulfil, for example ASAM's of OpenLABEL.
        key: Name of the key that signs; else the program's own.
    """
    from worldgate.data.labelling import catalogue
    from worldgate.data.labelling.exchange import read_json_schema, take_in

    held = read_json_schema(json_schema) if json_schema is not None else None
    with open_workspace(workspace) as ws:
        taken = take_in(
            ws,
            file,
            catalogue.find(ws, schema, actor=key),
            format=format,
            log=ws.resolve(log, "log") if log is not None else None,
            camera=camera,
            people=pairs(person, "--person"),
            json_schema=held,
            actor=key,
        )
    rows = [(item.log[:12], item.annotator, item.method, len(item.labels), ref.digest[:12]) for item, ref in taken.sets]
    left = [f"left out: {count} {what}" for what, count in taken.left_out.items()]
    body = {"format": taken.format, "sets": [ref for _, ref in taken.sets], "left_out": taken.left_out}
    table = Table(columns=("log", "annotator", "how", "labels", "set"), rows=rows, title=f"read as {taken.format}")
    answer("label.import", body, table, *left, as_json=json)


def export(
    path: Path,
    /,
    *logs: str,
    schema: str,
    format: str = "labelstudio",
    annotator: tuple[str, ...] = (),
    camera: str = "",
    by_picture: bool = False,
    person: tuple[str, ...] = (),
    json_schema: Path | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Write label sets that count as a label file of another tool.

    For example:

        worldgate data label export tasks.json --schema manipulation
        worldgate data label export labels/ 4c7a9a17 --schema automatic --format openlabel

    Args:
        path: The file to make; of OpenLABEL with several sets, a folder.
        logs: Ids or names of logs; without any, all of them.
        schema: The label schema: a shipped or a recorded one.
        format: A format of `worldgate list labels`.
        annotator: Only these.
        camera: The stream whose pictures are counted.
        by_picture: Write spans as pictures of it; boundaries move to the nearest, and how far is said.
        person: ID=NAME: the tool's id of a person, and our name.
        json_schema: A JSON Schema that the file must fulfil, for example ASAM's of OpenLABEL.
    """
    from worldgate.core.times import MILLISECOND
    from worldgate.data.labelling import catalogue
    from worldgate.data.labelling.exchange import give_out, read_json_schema
    from worldgate.data.labelling.store import LabelShelf

    held = read_json_schema(json_schema) if json_schema is not None else None
    with open_workspace(workspace) as ws:
        ref, shelf = catalogue.find(ws, schema), LabelShelf(ws)
        items = [item for digest in find_digests(ws, logs, shelf) for item in shelf.of(digest)]
        items = [item for item in items if item.schema.digest == ref.digest and not shelf.stale(item)]
        items = [item for item in items if not annotator or item.annotator in annotator]
        done = give_out(
            ws,
            path,
            items,
            format=format,
            camera=camera,
            by_picture=by_picture,
            people=pairs(person, "--person"),
            json_schema=held,
        )
    said = f"{path}: {done.labels} labels of {len(items)} sets"
    exact = "every boundary is exact to the nanosecond"
    parts = [f"{done.moved} spans moved, by {done.most_ns / MILLISECOND:g} ms at most" if done.moved else exact]
    if done.lost:
        parts.append(f"{done.lost} spans were left out: shorter than a picture")
    body: dict[str, object] = {"path": path, "sets": len(items), "labels": done.labels}
    body |= {"moved": done.moved, "most_ns": done.most_ns, "lost": done.lost}
    answer("label.export", body, said, *parts, as_json=json)


def migrate(
    mapping: Path, /, *, key: str | None = None, workspace: WorkspaceOption = None, json: JsonFlag = False
) -> None:
    """Move labels to the next major version of their schema, by a mapping.

    For example:

        worldgate data label migrate kitchen-2.0.toml
        worldgate data label migrate kitchen-2.0.toml --key ada

    Both versions must be recorded. Old sets stay on the record; the moved ones count from then on.

    Args:
        mapping: A TOML file: schema, before, after, and a list of moves.
        key: Name of the key that signs; else the program's own.
    """
    from worldgate.data.labelling import catalogue
    from worldgate.data.labelling.migration import migrate_all, read_mapping

    found = read_mapping(mapping)
    with open_workspace(workspace) as ws:
        old = catalogue.find(ws, f"{found.schema}.v{found.before}", record=False)
        new = catalogue.find(ws, f"{found.schema}.v{found.after}", record=False)
        moved = migrate_all(ws, old, new, found, actor=key)
    said = f"{len(moved)} label sets moved from {old.name} to {new.name}"
    answer("label.migrate", {"before": old, "after": new, "sets": moved}, said, as_json=json)
