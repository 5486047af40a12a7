"""``worldgate init``: a workspace and its first keys."""

from __future__ import annotations

import getpass
import re
from pathlib import Path

from worldgate.cli._output import JsonFlag, answer


def init(
    path: Path = Path(),
    /,
    *,
    person: str | None = None,
    name: str = "",
    store: str = "",
    json: JsonFlag = False,
) -> None:
    """Make a workspace and its first keys.

    For example:

        worldgate init
        worldgate init fleet --person ada --store s3://fleet-objects/prefix

    Args:
        path: Folder to make it in.
        person: Whose key becomes the root of trust; else the name you are logged in with.
        name: What people call the workspace; else the folder's name.
        store: Bucket for the objects; else a folder beside the ledger. Credentials come from the environment.
    """
    from worldgate.record.workspace import Workspace

    who = person or re.sub(r"[^A-Za-z0-9_-]", "", getpass.getuser()) or "person"
    with Workspace.init(path, person=who, name=name, store=store) as workspace:
        body = {"root": workspace.root, "name": workspace.name, "id": workspace.id, "person": workspace.person}
        body["store"] = workspace.store.url
        answer(
            "init",
            body,
            f"workspace {workspace.name} in {workspace.root}, with keys of {workspace.person} and of the program",
            f"next: worldgate ingest LOGS --workspace {workspace.root}",
            as_json=json,
        )
